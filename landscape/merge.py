"""Stores computed apart become one: records side by side, and the points of one surface computed in parts.

Nothing is decided by order or by age. Two records of one name are taken together only where they are one and the same
thing: a checkpoint of equal weights, a surface of equal axes, directions, objective and values whose points do not
contradict each other, anything else with equal numbers. Everything else is refused, and then no store is written.
"""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape import store_files as files
from landscape import store_refusals as refusals
from landscape import store_schema as schema
from landscape.errors import InvalidArgument, StoreError, StoreMismatch
from landscape.records import Status, Surface
from landscape.store import stored_versions
from landscape.store_columns import as_json, read_provenance
from landscape.whole_files import check_folder_of

POINTWISE: tuple[refusals.PointsKind, ...] = ("surfaces", "nodes")
OF_SCALES = ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST")  # rewritten when scales are attached again
OF_THE_RUN = ("created", "provenance", "target")  # may differ between equal records; objectives are compared apart


def merge_stores(sources: Sequence[Path], out: Path) -> dict[str, int]:
    """Write one store with all that the sources hold.

    Returns:
        "records": how many came in, "shared": how many of them were in more than one store, "points": how many points
        of shared surfaces came from a later one.

    Raises:
        InvalidArgument: fewer than two sources, or one twice.
        StoreMismatch: two records of one name that are not the same thing.
        StoreError: a source that cannot be read, or something is there already at `out`.
    """
    resolved = [Path(source).resolve() for source in sources]
    if len(set(resolved)) < 2 or len(set(resolved)) < len(resolved):
        raise InvalidArgument(f"expected two or more different stores to merge, got {', '.join(map(str, sources))}")
    out = Path(out).resolve()
    if out.exists():
        raise StoreError(f"expected no file at {out} to merge into, found one")
    check_folder_of(out)
    counts = {"records": 0, "shared": 0, "points": 0}
    lock = files.WriterLock(out)
    try:
        with files.changed(out, create=True) as merged:
            merged.attrs["format"], merged.attrs["format_version"] = files.FORMAT, files.FORMAT_VERSION
            merged.attrs["created"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            merged.attrs["versions"] = as_json(stored_versions())
            for source in resolved:
                with files.opened(source) as file:
                    for kind in file:
                        for name in file[kind]:
                            _take(merged, source, kind, name, file[kind][name], counts)
    finally:
        lock.release()
    return counts


def _take(merged: Any, path: Path, kind: str, name: str, came: Any, counts: dict[str, int]) -> None:
    held = merged.require_group(kind).get(name)
    if kind != "directions":
        counts["records"] += held is None
        counts["shared"] += held is not None
    if held is None:
        _copy(came, merged[kind].create_group(name))
    elif kind == "checkpoints":
        _join_checkpoints(path, held, came, name)
    elif kind in POINTWISE:
        counts["points"] += _join_points(path, merged, kind, held, came, name)
    elif not _equal(held, came):
        raise StoreMismatch(f"expected one {kind}/{name} in all stores, got others in {path}: rename or remove one")


def _join_checkpoints(path: Path, held: Any, came: Any, name: str) -> None:
    """Metrics and settings of both; equal weights, and no name with two values."""
    if held.attrs["hash"] != came.attrs["hash"]:
        raise StoreMismatch(
            f"expected the weights {held.attrs['hash'][:12]} as checkpoint {name!r}, got {came.attrs['hash'][:12]} in "
            f"{path}"
        )
    for key in ("metrics", "config"):
        one, other = json.loads(held.attrs[key]), json.loads(came.attrs[key])
        if differing := [entry for entry in one.keys() & other.keys() if one[entry] != other[entry]]:
            entry = sorted(differing)[0]
            raise StoreMismatch(f"expected {entry} {one[entry]} of checkpoint {name!r}, got {other[entry]} in {path}")
        held.attrs[key] = as_json({**one, **other})


def _join_points(path: Path, merged: Any, kind: refusals.PointsKind, held: Any, came: Any, name: str) -> int:
    """Fill the points that only the newcomer has; how many."""
    surface = schema.read_surface(came, name, came.file["directions"])
    refusals.check_surface(path, merged, surface, str(came.attrs["checkpoint_hash"]), kind=kind)
    there = schema.read_surface(held, name, merged["directions"])
    if dict(there.approximation) != dict(surface.approximation):
        raise StoreMismatch(f"expected {kind}/{name} interpolated in one way in all stores, got another in {path}")
    both = (there.status != Status.PENDING) & (surface.status != Status.PENDING)
    for value, numbers in surface.values.items():
        differing = both & ~_same(there.values[value], numbers)
        if differing.any():
            index = tuple(np.argwhere(differing)[0].tolist())
            was, new = float(there.values[value][index]), float(numbers[index])
            raise StoreMismatch(
                f"expected {value} {was!r} at {_place(there, index)} of {kind}/{name}, got {new!r} in {path}"
            )
    new = (there.status == Status.PENDING) & (surface.status != Status.PENDING)
    for value, numbers in surface.values.items():
        held[value][...] = np.where(new, numbers, held[value][...])
    held["status"][...] = np.where(new, surface.status, there.status)
    return int(new.sum())


def _place(surface: Surface, index: tuple[int, ...]) -> str:
    axes = [axis for axis in (surface.alpha, surface.beta) if axis is not None]
    return "(" + ", ".join(f"{axis[k]:g}" for axis, k in zip(axes, index, strict=True)) + ")"


def _same(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Equal in every bit that counts; a NaN equals a NaN."""
    if one.dtype.kind != "f":
        return np.asarray(one == other)
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))


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
        elif entry.shape != other[name].shape or not _same(entry[()], other[name][()]).all():
            return False
    return True


def _copy(source: Any, target: Any) -> None:
    """A group with all below it, dimension scales attached anew."""
    for key, value in source.attrs.items():
        target.attrs[key] = value
    for name, entry in source.items():
        if hasattr(entry, "keys"):
            _copy(entry, target.create_group(name))
            continue
        dataset = target.create_dataset(name, data=entry[()], dtype=entry.dtype)
        for key, value in entry.attrs.items():
            if key not in OF_SCALES:
                dataset.attrs[key] = value
        if entry.is_scale:
            dataset.make_scale(name)
    for name, entry in source.items():
        if not hasattr(entry, "keys") and not entry.is_scale:
            for number, dimension in enumerate(entry.dims):
                for scale in dimension.values():
                    target[name].dims[number].attach_scale(target.file[scale.name])
