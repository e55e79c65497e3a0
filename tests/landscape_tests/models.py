"""Small models of the kinds people bring: a CNN and a residual net with BatchNorm, a language model with tied weights,
and one that takes named inputs and returns a dataclass, as Hugging Face's do."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def seeded(build: Any, *arguments: Any, seed: int = 0, **options: Any) -> Any:
    """What `build` makes under a seed of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(*arguments, **options)


class SmallCNN(nn.Module):
    """8 x 8 images -> 4 classes, with BatchNorm and, if asked, dropout."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, stride=2)
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(27, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(F.relu(self.norm(self.conv(x))).flatten(1)))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return F.relu(x + inner)


class SmallResNet(nn.Sequential):
    """8 x 8 images -> 4 classes through two residual blocks."""

    def __init__(self, width: int = 4) -> None:
        stem = (nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        top = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4))
        super().__init__(*stem, Block(width), Block(width), *top)


class TiedLanguageModel(nn.Module):
    """Word ids -> scores of the next word, classes last, by the table that embeds them."""

    def __init__(self, words: int = 7, width: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, padding_idx=0)
        self.mix = nn.GRU(width, width, batch_first=True)
        self.scores = nn.Linear(width, words, bias=False)
        self.scores.weight = self.embedding.weight

    def forward(self, words: Tensor) -> Tensor:
        return self.scores(self.mix(self.embedding(words))[0])


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None
    hidden: Tensor | None = None


class NamedInputs(nn.Module):
    """input_ids and attention_mask -> an Output; with labels it computes its own loss."""

    def __init__(self, words: int = 9, width: int = 4, classes: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.scores = nn.Linear(width, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Output:
        mask = attention_mask.unsqueeze(2).to(self.embedding.weight.dtype)
        hidden = (self.embedding(input_ids) * mask).sum(1) / mask.sum(1)
        logits = self.scores(hidden)
        return Output(logits, None if labels is None else F.cross_entropy(logits, labels), hidden)


def images(units: int = 20, *, batch_size: int = 8, dtype: torch.dtype = torch.float32) -> list[tuple[Tensor, Tensor]]:
    """Pairs of 8 x 8 images and classes below 4; the last batch is smaller."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(units, 1, 8, 8, generator=generator).to(dtype)
    y = torch.randint(0, 4, (units,), generator=generator)
    return list(zip(x.split(batch_size), y.split(batch_size), strict=True))


def named_batches(units: int = 10, *, batch_size: int = 4) -> list[dict[str, Tensor]]:
    """Mappings with input_ids, attention_mask and labels."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 9, (units, 5), generator=generator)
    mask = torch.ones_like(ids)
    mask[::2, 3:] = 0
    labels = torch.randint(0, 3, (units,), generator=generator)
    parts = zip(*(tensor.split(batch_size) for tensor in (ids, mask, labels)), strict=True)
    return [dict(zip(("input_ids", "attention_mask", "labels"), part, strict=True)) for part in parts]
