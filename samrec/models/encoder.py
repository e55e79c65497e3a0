"""The trunk all four models share: embeddings, then post-LayerNorm transformer blocks, on packed rows.

The architecture of SASRec (Kang and McAuley 2018) in the variant of the S3-Rec code (Zhou et al. 2020): item + position
embedding, LayerNorm, dropout; blocks of LN(x + dropout(attention(x))) and LN(x + dropout(feed_forward(x))) with exact
GELU; LayerNorm eps 1e-12; no final LayerNorm, no sqrt(d) scaling.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samrec.data.batches import PackedBatch, attention_bias
from samrec.models.attention import attend
from samrec.models.dropout import Dropout
from samrec.models.layer_norm import layer_norm
from samrec.models.linear import linear

LAYER_NORM_EPS = 1e-12
INITIAL_DEVIATION = 0.02


@dataclass(frozen=True, slots=True)
class Chosen:
    """Slots that are asked for, and where each stands in a table of as many places a row as the fullest row needs."""

    slots: Tensor  # (S,) flat, each of another sequence
    places: Tensor  # (S,) row * most + its number in the row
    most: int  # places a row


def choose(slots: Tensor, batch: PackedBatch) -> tuple[Chosen, Tensor]:
    """The chosen slots, and what each place may look at: (R, most, W), an empty place as much as its row's slot 0."""
    rows, width = batch.items.shape
    row = slots // width
    counts = torch.bincount(row, minlength=rows)
    most = int(counts.max())
    order = torch.argsort(row, stable=True)
    number = torch.empty_like(row)
    number[order] = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts).index_select(0, row[order])
    places = row * most + number
    asked = (torch.arange(rows, device=row.device) * width).repeat_interleave(most)
    asked[places] = slots
    return Chosen(slots, places, most), batch.visible.view(-1, width).index_select(0, asked).view(rows, most, width)


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each with a residual connection and a LayerNorm after it."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.output = nn.Linear(size, size)
        self.attention_norm = nn.LayerNorm(size, eps=LAYER_NORM_EPS)
        self.expand = nn.Linear(size, 4 * size)
        self.contract = nn.Linear(4 * size, size)
        self.feed_forward_norm = nn.LayerNorm(size, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor, bias: Tensor, dropout: Dropout | None, *, fused: bool) -> Tensor:
        """From (R, W, size) to (R, W, size), given the bias (R, 1, W, W) of what each slot may look at."""
        rows, width, size = x.shape
        weight = torch.cat([self.query.weight, self.key.weight, self.value.weight])
        shift = torch.cat([self.query.bias, self.key.bias, self.value.bias])
        multiply = F.linear if fused or dropout is not None else linear
        split = multiply(x, weight, shift).view(rows, width, 3, self.heads, size // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        attended = attend(q, k, v, bias, dropout=dropout, fused=fused)
        return self._finished(x, attended.transpose(1, 2).reshape(rows, width, size), dropout, multiply)

    def at(self, x: Tensor, bias: Tensor, chosen: "Chosen", dropout: Dropout | None, *, fused: bool) -> Tensor:
        """From (R, W, size) to the (S, size) of the chosen slots: the others are looked at and not computed."""
        rows, width, size = x.shape
        weight = torch.cat([self.key.weight, self.value.weight])
        split = F.linear(x, weight, torch.cat([self.key.bias, self.value.bias]))
        split = split.view(rows, width, 2, self.heads, size // self.heads)
        k, v = split.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        x = x.view(-1, size).index_select(0, chosen.slots)
        q = x.new_zeros(rows * chosen.most, size).index_copy(0, chosen.places, self.query(x))
        q = q.view(rows, chosen.most, self.heads, -1).transpose(1, 2)
        attended = attend(q, k, v, bias, dropout=dropout, fused=fused)
        attended = attended.transpose(1, 2).reshape(-1, size).index_select(0, chosen.places)
        return self._finished(x, attended, dropout, F.linear)

    def _finished(
        self, x: Tensor, attended: Tensor, dropout: Dropout | None, multiply: Callable[..., Tensor]
    ) -> Tensor:
        mixed = multiply(attended, self.output.weight, self.output.bias)
        x = x + mixed if dropout is None else dropout.added_to(x, mixed)
        x = self.attention_norm(x) if multiply is F.linear else _normed(self.attention_norm, x)
        inner = F.gelu(multiply(x, self.expand.weight, self.expand.bias))
        fed = multiply(inner, self.contract.weight, self.contract.bias)
        x = x + fed if dropout is None else dropout.added_to(x, fed)
        y: Tensor = self.feed_forward_norm(x) if multiply is F.linear else _normed(self.feed_forward_norm, x)
        return y


def _normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return layer_norm(x, norm.weight, norm.bias, norm.eps)


class Trunk(nn.Module):
    """Item ids to hidden states."""

    def __init__(self, item_count: int, *, size: int, heads: int, layers: int, max_length: int) -> None:
        super().__init__()
        self.item_count = item_count
        self.size = size
        self.max_length = max_length
        self.item_embedding = nn.Embedding(item_count + 2, size, padding_idx=0)  # 0 padding, 1..n items, n + 1 mask
        self.position_embedding = nn.Embedding(max_length, size)
        self.input_norm = nn.LayerNorm(size, eps=LAYER_NORM_EPS)
        self.blocks = nn.ModuleList(Block(size, heads) for _ in range(layers))

    def initialise(self, generator: torch.Generator) -> None:
        """Linear and embedding weights from N(0, 0.02), biases 0, LayerNorm 1 and 0, the padding row 0."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.Embedding):
                    module.weight.normal_(0, INITIAL_DEVIATION, generator=generator)
                if isinstance(module, nn.Linear):
                    module.bias.zero_()
            self.item_embedding.weight[0].zero_()

    def hidden(
        self, embedded: Tensor, batch: PackedBatch, *, dropout: Dropout | None = None, fused: bool = False
    ) -> Tensor:
        """Hidden states (R * W, size) of the slots, given their item embeddings (R * W, size)."""
        x = self._input(embedded, batch, dropout)
        bias = attention_bias(batch.visible, x.dtype)
        for block in self.blocks:
            x = block(x, bias, dropout, fused=fused)
        flat: Tensor = x.view(-1, self.size)
        return flat

    def last_hidden(
        self, embedded: Tensor, batch: PackedBatch, *, dropout: Dropout | None = None, fused: bool = False
    ) -> Tensor:
        """Hidden states (S, size) of the sequences' newest tokens; the last block computes no others."""
        x = self._input(embedded, batch, dropout)
        *blocks, last = self.blocks
        if blocks:
            bias = attention_bias(batch.visible, x.dtype)
            for block in blocks:
                x = block(x, bias, dropout, fused=fused)
        chosen, visible = choose(batch.last, batch)
        found: Tensor = cast(Block, last).at(x, attention_bias(visible, x.dtype), chosen, dropout, fused=fused)
        return found

    def _input(self, embedded: Tensor, batch: PackedBatch, dropout: Dropout | None) -> Tensor:
        x = embedded.view(*batch.items.shape, self.size) + self.position_embedding(batch.positions)
        x = self.input_norm(x)
        return x if dropout is None else dropout(x)
