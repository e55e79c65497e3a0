"""The same objective over some of its units: the loss of a batch, as an objective of its own.

A unit outside takes part in its chunk's forward pass and is left out of the sums; chunks without any of the units are
skipped. So batches of any units can be taken from chunks that are sorted (by length, say), and no objective needs to
know how its data is cut. One that does know, and has a method `chunks_of(units)`, gives chunks of these units alone
instead, so that a batch costs its own share of the data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from landscape.errors import InvalidArgument
from landscape.objective import Chunk, Objective, Recipe
from landscape.parameters import Layout, Params


@dataclass(frozen=True, slots=True)
class _Kept:
    """A chunk, the units of it that count, and their counts."""

    chunk: Any
    units: Int[Tensor, " kept"] | None  # None: all of them
    counts: Float[Tensor, " kept"]


class UnitsObjective:
    """An `Objective` over some units of another one, at the same weights. It has no metrics."""

    def __init__(self, objective: Objective, chunks: Sequence[_Kept]) -> None:
        self._objective = objective
        self.layout: Layout = objective.layout
        self.weights: Params = objective.weights
        self.recipe = Recipe(None, {})
        self.chunks: Sequence[Chunk] = chunks

    def outputs(self, params: Params, chunk: Any, *, differentiable_twice: bool = False) -> Tensor:
        """Outputs of the whole chunk."""
        return self._objective.outputs(params, chunk.chunk, differentiable_twice=differentiable_twice)

    def loss(self, z: Tensor, chunk: Any) -> Float[Tensor, " units"]:
        """Summed loss of each unit that counts."""
        sums = self._objective.loss(z, chunk.chunk)
        return sums if chunk.units is None else sums[chunk.units]

    def metrics(self, params: Params, names: Sequence[str]) -> dict[str, Float[Tensor, " units"]]:  # noqa: ARG002
        """Refused: metrics have units of their own."""
        raise InvalidArgument(f"expected no metrics of a part of the units, got {', '.join(names)}")


def unit_count(objective: Objective) -> int:
    """How many units the objective has."""
    return sum(len(chunk.counts) for chunk in objective.chunks)


def with_units(objective: Objective, units: Int[Tensor, " kept"]) -> UnitsObjective:
    """The objective over these units, by their numbers in the order of the chunks."""
    own_way = getattr(objective, "chunks_of", None)
    if own_way is not None:
        return UnitsObjective(objective, [_Kept(chunk, None, chunk.counts) for chunk in own_way(units)])
    chosen, start, chunks = units.sort().values, 0, []
    for chunk in objective.chunks:
        size = len(chunk.counts)
        own = chosen[(chosen >= start) & (chosen < start + size)] - start
        if len(own):
            there = own.to(chunk.counts.device)
            chunks.append(_Kept(chunk, there, chunk.counts[there]))
        start += size
    return UnitsObjective(objective, chunks)
