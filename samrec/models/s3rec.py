"""S3-Rec's first stage: four losses that teach the trunk how items, attributes, sequences and segments belong together.

Zhou et al., "S3-Rec: Self-Supervised Learning for Sequential Recommendation with Mutual Information Maximization",
CIKM 2020, in the form of its authors' code. With sigma the logistic function, h the hidden state of a token of item i,
e_i the row of i in the item table, j a negative, E the table of attributes, y_i the multi-hot of i's attributes, and an
affine map W of each loss's own:

    AAP  sum over shown tokens and attributes a     BCE(sigma(E_a . W_aap h), y_ia)
    MIP  sum over masked tokens                     BCE(sigma(sigma(W_mip h . e_i) - sigma(W_mip h . e_j)), 1)
    MAP  sum over masked tokens and attributes a    BCE(sigma(E_a . W_map h), y_ia)
    SP   sum over sequences                         BCE(sigma(sigma(W_sp c . p) - sigma(W_sp c . n)), 1)

c, p, n are last hidden states: of the context, the segment, the rival segment. The double sigmoid is the original's. It
lets SP come to log 2 without learning, by scores that are all far from 0, and on Beauty SP does so in its first hundred
steps; without the inner sigmoids, a named option, it learns. The trunk looks both ways. What belongs to the losses
lives here alone: fine-tuning takes the trunk.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from samrec.data.batches import PackedBatch
from samrec.data.pretraining import Masked, PretrainBatch
from samrec.data.segments import VIEWS
from samrec.models.dropout import Dropout
from samrec.models.encoder import Trunk

LOSSES = ("aap", "mip", "map", "sp")
OF_ATTRIBUTES = ("aap", "map")
OF_MASKED = ("aap", "mip", "map")


class S3Rec(Trunk):
    """The trunk with the maps and the attribute table of the losses that take part."""

    def __init__(
        self,
        item_count: int,
        attribute_count: int,
        *,
        losses: Collection[str] = LOSSES,
        inner_sigmoid: bool = True,
        size: int = 64,
        heads: int = 2,
        layers: int = 2,
        max_length: int = 50,
    ) -> None:
        """Make the parameters.

        Args:
            item_count: of the data.
            attribute_count: of the data; not looked at where neither AAP nor MAP takes part.
            losses: those that take part.
            inner_sigmoid: of MIP and SP; without, they are BCE(sigma(score - score of the negative), 1).
            size: as in SASRec, like all that follow.
            heads: of attention.
            layers: blocks.
            max_length: positions.
        """
        super().__init__(item_count, size=size, heads=heads, layers=layers, max_length=max_length)
        self.inner_sigmoid = inner_sigmoid
        self.heads = nn.ModuleDict({name: nn.Linear(size, size) for name in LOSSES if name in losses})
        if any(name in losses for name in OF_ATTRIBUTES):
            self.attribute_embedding = nn.Embedding(attribute_count, size)

    def forward(
        self, batch: PretrainBatch, *, dropout: Dropout | None = None, fused: bool = False
    ) -> dict[str, Float[Tensor, ""]]:
        """The sum of each loss over the batch, in float64; a loss that the batch has nothing for is left out.

        Args:
            batch: prefixes with their masks, attributes and segments.
            dropout: None outside training.
            fused: take the attention kernel without second derivatives.
        """
        masked = batch.masked if any(name in self.heads for name in OF_MASKED) else None
        segments = batch.segments if "sp" in self.heads else None
        parts = [masked.batch.items, masked.candidates] if masked else []
        parts += [segments.items] if segments else []
        # one look-up for all inputs and candidates: one scatter into the table's gradient
        looked_up = F.embedding(
            torch.cat([part.reshape(-1) for part in parts]), self.item_embedding.weight, padding_idx=0
        )
        embedded = list(torch.split(looked_up, [part.numel() for part in parts]))
        losses: dict[str, Tensor] = {}
        if masked:
            states = self.hidden(embedded.pop(0), masked.batch, dropout=dropout, fused=fused)
            losses |= self._masked(states, embedded.pop(0).view(-1, 2, self.size), masked)
        if segments:
            losses |= self._segments(embedded.pop(0), segments, dropout, fused=fused)
        return {name: loss.double().sum() for name, loss in losses.items()}

    def _masked(self, states: Tensor, scored: Tensor, masked: Masked) -> dict[str, Tensor]:
        shown, hidden = torch.split(
            states.index_select(0, masked.slots), [masked.shown, len(masked.slots) - masked.shown]
        )
        losses = {}
        if "mip" in self.heads:
            scores = (self.heads["mip"](hidden)[:, None] * scored).sum(dim=-1)
            losses["mip"] = contrasted(scores[:, 0], scores[:, 1], inner_sigmoid=self.inner_sigmoid)
        if any(name in self.heads for name in OF_ATTRIBUTES):
            losses |= self._attributes({"aap": shown, "map": hidden}, masked)
        return losses

    def _attributes(self, states: dict[str, Tensor], masked: Masked) -> dict[str, Tensor]:
        """AAP and MAP at their tokens, each summed over all attributes: one product with the table for both."""
        asked = torch.cat([self.heads[name](h) if name in self.heads else h[:0] for name, h in states.items()])
        logits = asked @ self.attribute_embedding.weight.T
        own = masked.attributes
        if "aap" not in self.heads:
            own = own[:, own[0] >= masked.shown] - torch.tensor([[masked.shown], [0]], device=own.device)
        elif "map" not in self.heads:
            own = own[:, own[0] < masked.shown]
        wanted = logits.view(-1).gather(0, own[0] * logits.shape[1] + own[1])
        at_tokens = F.softplus(logits).sum(dim=1).index_add(0, own[0], wanted, alpha=-1)
        lots = torch.split(at_tokens, [len(h) if name in self.heads else 0 for name, h in states.items()])
        return {name: lot for name, lot in zip(states, lots, strict=True) if name in self.heads}

    def _segments(
        self, embedded: Tensor, batch: PackedBatch, dropout: Dropout | None, *, fused: bool
    ) -> dict[str, Tensor]:
        last = self.last_hidden(embedded, batch, dropout=dropout, fused=fused)
        context, segment, rival = last.view(-1, VIEWS, self.size).unbind(1)
        asked = self.heads["sp"](context)
        scores = (asked * segment).sum(dim=-1), (asked * rival).sum(dim=-1)
        return {"sp": contrasted(*scores, inner_sigmoid=self.inner_sigmoid)}


@dataclass(frozen=True, slots=True)
class WeightedLosses:
    """What pre-training descends: the weighted sum of the losses over a batch, which nothing divides."""

    weights: Mapping[str, float]  # of each loss that takes part

    def __call__(
        self, model: S3Rec, batch: PretrainBatch, count: float, dropout: Dropout | None
    ) -> Float[Tensor, " told"]:
        """In float64, the weighted sum and behind it each loss's own, 0 where the batch has nothing for it."""
        del count
        losses = model(batch, dropout=dropout)
        total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
        nothing = torch.zeros_like(total)
        return torch.stack([total, *(losses.get(name, nothing).detach() for name in self.weights)])

    def chance(self, counts: Mapping[str, int], attribute_count: int) -> float:
        """What it is over so many terms of each loss if every score were equal: log 2 a term, an attribute each."""
        terms = {name: attribute_count if name in OF_ATTRIBUTES else 1 for name in self.weights}
        return sum(weight * counts[name] * terms[name] for name, weight in self.weights.items()) * math.log(2)


def contrasted(
    wanted: Float[Tensor, " n"], unwanted: Float[Tensor, " n"], *, inner_sigmoid: bool = True
) -> Float[Tensor, " n"]:
    """BCE(sigma(sigma(wanted) - sigma(unwanted)), 1), between .31 and 1.31, .69 for equal scores."""
    if not inner_sigmoid:
        return F.softplus(unwanted - wanted)
    return F.softplus(torch.sigmoid(unwanted) - torch.sigmoid(wanted))
