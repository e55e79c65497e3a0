"""An epoch of S3-Rec's pre-training in packed batches: masked sequences, segments, attributes, all drawn anew.

Draws are made for some hundred batches at once, without a loop over sequences; what is drawn is a function of the
generators handed over, in the order of the batches. Each prefix of two or more items comes four times: with masked
items, and as context, segment and rival segment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from samrec.data.batches import PackedBatch, batches, shuffled_groups
from samrec.data.interactions import Attributes, Interactions
from samrec.data.negatives import NegativeSampler
from samrec.data.prefixes import training_prefixes
from samrec.data.segments import VIEWS, SegmentSampler, draw_segments, hidden_tokens, segment_views
from samrec.errors import DataError

SPAN = 128  # batches drawn at once
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Masked:
    """Sequences with single items masked; tokens in two lots, first the T1 shown ones, then the T2 masked ones."""

    batch: PackedBatch
    slots: Int[Tensor, " T"]  # flat
    shown: int  # T1
    attributes: Int[Tensor, "2 A"]  # a token, by its number in `slots`, and an attribute (from 0) of its own item
    candidates: Int[Tensor, "T2 2"]  # the masked item and a negative


@dataclass(frozen=True, slots=True)
class PretrainBatch:
    """Some prefixes, as the four losses want them."""

    prefixes: int
    masked: Masked | None  # None where no loss asks for it
    segments: PackedBatch | None  # 3s context, 3s + 1 segment, 3s + 2 rival; None also where no prefix has two items

    @property
    def count(self) -> int:
        """How many prefixes it has."""
        return self.prefixes

    @property
    def counts(self) -> dict[str, int]:
        """Over how many terms each loss is a sum; AAP's and MAP's are positions, each a sum over attributes."""
        shown = self.masked.shown if self.masked else 0
        hidden = len(self.masked.candidates) if self.masked else 0
        pairs = len(self.segments.last) // VIEWS if self.segments else 0
        return {"aap": shown, "mip": hidden, "map": hidden, "sp": pairs}

    def to(self, device: torch.device) -> "PretrainBatch":
        """The same batch on another device."""
        return PretrainBatch(
            self.prefixes, self.masked and _moved(self.masked, device), self.segments and self.segments.to(device)
        )


class PretrainData:
    """The prefixes of interactions, and all that is drawn beside them."""

    def __init__(
        self,
        interactions: Interactions,
        *,
        max_length: int = 50,
        mask: float = 0.2,
        negatives: Any = "training",
        masked: bool = True,
        attributes: bool = True,
        segments: bool = True,
        users: Integers | None = None,
    ) -> None:
        """Prepare the samples.

        Args:
            interactions: the data.
            max_length: newest items of a training part that take part.
            mask: the share of items masked, beside the last one.
            negatives: the rule of `NegativeSampler`.
            masked: whether sequences with masked items are wanted.
            attributes: whether their items' attributes are wanted; DataError if the data have none.
            segments: whether segments are wanted; DataError if there is a single user.
            users: rows of those whose training parts take part; None for all.
        """
        if attributes and (interactions.attributes is None or not interactions.attributes.count):
            raise DataError(
                f"expected item attributes beside {interactions.source or interactions.name} "
                "(NAME_item2attributes.json) for the losses AAP and MAP, got none: leave both out with a weight of 0"
            )
        self.prefixes = training_prefixes(interactions, max_length=max_length, users=users)
        self.item_count = interactions.item_count
        self.max_length = max_length
        self.mask = mask
        self.attributes = _distinct(interactions.attributes) if attributes and interactions.attributes else None
        self.sampler = NegativeSampler(interactions, rule=negatives) if masked else None
        self.segments = SegmentSampler(self.prefixes.items, self.prefixes.offsets) if segments else None

    def batches(
        self, size: int, *, order: np.random.Generator, masks: np.random.Generator, segments: np.random.Generator
    ) -> Iterator[PretrainBatch]:
        """All prefixes in random batches of `size`; `order`, `masks` (with MIP's negatives), `segments` decide what."""
        groups = shuffled_groups(len(self.prefixes), size, order)
        for first in range(0, len(groups), SPAN):
            yield from self._span(groups[first : first + SPAN], masks, segments)

    def _span(
        self, groups: Integers, masks: np.random.Generator, segments: np.random.Generator
    ) -> Iterator[PretrainBatch]:
        members = groups[groups >= 0]
        items, offsets = self.prefixes.gathered(members)
        sizes = (groups >= 0).sum(axis=1)
        nth = np.where(groups >= 0, np.arange(groups.size).reshape(groups.shape), -1)  # only the last group is padded
        masked = self._masked(items, offsets, members, nth, masks) if self.sampler else iter([None] * len(groups))
        paired = self._segments(items, offsets, members, nth, segments) if self.segments else iter([None] * len(groups))
        for size, one, other in zip(sizes.tolist(), masked, paired, strict=True):
            yield PretrainBatch(size, one, other)

    def _masked(
        self, items: Integers, offsets: Integers, members: Integers, groups: Integers, rng: np.random.Generator
    ) -> Iterator[Masked]:
        assert self.sampler is not None
        hidden = hidden_tokens(offsets, rng, share=self.mask)
        owners = np.repeat(self.prefixes.users[members], np.diff(offsets))
        negatives = np.zeros_like(items)
        negatives[hidden] = self.sampler.draw(rng, owners[hidden])[:, 0]
        inputs = np.where(hidden, self.item_count + 1, items)
        for _, places, batch in batches(inputs, offsets, groups, max_length=self.max_length, causal=False):
            lots = np.argsort(hidden[places], kind="stable")
            shown = len(places) - int(hidden[places].sum())
            own = items[places][lots]
            pairs = np.stack((own[shown:], negatives[places][lots[shown:]]), axis=1)
            yield Masked(
                batch,
                batch.slots[torch.from_numpy(lots)],
                shown,
                torch.from_numpy(self._attributes(own)),
                torch.from_numpy(pairs),
            )

    def _attributes(self, own: Integers) -> Integers:
        if self.attributes is None:
            return np.zeros((2, 0), dtype=np.int64)
        values, offsets = self.attributes
        counts = offsets[own + 1] - offsets[own]
        before = np.cumsum(counts) - counts
        of_tokens = values[np.arange(counts.sum()) + np.repeat(offsets[own] - before, counts)]
        return np.stack((np.repeat(np.arange(len(own)), counts), of_tokens))

    def _segments(
        self, items: Integers, offsets: Integers, members: Integers, groups: Integers, rng: np.random.Generator
    ) -> Iterator[PackedBatch | None]:
        assert self.segments is not None
        lengths = np.diff(offsets)
        long = lengths > 1
        users, lengths_here = self.prefixes.users[members[long]], lengths[long]
        starts, counts = draw_segments(lengths_here, self.segments.longest(users), rng)
        rivals = self.segments.draw(rng, users, counts)
        ends = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths_here)))
        laid, laid_ends = segment_views(
            items[np.repeat(long, lengths)], ends, starts, counts, rivals, mask_id=self.item_count + 1
        )
        number = np.cumsum(long) - 1  # of each long prefix among them
        taken = (groups >= 0) & long[groups]
        front = np.argsort(~taken, axis=1, kind="stable")
        three = VIEWS * number[groups][:, :, None] + np.arange(VIEWS)
        views = np.where(taken[:, :, None], three, -1)
        views = np.take_along_axis(views, front[:, :, None], axis=1).reshape(len(groups), -1)
        some = views[:, 0] >= 0
        packed = batches(laid, laid_ends, views[some], max_length=self.max_length, causal=False)
        for there in some.tolist():
            yield next(packed)[2] if there else None


def _distinct(attributes: Attributes) -> tuple[Integers, Integers]:
    """Each item's attributes from 0, once each, and where they begin."""
    rows = np.repeat(np.arange(len(attributes.offsets) - 1), np.diff(attributes.offsets))
    keys = np.unique(rows * attributes.count + attributes.values - 1)
    counts = np.bincount(keys // attributes.count, minlength=len(attributes.offsets) - 1)
    return keys % attributes.count, np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts)))


def _moved(masked: Masked, device: torch.device) -> Masked:
    return Masked(
        masked.batch.to(device),
        masked.slots.to(device),
        masked.shown,
        *(getattr(masked, name).to(device) for name in ("attributes", "candidates")),
    )
