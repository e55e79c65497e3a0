"""Negatives against the set of missing items written out."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samrec_tests.shared import interactions_of, real_file, sequences
from scipy.stats import chisquare

from samrec.data.negatives import NegativeSampler
from samrec.data.s3rec_text import read_s3rec_text
from samrec.data.split import training_sequences
from samrec.errors import DataError


class EveryNumber(np.random.Generator):
    """A generator that draws 0, 1, 2, ... below the bound, so that every outcome is seen once."""

    def integers(self, low, high, size):
        assert low == 0
        assert (high == size[1]).all()
        return np.broadcast_to(np.arange(size[1]), size)


def excluded(row, rule):
    return set(row[:-2] if rule == "training" else row)


@given(sequences(), st.sampled_from(["training", "s3rec"]), st.integers(9, 14))
def test_each_missing_item_answers_exactly_one_draw(rows, rule, item_count):
    sampler = NegativeSampler(interactions_of(rows, item_count), rule)
    for user, row in enumerate(rows):
        missing = sorted(set(range(1, item_count + 1)) - excluded(row, rule))
        if missing:
            every = EveryNumber(np.random.PCG64(0))
            assert sampler.draw(every, np.array([user]), len(missing))[0].tolist() == missing


@given(sequences(max_item=20), st.integers(0, 2**32), st.sampled_from(["training", "s3rec"]))
def test_no_draw_is_an_item_of_the_users_set(rows, seed, rule):
    made = interactions_of(rows, item_count=21)
    users = np.random.default_rng(seed).integers(0, len(rows), size=50)
    drawn = NegativeSampler(made, rule).draw(np.random.default_rng(seed), users, size=3)
    assert drawn.shape == (50, 3)
    for user, negatives in zip(users, drawn, strict=True):
        assert not excluded(rows[user], rule) & set(negatives.tolist())
        assert negatives.min() >= 1
        assert negatives.max() <= 21


def test_draws_are_uniform_over_the_missing_items():
    sampler = NegativeSampler(interactions_of([[3, 5, 5, 1, 2], [1, 2, 3, 4, 5, 9]], item_count=12))
    drawn = sampler.draw(np.random.default_rng(0), np.array([0, 1]), size=30000)
    for negatives, taken in zip(drawn, [{3, 5}, {1, 2, 3, 4}], strict=True):
        counts = np.bincount(negatives, minlength=13)[1:]
        missing = [item - 1 for item in range(1, 13) if item not in taken]
        assert counts[missing].sum() == 30000
        assert chisquare(counts[missing]).pvalue > 1e-3


def test_the_training_rule_leaves_held_out_items_possible_and_the_s3rec_rule_does_not():
    made = interactions_of([[1, 2, 3, 4]], item_count=5)
    users = np.zeros(500, dtype=np.int64)
    assert set(NegativeSampler(made).draw(np.random.default_rng(0), users).ravel().tolist()) == {3, 4, 5}
    assert set(NegativeSampler(made, "s3rec").draw(np.random.default_rng(0), users).ravel().tolist()) == {5}


def test_the_generator_alone_decides_the_draws():
    sampler = NegativeSampler(interactions_of([[1, 2, 3, 4], [5, 6, 7]], item_count=50))
    users = np.array([0, 1, 1, 0])
    first, second = (sampler.draw(np.random.default_rng(7), users, 5) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, sampler.draw(np.random.default_rng(8), users, 5))


def test_a_user_who_has_had_everything_is_named():
    sampler = NegativeSampler(interactions_of([[1, 2, 3], [1, 2, 3, 1, 2]], item_count=3, user_ids=[40, 41]))
    assert set(sampler.draw(np.random.default_rng(0), np.array([0]), 20).ravel().tolist()) == {2, 3}
    with pytest.raises(DataError, match="user 41 has had all 3 items"):
        sampler.draw(np.random.default_rng(0), np.array([0, 1]))


def test_nobody_draws_nothing():
    sampler = NegativeSampler(interactions_of([[1, 2, 3]], item_count=5))
    assert sampler.draw(np.random.default_rng(0), np.array([], dtype=np.int64), 4).shape == (0, 4)


@given(sequences(max_item=9), st.integers(0, 2**32), st.integers(1, 4))
def test_distinct_draws_are_different_items_outside_the_users_set(rows, seed, size):
    sampler = NegativeSampler(interactions_of(rows, item_count=13), "s3rec")
    users = np.repeat(np.arange(len(rows)), 5)
    drawn = sampler.draw_distinct(np.random.default_rng(seed), users, size)
    for user, negatives in zip(users, drawn.tolist(), strict=True):
        assert len(set(negatives)) == size
        assert set(negatives) <= set(range(1, 14)) - set(rows[user])


@pytest.mark.parametrize("size", [2, 4])
def test_every_set_of_distinct_draws_is_equally_likely(size):
    sampler = NegativeSampler(interactions_of([[2, 4, 5]], item_count=8), "s3rec")
    drawn = sampler.draw_distinct(np.random.default_rng(0), np.zeros(20_000, dtype=np.int64), size)
    sets = Counter(tuple(sorted(row)) for row in drawn.tolist())
    assert sets.keys() == set(itertools.combinations([1, 3, 6, 7, 8], size))
    assert chisquare(list(sets.values())).pvalue > 1e-3


def test_too_few_items_for_distinct_draws_is_named():
    sampler = NegativeSampler(interactions_of([[1, 2, 3], [1, 2, 3, 4]], item_count=6, user_ids=[40, 41]), "s3rec")
    rng = np.random.default_rng(0)
    assert sorted(sampler.draw_distinct(rng, np.array([0]), 3)[0].tolist()) == [4, 5, 6]
    with pytest.raises(DataError, match="expected 3 items to draw for every user, got 2 that user 41 has not had"):
        sampler.draw_distinct(rng, np.array([0, 1]), 3)


def test_an_epoch_of_beauty_holds_no_training_item_of_its_user():
    made = read_s3rec_text(real_file("Beauty.txt"))
    split = training_sequences(made)
    users = np.repeat(split.users, split.lengths)
    drawn = NegativeSampler(made).draw(np.random.default_rng(0), users)[:, 0]
    taken = [set(made.sequence(user)[:-2].tolist()) for user in range(made.users)]
    assert not any(item in taken[user] for user, item in zip(users.tolist(), drawn.tolist(), strict=True))
    assert len(np.unique(drawn)) > 0.99 * made.item_count
