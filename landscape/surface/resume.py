"""A surface that fills a store point by point, coarse to fine, and goes on where it was stopped.

Directions and negatives come from seeds and every point stands alone, so a run that was killed and started again ends
with the same numbers as an unbroken one (on one machine, with one thread count).
"""

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.describe import checkpoint_record, provenance
from landscape.directions import draw_direction, draw_plane
from landscape.errors import InvalidArgument
from landscape.executors.here import Here
from landscape.executors.protocol import Executor
from landscape.grid import Grid
from landscape.objective import Objective, check_frozen
from landscape.parameters import content_hash
from landscape.progress import progress
from landscape.records import Direction, Status, Surface
from landscape.store import Store
from landscape.surface.evaluate import LOSS_VALUES, Point, SurfaceTask, Values

WRITE_EVERY = 0.05  # seconds; slower points are written one by one, faster ones share a synchronised write


def compute_surface(
    store_path: str | os.PathLike[str],
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
    **policy: Any,
) -> Surface:
    """Measure the points of a surface that the store does not hold yet, and return the surface.

    Costs two losses for the twice-evaluated check, one for each worker's centre, and one a missing point. Interrupting
    it leaves the store good: what has been measured is written before the exception goes on.

    Args:
        store_path: created if missing. Held for writing meanwhile; readers are welcome.
        objective: the frozen loss; its weights are never changed.
        grid: a line, or a plane.
        name: of the surface in the store.
        checkpoint_name: of its checkpoint in the store.
        kind: of the directions, "filter" or "raw".
        seed: of the directions.
        metrics: names that the objective's `metrics` knows; measured at each point.
        executor: where points are measured; this process by default.
        command: kept in the provenance.
        policy: `one_dimensional` and `untouched` of `draw_direction`.

    Raises:
        NotFrozen, NonFiniteLoss: the objective gives no one finite loss at the checkpoint.
        StoreMismatch: the store holds another checkpoint or surface under these names.
    """
    task = surface_task(objective, grid, kind=kind, seed=seed, metrics=metrics, **policy)
    centre = check_frozen(objective)
    checkpoint = checkpoint_record(objective, checkpoint_name, loss=centre, metrics=metrics)
    wanted = Surface(
        name=name,
        checkpoint=checkpoint_name,
        alpha=grid.alpha.values,
        beta=None if grid.beta is None else grid.beta.values,
        status=np.zeros(grid.shape, dtype=np.uint8),
        values={value: np.full(grid.shape, np.nan) for value in task.names},
        x=task.x,
        y=task.y,
        provenance=provenance(objective, command),
    )
    with Store.write(store_path) as store:
        if name in store.names("surfaces"):
            store.add_surface(wanted)  # refuses another one before anything is changed
        store.add_checkpoint(checkpoint)
        held = store.add_surface(wanted)
        pending = held.status.reshape(-1) == Status.PENDING
        order = [int(index) for index in grid.coarse_to_fine() if pending[index]]
        if order:
            _fill(store, name, task, grid, order, executor or Here())
        return store.surface(name)


def surface_task(
    objective: Objective,
    grid: Grid,
    *,
    kind: str = "filter",
    seed: int = 0,
    metrics: Sequence[str] = (),
    **policy: Any,
) -> SurfaceTask:
    """Draw the directions of a line or a plane and say what to measure along them."""
    if len({*metrics, *LOSS_VALUES}) != len(metrics) + len(LOSS_VALUES):
        raise InvalidArgument(f"expected metrics once each and none of {', '.join(LOSS_VALUES)}, got {list(metrics)}")
    y: Direction | None = None
    if grid.beta is None:
        _, x = draw_direction(objective.layout, objective.weights, kind=kind, seed=seed, **policy)
    else:
        (_, x), (_, y) = draw_plane(objective.layout, objective.weights, kind=kind, seed=seed, **policy)
    return SurfaceTask(objective.recipe, content_hash(objective.weights), x, y, tuple(metrics), objective)


def _fill(store: Store, name: str, task: SurfaceTask, grid: Grid, order: list[int], executor: Executor) -> None:
    """Measure these points and write them as they come."""
    coordinates = grid.coordinates.tolist()
    index_of: dict[Point, int] = {tuple(coordinates[index]): index for index in order}
    waiting: list[tuple[int, Values]] = []

    def write() -> None:
        if waiting:
            columns = {value: np.array([values[value] for _, values in waiting]) for value in task.names}
            store.write_points(name, np.array([index for index, _ in waiting], dtype=np.int64), columns)
            waiting.clear()

    with progress(f"surface {name}", len(order)) as advance:
        written = time.monotonic()
        try:
            for point, values in executor.run(task, list(index_of)):
                waiting.append((index_of[point], values))
                advance()
                if time.monotonic() - written >= WRITE_EVERY:
                    write()
                    written = time.monotonic()
        finally:
            write()
