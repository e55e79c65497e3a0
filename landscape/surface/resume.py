"""A surface that fills a store point by point, coarse to fine, and goes on where it was stopped.

Directions and negatives come from seeds and every point stands alone, so a run that was killed and started again ends
with the same numbers as an unbroken one (on one machine, with one thread count).
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from landscape.describe import checkpoint_record, provenance
from landscape.directions import draw_direction, draw_plane, redraw
from landscape.errors import InvalidArgument
from landscape.executors.here import Here
from landscape.executors.protocol import Executor, Task
from landscape.grid import Grid
from landscape.objective import Objective, check_frozen
from landscape.parameters import content_hash
from landscape.progress import progress
from landscape.records import Checkpoint, Direction, Plane, Status, Surface
from landscape.store import Store
from landscape.store.refusals import PointsKind
from landscape.surface.evaluate import LOSS_VALUES, SELF_MADE, Point, SurfaceTask, Values
from landscape.surface.grow import carried_over

WRITE_EVERY = 0.05  # seconds; slower points are written one by one, faster ones share a synchronised write


class PointTask(Task[Point, Values], Protocol):
    """What measures values at points, and says which."""

    @property
    def names(self) -> tuple[str, ...]:
        """The values measured at a point."""
        ...


def compute_surface(
    store: str | os.PathLike[str] | Store,
    objective: Objective,
    *,
    grid: Grid,
    name: str,
    checkpoint_name: str,
    kind: str = "filter",
    seed: int = 0,
    metrics: Sequence[str] = (),
    executor: Executor | None = None,
    command: str = "",
    plane: Plane | None = None,
    group: str = "",
    extend: bool = False,
    batch: int | Literal["auto"] = 1,
    approximation: Mapping[str, Any] | None = None,
    **policy: Any,
) -> Surface:
    """Measure the points of a surface that the store does not hold yet, and return the surface.

    Costs two losses for the twice-evaluated check, one for each worker's centre, and one a missing point. Interrupting
    it leaves the store good: what has been measured is written before the exception goes on.

    Args:
        store: a path, created if missing and held for writing meanwhile (readers are welcome); or a store that is
            open for writing, and stays so.
        objective: the frozen loss; its weights are never changed.
        grid: a line, or a plane.
        name: of the surface in the store.
        checkpoint_name: of its checkpoint in the store.
        kind: of the directions: "filter", "layer" or "raw".
        seed: of the directions.
        metrics: names that the objective's `metrics` knows, or "gradient-norm"; measured at each point.
        executor: where points are measured; this process by default.
        command: kept in the provenance.
        extend: a surface of this name whose axes are contained in the grid's grows to it, its points kept.
        batch: points taken at a time, or "auto" for as many as are measured to be faster; see `surface.batched`.
        approximation: kept with the surface: why it was not interpolated, where that was tried.
        plane: directions of another kind, with the points to mark; instead of `kind`, `seed` and `policy`.
        group: what lines of several seeds that belong together share.
        policy: `one_dimensional`, `untouched` and `block` of `draw_direction`.

    Raises:
        NotFrozen, NonFiniteLoss: the objective gives no one finite loss at the checkpoint.
        StoreMismatch: the store holds another checkpoint or surface under these names.
    """
    task = surface_task(objective, grid, kind=kind, seed=seed, metrics=metrics, plane=plane, **policy)
    loss = check_frozen(objective)
    checkpoint = checkpoint_record(objective, checkpoint_name, metrics=ranking_metrics(metrics))
    wanted = replace(
        empty_surface(objective, grid, task, name, checkpoint_name, command),
        centre={"loss": loss.value, **checkpoint.metrics},
        marks=() if plane is None else plane.marks,
        group=group,
        approximation=approximation or {},
    )
    with contextlib.nullcontext(store) if isinstance(store, Store) else Store.write(store) as opened:
        grown = carried_over(opened, wanted) if extend else None
        if grown is None:
            opened.check_surface(wanted, checkpoint)
        opened.add_checkpoint(checkpoint)
        held = opened.add_surface(wanted if grown is None else grown, replace=grown is not None)
        pending = held.status.reshape(-1) == Status.PENDING
        order = [int(index) for index in grid.coarse_to_fine() if pending[index]]
        fill_points(opened, held, task, order, executor or Here(), batch=_batch(batch, task, grid, order))
        return opened.surface(name)


def _batch(asked: int | Literal["auto"], task: SurfaceTask, grid: Grid, order: Sequence[int]) -> int:
    """How many points to take at a time."""
    if asked == "auto":
        from landscape.surface.batched import faster_batch

        point = task.open() if order and not task.metrics else None
        places = grid.coordinates.tolist()
        return 1 if point is None else faster_batch(cast(Any, point), [tuple(places[index]) for index in order])
    if asked < 1:
        raise InvalidArgument(f"expected a batch of at least 1 point, got {asked}")
    if asked > 1 and task.metrics:
        raise InvalidArgument(f"expected no metrics with batches of points, got {', '.join(task.metrics)}")
    return asked


def ranking_metrics(metrics: Sequence[str]) -> list[str]:
    """Those that the objective itself knows."""
    return [metric for metric in metrics if metric not in SELF_MADE]


def planned_surface(
    objective: Objective,
    *,
    grid: Grid,
    name: str,
    checkpoint_name: str,
    kind: str = "filter",
    seed: int = 0,
    metrics: Sequence[str] = (),
    **policy: Any,
) -> tuple[Surface, Checkpoint]:
    """What `compute_surface` would fill and on which checkpoint, for `Store.check_surface`. No loss is taken.

    Args and errors are those of `compute_surface`; it costs the draw of the directions.
    """
    task = surface_task(objective, grid, kind=kind, seed=seed, metrics=metrics, **policy)
    surface = empty_surface(objective, grid, task, name, checkpoint_name, "")
    return surface, checkpoint_record(objective, checkpoint_name)


def surface_task(
    objective: Objective,
    grid: Grid,
    *,
    kind: str = "filter",
    seed: int = 0,
    metrics: Sequence[str] = (),
    plane: Plane | None = None,
    **policy: Any,
) -> SurfaceTask:
    """Draw the directions of a line or a plane and say what to measure along them. No loss is taken.

    Args:
        objective: the frozen loss; its weights are the origin.
        grid: a line takes one direction, a plane two, the second orthogonal to the first.
        kind: of the directions: "filter", "layer" or "raw".
        seed: of the directions.
        metrics: names that the objective's `metrics` knows.
        plane: directions of another kind. The second of a plane is drawn from `kind` and `seed`, orthogonal to the
            first, where a plane is wanted and these are of a line.
        policy: `one_dimensional`, `untouched` and `block` of `draw_direction`.

    Raises:
        InvalidArgument: a metric twice or named like one of the loss's own values, or an unknown kind or policy.
    """
    if len({*metrics, *LOSS_VALUES}) != len(metrics) + len(LOSS_VALUES):
        raise InvalidArgument(f"expected metrics once each and none of {', '.join(LOSS_VALUES)}, got {list(metrics)}")
    y: Direction | None = None
    if plane is not None:
        x, y = _directions_for(objective, grid, plane, kind=kind, seed=seed, **policy)
    elif grid.beta is None:
        _, x = draw_direction(objective.layout, objective.weights, kind=kind, seed=seed, **policy)
    else:
        (_, x), (_, y) = draw_plane(objective.layout, objective.weights, kind=kind, seed=seed, **policy)
    return SurfaceTask(objective.recipe, content_hash(objective.weights), x, y, tuple(metrics), objective)


def _directions_for(objective: Objective, grid: Grid, plane: Plane, **drawn: Any) -> tuple[Direction, Direction | None]:
    """Those of the plane, as many as the grid has axes."""
    layout, weights = objective.layout, objective.weights
    if grid.beta is None:
        return plane.x, None
    if plane.y is not None:
        return plane.x, plane.y
    x = redraw(plane.x, layout, weights, objective=objective)
    return plane.x, draw_direction(layout, weights, orthogonal_to=x, **drawn)[1]


def empty_surface(
    objective: Objective, grid: Grid, task: SurfaceTask, name: str, checkpoint: str, command: str
) -> Surface:
    """The record of a surface before its first point."""
    return Surface(
        name=name,
        checkpoint=checkpoint,
        alpha=grid.alpha.values,
        beta=None if grid.beta is None else grid.beta.values,
        status=np.zeros(grid.shape, dtype=np.uint8),
        values={value: np.full(grid.shape, np.nan) for value in task.names},
        x=task.x,
        y=task.y,
        provenance=provenance(objective, command),
    )


def fill_points(
    store: Store,
    surface: Surface,
    task: PointTask,
    order: Sequence[int],
    executor: Executor,
    *,
    kind: PointsKind = "surfaces",
    batch: int = 1,
) -> None:
    """Measure these points of a surface in the store, by flat index, and write them as they come."""
    if not len(order):
        return
    axes = [axis for axis in (surface.alpha, surface.beta) if axis is not None]
    coordinates: NDArray[np.float64] = np.stack([plane.reshape(-1) for plane in np.meshgrid(*axes, indexing="ij")], 1)
    index_of: dict[Point, int] = {tuple(coordinates[index].tolist()): int(index) for index in order}
    waiting: list[tuple[int, Values]] = []

    def write() -> None:
        if waiting:
            columns = {value: np.array([values[value] for _, values in waiting]) for value in task.names}
            indices = np.array([index for index, _ in waiting], dtype=np.int64)
            store.write_points(surface.name, indices, columns, kind=kind)
            waiting.clear()

    with progress(f"{'surface' if kind == 'surfaces' else kind} {surface.name}", len(order)) as advance:
        written = time.monotonic()
        try:
            for point, values in _measured(task, list(index_of), executor, batch):
                waiting.append((index_of[point], values))
                advance()
                if time.monotonic() - written >= WRITE_EVERY:
                    write()
                    written = time.monotonic()
        finally:
            write()


def _measured(task: PointTask, points: list[Point], executor: Executor, batch: int) -> Iterator[tuple[Point, Values]]:
    """Every point with its values, taken one by one or several at a time."""
    if batch == 1:
        yield from executor.run(task, points)
        return
    from landscape.surface.batched import BatchedTask

    groups = [tuple(points[start : start + batch]) for start in range(0, len(points), batch)]
    for group, values in executor.run(BatchedTask(cast(SurfaceTask, task)), groups):
        yield from zip(group, values, strict=True)
