"""What S3-Rec hides: single items, and segments that are told apart from segments of other users.

Of a sequence of n items a segment has U[1, n // 2] of them and begins anywhere it fits. Its rival is a segment of the
same length out of another user's training part, uniform over all of them: the paper does not say how, and the S3-Rec
code takes any stretch of all sequences joined, held-out items and seams between users included. Sequences are flat
arrays with offsets; nothing loops over them. Letters: S sequences, T tokens.
"""

import numpy as np
from jaxtyping import Bool, Int64

from samrec.errors import DataError

Tokens = Int64[np.ndarray, " tokens"]
Counts = Int64[np.ndarray, " sequences"]
Offsets = Int64[np.ndarray, " rows"]

VIEWS = 3  # of a sequence: its context, its segment, the rival segment


def hidden_tokens(offsets: Offsets, rng: np.random.Generator, *, share: float = 0.2) -> Bool[np.ndarray, " tokens"]:
    """Which tokens are masked: each with probability `share`, the last of every sequence always."""
    hidden: Bool[np.ndarray, " tokens"] = rng.random(int(offsets[-1])) < share
    hidden[offsets[1:] - 1] = True
    return hidden


def draw_segments(lengths: Counts, longest: Counts, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """Where a segment of each sequence begins, and how many items it has: U[1, min(n // 2, longest)] of n >= 2."""
    counts = rng.integers(1, np.minimum(lengths // 2, longest) + 1)
    return rng.integers(0, lengths - counts + 1), counts


def segment_views(
    items: Tokens,
    offsets: Offsets,
    starts: Counts,
    counts: Counts,
    rivals: Int64[np.ndarray, " rivals"],
    *,
    mask_id: int,
) -> tuple[Int64[np.ndarray, " laid"], Int64[np.ndarray, " ends"]]:
    """Three of each sequence s: 3s its context, the segment masked; 3s + 1 the segment and 3s + 2 its rival, alone.

    Alone means that everything else is masked; all three keep the length of s.

    Args:
        items: (T,) the sequences, one after another.
        offsets: (S + 1,) where each begins.
        starts: where its segment begins in it.
        counts: how many items the segment has.
        rivals: the items of the rival segments, one after another.
        mask_id: the item id that masks.

    Returns:
        Flat items and offsets of 3 S sequences.
    """
    lengths = np.diff(offsets)
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(items)) - offsets[sequence]
    inside = (within >= starts[sequence]) & (within < (starts + counts)[sequence])
    rival = np.full_like(items, mask_id)
    rival[inside] = rivals
    views = (np.where(inside, mask_id, items), np.where(inside, items, mask_id), rival)
    laid = np.empty(VIEWS * len(items), dtype=np.int64)
    places = VIEWS * offsets[sequence] + within
    for number, view in enumerate(views):
        laid[places + number * lengths[sequence]] = view
    return laid, np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(np.repeat(lengths, VIEWS))))


class SegmentSampler:
    """Draws segments of other users, uniformly, exactly and without rejection.

    A place whose user has r items from there on begins a segment of every length up to r. With places sorted by r,
    longest first, those that begin a segment of length l are a front part of the order, and the user's own among them
    are a front part of the user's own places, which lie in the order at p_0 < p_1 < ... The k-th place of the front
    part that is another user's is therefore at k + #{i : p_i - i <= k}: one search in a sorted array.
    """

    def __init__(self, items: Tokens, offsets: Offsets) -> None:
        """Take the users' training parts, one after another, and where each begins; empty where a user is left out."""
        lengths = np.diff(offsets)
        if (count := np.count_nonzero(lengths)) < 2:
            raise DataError(f"expected two or more users, so that a segment has a rival, got {count}")
        remaining = np.repeat(offsets[1:], lengths) - np.arange(len(items))
        self._items = items
        self._order = np.argsort(-remaining, kind="stable")
        found = np.empty_like(self._order)
        found[self._order] = np.arange(len(items))
        users = np.repeat(np.arange(len(lengths)), lengths)
        self._stride = len(items) + 1
        self._keys = users * self._stride + found - (np.arange(len(items)) - offsets[users])
        self._starts = offsets[:-1]
        self._lengths = lengths
        self._begun = np.cumsum(np.bincount(remaining)[::-1])[::-1]  # places that begin a segment of each length
        first, second = np.sort(lengths)[::-1][:2]
        self._longest = np.where(lengths == first, second, first)  # a second user as long as the first is `second` too

    def longest(self, users: Counts) -> Counts:
        """The length of the longest training part that is not the user's own."""
        longest: Counts = self._longest[users]
        return longest

    def draw(self, rng: np.random.Generator, users: Counts, counts: Counts) -> Int64[np.ndarray, " drawn"]:
        """A segment for each of `users`, of so many items, no more than `longest`; their items one after another."""
        own = np.maximum(self._lengths[users] - counts + 1, 0)
        k = rng.integers(0, self._begun[counts] - own)
        before = np.searchsorted(self._keys, users * self._stride + k, side="right") - self._starts[users]
        places = self._order[k + before]
        ends = np.cumsum(counts)
        drawn: Int64[np.ndarray, " drawn"] = self._items[
            np.arange(counts.sum()) + np.repeat(places - (ends - counts), counts)
        ]
        return drawn
