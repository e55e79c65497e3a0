"""A surface interpolated from few nodes in the store, with a stated error; exact points where that is not to be had.

Interpolated are the loss, its rise, the paired standard error (through its square, which is smooth at the centre) and
the gradient's norm (likewise). Ranking metrics are steps, not smooth, and are refused here. Nodes are kept under the
surface's name among the store's `nodes`: a run that was killed measures no node twice, and another grid over the same
spans measures none at all.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.describe import checkpoint_record
from landscape.errors import InvalidArgument
from landscape.executors.here import Here
from landscape.executors.protocol import Executor
from landscape.grid import Grid
from landscape.objective import Objective, check_frozen, gradient_at
from landscape.records import Plane, Status, Surface
from landscape.store import Store
from landscape.surface.chebyshev import SAFETY, Fit, Floats, Nodes, Places, fit
from landscape.surface.evaluate import SELF_MADE, Point, SurfacePoint, SurfaceTask, Values
from landscape.surface.resume import (
    PointTask,
    compute_surface,
    empty_surface,
    fill_points,
    ranking_metrics,
    surface_task,
)

TOLERANCE = 1e-3


def compute_chebyshev_surface(
    store: str | os.PathLike[str] | Store,
    objective: Objective,
    *,
    grid: Grid,
    name: str,
    checkpoint_name: str,
    tolerance: float = TOLERANCE,
    metrics: Sequence[str] = (),
    executor: Executor | None = None,
    command: str = "",
    plane: Plane | None = None,
    group: str = "",
    **directions: Any,
) -> Surface:
    """Measure nodes until the surface is known to within the tolerance, and evaluate the grid from them.

    Costs two losses for the twice-evaluated check, one for the centre, a gradient where the centre is the middle of the
    spans, and one loss a node or held-out point (201 for most planes) beside the plane's own points where the surface
    turns out not to be smooth. `approximation` of the result says what was done and how far off it may be.

    Args:
        store, objective, name, checkpoint_name, executor, command, plane, group: as for `compute_surface`.
        grid: a line or a plane; only its ends decide which nodes are needed.
        tolerance: of the error anywhere, relative to the range of the loss; 20 times it is the tolerance of the loss
            relative to its rise where it is below twice the centre's.
        metrics: "gradient-norm" or nothing.
        directions: the further options of `surface_task`.

    Raises:
        InvalidArgument: a ranking metric, or a tolerance that is not between 0 and 1.
        NotFrozen, NonFiniteLoss, StoreMismatch: as for `compute_surface`.
    """
    if ranking := ranking_metrics(metrics):
        raise InvalidArgument(
            f"expected only smooth values ({', '.join(SELF_MADE)}) for a Chebyshev surface, got {', '.join(ranking)}: "
            "measure ranking metrics exactly, without it"
        )
    axes = [axis for axis in (grid.alpha, grid.beta) if axis is not None]
    nodes = Nodes(tuple((float(axis.start), float(axis.stop)) for axis in axes))
    task = surface_task(objective, grid, metrics=metrics, plane=plane, **directions)
    loss = check_frozen(objective)
    checkpoint = checkpoint_record(objective, checkpoint_name)
    wanted = replace(
        empty_surface(objective, grid, task, name, checkpoint_name, command),
        centre={"loss": loss.value},
        marks=() if plane is None else plane.marks,
        group=group,
    )
    planned = _on_nodes(wanted, nodes)
    with contextlib.nullcontext(store) if isinstance(store, Store) else Store.write(store) as opened:
        opened.check_surface(planned, checkpoint, kind="nodes")
        _check_replaceable(opened, wanted)
        opened.add_checkpoint(checkpoint)
        opened.add_surface(planned, kind="nodes")
        measured = _Measured(opened, name, task, executor)
        inside = all(start <= 0 <= stop for start, stop in nodes.spans)
        found = fit(
            measured,
            nodes,
            tolerance=tolerance,
            most=grid.size,
            slopes=measured.slopes(objective) if nodes.are_centred else None,
            twice=loss.value if inside else None,
        )
        if found.why_not:
            why = {"method": "exact", "why": found.why_not, "tolerance": tolerance, "points": found.points}
            return compute_surface(
                opened,
                objective,
                grid=grid,
                name=name,
                checkpoint_name=checkpoint_name,
                metrics=metrics,
                executor=executor,
                command=command,
                approximation=why,
                plane=plane,
                group=group,
                **directions,
            )
        surface = _evaluated(wanted, nodes, found, measured, tolerance)
        return opened.add_surface(surface, replace=True)


class _Measured:
    """Places -> values at the nodes, measured where the store does not hold them."""

    def __init__(self, store: Store, name: str, task: SurfaceTask, executor: Executor | None) -> None:
        self.store, self.name, self.task = store, name, task
        self.executor: Executor = executor or Here()
        self._point: SurfacePoint | None = None

    @property
    def point(self) -> SurfacePoint:
        """The task opened in this process, once."""
        if self._point is None:
            opened = self.task.open()
            assert isinstance(opened, SurfacePoint)
            self._point = opened
        return self._point

    def raw(self, places: Places) -> dict[str, Floats]:
        """What the task measures there, in its own units."""
        held = self.store.nodes(self.name)
        indices = np.ravel_multi_index(tuple(places.T), held.shape)
        pending = indices[held.status.reshape(-1)[indices] == Status.PENDING]
        task: PointTask = (
            _Opened(self.task, self.point) if isinstance(self.executor, Here) and len(pending) else self.task
        )
        fill_points(self.store, held, task, pending.tolist(), self.executor, kind="nodes")
        if len(pending):
            held = self.store.nodes(self.name)
        return {name: values.reshape(-1)[indices] for name, values in held.values.items()}

    def __call__(self, places: Places) -> Mapping[str, Floats]:
        """The smooth ones of them."""
        values = self.raw(places)
        smooth = {"loss": values["loss"], "rise": values["rise"]}
        smooth |= {name: np.square(values[name]) for name in self.task.metrics}
        if not np.isnan(values["standard_error"]).all():  # a single unit has none
            smooth["variance"] = np.square(values["standard_error"])
        return smooth

    def slopes(self, objective: Objective) -> dict[str, tuple[float, ...]]:
        """Derivatives at the centre along both directions, of what has a known one. One gradient."""
        gradient = gradient_at(objective, objective.weights)[1]
        layout = objective.layout
        found = []
        for step in self.point.directions:
            named = {
                key: step.get(key, weight.new_zeros(())).expand(weight.shape)
                for key, weight in objective.weights.items()
            }
            found.append(float(gradient @ layout.flatten(named).to(gradient.device)))
        if not np.isfinite(found).all():
            return {}
        return {"loss": tuple(found), "rise": tuple(found), "variance": (0.0,) * len(found)}


@dataclass(frozen=True)
class _Opened:
    """A surface task whose point is open already, for an executor in this process."""

    task: SurfaceTask
    point: SurfacePoint

    @property
    def names(self) -> tuple[str, ...]:
        return self.task.names

    def open(self) -> Callable[[Point], Values]:
        return self.point


def _on_nodes(wanted: Surface, nodes: Nodes) -> Surface:
    """The record of a surface's nodes."""
    axes = nodes.axes
    shape = tuple(len(axis) for axis in axes)
    return replace(
        wanted,
        alpha=axes[0],
        beta=axes[1] if len(axes) > 1 else None,
        status=np.zeros(shape, dtype=np.uint8),
        values={name: np.full(shape, np.nan) for name in wanted.values},
    )


def _check_replaceable(store: Store, wanted: Surface) -> None:
    """Refuse where a surface of this name was measured exactly and would be lost; one from nodes is made again."""
    if wanted.name not in store.names("surfaces"):
        return
    held = store.surface(wanted.name)
    if held.approximation.get("method") != "chebyshev":
        expected = replace(wanted, approximation=held.approximation)
        if not held.approximation:
            expected = replace(expected, approximation={"method": "chebyshev"})
        store.check_surface(expected, store.checkpoint(held.checkpoint))


def _evaluated(wanted: Surface, nodes: Nodes, found: Fit, measured: _Measured, tolerance: float) -> Surface:
    """The grid from the interpolants, and what is known of their errors."""
    axes = [axis for axis in (wanted.alpha, wanted.beta) if axis is not None]
    judges = nodes.held_out(found.degrees)
    truth = measured.raw(judges)
    values: dict[str, NDArray[np.float64]] = {}
    errors: dict[str, float] = {}
    for name in wanted.values:
        if name in ("loss", "rise"):
            values[name], errors[name] = found.interpolants[name].on(*axes), found.errors[name]
            continue
        squared = found.interpolants.get("variance" if name == "standard_error" else name)
        if squared is None:
            values[name] = np.full(wanted.shape, np.nan)
            continue
        values[name] = np.sqrt(np.maximum(squared.on(*axes), 0.0))
        # twice as careful: a root is worst close to its zero, where a held-out point may not be
        errors[name] = 2 * SAFETY * float(np.abs(np.sqrt(np.maximum(squared.at(judges), 0.0)) - truth[name]).max())
    return replace(
        wanted,
        status=np.full(wanted.shape, Status.DONE, dtype=np.uint8),
        values=values,
        approximation={
            "method": "chebyshev",
            "degrees": list(found.degrees),
            "points": found.points,
            "held_out": found.held_out,
            "tolerance": tolerance,
            "errors": errors,
            "near_error": found.near_error,
            "interpolated": list(errors),
        },
    )
