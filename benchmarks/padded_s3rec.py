"""The padded model of the S3-Rec design: what other tools for loss surfaces are given to evaluate.

Sequences stand at the right of rows of 50, padding before them; attention writes its scores out and adds a mask; GELU
and LayerNorm are written out too, as in the public code of that design (`plain=False` takes PyTorch's own); both
candidates are scored at every place, padding included, and masked afterwards. Weights, users, targets and negatives are
those of an objective of ours, so its mean loss is ours but for rounding.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samrec.models.sasrec import SASRec

USERS = 256  # a batch, as it trains


class PaddedS3Rec(nn.Module):
    """Called without arguments, the mean loss over the objective's users."""

    def __init__(self, model: SASRec, chunks: Sequence[object], *, plain: bool = True) -> None:
        super().__init__()
        self.gelu, self.norm = (_gelu, _layer_norm) if plain else (F.gelu, lambda x, layer: layer(x))
        self.model = model
        rows = [row for chunk in chunks for row in _rows(chunk, model.max_length)]
        self.batches = [
            tuple(torch.from_numpy(np.stack(part)) for part in zip(*rows[start : start + USERS], strict=True))
            for start in range(0, len(rows), USERS)
        ]

    def forward(self) -> Tensor:
        with torch.no_grad():
            sums = [self.batch_loss(*batch) for batch in self.batches]
        return torch.stack([total for total, _ in sums]).sum() / sum(count for _, count in sums)

    def batch_loss(self, items: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, int]:
        hidden = self.hidden(items)
        table = self.model.item_embedding
        real = (positives > 0).double()
        towards = (hidden * table(positives)).sum(dim=-1)
        away = (hidden * table(negatives)).sum(dim=-1)
        losses = -F.logsigmoid(towards).double() - F.logsigmoid(-away).double()
        return (losses * real).sum(), int(real.sum())

    def hidden(self, items: Tensor) -> Tensor:
        model = self.model
        length = items.shape[1]
        allowed = (items > 0)[:, None, None, :] & torch.ones(length, length, dtype=torch.bool).tril()
        mask = (1.0 - allowed.to(torch.float32)) * -10000.0
        x = self.norm(model.item_embedding(items) + model.position_embedding(torch.arange(length)), model.input_norm)
        for block in model.blocks:
            split = [
                part(x).view(*x.shape[:2], block.heads, -1).transpose(1, 2)
                for part in (block.query, block.key, block.value)
            ]
            q, k, v = split
            weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + mask, dim=-1)
            x = self.norm(x + block.output((weights @ v).transpose(1, 2).reshape(x.shape)), block.attention_norm)
            x = self.norm(x + block.contract(self.gelu(block.expand(x))), block.feed_forward_norm)
        return x


def _gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + torch.erf(x / 2**0.5))


def _layer_norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    scale = torch.sqrt(centred.pow(2).mean(dim=-1, keepdim=True) + layer.eps)
    return layer.weight * (centred / scale) + layer.bias


def _rows(chunk: object, length: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(items, positives, negatives) of each user of a chunk, at the right of a row."""
    batch = chunk.batch
    items = batch.items.view(-1)[batch.slots].numpy()
    owners, (positives, negatives) = batch.sequence.numpy(), chunk.candidates.numpy().T
    order = np.argsort(owners, kind="stable")  # within a user the tokens keep their order
    rows = []
    for tokens in np.split(order, np.cumsum(np.bincount(owners))[:-1]):
        row = np.zeros((3, length), dtype=np.int64)
        row[:, length - len(tokens) :] = items[tokens], positives[tokens], negatives[tokens]
        rows.append(tuple(row))
    return rows
