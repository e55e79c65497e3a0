"""Where an ascent goes: the worst point nearby, to first order, for SAM and for ASAM.

Letters: g the gradient, rho the radius, T a scale for every entry, eps the perturbation.

    SAM    eps = rho g / ||g||                (Foret et al. 2021, arXiv 2010.01412)
    ASAM   eps = rho T^2 g / ||T g||          (Kwon et al. 2021, arXiv 2102.11600), the worst of all ||T^-1 eps|| <= rho

One norm over all parameters of the group that have a gradient. ASAM's T is |w| + eta on matrices and tables and 1 on
biases and LayerNorm gains; its rho lives on another scale (.5 to 2). Where the gradient is zero, eps is: item rows that
a batch does not touch stay where they are, and so does the padding row.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samrec.errors import ConfigError
from samrec.optim.gradients import norms_of

GROUPS = ("all", "body", "embeddings")


@dataclass(frozen=True, slots=True)
class Climb:
    """What one ascent did."""

    norm: float  # ||g|| over the group
    shares: Mapping[str, float]  # each block's share of ||eps||^2; empty if the weights were not moved


class Perturbation:
    """Moves the weights of a group to w + eps, and back."""

    def __init__(self, named: Mapping[str, nn.Parameter], *, group: str = "all", adaptive: float | None = None) -> None:
        """`group` is "all", "body" (no embeddings) or "embeddings"; `adaptive` is ASAM's eta, None for SAM."""
        if group not in GROUPS:
            raise ConfigError(f"expected a group out of {', '.join(GROUPS)}, got {group!r}")
        if adaptive is not None and not adaptive >= 0:
            raise ConfigError(f"expected ASAM's eta >= 0, got {adaptive}")
        self.eta = adaptive
        self._chosen = {
            name: parameter
            for name, parameter in named.items()
            if group == "all" or is_embedding(name) == (group == "embeddings")
        }

    @contextmanager
    def climbed(self, rho: float) -> Iterator[Climb]:
        """The weights are at w + eps inside and bit for bit at w again outside, whatever happens inside.

        Uses the gradients that the parameters hold on entering. A zero or non-finite norm moves nothing. Costs a copy
        of the group's weights, for ASAM two more of its tables and matrices.
        """
        found = [(name, p.data, p.grad) for name, p in self._chosen.items() if p.grad is not None]
        weights, gradients = [weight for _, weight, _ in found], [gradient for *_, gradient in found]
        norms = norms_of(gradients)
        norm = length = float(torch.linalg.vector_norm(norms))
        directions = gradients
        if self.eta is not None:
            scaled, directions = _adapted(weights, gradients, self.eta)
            length = float(torch.linalg.vector_norm(norms_of(scaled)))
            norms = norms_of(directions)
        if length == 0 or not torch.isfinite(torch.tensor(length)):
            yield Climb(norm, {})
            return
        saved = [weight.clone() for weight in weights]
        torch._foreach_add_(weights, directions, alpha=rho / length)
        try:
            yield Climb(norm, _shares([name for name, *_ in found], norms))
        finally:
            torch._foreach_copy_(weights, saved)  # w + eps - eps would drift


def _adapted(weights: Sequence[Tensor], gradients: Sequence[Tensor], eta: float) -> tuple[list[Tensor], list[Tensor]]:
    """T g and T^2 g."""
    once, twice = [], []
    for weight, gradient in zip(weights, gradients, strict=True):
        if weight.ndim < 2:
            once.append(gradient)
            twice.append(gradient)
            continue
        scale = weight.abs().add_(eta)
        once.append(scale * gradient)
        twice.append(scale.mul_(once[-1]))
    return once, twice


def _shares(names: Sequence[str], norms: Tensor) -> dict[str, float]:
    squares = norms.double().square()
    shares: dict[str, float] = {}
    for name, share in zip(names, (squares / squares.sum()).tolist(), strict=True):
        block = block_of(name)
        shares[block] = shares.get(block, 0.0) + share
    return shares


def is_embedding(name: str) -> bool:
    """Whether a parameter is the item or the position table."""
    return "embedding" in name


def block_of(name: str) -> str:
    """Where a parameter sits: items, positions, attention, feed_forward, norms, or the heads of pre-training."""
    if name.startswith(("heads", "attribute_embedding")):
        return "heads"
    if name.startswith("item_embedding"):
        return "items"
    if name.startswith("position_embedding"):
        return "positions"
    if "norm" in name:
        return "norms"
    return "feed_forward" if "expand" in name or "contract" in name else "attention"
