"""SASRec: the trunk, read out against the item table it embeds with.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018. Parameters: 877,888 on Beauty, 88 % of them
the item table.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from samrec.data.batches import PackedBatch, length_sorted_groups, pack
from samrec.models.dropout import Dropout
from samrec.models.encoder import Trunk


class SASRec(Trunk):
    """Scores of the next item at every token of a packed batch."""

    def __init__(
        self, item_count: int, *, size: int = 64, heads: int = 2, layers: int = 2, max_length: int = 50
    ) -> None:
        super().__init__(item_count, size=size, heads=heads, layers=layers, max_length=max_length)

    def forward(
        self,
        batch: PackedBatch,
        candidates: Int[Tensor, "T C"] | None = None,
        *,
        dropout: Dropout | None = None,
        fused: bool = False,
    ) -> Float[Tensor, "T scores"]:
        """Scores at each token of its candidates (T, C), or of every item 1..n (T, n) without candidates.

        Args:
            batch: T tokens in packed rows.
            candidates: item ids to score at each token: the target first, then negatives.
            dropout: None outside training.
            fused: take the attention kernel without second derivatives.
        """
        table = self.item_embedding.weight
        ids = batch.items.view(-1)
        if candidates is None:
            hidden = self.hidden_at(batch, dropout=dropout, fused=fused)
            return hidden.index_select(0, batch.slots) @ table[1 : self.item_count + 1].T
        # one look-up for inputs and candidates: one scatter into the table's gradient instead of two
        looked_up = F.embedding(torch.cat([ids, candidates.reshape(-1)]), table, padding_idx=0)
        embedded, scored = torch.split(looked_up, [len(ids), candidates.numel()])
        hidden = self.hidden(embedded, batch, dropout=dropout, fused=fused).index_select(0, batch.slots)
        scored = scored.view(*candidates.shape, self.size)
        if candidates.shape[1] > 2:  # products of all entries, summed after, would be as large as `scored` again
            return torch.bmm(scored, hidden[:, :, None]).squeeze(-1)
        return (scored * hidden[:, None]).sum(dim=-1)

    def hidden_at(
        self, batch: PackedBatch, *, dropout: Dropout | None = None, fused: bool = False
    ) -> Float[Tensor, "slots size"]:
        """The hidden state of every slot; `batch.slots` are those of tokens, `batch.last` those of newest items."""
        embedded = F.embedding(batch.items.view(-1), self.item_embedding.weight, padding_idx=0)
        return self.hidden(embedded, batch, dropout=dropout, fused=fused)

    def encode(
        self, items: NDArray[np.int64], offsets: NDArray[np.int64], *, tokens: int = 4096
    ) -> Float[Tensor, "sequences size"]:
        """The last hidden state of each sequence, without dropout or graph; memory grows with `tokens` only."""
        device = self.item_embedding.weight.device
        lengths = np.diff(offsets)
        users = torch.empty(len(lengths), self.size, dtype=self.item_embedding.weight.dtype, device=device)
        with torch.no_grad():
            for members in length_sorted_groups(lengths, tokens):
                inputs, starts = gathered(items, offsets, members)
                batch = pack(inputs, starts, max_length=self.max_length).to(device)
                embedded = F.embedding(batch.items.view(-1), self.item_embedding.weight)
                users[torch.from_numpy(members).to(device)] = self.hidden(embedded, batch, fused=True)[batch.last]
        return users


def gathered(
    items: NDArray[np.int64], offsets: NDArray[np.int64], members: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The flat items and offsets of some of the sequences, in the order of `members`."""
    lengths = np.diff(offsets)[members]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(ends[-1]) + np.repeat(offsets[members] - ends[:-1], lengths)
    return items[places], ends
