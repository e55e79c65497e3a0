"""Crop, mask and reorder against a loop over sequences, and what `views_of` draws for them."""

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samrec_tests.shared import real_file, rows_of
from scipy.stats import chisquare

from samrec.data.augment import cropped, masked, reordered, share_of, views_of
from samrec.data.s3rec_text import read_s3rec_text
from samrec.data.split import training_sequences

MASK = 99
some_rows = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), min_size=1, max_size=7)


def flat(rows):
    items = np.array([item for row in rows for item in row], dtype=np.int64)
    return items, np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)


def drawn_runs(rows, seed):
    """A start, a length that may be 0, and a key for every item."""
    rng = np.random.default_rng(seed)
    lengths = np.array([len(row) for row in rows])
    counts = rng.integers(0, lengths + 1)
    return rng.integers(0, lengths - counts + 1), counts, rng.random(lengths.sum())


@given(some_rows, st.integers(0, 2**32))
def test_crop_keeps_a_run(rows, seed):
    starts, counts, _ = drawn_runs(rows, seed)
    counts = np.maximum(counts, 1)
    starts = np.minimum(starts, [len(row) - count for row, count in zip(rows, counts, strict=True)])
    found = rows_of(*cropped(*flat(rows), starts, counts))
    assert found == [row[start : start + count] for row, start, count in zip(rows, starts, counts, strict=True)]


@given(some_rows, st.integers(0, 2**32))
def test_mask_replaces_the_items_of_the_smallest_keys(rows, seed):
    _, counts, keys = drawn_runs(rows, seed)
    items, offsets = flat(rows)
    expected = []
    for row, (start, end), count in zip(rows, pairwise(offsets), counts, strict=True):
        smallest = sorted(range(len(row)), key=lambda place, own=keys[start:end]: own[place])[:count]
        expected.append([MASK if place in smallest else item for place, item in enumerate(row)])
    assert rows_of(masked(items, offsets, counts, keys, mask_id=MASK), offsets) == expected


@given(some_rows, st.integers(0, 2**32))
def test_reorder_sorts_a_run_by_its_keys_and_leaves_the_rest(rows, seed):
    starts, counts, keys = drawn_runs(rows, seed)
    items, offsets = flat(rows)
    expected = []
    for row, (first, end), start, count in zip(rows, pairwise(offsets), starts, counts, strict=True):
        own, run = keys[first:end], range(start, start + count)
        expected.append(row[:start] + [row[place] for place in sorted(run, key=own.__getitem__)] + row[start + count :])
    assert rows_of(reordered(items, offsets, starts, counts, keys), offsets) == expected


@given(some_rows, st.integers(0, 2**32))
def test_operators_leave_what_they_are_given_as_it_was(rows, seed):
    starts, counts, keys = drawn_runs(rows, seed)
    items, offsets = flat(rows)
    masked(items, offsets, counts, keys, mask_id=MASK)
    reordered(items, offsets, starts, counts, keys)
    assert rows_of(items, offsets) == rows


@given(st.integers(0, 1000), st.integers(0, 100))
def test_a_share_of_a_length_is_floored_in_exact_arithmetic(length, percent):
    assert share_of(np.array([length]), percent / 100).tolist() == [math.floor(Fraction(percent, 100) * length)]


def views(rows, seed=0, **options):
    return rows_of(*views_of(*flat(rows), np.random.default_rng(seed), mask_id=MASK, **options))


LENGTHS = [1, 2, 3, 4, 5, 10, 23, 50]
ROWS = [list(range(1, length + 1)) for length in LENGTHS]


@pytest.mark.parametrize("seed", range(20))
def test_every_view_is_a_crop_a_mask_or_a_reordering_of_its_sequence_in_the_papers_proportions(seed):
    for place, view in enumerate(views(ROWS, seed)):
        row = ROWS[place // 2]
        n = len(row)
        if len(view) < n:
            start = row.index(view[0])
            assert view == row[start : start + max(1, n * 6 // 10)]
        elif MASK in view:
            assert view.count(MASK) == n * 3 // 10
            assert all(item in (own, MASK) for item, own in zip(view, row, strict=True))
        else:
            assert sorted(view) == row
            moved = [at for at in range(n) if view[at] != row[at]]
            assert not moved or moved[-1] - moved[0] < n * 6 // 10


@pytest.mark.parametrize("operator", ["crop", "mask", "reorder"])
def test_with_one_operator_it_is_the_only_one(operator):
    kinds = {"crop": 0, "mask": 0, "reorder": 0}
    for place, view in enumerate(views(ROWS * 20, operators=(operator,))):
        row = (ROWS * 20)[place // 2]
        if view != row:
            kinds["crop" if len(view) < len(row) else "mask" if MASK in view else "reorder"] += 1
    assert [name for name, count in kinds.items() if count] == [operator]


def test_a_sequence_of_one_item_is_its_own_view():
    assert views([[7]] * 30) == [[7]] * 60


def test_shares_can_be_chosen():
    rows = [list(range(1, 11))] * 40
    assert {len(view) for view in views(rows, operators=("crop",), crop=0.2)} == {2}
    assert {view.count(MASK) for view in views(rows, operators=("mask",), mask=0.5)} == {5}
    assert views(rows, operators=("reorder",), reorder=0.0) == [row for row in rows for _ in range(2)]


def test_operators_are_drawn_uniformly_and_independently_of_the_other_view():
    kinds = [
        "crop" if len(view) < 40 else "mask" if MASK in view else "reorder" for view in views([ROWS[-1][:40]] * 9000)
    ]
    pairs = Counter(zip(kinds[::2], kinds[1::2], strict=True))
    assert len(pairs) == 9
    assert chisquare(list(pairs.values())).pvalue > 1e-3


def test_starts_masks_and_orders_are_drawn_uniformly():
    row = [1, 2, 3, 4, 5]
    crops = Counter(map(tuple, views([row] * 5000, operators=("crop",))))
    masks = Counter(map(tuple, views([row] * 5000, operators=("mask",), mask=0.4)))
    orders = Counter(map(tuple, views([row[:3]] * 5000, operators=("reorder",), reorder=1.0)))
    assert set(crops) == {(1, 2, 3), (2, 3, 4), (3, 4, 5)}
    assert len(masks) == math.comb(5, 2)
    assert set(orders) == set(permutations((1, 2, 3)))
    for drawn in (crops, masks, orders):
        assert chisquare(list(drawn.values())).pvalue > 1e-3


def test_the_generator_alone_decides_the_views():
    assert views(ROWS, seed=3) == views(ROWS, seed=3)
    assert views(ROWS, seed=3) != views(ROWS, seed=4)


def test_an_epoch_of_beautys_views_has_the_proportions_of_the_operators():
    sequences = training_sequences(read_s3rec_text(real_file("Beauty.txt")))
    mask_id = 12102
    items, offsets = views_of(sequences.items, sequences.offsets, np.random.default_rng(0), mask_id=mask_id)
    before, after = np.repeat(sequences.lengths, 2), np.diff(offsets)
    masks = np.add.reduceat(items == mask_id, offsets[:-1], dtype=np.int64)
    shortened, hidden = after < before, masks > 0
    assert (after[shortened] == np.maximum(1, before[shortened] * 6 // 10)).all()
    assert (masks[hidden] == before[hidden] * 3 // 10).all()
    assert not (shortened & hidden).any()
    long = before >= 4  # where each operator changes something
    assert [shortened[long].mean(), hidden[long].mean()] == pytest.approx([1 / 3, 1 / 3], abs=0.01)
