"""One HDF5 file a study: every measurement with its provenance, safe against kills, readable at any time.

`Store.read` for looking, never refused while a writer is at work; `Store.write` for one writer at a time. New groups
arrive by replacing the file whole. The points of a surface are written in place: values, then fdatasync, then their
status, so a point called done is done, and a rerun of the same surface goes on with the ones that are not.
"""

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace as replaced
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import ArrayLike

from landscape.display import Display, Shown
from landscape.errors import StoreError, StoreMismatch
from landscape.records import (
    Checkpoint,
    Direction,
    Eigenpairs,
    Provenance,
    Scalars,
    SharpnessReport,
    Surface,
    Table,
    Trajectory,
)
from landscape.store import files, places, points, refusals, schema
from landscape.store.columns import check_name
from landscape.store.display import display_of_store
from landscape.store.reading import Kind, RecordsInStore, TableKind, table_kind
from landscape.store.spectra import SpectraInStore
from landscape.whole_files import check_folder_of


class Store(RecordsInStore, SpectraInStore, Shown):
    """A study on disk. Every call sees the file as it is at that moment, so a reader follows a writer at work."""

    def __init__(self, path: Path, lock: files.WriterLock | None) -> None:
        self.path = path
        self._lock = lock
        self._is_new = False  # made by this writer
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

        A store that was made here and has no measurement by the time an error leaves the block is taken away again:
        what was refused leaves nothing behind.

        Raises:
            StoreLocked: another process is writing it.
            StoreError: it cannot be created, or what is there is no store.
        """
        resolved = Path(path).resolve()
        check_folder_of(resolved)
        lock = files.WriterLock(resolved)
        try:
            files.path_aside(resolved).unlink(missing_ok=True)  # of a writer that was killed
            is_new = not resolved.exists()
            if is_new:
                with files.changed(resolved, create=True) as file:
                    files.write_header(file)
            with files.opened(resolved):
                store = cls(resolved, lock)
            store._is_new = is_new
            return store
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._is_new:
            files.remove_if_without_measurements(self.path)
        self.close()

    def _display(self) -> Display:
        return display_of_store(self)

    def close(self) -> None:
        """Flush and let the next writer in. Safe to call twice; a reader has nothing to close."""
        try:
            self._settle()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def add_checkpoint(
        self, checkpoint: Checkpoint, *, replacing: Collection[tuple[refusals.MeasuredKind, str]] = ()
    ) -> None:
        """Add a checkpoint, or bring the record of the same weights up to date: what it has beside is kept.

        Args:
            checkpoint: its metrics and config are merged into those already there, name by name.
            replacing: (kind, name) of measurements about to be replaced. Where other weights stand under the
                checkpoint's name, these go with them; anything else that was measured on them refuses.

        Raises:
            StoreMismatch: other weights stand under this name, and not all that was measured on them may go.
        """
        with self._changed("checkpoints", checkpoint.name) as (file, held):
            refusals.check_weights(self.path, file, checkpoint, replacing)
            if held is not None and held.attrs["hash"] == checkpoint.hash:
                there = schema.read_checkpoint(held, checkpoint.name)
                checkpoint = replaced(
                    checkpoint,
                    metrics={**there.metrics, **checkpoint.metrics},
                    config={**there.config, **checkpoint.config},
                    loss=there.loss if checkpoint.loss is None else checkpoint.loss,
                )
            elif held is not None:
                for kind, name in replacing:
                    group = places.held(file, kind, name)
                    if group is not None and group.attrs["checkpoint"] == checkpoint.name:
                        places.remove(file, kind, name)
            schema.write_checkpoint(_fresh(file, "checkpoints", checkpoint.name), checkpoint)

    def add_surface(
        self, surface: Surface, *, replace: bool = False, kind: refusals.PointsKind = "surfaces"
    ) -> Surface:
        """Preallocate a surface, or go on with the same one: the points already measured are kept.

        The same means equal weights, axes, directions, objective settings and names of values. `kind` is "nodes" for
        those that a surface is interpolated from.

        Returns:
            The surface as the store now holds it; its status says which points are left.

        Raises:
            StoreMismatch: another surface stands under this name, and `replace` was not asked for.
            StoreError: its checkpoint is not in the store.
        """
        self._writing()
        with files.opened(self.path) as file:
            there = file.get("checkpoints", {}).get(surface.checkpoint)
            checkpoint_hash = None if there is None else str(there.attrs["hash"])
            try:
                known = refusals.check_surface(self.path, file, surface, checkpoint_hash, kind=kind) and not replace
            except StoreMismatch:
                if not replace:
                    raise
                known = False
        read = self.surface if kind == "surfaces" else self.nodes
        if known:
            return read(surface.name)
        with self._changed(kind, surface.name) as (file, _):
            _add_directions(file, surface.x, surface.y)
            checkpoint_hash = self._checkpoint_hash(file, surface.checkpoint)
            schema.write_surface(_fresh(file, kind, surface.name), surface, checkpoint_hash)
        return read(surface.name)

    def write_points(
        self,
        surface: str,
        flat_indices: ArrayLike,
        values: Mapping[str, ArrayLike],
        *,
        kind: refusals.PointsKind = "surfaces",
    ) -> None:
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
                (kind, surface), flat_indices, values, lambda key: self._record(key[0], key[1], points.slots_in)
            )
        except OSError as problem:
            raise StoreError(f"cannot write {self.path}: {problem.strerror}; points before are kept") from problem

    def add_eigenpairs(self, pairs: Eigenpairs, *, replace: bool = False) -> None:
        """Add eigenvalues, or replace those of the same weights, objective and block that are no better.

        Raises:
            StoreMismatch: others stand under this name, or better ones of other settings, and `replace` was not asked
                for.
        """
        with self._changed("curvature", pairs.name) as (file, held):
            checkpoint = pairs.checkpoint, self._checkpoint_hash(file, pairs.checkpoint)
            if held is not None and not replace:
                refusals.check_held(self.path, held, "curvature", pairs.name, checkpoint, pairs.provenance)
                refusals.check_no_worse(self.path, schema.read_eigenpairs(held, pairs.name), pairs)
            schema.write_eigenpairs(_fresh(file, "curvature", pairs.name), pairs, checkpoint[1])

    def add_sharpness(self, report: SharpnessReport, *, replace: bool = False) -> None:
        """Add a sharpness report, or replace one of the same weights and objective.

        Raises:
            StoreMismatch: another stands under this name, and `replace` was not asked for.
        """
        with self._changed("sharpness", report.name) as (file, held):
            checkpoint = report.checkpoint, self._checkpoint_hash(file, report.checkpoint)
            if held is not None and not replace:
                refusals.check_held(self.path, held, "sharpness", report.name, checkpoint, report.provenance)
            schema.write_sharpness(_fresh(file, "sharpness", report.name), report, checkpoint[1])

    def add_trajectory(self, trajectory: Trajectory, *, replace: bool = False) -> None:
        """Add a training's path, or replace one of the same origin and objective.

        Raises:
            StoreMismatch: another stands under this name, and `replace` was not asked for.
        """
        with self._changed("trajectories", trajectory.name) as (file, held):
            checkpoint = trajectory.checkpoint, self._checkpoint_hash(file, trajectory.checkpoint)
            if held is not None and not replace:
                refusals.check_held(self.path, held, "trajectories", trajectory.name, checkpoint, trajectory.provenance)
            _add_directions(file, trajectory.x, trajectory.y)
            schema.write_trajectory(_fresh(file, "trajectories", trajectory.name), trajectory, checkpoint[1])

    def check_origin(
        self,
        kind: refusals.MeasuredKind,
        name: str,
        checkpoint: Checkpoint,
        provenance: Provenance,
        *,
        settings: Scalars | None = None,
        replace: bool = False,
    ) -> None:
        """Refuse before measuring what adding under this name would refuse after it.

        Args:
            kind: what is going to be measured.
            name: of the record.
            checkpoint: the one it will stand on.
            provenance: of the record; its objective is what counts.
            settings: of eigenpairs: top, bottom, block, tolerance, max_products. Those with which a record that is
                there could become worse are refused.
            replace: the record of this name may go, whatever it is, and other weights if nothing else stands on them.

        Raises:
            StoreMismatch: other weights under the checkpoint's name, a record of another checkpoint or objective, or
                a better one.
        """
        with files.opened(self.path) as file:
            refusals.check_weights(self.path, file, checkpoint, [(kind, name)] if replace else ())
            held = places.held(file, kind, name)
            if held is not None and not replace:
                origin = checkpoint.name, checkpoint.hash
                refusals.check_held(self.path, held, kind, name, origin, provenance)
                if kind == "curvature" and settings is not None:
                    refusals.check_settings(self.path, schema.read_eigenpairs(held, name), settings)

    def check_surface(
        self, surface: Surface, checkpoint: Checkpoint, *, kind: refusals.PointsKind = "surfaces"
    ) -> None:
        """Refuse before measuring what adding this surface and its checkpoint would refuse.

        Raises:
            StoreMismatch: other weights under the checkpoint's name, or another surface under this one.
        """
        with files.opened(self.path) as file:
            refusals.check_surface(self.path, file, surface, checkpoint.hash, kind=kind)
            refusals.check_weights(self.path, file, checkpoint, ())

    def remove(self, kind: refusals.MeasuredKind, name: str) -> None:
        """Take one measurement out, for good; its checkpoint and all else stay, but for a surface's own nodes.

        Raises:
            StoreError: there is none of this name.
        """
        self.look_up(kind, name)
        with self._changed(kind, name) as (file, _):
            places.remove(file, kind, name)
            if kind == "surfaces":
                places.remove(file, "nodes", name)

    def add_table(self, kind: TableKind, table: Table) -> None:
        """Add a table, or replace the one of this name."""
        self.add_tables([(kind, table)])

    def add_tables(
        self, tables: Iterable[tuple[TableKind, Table]], *, removing: Iterable[tuple[TableKind, str]] = ()
    ) -> None:
        """Take out what is `removing`, add or replace all of these: one new file, all of it or nothing."""
        self._writing()
        self._settle()
        with files.changed(self.path) as file:
            for kind, name in removing:
                places.remove(file, table_kind(kind), name)
            for kind, table in tables:
                schema.write_table(_fresh(file, table_kind(kind), table.name), table)

    def _writing(self) -> None:
        if self._lock is None:
            raise StoreError(f"{self.path} is open for reading only")

    def _changed(self, kind: Kind, name: str) -> contextlib.AbstractContextManager[tuple[Any, Any]]:
        self._writing()
        check_name(name, "a record")
        self._settle()
        return _group_changed(self.path, kind, name)

    def _checkpoint_hash(self, file: Any, name: str) -> str:
        if name not in file.get("checkpoints", ()):
            raise StoreError(f"expected the checkpoint {name!r} in {self.path} before what is measured on it")
        return str(file["checkpoints"][name].attrs["hash"])

    def _settle(self) -> None:
        try:
            self._points.close()
        except OSError as problem:
            raise StoreError(f"cannot write {self.path}: {problem.strerror}") from problem


@contextlib.contextmanager
def _group_changed(path: Path, kind: str, name: str) -> Iterator[tuple[Any, Any]]:
    """A changed file in memory, and the group that stands under this name if one does."""
    with files.changed(path) as file:
        yield file, places.held(file, kind, name)


def _fresh(file: Any, kind: str, name: str) -> Any:
    """An empty group under this name, whatever stood there."""
    check_name(name, "a record")
    return places.fresh(file, kind, name)


def _add_directions(file: Any, *directions: Direction | None) -> None:
    for direction in directions:
        if direction is not None and schema.direction_id(direction) not in file.require_group("directions"):
            schema.write_direction(_fresh(file, "directions", schema.direction_id(direction)), direction)
