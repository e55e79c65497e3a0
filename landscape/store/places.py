"""Where each kind of record lies in the file: /KIND/NAME, or inside of /curvature/NAME what belongs to one spectrum.

/curvature/NAME holds eigenpairs if it has their labels; its groups `density`, `trace` and `subsets` are records of
their own, with their own provenance, and come and go without the eigenpairs.
"""

from collections.abc import Iterator
from typing import Any

Group = Any  # h5py.Group; h5py carries no types
INSIDE = {"densities": "density", "traces": "trace", "subsets": "subsets"}


def held(file: Any, kind: str, name: str) -> Group | None:
    """The group of a record, None where there is none."""
    if kind in INSIDE:
        return file.get(f"curvature/{name}/{INSIDE[kind]}")
    group = file.get(f"{kind}/{name}")
    return None if kind == "curvature" and group is not None and "label" not in group else group


def names(file: Any, kind: str) -> list[str]:
    """The names of all records of a kind, in alphabetical order."""
    parents = file.get("curvature" if kind in INSIDE else kind, ())
    return sorted(name for name in parents if held(file, kind, name) is not None)


def groups(file: Any, kind: str) -> Iterator[tuple[str, Group]]:
    """Every record of a kind by name."""
    for name in names(file, kind):
        yield name, held(file, kind, name)


def fresh(file: Any, kind: str, name: str) -> Group:
    """An empty group for a record, whatever stood there; what only shares its name stays."""
    remove(file, kind, name)
    return file.require_group(f"curvature/{name}/{INSIDE[kind]}" if kind in INSIDE else f"{kind}/{name}")


def remove(file: Any, kind: str, name: str) -> None:
    """Take a record out if it is there."""
    group = held(file, kind, name)
    if group is None:
        return
    if kind not in INSIDE and kind != "curvature":
        del file[f"{kind}/{name}"]
        return
    parent = file[f"curvature/{name}"]
    if kind in INSIDE:
        del parent[INSIDE[kind]]
    else:
        for key in [key for key in parent if key not in INSIDE.values()]:
            del parent[key]
        for key in list(parent.attrs):
            del parent.attrs[key]
    if not len(parent):
        del file[f"curvature/{name}"]
