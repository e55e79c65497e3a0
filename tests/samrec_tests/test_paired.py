"""Paired comparisons against slow references, the coverage of the interval, and the levels kept apart."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from samrec.errors import ConfigError, ProtocolMismatch
from samrec.evaluation.metrics import per_user
from samrec.evaluation.paired import bootstrap_interval, paired_seeds, paired_users, sign_flip_p


def evaluation(ranks, protocol="p", users=None):
    ranks = np.asarray(ranks, dtype=float)
    return SimpleNamespace(ranks=ranks, protocol=protocol, users=np.arange(len(ranks)) if users is None else users)


def ranks_of(random, users, scale=1.0):
    return np.ceil(np.exp(random.uniform(0, 6, users)) * scale).clip(1)


def slow_bootstrap(differences, draws, seed):
    random = np.random.default_rng(seed)
    means = [random.choice(differences, len(differences)).mean() for _ in range(draws)]
    return np.quantile(means, [0.025, 0.975])


def exact_sign_flip(differences):
    observed = abs(sum(differences))
    patterns = [
        abs(sum(sign * value for sign, value in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return np.mean([value >= observed - 1e-12 for value in patterns])


@pytest.mark.parametrize("kind", ["few distinct values", "all distinct"])
def test_the_interval_is_that_of_redrawing_users_one_draw_at_a_time(kind):
    random = np.random.default_rng(1)
    differences = random.choice([-1.0, 0, 0, 0, 1, 1], 600) if kind[0] == "f" else random.normal(0.1, 1, 600)
    low, high = bootstrap_interval(differences, draws=20_000)
    expected = slow_bootstrap(differences, 20_000, seed=2)
    width = expected[1] - expected[0]
    np.testing.assert_allclose([low, high], expected, atol=0.03 * width)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for repeat in range(400):
        low, high = bootstrap_interval(random.choice([-1.0, 0, 0, 1, 1], 300), draws=500, seed=repeat)
        covered += low <= 0.2 <= high
    assert stats.binomtest(covered, 400, 0.95).pvalue > 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_few_differences_get_the_exact_p_value(seed):
    differences = np.random.default_rng(seed).normal(0.4, 1, 9).round(1)
    p_value, exact = sign_flip_p(np.concatenate([differences, np.zeros(50)]))
    assert exact
    assert p_value == pytest.approx(exact_sign_flip(differences[differences != 0].tolist()), abs=1e-12)


@pytest.mark.parametrize("kind", ["few distinct values", "all distinct"])
def test_many_differences_get_a_p_value_close_to_the_normal_one(kind):
    random = np.random.default_rng(3)
    differences = random.choice([-1.0, 0, 0, 0, 1], 4000) if kind[0] == "f" else random.normal(0.02, 1, 4000)
    expected = 2 * stats.norm.sf(abs(differences.sum()) / np.sqrt((differences**2).sum()))
    p_value, exact = sign_flip_p(differences, draws=20_000)
    assert not exact
    assert p_value == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("users", [9, 200])
def test_p_values_without_a_difference_are_not_small_too_often(users):
    random = np.random.default_rng(4)
    small = sum(sign_flip_p(random.normal(0, 1, users), draws=199, seed=i)[0] <= 0.05 for i in range(400))
    assert stats.binomtest(small, 400, 0.05).pvalue > 1e-4


def test_p_is_one_where_nothing_differs_and_never_zero_where_everything_does():
    assert sign_flip_p(np.zeros(5)) == (1.0, True)
    assert sign_flip_p(np.ones(500), draws=99) == (0.01, False)


def test_two_checkpoints_are_compared_b_less_a_on_the_level_of_users():
    random = np.random.default_rng(5)
    a, b = evaluation(ranks_of(random, 3000)), evaluation(ranks_of(random, 3000, scale=0.5))
    result = paired_users(a, b, "ndcg@10")
    assert result.metric == "NDCG@10"
    assert result.difference == pytest.approx((per_user(b.ranks, "NDCG@10") - per_user(a.ranks, "NDCG@10")).mean())
    assert result.difference == pytest.approx(result.b - result.a)
    assert 0 < result.low < result.difference < result.high
    assert result.p_value < 0.01
    assert result.level == "users within this pair of checkpoints"


def test_swapping_the_checkpoints_turns_the_difference_round():
    random = np.random.default_rng(6)
    a, b = evaluation(ranks_of(random, 500)), evaluation(ranks_of(random, 500))
    there, back = paired_users(a, b, "HR@20"), paired_users(b, a, "HR@20")
    assert back.difference == -there.difference
    assert back.p_value == pytest.approx(there.p_value, abs=0.03)


def test_the_same_seed_gives_the_same_numbers():
    random = np.random.default_rng(7)
    a, b = evaluation(ranks_of(random, 500)), evaluation(ranks_of(random, 500))
    assert paired_users(a, b, "MRR", draws=300, seed=3) == paired_users(a, b, "MRR", draws=300, seed=3)
    assert paired_users(a, b, "MRR", draws=300, seed=3) != paired_users(a, b, "MRR", draws=300, seed=4)


def test_results_of_two_protocols_are_not_compared():
    with pytest.raises(ProtocolMismatch, match="one protocol"):
        paired_users(evaluation([1, 2], "masked"), evaluation([1, 2], "kept"))
    with pytest.raises(ProtocolMismatch, match="same users"):
        paired_users(evaluation([1, 2]), evaluation([1, 2], users=np.array([5, 6])))


def test_seeds_get_students_interval_and_the_exact_p_value():
    differences = np.array([0.002, 0.0011, 0.0007, -0.0003])
    result = paired_seeds(differences)
    low, high = stats.t.interval(0.95, 3, loc=differences.mean(), scale=stats.sem(differences))
    assert (result.low, result.high) == pytest.approx((low, high))
    assert result.p_value == exact_sign_flip(differences.tolist())
    assert (result.seeds, result.level, result.smallest_p) == (4, "seeds", 0.125)


def test_three_seeds_that_agree_reach_a_p_value_of_one_quarter_and_no_less():
    result = paired_seeds(np.array([0.1, 0.2, 0.3]))
    assert result.p_value == result.smallest_p == 0.25


def test_more_seeds_than_patterns_can_be_counted_get_a_drawn_p_value():
    differences = np.linspace(-0.5, 1.6, 21)
    result = paired_seeds(differences)
    assert (result.p_value, False) == sign_flip_p(differences)
    assert result.smallest_p == 1 / 10_001
    assert paired_seeds(np.full(21, 0.1)).p_value == result.smallest_p
    assert result.low < result.mean < result.high


def test_one_seed_has_no_interval():
    result = paired_seeds(np.array([0.1]))
    assert math.isnan(result.low)
    assert math.isnan(result.high)
    assert result.p_value == 1


@pytest.mark.parametrize("differences", [[], [np.nan], [1.0, np.inf]])
def test_differences_that_are_none_are_refused(differences):
    with pytest.raises(ConfigError, match="differences"):
        paired_seeds(np.array(differences))
    with pytest.raises(ConfigError, match="differences"):
        sign_flip_p(np.array(differences))
