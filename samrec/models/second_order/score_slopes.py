"""The losses' own derivatives in the scores of a token, by hand: the slope, and its change along a direction.

Letters: s the scores of a token (the target's first where candidates are scored), p their softmax, sigma the logistic
function, a dot the derivative along a direction, <x> the mean of x under p.

    bce, gbce               w sigma(s-) and -w sigma(-s+);    w sigma(s) sigma(-s) s.
    sampled-softmax, ce     p - (1 at the target);            p (s. - <s.>)
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from samrec.models.losses import (
    Loss,
    binary_cross_entropy,
    cross_entropy,
    generalised_binary_cross_entropy,
    sampled_softmax,
)

Curved = Callable[[Tensor], Tensor]  # the change of the scores -> that of the slope


def is_known(loss: Loss) -> bool:
    """Whether this loss is one of those written out here."""
    return _base(loss) in (
        binary_cross_entropy,
        generalised_binary_cross_entropy,
        sampled_softmax,
        cross_entropy,
    )


def slope_of(loss: Loss, scores: Tensor, drawable: Tensor | None) -> tuple[Tensor, Curved]:
    """The slope (T, candidates) of the loss summed over tokens, and its derivative as a linear map.

    "ce" has another place for its target, see `all_items`.
    """
    if _base(loss) is sampled_softmax:
        assert drawable is not None
        log_q = torch.log((scores.shape[1] - 1) / drawable.double()).to(scores.dtype)
        p = torch.softmax(torch.cat([scores[:, :1], scores[:, 1:] - log_q[:, None]], dim=1), dim=1)
        slope = p.clone()
        slope[:, 0] -= 1
        return slope, lambda along: p * (along - (p * along).sum(1, keepdim=True))
    beta = loss.values.keywords["beta"] if isinstance(loss.values, partial) else 1.0
    share = 1.0 if _base(loss) is binary_cross_entropy and scores.shape[1] == 2 else 1 / scores.shape[1]
    turned = torch.cat([-scores[:, :1], scores[:, 1:]], dim=1)
    weighed = torch.sigmoid(turned).mul_(share)
    weighed[:, 0] *= beta
    bend = weighed * torch.sigmoid(-turned)
    weighed[:, 0].neg_()
    return weighed, lambda along: bend * along


def _base(loss: Loss) -> Any:
    return loss.values.func if isinstance(loss.values, partial) else loss.values
