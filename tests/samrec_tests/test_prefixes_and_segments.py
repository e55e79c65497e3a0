"""What pre-training reads: prefixes, masks, segments and their rivals, each against a loop."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samrec_tests.shared import interactions_of, real_file, rows_of, sequences

from samrec.data.prefixes import training_prefixes
from samrec.data.s3rec_text import read_s3rec_text
from samrec.data.segments import SegmentSampler, draw_segments, hidden_tokens, segment_views
from samrec.errors import DataError

MASK = 99


def generator(seed=0):
    return np.random.default_rng(seed)


def flat(rows):
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return np.array([item for row in rows for item in row], dtype=np.int64), offsets.astype(np.int64)


def within(share, expected, draws, *, deviations=5):
    """Whether a share of so many draws is the expected one, but for chance."""
    return abs(share - expected) <= deviations * np.sqrt(expected * (1 - expected) / draws)


# Prefixes


@given(rows=sequences(), max_length=st.integers(1, 12))
def test_the_samples_are_every_prefix_of_every_training_part(rows, max_length):
    prefixes = training_prefixes(interactions_of(rows), max_length=max_length)
    expected = []
    for row in rows:
        part = row[:-2][-max_length:]
        expected += [part[:length] for length in range(1, len(part) + 1)]
    assert rows_of(*prefixes.gathered(np.arange(len(prefixes)))) == expected
    assert prefixes.lengths().tolist() == [len(prefix) for prefix in expected]


def test_some_prefixes_come_in_the_order_asked_for():
    prefixes = training_prefixes(interactions_of([[1, 2, 3, 4, 5], [6, 7, 8, 9]]))
    assert prefixes.users.tolist() == [0, 0, 0, 1, 1]
    assert rows_of(*prefixes.gathered(np.array([4, 0, 2]))) == [[6, 7], [1], [1, 2, 3]]


def test_beauty_has_150258_prefixes():
    prefixes = training_prefixes(read_s3rec_text(real_file("Beauty.txt")))
    assert (len(prefixes), prefixes.lengths().sum()) == (150_258, 1_074_507)


# Masks


def test_a_token_is_masked_with_the_given_probability_and_the_last_one_always():
    offsets = flat([[0] * length for length in (1, 2, 5, 30)] * 500)[1]
    hidden = hidden_tokens(offsets, generator(), share=0.2)
    last = np.isin(np.arange(len(hidden)), offsets[1:] - 1)
    assert hidden[last].all()
    assert within(hidden[~last].mean(), 0.2, (~last).sum())


def test_with_probability_0_only_the_last_tokens_are_masked():
    offsets = flat([[0] * 3, [0], [0] * 4])[1]
    assert np.flatnonzero(hidden_tokens(offsets, generator(), share=0.0)).tolist() == [2, 3, 7]


# Segments


@given(st.lists(st.tuples(st.integers(2, 30), st.integers(1, 12)), min_size=1, max_size=20), st.integers(0, 9))
def test_a_segment_lies_in_its_sequence_and_is_at_most_half_of_it(drawn, seed):
    lengths, longest = (np.array(column) for column in zip(*drawn, strict=True))
    starts, counts = draw_segments(lengths, longest, generator(seed))
    assert (counts >= 1).all()
    assert (counts <= np.minimum(lengths // 2, longest)).all()
    assert (starts >= 0).all()
    assert (starts + counts <= lengths).all()


def test_every_length_is_as_likely_and_every_place_of_a_length():
    draws = 30_000
    starts, counts = draw_segments(np.full(draws, 7), np.full(draws, 50), generator())
    seen = Counter(zip(counts.tolist(), starts.tolist(), strict=True))
    expected = {(count, start): 1 / 3 / (8 - count) for count in (1, 2, 3) for start in range(8 - count)}
    assert seen.keys() == expected.keys()
    assert all(within(seen[pair] / draws, chance, draws) for pair, chance in expected.items())


def test_views_are_the_context_the_segment_and_the_rival_each_with_the_rest_masked():
    items, offsets = flat([[1, 2, 3, 4, 5], [6, 7]])
    laid, ends = segment_views(items, offsets, np.array([1, 1]), np.array([2, 1]), np.array([21, 22, 23]), mask_id=MASK)
    assert rows_of(laid, ends) == [
        [1, MASK, MASK, 4, 5],
        [MASK, 2, 3, MASK, MASK],
        [MASK, 21, 22, MASK, MASK],
        [6, MASK],
        [MASK, 7],
        [MASK, 23],
    ]


# Rivals

PARTS = [[1, 2, 3, 4, 5], [6], [7, 8, 9], [10, 11, 12, 13, 14], [15, 16]]


def rivals(user, length):
    """All segments of so many items that are not the user's own."""
    return [
        tuple(part[start : start + length])
        for owner, part in enumerate(PARTS)
        if owner != user
        for start in range(len(part) - length + 1)
    ]


@pytest.mark.parametrize("user", range(5))
@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_every_segment_of_another_user_is_as_likely_and_no_other_is_drawn(user, length):
    draws = 4000
    sampler = SegmentSampler(*flat(PARTS))
    items = sampler.draw(generator(), np.full(draws, user), np.full(draws, length))
    seen = Counter(map(tuple, items.reshape(draws, length).tolist()))
    expected = rivals(user, length)
    assert set(seen) == set(expected)
    assert all(within(seen[rival] / draws, 1 / len(expected), draws) for rival in expected)


def test_segments_of_several_lengths_and_users_are_drawn_at_once():
    users, counts = generator(1).integers(0, 5, size=300), generator(2).integers(1, 6, size=300)
    items = SegmentSampler(*flat(PARTS)).draw(generator(), users, counts)
    drawn = rows_of(items, np.concatenate([[0], np.cumsum(counts)]))
    for user, count, rival in zip(users, counts, drawn, strict=True):
        assert tuple(rival) in rivals(user, count)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=6))
def test_the_longest_rival_is_known(lengths):
    sampler = SegmentSampler(*flat([[1] * length for length in lengths]))
    expected = [max(lengths[:user] + lengths[user + 1 :]) for user in range(len(lengths))]
    assert sampler.longest(np.arange(len(lengths))).tolist() == expected


def test_a_single_user_has_no_rival():
    with pytest.raises(DataError, match="two or more users"):
        SegmentSampler(*flat([[1, 2, 3]]))
