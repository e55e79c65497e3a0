"""Kendall's tau-b, plain and partial, and its interval: counted by pairs, and by scipy on runs really repeated."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from samrec.errors import ConfigError
from samrec.experiments.rank_correlation import partial_rank_correlation, rank_correlation, redrawn_taus

RNG = np.random.default_rng(0)
X = RNG.integers(0, 6, size=14).astype(float)  # with ties
Y = X + RNG.normal(size=14).round(1)


def tau_by_counting(x, y):
    concordant = discordant = tied_x = tied_y = 0
    for i, j in itertools.combinations(range(len(x)), 2):
        product = (x[i] - x[j]) * (y[i] - y[j])
        concordant += product > 0
        discordant += product < 0
        tied_x += x[i] == x[j]
        tied_y += y[i] == y[j]
    pairs = math.comb(len(x), 2)
    return (concordant - discordant) / math.sqrt((pairs - tied_x) * (pairs - tied_y))


def test_tau_is_what_counting_pairs_gives():
    assert rank_correlation(X, Y).tau == pytest.approx(tau_by_counting(X, Y), rel=1e-12)


def test_redraws_are_the_taus_of_runs_really_repeated():
    counts = RNG.multinomial(len(X), np.full(len(X), 1 / len(X)), size=50)
    slow = [kendalltau(np.repeat(X, count), np.repeat(Y, count)).statistic for count in counts]
    assert redrawn_taus(X, Y, counts) == pytest.approx(np.array(slow), rel=1e-12, nan_ok=True)


def test_the_interval_is_of_the_redraws_and_the_same_every_time():
    found = rank_correlation(X, Y, confidence=0.9, draws=400, seed=3)
    counts = np.random.default_rng(3).multinomial(14, np.full(14, 1 / 14), size=400)
    slow = [kendalltau(np.repeat(X, count), np.repeat(Y, count)).statistic for count in counts]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(slow, [0.05, 0.95])))
    assert rank_correlation(X, Y, confidence=0.9, draws=400, seed=3) == found
    assert found.draws == 400


def test_perfect_order_is_one_and_its_p_value_is_exact():
    found = rank_correlation(np.arange(5.0), np.arange(5.0) ** 3)
    assert (found.tau, found.low, found.high) == pytest.approx((1, 1, 1))
    assert found.p_value == pytest.approx(2 / math.factorial(5))
    assert rank_correlation(np.arange(5.0), -np.arange(5.0)).tau == pytest.approx(-1)


def test_runs_without_a_number_are_left_out():
    with_gaps = rank_correlation(np.array([1.0, np.nan, 2, 3, 4, np.inf]), np.array([4.0, 1, 3, 2, 1, 9]))
    assert (with_gaps.tau, with_gaps.runs) == (pytest.approx(-1), 4)


@pytest.mark.parametrize(("x", "runs"), [([], 0), ([1.0], 1), ([2.0, 2.0, 2.0], 3)])
def test_what_has_no_order_has_no_tau(x, runs):
    found = rank_correlation(np.array(x, dtype=float), np.arange(float(len(x))))
    assert math.isnan(found.tau)
    assert math.isnan(found.p_value)
    assert (found.runs, found.draws) == (runs, 0)


def test_three_runs_have_a_tau_and_no_interval():
    found = rank_correlation(np.arange(3.0), np.array([1.0, 3.0, 2.0]))
    assert found.tau == pytest.approx(1 / 3)
    assert math.isnan(found.low)


@pytest.mark.parametrize("options", [{"confidence": 1.0}, {"draws": 0}])
def test_options_outside_their_range_are_refused(options):
    with pytest.raises(ConfigError, match="confidence"):
        rank_correlation(X, Y, **options)


def partial_by_counting(x, y, z):
    xy, xz, yz = (tau_by_counting(*pair) for pair in ((x, y), (x, z), (y, z)))
    return (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))


def test_a_partial_tau_is_that_of_the_three_counted():
    z = X + RNG.normal(size=14).round()
    assert partial_rank_correlation(X, Y, z).tau == pytest.approx(partial_by_counting(X, Y, z), rel=1e-12)
    unrelated = np.array([0.0, 1, 1, 0])
    x = np.arange(4.0)
    found = partial_rank_correlation(x, np.array([0.0, 2, 1, 3]), unrelated)
    assert found.tau == pytest.approx(rank_correlation(x, np.array([0.0, 2, 1, 3])).tau)  # both taus with it are 0


def test_what_a_third_explains_of_two_is_taken_out():
    z = np.arange(200.0)
    noise = RNG.normal(size=(2, 200))
    x, y = z + 30 * noise[0], z + 30 * noise[1]
    plain, partial = rank_correlation(x, y, draws=300), partial_rank_correlation(x, y, z, draws=300)
    assert plain.low > 0.4
    assert partial.low < partial.tau < plain.low
    assert partial_rank_correlation(x, y, RNG.normal(size=200), draws=1).tau == pytest.approx(plain.tau, abs=0.02)
    assert math.isnan(partial.p_value)


def test_a_partial_intervals_redraws_are_of_runs_really_repeated():
    z = X + RNG.normal(size=14).round()
    found = partial_rank_correlation(X, Y, z, confidence=0.9, draws=60, seed=3)
    counts = np.random.default_rng(3).multinomial(14, np.full(14, 1 / 14), size=60)
    slow = [partial_by_counting(*(np.repeat(values, count) for values in (X, Y, z))) for count in counts]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(slow, [0.05, 0.95])))


@pytest.mark.parametrize("third", [X, -X, np.ones(14), np.full(14, np.nan)], ids=["same", "reversed", "tied", "none"])
def test_a_third_that_leaves_nothing_gives_no_partial_tau(third):
    found = partial_rank_correlation(X, Y, third)
    assert math.isnan(found.tau)
    assert math.isnan(found.low)
    assert (found.runs, found.draws) == (0 if np.isnan(third).all() else 14, 0)
