"""CL4SRec: SASRec's loss plus a contrast between two augmented views of each sequence.

Xie et al., "Contrastive Learning for Sequential Recommendation", ICDE 2022 (arXiv 2010.14395); the authors published no
code, and what others published differs: see `samrec.config.Contrast` for what can be chosen.

    loss = L + weight NT-Xent         NT-Xent_i = -log softmax over j != i of (v_i . v_j / temperature) at i's twin

Letters: N sequences, V = 2N views, D entries of a view's vector. Views 2i and 2i + 1 are of one sequence.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from samrec.config import Contrast
from samrec.data.batches import PackedBatch
from samrec.models.dropout import Dropout
from samrec.models.losses import BatchLoss, Scored
from samrec.models.sasrec import SASRec


@runtime_checkable
class Viewed(Scored, Protocol):
    """A batch with two views of each of its sequences."""

    @property
    def views(self) -> PackedBatch | None:
        """2N sequences; 2i and 2i + 1 are views of the i-th sequence."""
        ...


@dataclass(frozen=True, slots=True)
class ContrastiveLoss:
    """A recommender's loss and NT-Xent over the views that pass through together; a `BatchLoss`."""

    supervised: BatchLoss
    contrast: Contrast

    def __call__(self, model: SASRec, example: Viewed, count: float, dropout: Dropout | None) -> Tensor:
        """The loss of the batch; both terms thinned by the same `dropout`, one pass after the other.

        Of a batch that is taken in parts (micro-batches, processes) each part's NT-Xent counts by its share of the
        tokens, and a view is told apart from those of its own part only.
        """
        if example.views is None:
            raise ValueError("expected an example with views for CL4SRec, got one without")
        loss = self.supervised(model, example, count, dropout)
        if self.contrast.weight == 0:
            return loss
        vectors = view_vectors(model, example.views, dropout=dropout, every=self.contrast.vectors == "all")
        told_apart = nt_xent(
            vectors, temperature=self.contrast.temperature, cosine=self.contrast.similarity == "cosine"
        ).mean()
        return loss + self.contrast.weight * (len(example.targets) / count) * told_apart

    def chance(self, item_count: int) -> float:
        """The loss of equal scores; the contrast of 512 equal views."""
        return self.supervised.chance(item_count) + self.contrast.weight * math.log(511)


def view_vectors(model: SASRec, views: PackedBatch, *, dropout: Dropout | None, every: bool) -> Float[Tensor, "V D"]:
    """The vector of each view: the hidden state of its newest item, or with `every` those of all positions.

    Those of all positions lie side by side, (V, max_length * size), aligned at the newest and zero where a view has no
    item: the dot product of two views is then the sum over the positions that both have.
    """
    hidden = model.hidden_at(views, dropout=dropout)
    if not every:
        return hidden.index_select(0, views.last)
    shape = (len(views.last), model.max_length, model.size)
    places = views.sequence, views.positions.view(-1).index_select(0, views.slots)
    return hidden.new_zeros(shape).index_put(places, hidden.index_select(0, views.slots)).flatten(1)


def nt_xent(vectors: Float[Tensor, "V D"], *, temperature: float = 1.0, cosine: bool = False) -> Float[Tensor, " V"]:
    """The temperature-scaled cross-entropy of each view: its twin against all other views (Chen et al. 2020).

    V x V similarities at once. `cosine` compares directions instead of dot products.
    """
    compared = F.normalize(vectors, dim=1) if cosine else vectors
    similarity = compared @ compared.T / temperature
    others = similarity.masked_fill(torch.eye(len(vectors), dtype=torch.bool, device=vectors.device), -torch.inf)
    twins = torch.arange(len(vectors), device=vectors.device) ^ 1
    return torch.logsumexp(others, dim=1) - others.gather(1, twins[:, None]).squeeze(1)
