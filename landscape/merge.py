"""Stores computed apart become one: records side by side, those of one name joined where they complete each other.

Nothing is decided by order or by age. Two records of one name are taken together only where they are of one checkpoint
(by its hash), objective and settings: then points and metrics of a surface, measures of a report, probes of a density
or trace, draws of subsets are put together, and eigenpairs, density, trace and subsets of one name stand side by side.
Where both hold the same thing its numbers must be equal. Everything else is refused, and then no store is written.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landscape import merge_records as joins
from landscape.errors import InvalidArgument, StoreError, StoreMismatch
from landscape.records import Provenance
from landscape.store import files, places, refusals, schema, spectra
from landscape.store.columns import read_provenance
from landscape.whole_files import check_folder_of

Joining = tuple[Callable[..., Any], Callable[..., None], Callable[..., Any]]  # read, write, join

POINTWISE: tuple[refusals.PointsKind, ...] = ("surfaces", "nodes")
SPECTRA: dict[Any, Joining] = {
    "curvature": (schema.read_eigenpairs, schema.write_eigenpairs, joins.joined_eigenpairs),
    "densities": (spectra.read_density, spectra.write_density, joins.joined_probes),
    "traces": (spectra.read_trace, spectra.write_trace, joins.joined_probes),
    "subsets": (spectra.read_subsets, spectra.write_subsets, joins.joined_subsets),
}
JOINED: dict[Any, Joining] = {
    "sharpness": (schema.read_sharpness, schema.write_sharpness, joins.joined_reports),
    **SPECTRA,
}
OF_SCALES = ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST")  # rewritten when scales are attached again
OF_THE_RUN = ("created", "provenance", "target")  # may differ between equal records; objectives are compared apart
Origin = tuple[Path, str, Provenance]  # store, checkpoint hash


def merge_stores(sources: Sequence[Path], out: Path) -> dict[str, int]:
    """Write one store with all that the sources hold.

    Returns:
        "records": how many the new store has, "shared": how many of them were in more than one store, "points": how
        many points of shared surfaces, or values at them, came from a later one.

    Raises:
        InvalidArgument: fewer than two sources, or one twice.
        StoreMismatch: two records of one name that contradict each other or are not of one thing.
        StoreError: a source that cannot be read, or something is there already at `out`.
    """
    resolved = [Path(source).resolve() for source in sources]
    if len(set(resolved)) < 2 or len(set(resolved)) < len(resolved):
        raise InvalidArgument(f"expected two or more different stores to merge, got {', '.join(map(str, sources))}")
    out = Path(out).resolve()
    if out.exists():
        raise StoreError(f"expected no file at {out} to merge into, found one")
    check_folder_of(out)
    lock = files.WriterLock(out)
    try:
        with files.changed(out, create=True) as merged:
            files.write_header(merged)
            merging = _Merging(merged)
            for source in resolved:
                with files.opened(source) as file:
                    merging.take(source, file)
            counts = merging.finish()
    finally:
        lock.release()
    return counts


class _Merging:
    """The store that grows, and what of it can only be judged when all sources have been read."""

    def __init__(self, merged: Any) -> None:
        self.merged = merged
        self.seen: dict[tuple[str, str], int] = {}
        self.surfaces: dict[tuple[refusals.PointsKind, str], joins.JoinedSurface] = {}
        self.origins: dict[str, dict[Path, dict[refusals.MeasuredKind, Origin]]] = {}

    def take(self, path: Path, file: Any) -> None:
        """All records of one source."""
        for kind in file:
            for name in file[kind]:
                if kind != "curvature":
                    self._take(path, kind, name, file[kind][name])
                    continue
                for own in SPECTRA:
                    if (group := places.held(file, own, name)) is not None:
                        origin = path, str(group.attrs["checkpoint_hash"]), read_provenance(group)
                        self.origins.setdefault(name, {}).setdefault(path, {})[own] = origin
                        self._take(path, own, name, group)

    def finish(self) -> dict[str, int]:
        """Refuse what contradicts only when seen together, write the joined surfaces, and count."""
        for name, stores in self.origins.items():
            _check_one_spectrum(name, stores)
        for (kind, name), joined in self.surfaces.items():
            checkpoint_hash = str(self.merged[kind][name].attrs["checkpoint_hash"])
            surface = joined.surface()
            schema.write_surface(places.fresh(self.merged, kind, name), surface, checkpoint_hash)
        return {
            "records": len(self.seen),
            "shared": sum(count > 1 for count in self.seen.values()),
            "points": sum(joined.added for joined in self.surfaces.values()),
        }

    def _take(self, path: Path, kind: Any, name: str, came: Any) -> None:
        if kind != "directions":
            self.seen[kind, name] = self.seen.get((kind, name), 0) + 1
        held = places.held(self.merged, kind, name)
        if held is None:
            _copy(came, places.fresh(self.merged, kind, name), without=_inside(kind))
        elif kind == "checkpoints":
            joins.join_checkpoints(path, held, came, name)
        elif kind in POINTWISE:
            self._take_points(path, kind, name, held, came)
        elif kind in JOINED:
            self._join(path, kind, name, held, came)
        elif kind == "directions" and ("vector" in held) != ("vector" in came):  # the same one, kept and not kept
            if "vector" in came:
                _copy(came, places.fresh(self.merged, kind, name))
        elif not _equal(held, came):
            raise StoreMismatch(f"expected one {kind}/{name} in all stores, got others in {path}: rename or remove one")

    def _take_points(self, path: Path, kind: refusals.PointsKind, name: str, held: Any, came: Any) -> None:
        surface = schema.read_surface(came, name, came.file["directions"])
        refusals.check_surface(
            path, self.merged, surface, str(came.attrs["checkpoint_hash"]), kind=kind, any_values=True
        )
        if (kind, name) not in self.surfaces:
            first = schema.read_surface(held, name, self.merged["directions"])
            self.surfaces[kind, name] = joins.JoinedSurface(f"{kind}/{name}", first)
        self.surfaces[kind, name].add(path, surface)

    def _join(self, path: Path, kind: refusals.MeasuredKind, name: str, held: Any, came: Any) -> None:
        read, write, join = JOINED[kind]
        origin = str(came.attrs["checkpoint"]), str(came.attrs["checkpoint_hash"])
        drawn = spectra.drawn(kind)
        refusals.check_held(path, held, kind, name, origin, read_provenance(came), drawn=drawn)
        there = read(held, name)
        joined = join(path, f"{refusals.MEASURED[kind]} {name!r}", there, read(came, name))
        if joined is not there:
            write(places.fresh(self.merged, kind, name), joined, str(came.attrs["checkpoint_hash"]))


def _check_one_spectrum(name: str, stores: Mapping[Path, Mapping[refusals.MeasuredKind, Origin]]) -> None:
    """Refuse records of several kinds under one name that come together only here and are not of one thing."""
    together = [set(kinds) for kinds in stores.values()]
    found = [(kind, origin) for kinds in stores.values() for kind, origin in kinds.items()]
    for kind, (path, checkpoint_hash, provenance) in found:
        for other, (elsewhere, other_hash, other_provenance) in found:
            if kind == other or any({kind, other} <= kinds for kinds in together):
                continue
            what = f"{refusals.MEASURED[other]} {name!r} of {elsewhere}"
            if checkpoint_hash != other_hash:
                raise StoreMismatch(
                    f"expected the checkpoint {other_hash[:12]} of {what} under one name, got {checkpoint_hash[:12]} "
                    f"of the {refusals.MEASURED[kind]} in {path}: rename or remove one"
                )
            drawn = {*spectra.drawn(kind), *spectra.drawn(other)}
            if differing := refusals.objective_difference(other_provenance, provenance, drawn):
                raise StoreMismatch(
                    f"expected the objective of {what} under one name ({differing[0]}), got {differing[1]} "
                    f"of the {refusals.MEASURED[kind]} in {path}: rename or remove one"
                )


def _inside(kind: str) -> tuple[str, ...]:
    """Groups inside of a record that are records of their own."""
    return tuple(places.INSIDE.values()) if kind == "curvature" else ()


def _equal(one: Any, other: Any) -> bool:
    """Whether two groups hold the same numbers, text and settings, whenever they were made."""
    keys = {key for group in (one, other) for key in group.attrs if key not in OF_THE_RUN}
    if set(one) != set(other) or any(
        key not in one.attrs or key not in other.attrs or not np.array_equal(one.attrs[key], other.attrs[key])
        for key in keys
    ):
        return False
    if ("provenance" in one.attrs) != ("provenance" in other.attrs):
        return False
    if "provenance" in one.attrs and not refusals.same_objective(read_provenance(one), read_provenance(other)):
        return False
    for name, entry in one.items():
        if hasattr(entry, "keys"):
            if not _equal(entry, other[name]):
                return False
        elif entry.shape != other[name].shape or not joins.same(entry[()], other[name][()]).all():
            return False
    return True


def _copy(source: Any, target: Any, *, without: Sequence[str] = ()) -> None:
    """A group with all below it but for some entries, dimension scales attached anew."""
    for key, value in source.attrs.items():
        target.attrs[key] = value
    entries = {name: entry for name, entry in source.items() if name not in without}
    for name, entry in entries.items():
        if hasattr(entry, "keys"):
            _copy(entry, target.create_group(name))
            continue
        dataset = target.create_dataset(name, data=entry[()], dtype=entry.dtype)
        for key, value in entry.attrs.items():
            if key not in OF_SCALES:
                dataset.attrs[key] = value
        if entry.is_scale:
            dataset.make_scale(name)
    for name, entry in entries.items():
        if not hasattr(entry, "keys") and not entry.is_scale:
            for number, dimension in enumerate(entry.dims):
                for scale in dimension.values():
                    target[name].dims[number].attach_scale(target.file[scale.name])
