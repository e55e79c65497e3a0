"""Augmented views of sequences: crop, mask and reorder, of a whole epoch of packed sequences at once.

The operators of CL4SRec (Xie et al., "Contrastive Learning for Sequential Recommendation", ICDE 2022). Of n items

    crop     keeps a run of max(1, floor(.6 n)) of them
    mask     replaces floor(.3 n) of them by the mask id
    reorder  shuffles a run of floor(.6 n) of them

Each is a function of flat items, offsets and what was drawn for it, without a loop over sequences; `views_of` draws.
Letters: T tokens, S sequences.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from samrec.config import Operator

Tokens = Int64[np.ndarray, " tokens"]
Offsets = Int64[np.ndarray, " rows"]
Counts = Int64[np.ndarray, " sequences"]
Keys = Float64[np.ndarray, " tokens"]


def views_of(
    items: Tokens,
    offsets: Offsets,
    rng: np.random.Generator,
    *,
    mask_id: int,
    views: int = 2,
    operators: Sequence[Operator] = ("crop", "mask", "reorder"),
    crop: float = 0.6,
    mask: float = 0.3,
    reorder: float = 0.6,
) -> tuple[Int64[np.ndarray, " made"], Int64[np.ndarray, " ends"]]:
    """Augment each sequence `views` times, each time by an operator drawn uniformly and independently.

    Args:
        items: (T,) all sequences, one after another.
        offsets: (S + 1,) where each begins.
        rng: decides everything. What is drawn for a sequence depends on all sequences: hand over a whole epoch's.
        mask_id: the item id that masks.
        views: of each sequence.
        operators: the ones to draw from.
        crop: share of the items that crop keeps.
        mask: share that mask replaces.
        reorder: share that reorder shuffles.

    Returns:
        Flat items and offsets of `views` times S sequences; those of sequence s are s * views, s * views + 1, ...

    Two sorts of the tokens that are masked or shuffled; 80 ms for an epoch of Beauty.
    """
    lengths = np.repeat(np.diff(offsets), views)
    items, offsets = _repeated(items, offsets, views)
    chosen = rng.integers(0, len(operators), size=len(lengths))
    drawn = {name: np.isin(chosen, [i for i, one in enumerate(operators) if one == name]) for name in set(operators)}
    nobody = np.zeros(len(lengths), dtype=np.bool_)
    keys = rng.random(len(items))

    counts = np.where(drawn.get("mask", nobody), share_of(lengths, mask), 0)
    items = masked(items, offsets, counts, keys, mask_id=mask_id)
    counts = np.where(drawn.get("reorder", nobody), share_of(lengths, reorder), 0)
    items = reordered(items, offsets, rng.integers(0, lengths - counts + 1), counts, keys)
    counts = np.where(drawn.get("crop", nobody), np.maximum(1, share_of(lengths, crop)), lengths)
    return cropped(items, offsets, rng.integers(0, lengths - counts + 1), counts)


def cropped(
    items: Tokens, offsets: Offsets, starts: Counts, counts: Counts
) -> tuple[Int64[np.ndarray, " made"], Int64[np.ndarray, " ends"]]:
    """Of each sequence the `counts` items from `starts` on; where all are kept, it stays as it is."""
    within, sequence = _within(offsets)
    kept = (within >= starts[sequence]) & (within < (starts + counts)[sequence])
    return items[kept], np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(counts)))


def masked(items: Tokens, offsets: Offsets, counts: Counts, keys: Keys, *, mask_id: int) -> Tokens:
    """Each sequence with the `counts` items of its smallest keys replaced by the mask id."""
    within, sequence = _within(offsets)
    concerned = np.flatnonzero((counts > 0)[sequence])
    by_key = concerned[np.lexsort((keys[concerned], sequence[concerned]))]  # sequence by sequence, smallest key first
    hit = by_key[within[concerned] < counts[sequence[concerned]]]
    items = items.copy()
    items[hit] = mask_id
    return items


def reordered(items: Tokens, offsets: Offsets, starts: Counts, counts: Counts, keys: Keys) -> Tokens:
    """Each sequence with the run of `counts` items from `starts` on sorted by their keys."""
    within, sequence = _within(offsets)
    run = np.flatnonzero((within >= starts[sequence]) & (within < (starts + counts)[sequence]))
    by_key = run[np.lexsort((keys[run], sequence[run]))]
    items = items.copy()
    items[run] = items[by_key]
    return items


def share_of(lengths: Counts, share: float) -> Counts:
    """floor(share * n) for each length n, as in exact arithmetic: .29 of 100 is 29, not floor(28.999999999999996)."""
    return np.floor(np.round(share * lengths, 9)).astype(np.int64)


def _within(offsets: Offsets) -> tuple[Tokens, Tokens]:
    """Of each token its place in its sequence, from 0, and its sequence."""
    lengths = np.diff(offsets)
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths), np.repeat(np.arange(len(lengths)), lengths)


def _repeated(
    items: Tokens, offsets: Offsets, times: int
) -> tuple[Int64[np.ndarray, " made"], Int64[np.ndarray, " ends"]]:
    """Each sequence so many times in a row."""
    lengths = np.repeat(np.diff(offsets), times)
    ends = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))
    places = np.arange(ends[-1]) + np.repeat(np.repeat(offsets[:-1], times) - ends[:-1], lengths)
    return items[places], ends
