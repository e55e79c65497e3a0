"""Writing measured points into a surface that lies preallocated in a store: values, then fdatasync, then status.

The bytes go straight to their place in the file, past HDF5, so that neither a kill nor a reader meets half a change.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from landscape.errors import InvalidArgument, StoreError
from landscape.records import Status
from landscape.store import files, schema
from landscape.store.refusals import PointsKind


@dataclass(frozen=True, slots=True)
class Slots:
    """Where the points of a surface lie in the file, in bytes."""

    points: int
    status: int
    values: Mapping[str, int]


class PointWriter:
    """The places of a store's points, found when first needed; `close` before the file is replaced, they move then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._slots: dict[tuple[PointsKind, str], Slots] = {}
        self._descriptor: int | None = None

    def write(
        self,
        surface: tuple[PointsKind, str],
        flat_indices: ArrayLike,
        values: Mapping[str, ArrayLike],
        find: Callable[[tuple[PointsKind, str]], Slots],
    ) -> None:
        """Write points; `find` looks a surface's places up in the file."""
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR)
        if surface not in self._slots:
            self._slots[surface] = find(surface)
        slots = self._slots[surface]
        indices = np.asarray(flat_indices, dtype=np.int64)
        columns = {name: np.asarray(column, dtype="<f8") for name, column in values.items()}
        _check(indices, columns, slots)
        if indices.size:
            self._write(self._descriptor, slots, indices, columns)

    def _write(
        self, descriptor: int, slots: Slots, indices: NDArray[np.int64], columns: Mapping[str, NDArray[np.float64]]
    ) -> None:
        order = np.argsort(indices)
        breaks = np.flatnonzero(np.diff(indices[order]) != 1) + 1
        runs = [(int(indices[run[0]]), run) for run in np.split(order, breaks)]
        status = _status_of(columns)
        if os.fstat(descriptor).st_ino != self.path.stat().st_ino:
            raise StoreError(f"{self.path} was replaced by another file while it was being written")
        for name, offset in slots.values.items():
            for first, run in runs:
                files.write_at(descriptor, columns[name][run].tobytes(), offset + 8 * first)
        files.synchronise(descriptor)
        for first, run in runs:
            files.write_at(descriptor, status[run].tobytes(), slots.status + first)

    def close(self) -> None:
        """Flush and forget all places. Safe to call twice."""
        self._slots.clear()
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def slots_in(group: Any, name: str) -> Slots:
    """The places of a surface's points. Raises StoreError where another tool has moved them out of reach."""
    keys = schema.value_names(group)
    offsets = {key: group[key].id.get_offset() for key in ("status", *keys)}
    if None in offsets.values() or any(group[key].dtype != np.dtype("<f8") for key in keys):
        raise StoreError(
            f"surface {name!r} of {group.file.filename} was rewritten by another tool: it can only be read"
        )
    return Slots(group["status"].size, offsets.pop("status"), offsets)


def _check(indices: NDArray[np.int64], columns: Mapping[str, NDArray[np.float64]], slots: Slots) -> None:
    if set(columns) != set(slots.values):
        raise InvalidArgument(f"expected values {', '.join(slots.values)}, got {', '.join(columns) or 'none'}")
    if indices.ndim != 1 or any(column.shape != indices.shape for column in columns.values()):
        shapes = {name: column.shape for name, column in columns.items()}
        raise InvalidArgument(f"expected one value a point, got {indices.shape} points and {shapes}")
    if indices.size and not 0 <= indices.min() <= indices.max() < slots.points:
        raise InvalidArgument(f"expected points 0 to {slots.points - 1}, got {indices.min()} to {indices.max()}")
    if len(np.unique(indices)) != len(indices):
        raise InvalidArgument("expected every point once in a call, got one twice")


def _status_of(columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.uint8]:
    finite = [np.isfinite(column) for name, column in columns.items() if name != "standard_error"]
    return np.where(np.logical_and.reduce(finite), Status.DONE, Status.NON_FINITE).astype(np.uint8)
