"""Where the loss is convex: |lambda_min / lambda_max| of the Hessian at each point of a plane, after Li et al. (2018).

At each point both ends of the spectrum are found by Lanczos, started from the eigenvectors of the nearest point that
this process has measured. On a trained SASRec, .2 apart, that did not pay: 151 products at six points, 146 from random
starts. What is kept of a point is the evidence too: residuals, the products
spent, and whether both ends converged. Numbers of a run that was killed and resumed agree with an unbroken one to
within the residuals, not bit for bit: the starts differ.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.eigenpair import MAX_PRODUCTS, TOLERANCE, check_ends
from landscape.curvature.lanczos import lanczos
from landscape.curvature.operators import Hessian
from landscape.describe import checkpoint_record
from landscape.errors import NonFiniteProduct
from landscape.executors.here import Here
from landscape.executors.protocol import Executor
from landscape.grid import Axis, Grid
from landscape.objective import Objective, check_frozen
from landscape.records import Status, Surface
from landscape.store import Store
from landscape.surface.evaluate import LOSS_VALUES, Point, SurfacePoint, SurfaceTask, Values
from landscape.surface.resume import empty_surface, fill_points, surface_task

CURVATURE_VALUES = (
    "ratio",  # |lambda_min / lambda_max|
    "lambda_max",
    "lambda_min",
    "residual_max",  # ||Hv - theta v|| of each end, with what central differences may be off: a true eigenvalue is
    # within this of theta
    "residual_min",
    "converged",  # 1 where both ends are
    "products",
)
GRID = Grid(Axis(-1, 1, 11), Axis(-1, 1, 11))
KEPT = 6  # points whose eigenvectors are kept for the next ones: two vectors of single precision each


@dataclass(frozen=True)
class CurvatureTask:
    """A surface task that finds both ends of the spectrum at each point too."""

    surface: SurfaceTask
    tolerance: float
    max_products: int
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """The values measured at a point."""
        return (*LOSS_VALUES, *CURVATURE_VALUES)

    def open(self) -> Callable[[Point], Values]:
        """The surface's point with its curvature; errors are those of `SurfaceTask.open`."""
        point = self.surface.open()
        assert isinstance(point, SurfacePoint)
        return CurvaturePoint(point, self)


class CurvaturePoint:
    """Point -> values; remembers the eigenvectors of the last points."""

    def __init__(self, point: SurfacePoint, task: CurvatureTask) -> None:
        self.point, self.task = point, task
        self.known: dict[Point, Tensor] = {}  # (n, 2) of the last points

    def __call__(self, point: Point) -> Values:
        """Measure one point. Where a product is not finite, neither are the values."""
        values = self.point(point)
        found = dict.fromkeys(CURVATURE_VALUES, float("nan"))
        if not np.isfinite(values["loss"]):
            return values | found
        hessian = Hessian(self.point.objective, self.point.weights_at(point))
        try:
            pairs = lanczos(
                hessian,
                hessian.size,
                start=self._nearest(point),
                seed=self.task.seed,
                tolerance=self.task.tolerance,
                max_products=self.task.max_products,
                device=hessian.device,
            )
        except NonFiniteProduct:
            return values | found
        top, bottom = pairs["lambda_max"], pairs["lambda_min"]
        vectors = torch.stack([top.vector, bottom.vector], dim=1)
        if torch.isfinite(vectors).all() and vectors.any():
            self.known[point] = vectors.float()
            if len(self.known) > KEPT:
                self.known.pop(next(iter(self.known)))
        inexact = hessian.relative_error or 0.0
        found = {
            "ratio": abs(bottom.value / top.value) if top.value else float("inf"),
            "lambda_max": top.value,
            "lambda_min": bottom.value,
            "residual_max": top.residual + inexact * abs(top.value),
            "residual_min": bottom.residual + inexact * abs(bottom.value),
            "converged": float(top.converged and bottom.converged),
            "products": float(top.products),
        }
        return values | found

    def _nearest(self, point: Point) -> Tensor | None:
        if not self.known:
            return None
        nearest = min(self.known, key=lambda other: sum((a - b) ** 2 for a, b in zip(point, other, strict=True)))
        return self.known[nearest].double()


def compute_ratio_map(
    store: str | os.PathLike[str] | Store,
    objective: Objective,
    *,
    grid: Grid = GRID,
    name: str,
    checkpoint_name: str,
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    solver_seed: int = 0,
    executor: Executor | None = None,
    command: str = "",
    **directions: Any,
) -> Surface:
    """Measure the points of a ratio map that the store does not hold yet, and return it as a surface.

    Costs one loss and some dozen Hessian products a point, of about three gradients each. A point that did not converge
    is kept and marked so (`converged` 0): read `unconverged`.

    Args:
        store, objective, name, checkpoint_name, executor, command: as for `compute_surface`.
        grid: 11 x 11 on [-1, 1] by default.
        tolerance: accepted residual relative to the eigenvalue.
        max_products: at a point, for both ends together.
        solver_seed: of the random start of the first point.
        directions: the further options of `surface_task`.

    Raises:
        NotFrozen, NonFiniteLoss, StoreMismatch: as for `compute_surface`.
    """
    check_ends(1, 1, objective.layout.size, tolerance, max_products)  # before anything is kept
    base = surface_task(objective, grid, **directions)
    task = CurvatureTask(base, tolerance, max_products, solver_seed)
    loss = check_frozen(objective)
    checkpoint = checkpoint_record(objective, checkpoint_name)
    empty = empty_surface(objective, grid, base, name, checkpoint_name, command)
    settings = {"curvature_tolerance": tolerance, "max_products": max_products, "solver_seed": solver_seed}
    wanted = replace(
        empty,
        values={value: np.full(grid.shape, np.nan) for value in task.names},
        provenance=replace(empty.provenance, objective={**empty.provenance.objective, **settings}),
        centre={"loss": loss.value},
    )
    with contextlib.nullcontext(store) if isinstance(store, Store) else Store.write(store) as opened:
        opened.check_surface(wanted, checkpoint)
        opened.add_checkpoint(checkpoint)
        held = opened.add_surface(wanted)
        pending = held.status.reshape(-1) == Status.PENDING
        order = [int(index) for index in grid.coarse_to_fine() if pending[index]]
        fill_points(opened, held, task, order, executor or Here())
        return opened.surface(name)


def unconverged(surface: Surface) -> list[tuple[float, ...]]:
    """The coordinates of measured points at which an end of the spectrum did not converge."""
    axes = [axis for axis in (surface.alpha, surface.beta) if axis is not None]
    places = np.argwhere((surface.status != Status.PENDING) & (surface.values["converged"] == 0))
    return [tuple(float(axis[k]) for axis, k in zip(axes, place, strict=True)) for place in places.tolist()]
