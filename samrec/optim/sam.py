"""Sharpness-Aware Minimization around any base optimizer (Foret et al. 2021).

    g   = grad L(w)                    pass 1
    eps = rho g / ||g||_2              one norm over all parameters of the chosen group that have a gradient
    g'  = grad L(w + eps)              pass 2: same batch, same negatives, same dropout masks
    w   = saved copy ; base.step(g')

Weights are restored by copying them back: w + eps - eps drifts. With rho = 0 pass 2 repeats pass 1 and every step is
the base optimizer's, bit for bit. SAM keeps no state between steps: the base optimizer's moments are all to save.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samrec.errors import ConfigError, Diverged

Reduce = Callable[[list[Tensor]], None]
GROUPS = ("all", "body", "embeddings")


@dataclass(frozen=True, slots=True)
class Ascent:
    """What one step's ascent did."""

    loss: float  # L(w) on the batch
    sharpness: float  # L(w + eps) - L(w) on the batch
    norm: float  # ||g||, over the perturbed group
    shares: Mapping[str, float]  # each block's share of ||eps||^2; empty if the ascent was skipped


class SAM:
    """Two gradients a step: up to the worst point nearby, then down from where it was with the gradient found there."""

    def __init__(
        self, named_parameters: Mapping[str, nn.Parameter], base: torch.optim.Optimizer, *, rho: float, group: str
    ) -> None:
        """Wrap `base`; `group` is "all", "body" (no embeddings) or "embeddings": what the ascent perturbs."""
        if not rho >= 0:
            raise ConfigError(f"expected rho >= 0, got {rho}")
        if group not in GROUPS:
            raise ConfigError(f"expected a group out of {', '.join(GROUPS)}, got {group!r}")
        self.base = base
        self.rho = rho
        chosen = {
            name: parameter
            for name, parameter in named_parameters.items()
            if group == "all" or is_embedding(name) == (group == "embeddings")
        }
        self._all = list(named_parameters.values())
        self._names = list(chosen)
        self._perturbed = list(chosen.values())

    def step(self, first_pass: Callable[[], float], second_pass: Callable[[], float]) -> Ascent:
        """One step.

        Args:
            first_pass: clears the gradients, leaves those of L(w) in the parameters, and returns L(w).
            second_pass: the same at the weights as they then are, on the same batch, negatives and dropout masks.

        Raises:
            Diverged: a gradient that the base optimizer would take is not finite; the weights are as they were.
        """
        loss = first_pass()
        found = [
            (name, parameter.data, parameter.grad)
            for name, parameter in zip(self._names, self._perturbed, strict=True)
            if parameter.grad is not None
        ]
        weights = [weight for _, weight, _ in found]
        gradients = [gradient for *_, gradient in found]
        norms = torch.stack(torch._foreach_norm(gradients)) if gradients else torch.zeros(1)
        norm = float(torch.linalg.vector_norm(norms))
        if norm == 0 or not torch.isfinite(torch.tensor(norm)):
            check_finite(self._all)
            self.base.step()
            return Ascent(loss, 0.0, norm, {})
        saved = [weight.clone() for weight in weights]
        torch._foreach_add_(weights, gradients, alpha=self.rho / norm)
        shares = self._shares([name for name, *_ in found], norms)
        try:
            risen = second_pass()
        finally:
            torch._foreach_copy_(weights, saved)
        check_finite(self._all)
        self.base.step()
        return Ascent(loss, risen - loss, norm, shares)

    @staticmethod
    def _shares(names: list[str], norms: Tensor) -> dict[str, float]:
        squares = norms.double().square()
        shares: dict[str, float] = {}
        for name, share in zip(names, (squares / squares.sum()).tolist(), strict=True):
            block = block_of(name)
            shares[block] = shares.get(block, 0.0) + share
        return shares


def check_finite(parameters: list[nn.Parameter]) -> None:
    """Raise Diverged if any gradient holds a NaN or an infinity."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.stack(torch._foreach_norm(gradients)).norm() if gradients else torch.zeros(())
    if not torch.isfinite(norm):
        raise Diverged("expected a finite gradient, got one that is not")


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
