"""The loss, its paired error and metrics at w + alpha x + beta y, one no-grad forward over the data a point.

A `SurfaceTask` is what an executor gets: recipes and hashes, nothing live, so that a worker in another process measures
the same objective along the same directions or refuses. Moved weights go into one set of buffers that is reused for
every point; tensors that neither direction moves are the weights themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.directions.redraw import redraw
from landscape.errors import InvalidArgument, NonFiniteLoss, StoreMismatch
from landscape.objective import LossValue, Objective, Recipe, gradient_at, loss_at
from landscape.parameters import Params, content_hash
from landscape.records import Direction

Point = tuple[float, ...]  # (alpha,) or (alpha, beta)
Values = dict[str, float]
LOSS_VALUES = ("loss", "standard_error", "rise")
SELF_MADE = ("gradient-norm",)  # metrics that need no objective to know them


@dataclass(frozen=True)
class SurfaceTask:
    """What to measure at each point of a line or a plane; `open` gives the function that does it."""

    recipe: Recipe
    checkpoint_hash: str
    x: Direction
    y: Direction | None = None
    metrics: tuple[str, ...] = ()
    objective: Objective | None = field(default=None, repr=False, compare=False)  # saves this process a rebuild

    @property
    def names(self) -> tuple[str, ...]:
        """The values measured at a point."""
        return (*LOSS_VALUES, *self.metrics)

    def open(self) -> Callable[[Point], Values]:
        """Build the objective where it is not there, draw the directions again, and measure the centre.

        Raises:
            StoreMismatch: the rebuilt checkpoint or a redrawn direction is another one.
        """
        objective = self.objective
        if objective is None:
            from landscape.targets import load_objective

            assert self.recipe.target is not None
            objective = load_objective(self.recipe.target, **self.recipe.settings)
        if (found := content_hash(objective.weights)) != self.checkpoint_hash:
            raise StoreMismatch(f"expected the checkpoint {self.checkpoint_hash[:12]}, got {found[:12]}")
        x = redraw(self.x, objective.layout, objective.weights, objective=objective)
        steps = [x]
        if self.y is not None:
            steps.append(redraw(self.y, objective.layout, objective.weights, orthogonal_to=x, objective=objective))
        return SurfacePoint(objective, steps, self.metrics)

    def __getstate__(self) -> dict[str, Any]:
        """Without the live objective.

        Raises:
            InvalidArgument: there is no recipe to build it again from.
        """
        if self.recipe.target is None:
            raise InvalidArgument(
                "expected an objective opened as loader:where for a pool of processes, got one made in this process, "
                "which a worker cannot rebuild; use one worker or `landscape.targets.load_objective`"
            )
        return self.__dict__ | {"objective": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)


class SurfacePoint:
    """Point -> values; holds the buffers."""

    def __init__(self, objective: Objective, directions: list[dict[str, Tensor]], metrics: tuple[str, ...]) -> None:
        self.objective = objective
        self.metrics = metrics
        self.directions = [
            {
                name: step[name].to(weight.device, weight.dtype)
                for name, weight in objective.weights.items()
                if step[name].any()
            }
            for step in directions
        ]
        self._moved: dict[str, Tensor] = {
            name: torch.empty_like(weight) if any(name in step for step in self.directions) else weight
            for name, weight in objective.weights.items()
        }
        with np.errstate(all="ignore"):
            self.centre = loss_at(objective, objective.weights)

    def weights_at(self, point: Point) -> Params:
        """w + alpha x + beta y in the weights' own precision, in buffers that the next call overwrites."""
        for name, weight in self.objective.weights.items():
            source = weight.detach()
            for length, step in zip(point, self.directions, strict=True):
                if name in step:
                    source = torch.add(source, step[name], alpha=float(length), out=self._moved[name])
        return self._moved

    def __call__(self, point: Point) -> Values:
        """Measure one point. NaN and infinity are answers; metrics are NaN where they are undefined for that reason."""
        with torch.no_grad(), np.errstate(all="ignore"):
            params = self.weights_at(point)
            here = loss_at(self.objective, params)
            values = point_values(here, self.centre)
            if self.metrics:
                values |= self._metrics_at(params, np.isfinite(here.value).item())
        return values

    def _metrics_at(self, params: Params, is_finite: bool) -> Values:
        values = dict.fromkeys(self.metrics, float("nan"))
        if not is_finite:
            return values
        if "gradient-norm" in self.metrics:
            with torch.enable_grad():
                gradient = gradient_at(self.objective, params)[1]
            values["gradient-norm"] = float(torch.linalg.vector_norm(gradient))
        ranking = [name for name in self.metrics if name not in SELF_MADE]
        if ranking:
            try:
                found = self.objective.metrics(params, ranking)
            except NonFiniteLoss:  # the loss is finite, yet some score of the metrics' own split is not
                return values
            values |= {name: float(found[name].double().mean()) for name in ranking}
        return values


def point_values(here: LossValue, centre: LossValue) -> Values:
    """The loss, its rise over the centre summed unit by unit, and the paired standard error of that rise."""
    rise, standard_error = here.rise_over(centre)
    return {"loss": here.value, "standard_error": standard_error, "rise": rise}
