"""Leave-one-out: what each split gives a model to read, and what it must predict.

Of a sequence s, oldest first (METHODS: S3-Rec's split):

    train       s[:-3] -> s[1:-2], a target at every position     users of three items have none and are left out
    validation  s[:-2] -> s[-2]                                    all users
    test        s[:-1] -> s[-1]                                    all users

Inputs are cut to the newest `max_length`. Nothing is padded: sequences are flat arrays and offsets.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int64

from samrec.data.interactions import Interactions
from samrec.errors import DataError

Split = Literal["train", "validation", "test"]

_HELD_BACK = {"train": 2, "validation": 2, "test": 1}  # newest items that are no history of the split


@dataclass(frozen=True, eq=False)
class Sequences:
    """Inputs and targets: sequence i reads `items[offsets[i]:offsets[i + 1]]`, oldest first, never empty."""

    items: Int64[np.ndarray, " tokens"]
    offsets: Int64[np.ndarray, " rows"]  # one more than there are sequences
    targets: Int64[np.ndarray, " targets"]  # train: one a token, aligned with items; otherwise one a sequence
    users: Int64[np.ndarray, " sequences"]  # rows of the Interactions

    @property
    def lengths(self) -> Int64[np.ndarray, " sequences"]:
        """How many items each sequence has."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.users)


def training_sequences(interactions: Interactions, max_length: int = 50) -> Sequences:
    """The training inputs of every user of four or more items, with a target at each position."""
    lengths = np.minimum(interactions.lengths - 3, _positive(max_length))
    users = np.flatnonzero(lengths > 0)
    starts = interactions.offsets[users + 1] - 3 - lengths[users]
    places, offsets = _ranges(starts, lengths[users])
    items = interactions.items.astype(np.int64)
    return Sequences(items=items[places], offsets=offsets, targets=items[places + 1], users=users)


def nested_share(
    rows: Int64[np.ndarray, " rows"], fraction: float, rng: np.random.Generator
) -> Int64[np.ndarray, " chosen"]:
    """A random share of the rows, in their order; with equal generators a smaller share is part of every larger one."""
    if not 0 < fraction <= 1:
        raise DataError(f"expected a fraction above 0 and up to 1, got {fraction}")
    return np.sort(rng.permutation(rows)[: max(1, round(fraction * len(rows)))])


def evaluation_sequences(
    interactions: Interactions, split: Literal["validation", "test"], max_length: int = 50
) -> Sequences:
    """The newest inputs of every user before the split's target, and that target."""
    if split not in ("validation", "test"):
        raise DataError(f"expected the split 'validation' or 'test', got {split!r}")
    ends = interactions.offsets[1:] - _HELD_BACK[split]
    lengths = np.minimum(ends - interactions.offsets[:-1], _positive(max_length))
    places, offsets = _ranges(ends - lengths, lengths)
    items = interactions.items.astype(np.int64)
    return Sequences(
        items=items[places], offsets=offsets, targets=items[ends], users=np.arange(interactions.users, dtype=np.int64)
    )


def seen_items(
    interactions: Interactions, split: Split
) -> tuple[Int64[np.ndarray, " seen"], Int64[np.ndarray, " rows"]]:
    """Flat items and offsets, a row for every user: the whole history before the split's target, however long.

    For "train" it is every training item, input or target, s[:-2]. Repeats are kept, order is the sequence's.
    """
    if split not in get_args(Split):
        raise DataError(f"expected one of the splits {', '.join(get_args(Split))}, got {split!r}")
    lengths = interactions.lengths - _HELD_BACK[split]
    places, offsets = _ranges(interactions.offsets[:-1], lengths)
    return interactions.items[places].astype(np.int64), offsets


def _positive(max_length: int) -> int:
    if max_length < 1:
        raise DataError(f"max_length must be 1 or more, got {max_length}")
    return max_length


def _ranges(
    starts: Int64[np.ndarray, " sequences"], lengths: Int64[np.ndarray, " sequences"]
) -> tuple[Int64[np.ndarray, " tokens"], Int64[np.ndarray, " rows"]]:
    """The places start, start + 1, ... of every sequence one after the other, and where each sequence begins."""
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))
    return np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1]), offsets
