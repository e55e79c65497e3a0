"""One HDF5 file a study: every measurement with its provenance, safe against kills, readable at any time.

`Store.read` for looking, never refused while a writer is at work; `Store.write` for one writer at a time. New groups
arrive by replacing the file whole. The points of a surface are written in place: values, then fdatasync, then their
status, so a point called done is done, and a rerun of the same surface goes on with the ones that are not.
"""

import contextlib
import datetime
import difflib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from landscape import store_files as files
from landscape import store_points as points
from landscape import store_schema as schema
from landscape.errors import InvalidArgument, StoreError, StoreMismatch
from landscape.records import Checkpoint, Eigenpairs, Provenance, SharpnessReport, Surface, Table

Kind = Literal["checkpoints", "surfaces", "curvature", "sharpness", "comparisons", "histories", "studies"]
TableKind = Literal["comparisons", "histories", "studies"]
MEASURED: tuple[Kind, ...] = ("surfaces", "curvature", "sharpness")
Record = TypeVar("Record")


class Store:
    """A study on disk. Every call sees the file as it is at that moment, so a reader follows a writer at work."""

    def __init__(self, path: Path, lock: files.WriterLock | None) -> None:
        self.path = path
        self._lock = lock
        self._points = points.PointWriter(path)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Store":
        """Open for reading.

        Raises:
            StoreError: no file there, a truncated one, or one of another format.
        """
        resolved = Path(path).resolve()
        with files.opened(resolved):
            return cls(resolved, None)

    @classmethod
    def write(cls, path: str | os.PathLike[str]) -> "Store":
        """Create a store, or open one to add to it. Held until `close`; use it as a context manager.

        Raises:
            StoreLocked: another process is writing it.
            StoreError: it cannot be created, or what is there is no store.
        """
        resolved = Path(path).resolve()
        try:
            resolved.parent.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise StoreError(f"cannot create the folder {resolved.parent}: {problem.strerror}") from problem
        lock = files.WriterLock(resolved)
        try:
            files.path_aside(resolved).unlink(missing_ok=True)  # of a writer that was killed
            if not resolved.exists():
                with files.changed(resolved, create=True) as file:
                    file.attrs["format"], file.attrs["format_version"] = files.FORMAT, files.FORMAT_VERSION
                    file.attrs["created"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                    file.attrs["versions"] = schema.as_json(_versions())
            with files.opened(resolved):
                return cls(resolved, lock)
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flush and let the next writer in. Safe to call twice; a reader has nothing to close."""
        try:
            self._settle()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def names(self, kind: Kind) -> list[str]:
        """What there is of a kind, in alphabetical order."""
        if kind not in get_args(Kind):
            raise InvalidArgument(f"expected one of {', '.join(get_args(Kind))}, got {kind!r}")
        with files.opened(self.path) as file:
            return sorted(file.get(kind, ()))

    def checkpoint(self, name: str) -> Checkpoint:
        """A checkpoint's record. Raises StoreError for an unknown name, as all of these do."""
        return self._record("checkpoints", name, schema.read_checkpoint)

    def surface(self, name: str) -> Surface:
        """A surface as far as it is measured; NaN where it is not yet."""
        return self._record("surfaces", name, lambda g, name: schema.read_surface(g, name, g.file["directions"]))

    def eigenpairs(self, name: str) -> Eigenpairs:
        """Eigenvalues with their evidence."""
        return self._record("curvature", name, schema.read_eigenpairs)

    def sharpness(self, name: str) -> SharpnessReport:
        """All sharpness measures of one call."""
        return self._record("sharpness", name, schema.read_sharpness)

    def table(self, kind: TableKind, name: str) -> Table:
        """A comparison, a history or a study."""
        return self._record(_table_kind(kind), name, schema.read_table)

    def add_checkpoint(self, checkpoint: Checkpoint, *, replace: bool = False) -> None:
        """Add a checkpoint, or bring the record of the same weights up to date.

        Raises:
            StoreMismatch: other weights stand under this name. With `replace` they go, and all measured on them too.
        """
        with self._changed("checkpoints", checkpoint.name) as (file, held):
            if held is not None and held.attrs["hash"] != checkpoint.hash:
                if not replace:
                    self._mismatch("checkpoint", checkpoint.name, "weights", held.attrs["hash"], checkpoint.hash)
                for kind in MEASURED:
                    for name, group in list(file.get(kind, {}).items()):
                        if group.attrs["checkpoint"] == checkpoint.name:
                            del file[kind][name]
            schema.write_checkpoint(_fresh(file, "checkpoints", checkpoint.name), checkpoint)

    def add_surface(self, surface: Surface, *, replace: bool = False) -> Surface:
        """Preallocate a surface, or go on with the same one: the points already measured are kept.

        The same means equal weights, axes, directions, objective settings and names of values.

        Returns:
            The surface as the store now holds it; its status says which points are left.

        Raises:
            StoreMismatch: another surface stands under this name, and `replace` was not asked for.
            StoreError: its checkpoint is not in the store.
        """
        with files.opened(self.path) as file:
            held = file.get(f"surfaces/{surface.name}") if surface.name in file.get("surfaces", ()) else None
            difference = None if held is None else self._difference(file, held, surface)
            known = held is not None and difference is None
        if known:
            self._writing()
            return self.surface(surface.name)
        if difference is not None and not replace:
            self._mismatch("surface", surface.name, *difference)
        with self._changed("surfaces", surface.name) as (file, _):
            for direction in (surface.x, surface.y):
                if direction is not None and schema.direction_id(direction) not in file.require_group("directions"):
                    schema.write_direction(_fresh(file, "directions", schema.direction_id(direction)), direction)
            checkpoint_hash = self._checkpoint_hash(file, surface.checkpoint)
            schema.write_surface(_fresh(file, "surfaces", surface.name), surface, checkpoint_hash)
        return self.surface(surface.name)

    def write_points(self, surface: str, flat_indices: ArrayLike, values: Mapping[str, ArrayLike]) -> None:
        """Write measured points in place, by flat index in C order, and call them done.

        A point is NON_FINITE where one of its values is not finite; a standard error does not count, being NaN for
        a single unit. One fdatasync a call. Points of earlier calls stay whatever happens to this one.

        Raises:
            StoreError: no space left, or the file was removed or replaced meanwhile.
            InvalidArgument: other values than the surface has, lengths that differ, an index twice or outside.
        """
        self._writing()
        try:
            self._points.write(
                surface, flat_indices, values, lambda name: self._record("surfaces", name, points.slots_in)
            )
        except OSError as problem:
            raise StoreError(f"cannot write {self.path}: {problem.strerror}; points before are kept") from problem

    def add_eigenpairs(self, pairs: Eigenpairs, *, replace: bool = False) -> None:
        """Add eigenvalues, or replace those of the same weights, objective and method.

        Raises:
            StoreMismatch: others stand under this name, and `replace` was not asked for.
        """
        with self._changed("curvature", pairs.name) as (file, held):
            checkpoint_hash = self._check_origin(file, held, "eigenvalues", pairs, replace)
            if held is not None and not replace and held.attrs["method"] != pairs.method:
                self._mismatch("eigenvalues", pairs.name, "method", held.attrs["method"], pairs.method)
            schema.write_eigenpairs(_fresh(file, "curvature", pairs.name), pairs, checkpoint_hash)

    def add_sharpness(self, report: SharpnessReport, *, replace: bool = False) -> None:
        """Add a sharpness report, or replace one of the same weights and objective.

        Raises:
            StoreMismatch: another stands under this name, and `replace` was not asked for.
        """
        with self._changed("sharpness", report.name) as (file, held):
            checkpoint_hash = self._check_origin(file, held, "sharpness", report, replace)
            schema.write_sharpness(_fresh(file, "sharpness", report.name), report, checkpoint_hash)

    def check_origin(
        self, kind: Literal["curvature", "sharpness"], name: str, checkpoint: Checkpoint, provenance: Provenance
    ) -> None:
        """Refuse before measuring what adding under this name would refuse after it.

        Raises:
            StoreMismatch: other weights under the checkpoint's name, or a record of another checkpoint or objective.
        """
        with files.opened(self.path) as file:
            there = file.get("checkpoints", {}).get(checkpoint.name)
            if there is not None and there.attrs["hash"] != checkpoint.hash:
                self._mismatch("checkpoint", checkpoint.name, "weights", there.attrs["hash"], checkpoint.hash)
            held = file.get(kind, {}).get(name)
            if held is not None:
                self._check_held(held, kind, name, checkpoint.name, checkpoint.hash, provenance)

    def add_table(self, kind: TableKind, table: Table) -> None:
        """Add a table, or replace the one of this name."""
        with self._changed(_table_kind(kind), table.name) as (file, _):
            schema.write_table(_fresh(file, kind, table.name), table)

    def _record(self, kind: Kind, name: str, read: Callable[[Any, str], Record]) -> Record:
        with files.opened(self.path) as file:
            names = sorted(file.get(kind, ()))
            if name not in names:
                near = difflib.get_close_matches(name, names, n=3) or names
                there = f"it has {', '.join(near)}" if near else "it has none"
                raise StoreError(f"expected {name!r} among the {kind} of {self.path}, {there}")
            return read(file[kind][name], name)

    def _writing(self) -> None:
        if self._lock is None:
            raise StoreError(f"{self.path} is open for reading only")

    def _changed(self, kind: Kind, name: str) -> contextlib.AbstractContextManager[tuple[Any, Any]]:
        self._writing()
        schema.check_name(name, "a record")
        self._settle()
        return _group_changed(self.path, kind, name)

    def _checkpoint_hash(self, file: Any, name: str) -> str:
        if name not in file.get("checkpoints", ()):
            raise StoreError(f"expected the checkpoint {name!r} in {self.path} before what is measured on it")
        return str(file["checkpoints"][name].attrs["hash"])

    def _check_origin(
        self, file: Any, held: Any, what: str, record: Eigenpairs | SharpnessReport, replace: bool
    ) -> str:
        """The checkpoint's hash, after refusing a group of other weights or another objective."""
        checkpoint_hash = self._checkpoint_hash(file, record.checkpoint)
        if held is not None and not replace:
            self._check_held(held, what, record.name, record.checkpoint, checkpoint_hash, record.provenance)
        return checkpoint_hash

    def _check_held(
        self, held: Any, what: str, name: str, checkpoint: str, checkpoint_hash: str, provenance: Provenance
    ) -> None:
        if held.attrs["checkpoint_hash"] != checkpoint_hash:
            was = held.attrs["checkpoint"], held.attrs["checkpoint_hash"]
            self._mismatch(what, name, "checkpoint", was, (checkpoint, checkpoint_hash))
        objective = _objective_of(schema.read_provenance(held))
        if objective != _objective_of(provenance):
            self._mismatch(what, name, "objective", objective, _objective_of(provenance))

    def _difference(self, file: Any, held: Any, surface: Surface) -> tuple[str, Any, Any] | None:
        """What keeps a surface in the store from being this one: (what, held, came)."""
        there = schema.read_surface(held, surface.name, file["directions"])
        if surface.checkpoint not in file.get("checkpoints", ()):
            return "checkpoint", there.checkpoint, surface.checkpoint
        pairs: dict[str, tuple[Any, Any]] = {
            "checkpoint": (held.attrs["checkpoint_hash"], self._checkpoint_hash(file, surface.checkpoint)),
            "alpha axis": (_axis(there.alpha), _axis(surface.alpha)),
            "beta axis": (_axis(there.beta), _axis(surface.beta)),
            "direction x": (there.x.hash, surface.x.hash),
            "direction y": (there.y and there.y.hash, surface.y and surface.y.hash),
            "objective": (_objective_of(there.provenance), _objective_of(surface.provenance)),
            "values": (sorted(there.values), sorted(surface.values)),
        }
        for what, (was, came) in pairs.items():
            if was != came:
                return what, was, came
        for axis in ("alpha", "beta"):
            if not np.array_equal(getattr(there, axis), getattr(surface, axis)):
                return f"{axis} axis", "unequal steps", "others"
        return None

    def _mismatch(self, what: str, name: str, part: str, held: Any, came: Any) -> None:
        if part == "objective":
            held, came = _what_differs(held, came)
        raise StoreMismatch(
            f"{self.path} holds {what} {name!r} of another {part}: expected {held}, got {came}; "
            "take another name or another store"
        )

    def _settle(self) -> None:
        try:
            self._points.close()
        except OSError as problem:
            raise StoreError(f"cannot write {self.path}: {problem.strerror}") from problem


@contextlib.contextmanager
def _group_changed(path: Path, kind: str, name: str) -> Iterator[tuple[Any, Any]]:
    """A changed file in memory, and the group that stands under this name if one does."""
    with files.changed(path) as file:
        group = file.require_group(kind)
        yield file, group.get(name)


def _fresh(file: Any, kind: str, name: str) -> Any:
    """An empty group under this name, whatever stood there."""
    schema.check_name(name, "a record")
    parent = file.require_group(kind)
    if name in parent:
        del parent[name]
    return parent.create_group(name)


def _table_kind(kind: TableKind) -> TableKind:
    if kind not in get_args(TableKind):
        raise InvalidArgument(f"expected one of {', '.join(get_args(TableKind))}, got {kind!r}")
    return kind


def _objective_of(provenance: Provenance) -> str:
    return schema.as_json(provenance.objective)


def _what_differs(held: str, came: str) -> tuple[str, str]:
    """Of two objectives' settings, those in which they differ."""
    one, other = json.loads(held), json.loads(came)
    names = [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]
    was, comes = (", ".join(f"{name} {side.get(name)}" for name in names) for side in (one, other))
    return was, comes


def _axis(values: NDArray[np.float64] | None) -> str:
    return "none" if values is None else f"{values[0]:g}:{values[-1]:g}:{len(values)}"


def _versions() -> dict[str, str]:
    packages = ("samrec", "numpy", "h5py")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
