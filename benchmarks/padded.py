"""The padded denominator at its best: SASRec on padded sequences, with the kernels a good padded code uses.

Sequences stand at the left of their rows and padding behind them, so that attention may be PyTorch's fused causal one:
a real token never sees what comes after it. Positions are still counted from the newest item, as everywhere. Padding
costs time in embedding, attention, linears and norms; candidates are scored at real tokens only, and dropout masks come
from random bits as in ours.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from samrec.models.dropout import Dropout
from samrec.models.sasrec import SASRec


@dataclass(frozen=True, slots=True)
class PaddedBatch:
    """B sequences in rows of `length`, and where their T tokens lie."""

    items: Tensor  # (B, length)
    positions: Tensor  # (B, length)
    slots: Tensor  # (T,)
    candidates: Tensor  # (T, C)


def pad(
    items: NDArray[np.int64],
    offsets: NDArray[np.int64],
    candidates: NDArray[np.int64],
    members: NDArray[np.int64],
    length: int,
) -> PaddedBatch:
    """Lay some of the sequences out, a row each."""
    lengths = np.diff(offsets)[members]
    columns = np.arange(length)
    real = columns < lengths[:, None]
    places = (offsets[members][:, None] + columns)[real]
    laid = np.zeros(real.shape, dtype=np.int64)
    laid[real] = items[places]
    positions = np.minimum(columns + length - lengths[:, None], length - 1)
    return PaddedBatch(
        torch.from_numpy(laid),
        torch.from_numpy(positions),
        torch.from_numpy(np.flatnonzero(real)),
        torch.from_numpy(candidates[places]),
    )


def padded_scores(model: SASRec, batch: PaddedBatch, *, dropout: Dropout | None = None) -> Tensor:
    """Scores (T, C) of the candidates at every real token, with the weights of `model`."""
    table = model.item_embedding.weight
    rows, length = batch.items.shape
    ids = torch.cat([batch.items.view(-1), batch.candidates.view(-1)])
    embedded, scored = F.embedding(ids, table, padding_idx=0).split([rows * length, batch.candidates.numel()])
    x = model.input_norm(embedded.view(rows, length, -1) + model.position_embedding(batch.positions))
    x = x if dropout is None else dropout(x)
    for block in model.blocks:
        x = _block(block, x, dropout)
    hidden = x.view(rows * length, -1).index_select(0, batch.slots)
    return (scored.view(*batch.candidates.shape, -1) * hidden[:, None]).sum(dim=-1)


def _block(block: torch.nn.Module, x: Tensor, dropout: Dropout | None) -> Tensor:
    rows, length, size = x.shape
    weight = torch.cat([block.query.weight, block.key.weight, block.value.weight])
    shift = torch.cat([block.query.bias, block.key.bias, block.value.bias])
    split = F.linear(x, weight, shift).view(rows, length, 3, block.heads, size // block.heads)
    q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
    if dropout is None:
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:  # on the CPU the fused kernel takes no dropout and PyTorch's fallback is slower than this
        later = torch.full((length, length), -torch.inf, dtype=x.dtype).triu(1)
        scores = (q * (size // block.heads) ** -0.5) @ k.transpose(-1, -2) + later
        attended = dropout(torch.softmax(scores, dim=-1)) @ v
    mixed = block.output(attended.transpose(1, 2).reshape(rows, length, size))
    x = block.attention_norm(x + mixed if dropout is None else dropout.added_to(x, mixed))
    fed = block.contract(F.gelu(block.expand(x)))
    return block.feed_forward_norm(x + fed if dropout is None else dropout.added_to(x, fed))
