"""What each split gives a model to read, and what it must predict. Which items are held out is the holdout's to say.

Of a sequence s, oldest first, with the cuts of the holdout (leave-one-out: S3-Rec's split, METHODS 1):

    train       s[:cut - 1] -> s[1:cut], a target at every position      users of one training item are left out
    validation  s[:p] -> s[p] for the targets p of the validation part   under leave-one-out one a user, s[-2]
    test        s[:p] -> s[p] for the targets p of the test part         under leave-one-out one a user, s[-1]

Inputs are cut to the newest `max_length`. Nothing is padded: sequences are flat arrays and offsets.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int64

from samrec.data.holdout import LEAVE_ONE_OUT, Holdout
from samrec.data.interactions import Interactions
from samrec.errors import DataError

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Inputs and targets: sequence i reads `items[offsets[i]:offsets[i + 1]]`, oldest first, never empty."""

    items: Int64[np.ndarray, " tokens"]
    offsets: Int64[np.ndarray, " rows"]  # one more than there are sequences
    targets: Int64[np.ndarray, " targets"]  # train: one a token, aligned with items; otherwise one a sequence
    users: Int64[np.ndarray, " sequences"]  # rows of the Interactions, ascending

    @property
    def lengths(self) -> Int64[np.ndarray, " sequences"]:
        """How many items each sequence has."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.users)


def training_sequences(
    interactions: Interactions, max_length: int = 50, *, holdout: Holdout = LEAVE_ONE_OUT
) -> Sequences:
    """The training inputs of every user of two or more training items, with a target at each position."""
    ends, _ = holdout.cuts(interactions)
    lengths = np.minimum(ends - interactions.offsets[:-1] - 1, _positive(max_length))
    users = np.flatnonzero(lengths > 0)
    starts = ends[users] - 1 - lengths[users]
    places, offsets = _ranges(starts, lengths[users])
    items = interactions.items.astype(np.int64)
    return Sequences(items=items[places], offsets=offsets, targets=items[places + 1], users=users)


def nested_share(
    rows: Int64[np.ndarray, " rows"], fraction: float, rng: np.random.Generator
) -> Int64[np.ndarray, " chosen"]:
    """A random share of the rows, in their order; with equal generators a smaller share is part of every larger one.

    Raises:
        DataError: a fraction of 0 or less, or above 1.
    """
    if not 0 < fraction <= 1:
        raise DataError(f"expected a fraction above 0 and up to 1, got {fraction}")
    return np.sort(rng.permutation(rows)[: max(1, round(fraction * len(rows)))])


def evaluation_sequences(
    interactions: Interactions,
    split: Literal["validation", "test"],
    max_length: int = 50,
    *,
    holdout: Holdout = LEAVE_ONE_OUT,
) -> Sequences:
    """The newest inputs before each target of the split, and that target; users in order, their targets oldest first.

    Raises DataError where no user has a target.
    """
    if split not in ("validation", "test"):
        raise DataError(f"expected the split 'validation' or 'test', got {split!r}")
    users, places = _target_places(interactions, split, holdout)
    if not len(users):
        raise DataError(f"{interactions.name}: no user has a target in the {split} part of {holdout.name}")
    lengths = np.minimum(places - interactions.offsets[users], _positive(max_length))
    inputs, offsets = _ranges(places - lengths, lengths)
    items = interactions.items.astype(np.int64)
    return Sequences(items=items[inputs], offsets=offsets, targets=items[places], users=users)


def seen_items(
    interactions: Interactions, split: Split, *, holdout: Holdout = LEAVE_ONE_OUT
) -> tuple[Int64[np.ndarray, " seen"], Int64[np.ndarray, " rows"]]:
    """Flat items and offsets: the whole history before each target of the split, however long.

    For "validation" and "test" a row for every sequence of `evaluation_sequences`. For "train" a row for every user:
    every training item, input or target. Repeats are kept, order is the sequence's.

    Raises:
        DataError: another split.
    """
    if split not in get_args(Split):
        raise DataError(f"expected one of the splits {', '.join(get_args(Split))}, got {split!r}")
    if split == "train":
        starts, ends = interactions.offsets[:-1], holdout.cuts(interactions)[0]
    else:
        users, ends = _target_places(interactions, split, holdout)
        starts = interactions.offsets[users]
    places, offsets = _ranges(starts, ends - starts)
    return interactions.items[places].astype(np.int64), offsets


def _target_places(
    interactions: Interactions, split: Literal["validation", "test"], holdout: Holdout
) -> tuple[Int64[np.ndarray, " sequences"], Int64[np.ndarray, " sequences"]]:
    """The users of a held-out part's targets, and where in `interactions.items` each target is."""
    first, second = holdout.cuts(interactions)
    starts, ends = (first, second) if split == "validation" else (second, interactions.offsets[1:])
    counts = ends - starts
    if not holdout.every_item:
        counts = np.minimum(counts, 1)
    counts[starts == interactions.offsets[:-1]] = 0  # nothing before it to read
    places, _ = _ranges(starts, counts)
    return np.repeat(np.arange(interactions.users, dtype=np.int64), counts), places


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
