"""Training losses as functions of scores: what is scored, and the loss at each token.

A loss names how many negatives it draws (None: it scores every item) and turns scores into one value a token. The
mean over the valid targets of a batch is taken by whoever sums.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from samrec.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loss:
    """A named loss."""

    name: str
    negatives: int | None  # a token; None where every item is scored
    at_tokens: Callable[[Tensor, Tensor], Tensor]


def binary_cross_entropy(scores: Float[Tensor, "T candidates"], targets: Int[Tensor, " T"]) -> Float[Tensor, " T"]:
    """softplus(-s_target) + softplus(s_negative), the target's score first (Kang and McAuley 2018)."""
    del targets  # its score is the first
    return F.softplus(-scores[:, 0]) + F.softplus(scores[:, 1:]).sum(dim=1)


def cross_entropy(scores: Float[Tensor, "T items"], targets: Int[Tensor, " T"]) -> Float[Tensor, " T"]:
    """-log softmax over all items 1..n at the target."""
    return torch.logsumexp(scores, dim=1) - scores.gather(1, (targets - 1)[:, None]).squeeze(1)


LOSSES = {
    "bce": Loss("bce", 1, binary_cross_entropy),
    "ce": Loss("ce", None, cross_entropy),
}


def loss_named(name: str) -> Loss:
    """Look a loss up, or say which there are."""
    if name not in LOSSES:
        raise ConfigError(f"expected a loss out of {', '.join(LOSSES)}, got {name!r}")
    return LOSSES[name]
