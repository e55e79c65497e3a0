"""What the passes carry: a value with its derivatives along k directions, and weights that gather their slopes.

Forward, a dual is an intermediate and its tangents. Backward, it is a slope of the loss and how that slope changes
along the directions (Pearlmutter 1994). Without directions the same passes are the plain forward and backward ones.

Every layer here is a function of duals that returns its output and its pull: from the slope in the output to that in
the input, leaving slopes in the weights behind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Dual(NamedTuple):
    """A tensor and its derivatives along each direction."""

    value: Tensor
    along: list[Tensor]

    def map(self, f: Callable[[Tensor], Tensor]) -> "Dual":
        """A linear function of all of them."""
        return Dual(f(self.value), [f(one) for one in self.along])


Pull = Callable[[Dual], Dual]


@dataclass(slots=True)
class Weight:
    """A parameter, its directions, and the slopes in it that a pull leaves here.

    The slopes are the gradient's changes along the directions, a tensor each; or, where the pull was given none, the
    gradient alone.
    """

    value: Tensor
    along: list[Tensor]  # empty where it stands still
    wanted: bool  # whether anybody asks for its slopes
    slopes: list[Tensor] = field(default_factory=list)

    def leave(self, slopes: list[Tensor]) -> None:
        """Add to what earlier pulls left; the tensors given become the weight's own."""
        if self.slopes:
            for total, slope in zip(self.slopes, slopes, strict=True):
                total += slope
        else:
            self.slopes = slopes


def stacked(weights: list[Weight], scale: float) -> Weight:
    """Several weights as one, their first axes behind each other, the first of them times `scale`."""
    factors = [scale] + [1.0] * (len(weights) - 1)

    def joined(parts: list[Tensor]) -> Tensor:
        return torch.cat([part * factor for part, factor in zip(parts, factors, strict=True)])

    columns = max(len(weight.along) for weight in weights)
    along = [
        joined([weight.along[column] if weight.along else torch.zeros_like(weight.value) for weight in weights])
        for column in range(columns)
    ]
    return Weight(joined([weight.value for weight in weights]), along, any(weight.wanted for weight in weights))


def unstack(whole: Weight, weights: list[Weight], scale: float) -> None:
    """The slopes of a stacked weight, handed to its parts."""
    sizes = [len(weight.value) for weight in weights]
    parts = [torch.split(slope, sizes) for slope in whole.slopes]
    for place, weight in enumerate(weights):
        if weight.wanted:
            weight.leave([one[place] if place else one[place] * scale for one in parts])
