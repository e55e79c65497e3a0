"""Training losses: what each scores at a token, its value there, and the loss of a whole batch.

Letters: s+ the target's score, s- a negative's, k the negatives a token, n the items.

    bce              softplus(-s+) + sum softplus(s-), divided by k + 1 where k > 1
    gbce             (beta softplus(-s+) + sum softplus(s-)) / (k + 1)
    sampled-softmax  -log(e^{s+} / (e^{s+} + (m / k) sum e^{s-})), m the items a negative could be
    ce               -log softmax over all items 1..n at the target

With one negative "bce" is the loss of SASRec as everybody trains it, a sum of two terms that is not halved, so that its
values stay comparable with other people's; with more it is the mean over the k + 1 terms, which is gBCE at beta 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from samrec.config import LOSSES, loss_options
from samrec.data.batches import PackedBatch
from samrec.errors import ConfigError
from samrec.models.dropout import Dropout
from samrec.models.fused_cross_entropy import fused_cross_entropy
from samrec.models.sasrec import SASRec


@runtime_checkable
class Scored(Protocol):
    """What a loss needs to know of a batch."""

    @property
    def batch(self) -> PackedBatch:
        """T tokens in packed rows."""
        ...

    @property
    def targets(self) -> Tensor:
        """(T,) the item to come at each token."""
        ...

    @property
    def candidates(self) -> Tensor | None:
        """(T, 1 + k) the target first, then the negatives; None scores every item."""
        ...

    @property
    def drawable(self) -> Tensor | None:
        """(T,) how many items a negative of the token could be; needed where the loss corrects for it."""
        ...


@runtime_checkable
class BatchLoss(Protocol):
    """The training loss of a batch, as a scalar to differentiate."""

    def __call__(self, model: SASRec, example: Any, count: float, dropout: Dropout | None) -> Tensor:
        """The sum over the example's tokens divided by `count`, the number of tokens it is a part of."""
        ...

    def chance(self, item_count: int) -> float:
        """About what it is if every score were equal: more than that has learnt less than nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Loss:
    """A named loss, settings included; as a function it is the `BatchLoss` of a recommender."""

    name: str
    negatives: int | None  # k, a token; None where every item is scored
    values: Callable[..., Tensor]  # scores, targets and, where `corrected`, drawable
    corrected: bool = False  # whether it wants to know how many items a negative could be

    def at_tokens(self, scores: Tensor, targets: Tensor, drawable: Tensor | None = None) -> Tensor:
        """The loss at each token (T,), from its scores (T, candidates) or (T, n); differentiable twice."""
        if self.corrected:
            return self.values(scores, targets, drawable)
        return self.values(scores, targets)

    def __call__(self, model: SASRec, example: Scored, count: float, dropout: Dropout | None) -> Tensor:
        """The batch's loss over `count`; cross-entropy never holds all scores of the batch."""
        if self.negatives is None:
            states = model.hidden_at(example.batch, dropout=dropout).index_select(0, example.batch.slots)
            table = model.item_embedding.weight
            return fused_cross_entropy(states, table, example.targets, first=1, last=model.item_count) / count
        scores = model(example.batch, example.candidates, dropout=dropout)
        return self.at_tokens(scores, example.targets, example.drawable).sum() / count

    def chance(self, item_count: int) -> float:
        """The loss at a token if every score were equal."""
        scores = torch.zeros(1, 1 + self.negatives if self.negatives else item_count)
        one = torch.ones(1, dtype=torch.int64)
        return float(self.at_tokens(scores, one, (item_count - 1) * one))


def loss_named(
    name: str, *, item_count: int | None = None, negative_count: int | None = None, gbce_t: float | None = None
) -> Loss:
    """A loss by its name and settings.

    Args:
        name: "bce", "gbce", "sampled-softmax" or "ce".
        item_count: n; "gbce" needs it.
        negative_count: k; by default 1 for "bce" and 256 for "gbce" and "sampled-softmax". "ce" has none.
        gbce_t: how far gBCE corrects for the sampling, 0 (not at all: BCE) to 1; .75 by default.

    Raises:
        ConfigError: no such loss, or a setting that it does not have or that is out of range.
    """
    if name not in LOSSES:
        raise ConfigError(f"expected a loss out of {', '.join(LOSSES)}, got {name!r}")
    try:
        options = loss_options(name, negative_count=negative_count, gbce_t=gbce_t)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    k = cast(int | None, options["negative_count"])
    t = options["gbce_t"]
    if k is not None and k < 1:
        raise ConfigError(f"expected 1 or more negatives, got {k}")
    if t is not None and not 0 <= t <= 1:
        raise ConfigError(f"expected gBCE's t between 0 and 1, got {t}")
    if k is not None and item_count is not None and k >= item_count:
        raise ConfigError(f"expected fewer negatives than the {item_count:,} items, got {k:,}")
    if name == "gbce":
        if item_count is None:
            raise ConfigError("expected the number of items for gbce, got none")
        assert k is not None
        assert t is not None
        return Loss(name, k, partial(generalised_binary_cross_entropy, beta=gbce_beta(k, item_count, t)))
    if name == "sampled-softmax":
        return Loss(name, k, sampled_softmax, corrected=True)
    return Loss(name, k, cross_entropy if k is None else binary_cross_entropy)


def binary_cross_entropy(scores: Float[Tensor, "T candidates"], targets: Int[Tensor, " T"]) -> Float[Tensor, " T"]:
    """softplus(-s+) + sum softplus(s-), the target's score first; over k + 1 if there are k > 1 negatives.

    One negative: Kang and McAuley 2018, as in the S3-Rec code.
    """
    del targets  # its score is the first
    summed = F.softplus(-scores[:, 0]) + F.softplus(scores[:, 1:]).sum(dim=1)
    return summed if scores.shape[1] == 2 else summed / scores.shape[1]


def generalised_binary_cross_entropy(
    scores: Float[Tensor, "T candidates"], targets: Int[Tensor, " T"], *, beta: float
) -> Float[Tensor, " T"]:
    """(beta softplus(-s+) + sum softplus(s-)) / (k + 1), which is -log of sigmoid(s+)^beta and of 1 - sigmoid(s-).

    Petrov and Macdonald, "gSASRec", RecSys 2023. They raise the sigmoid to the power beta and need float64 for that;
    multiplied with the softplus no precision is lost.
    """
    del targets
    return (beta * F.softplus(-scores[:, 0]) + F.softplus(scores[:, 1:]).sum(dim=1)) / scores.shape[1]


def gbce_beta(negative_count: int, item_count: int, t: float) -> float:
    """beta = alpha (t (1 - 1/alpha) + 1/alpha) with alpha = k / (n - 1), in float64: 1 at t = 0, alpha at t = 1."""
    alpha = negative_count / (item_count - 1)
    return alpha * (t * (1 - 1 / alpha) + 1 / alpha)


def sampled_softmax(
    scores: Float[Tensor, "T candidates"], targets: Int[Tensor, " T"], drawable: Int[Tensor, " T"]
) -> Float[Tensor, " T"]:
    """Softmax over the target and k negatives, whose scores are corrected by minus the log of their expected number.

    A negative is drawn uniformly out of m = `drawable` items, so each of those is expected k / m times, log q is
    log(k / m), and the sum of e^{s+} and (m / k) e^{s-} has the expectation of the full softmax's denominator over the
    target and all items that can be drawn (Bengio and Senecal 2008; Jean et al. 2015). The target is there with
    certainty: its correction is log 1.
    """
    del targets
    log_q = torch.log((scores.shape[1] - 1) / drawable.double()).to(scores.dtype)
    corrected = torch.cat([scores[:, :1], scores[:, 1:] - log_q[:, None]], dim=1)
    return torch.logsumexp(corrected, dim=1) - scores[:, 0]


def cross_entropy(scores: Float[Tensor, "T items"], targets: Int[Tensor, " T"]) -> Float[Tensor, " T"]:
    """-log softmax over all items 1..n at the target."""
    return torch.logsumexp(scores, dim=1) - scores.gather(1, (targets - 1)[:, None]).squeeze(1)
