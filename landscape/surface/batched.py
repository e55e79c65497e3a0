"""Several points of a surface in one pass: `torch.func.vmap` over their weights, where that is faster.

What a small model spends on calls it then spends once; a large one gains nothing, or loses. So `faster_batch` measures
a few points both ways and takes a batch only if it wins clearly. The numbers are those of single points to rounding,
not to the last bit: products of stacked matrices are summed in another order. (85 weights and 21 samples: 2.5 times
faster by sixteens; 2,000 samples: 1.3 times; a SASRec: half as fast, so point by point.) That is why a batch is asked
for and not the default: a surface taken point by point ends in the same bits however often it was stopped.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from landscape.errors import InvalidArgument
from landscape.objective import LossValue
from landscape.surface.evaluate import Point, SurfacePoint, SurfaceTask, Values, point_values

SIZES = (4, 16)  # tried
CLEARLY = 0.9  # of the time of single points, or less, for a batch to be taken
ROUNDING = 1e-4  # a batch whose losses are off by more than this share is no batch of the same function

Points = tuple[Point, ...]


@dataclass(frozen=True)
class BatchedTask:
    """A surface task that takes several points at a time."""

    task: SurfaceTask

    def open(self) -> Callable[[Points], list[Values]]:
        """The function that measures them; errors are those of `SurfaceTask.open`."""
        point = self.task.open()
        assert isinstance(point, SurfacePoint)
        return lambda points: measure_together(point, points)


def measure_together(point: SurfacePoint, points: Sequence[Point]) -> list[Values]:
    """The values at several points from one pass over the data. Memory: as many copies of the weights that move.

    Raises:
        InvalidArgument: metrics were asked for, which are taken point by point.
    """
    if point.metrics:
        raise InvalidArgument(f"expected no metrics in a batch of points, got {', '.join(point.metrics)}")
    objective = point.objective
    still = {name: weight for name, weight in objective.weights.items() if not _moves(point, name)}
    moving: dict[str, list[Tensor]] = {name: [] for name in objective.weights if name not in still}
    for place in points:
        there = point.weights_at(place)
        for name, copies in moving.items():
            copies.append(there[name].clone())
    stacked = {name: torch.stack(copies) for name, copies in moving.items()}

    with torch.no_grad(), np.errstate(all="ignore"):
        sums = []
        for chunk in objective.chunks:

            def summed(params: dict[str, Tensor], chunk: object = chunk) -> Tensor:
                return objective.loss(objective.outputs({**still, **params}, chunk), chunk).double()

            sums.append(torch.vmap(summed)(stacked).cpu().numpy())
        counts = torch.cat([chunk.counts for chunk in objective.chunks]).double().cpu().numpy()
        values = []
        for row in np.concatenate(sums, axis=1):
            here = LossValue(float(row.sum() / counts.sum()), np.ascontiguousarray(row), counts)
            values.append(point_values(here, point.centre))
    return values


def faster_batch(point: SurfacePoint, points: Sequence[Point], *, repeats: int = 2) -> int:
    """How many points at a time are clearly faster than one by one here, by measuring some; 1 where none is.

    Costs up to about 30 points. A model that vmap cannot take, or takes wrongly, gives 1.
    """
    if point.metrics or len(points) < max(SIZES):
        return 1
    few = list(points[: max(SIZES)])
    point(few[0])
    alone = _least(lambda: [point(place) for place in few[: SIZES[0]]], repeats) / SIZES[0]
    single = [point(place)["loss"] for place in few[: SIZES[0]]]
    best, share = 1, CLEARLY * alone
    for size in SIZES:

        def together(size: int = size) -> list[Values]:
            return measure_together(point, few[:size])

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that an operation falls back to a loop: it is timed
                found = [values["loss"] for values in together()]
                if not np.allclose(found[: SIZES[0]], single, rtol=ROUNDING, equal_nan=True):
                    return 1
                seconds = _least(together, repeats) / size
        except (RuntimeError, NotImplementedError, ValueError):  # how torch says that an operation has no batching rule
            return best
        if seconds < share:
            best, share = size, seconds
    return best


def _least(run: Callable[[], object], repeats: int) -> float:
    """Seconds of this process in the fastest of some runs."""
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    return min(seconds)


def _moves(point: SurfacePoint, name: str) -> bool:
    return any(name in step for step in point.directions)
