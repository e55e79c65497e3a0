"""What anybody may ask of a store: names, records, tables. Every call opens the file anew, and locks nothing."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from landscape.errors import InvalidArgument, StoreError
from landscape.records import Checkpoint, Direction, Eigenpairs, SharpnessReport, Surface, Table, Trajectory
from landscape.store import files, places, schema

Kind = Literal[
    "checkpoints",
    "surfaces",
    "curvature",
    "sharpness",
    "densities",
    "traces",
    "subsets",
    "trajectories",
    "comparisons",
    "histories",
    "studies",
    "nodes",
]
TableKind = Literal["comparisons", "histories", "studies"]
Record = TypeVar("Record")


class RecordsInStore:
    """The part of a `Store` that reads; whole spectra are in `spectra`."""

    path: Path

    def names(self, kind: Kind) -> list[str]:
        """What there is of a kind, in alphabetical order."""
        if kind not in get_args(Kind):
            raise InvalidArgument(f"expected one of {', '.join(get_args(Kind))}, got {kind!r}")
        with files.opened(self.path) as file:
            return places.names(file, kind)

    def checkpoint(self, name: str) -> Checkpoint:
        """A checkpoint's record. Raises StoreError for an unknown name, as all of these do."""
        return self._record("checkpoints", name, schema.read_checkpoint)

    def surface(self, name: str) -> Surface:
        """A surface as far as it is measured; NaN where it is not yet."""
        return self._record("surfaces", name, lambda g, name: schema.read_surface(g, name, g.file["directions"]))

    def nodes(self, name: str) -> Surface:
        """The nodes that the surface of this name is interpolated from, as far as they were needed."""
        return self._record("nodes", name, lambda g, name: schema.read_surface(g, name, g.file["directions"]))

    def eigenpairs(self, name: str) -> Eigenpairs:
        """Eigenvalues with their evidence."""
        return self._record("curvature", name, schema.read_eigenpairs)

    def sharpness(self, name: str) -> SharpnessReport:
        """All sharpness measures of one call."""
        return self._record("sharpness", name, schema.read_sharpness)

    def trajectory(self, name: str) -> Trajectory:
        """A training's path in a plane."""
        return self._record("trajectories", name, lambda g, name: schema.read_trajectory(g, name, g.file["directions"]))

    def directions(self) -> list[Direction]:
        """All directions that surfaces and trajectories were measured along, in no order."""
        with files.opened(self.path) as file:
            return [schema.read_direction(group) for group in file.get("directions", {}).values()]

    def table(self, kind: TableKind, name: str) -> Table:
        """A comparison, a history or a study."""
        return self._record(table_kind(kind), name, schema.read_table)

    def look_up(self, kind: Kind, name: str) -> None:
        """Raise StoreError, with what there is, where there is no record of this name."""
        self._record(kind, name, lambda *_: None)

    def _record(self, kind: Kind, name: str, read: Callable[[Any, str], Record]) -> Record:
        with files.opened(self.path) as file:
            names = places.names(file, kind)
            if name not in names:
                near = difflib.get_close_matches(name, names, n=3) or names
                there = f"it has {', '.join(near)}" if near else "it has none"
                raise StoreError(f"expected {name!r} among the {kind} of {self.path}, {there}")
            return read(places.held(file, kind, name), name)


def table_kind(kind: TableKind) -> TableKind:
    """The same kind; InvalidArgument if it is none of tables."""
    if kind not in get_args(TableKind):
        raise InvalidArgument(f"expected one of {', '.join(get_args(TableKind))}, got {kind!r}")
    return kind
