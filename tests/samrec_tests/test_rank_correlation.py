"""Kendall's tau-b, of all pairs or some, and its interval: counted by pairs, and by scipy on runs really repeated."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from samrec.errors import ConfigError
from samrec.experiments.rank_correlation import rank_correlation, redrawn_taus

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


def test_perfect_order_is_one_without_an_interval_and_its_p_value_is_exact():
    found = rank_correlation(np.arange(5.0), np.arange(5.0) ** 3)
    assert found.tau == pytest.approx(1)
    assert math.isnan(found.low)  # all redraws are 1 too: an interval of no width would claim certainty
    assert math.isnan(found.high)
    assert found.p_value == pytest.approx(2 / math.factorial(5))
    assert rank_correlation(np.arange(5.0), -np.arange(5.0)).tau == pytest.approx(-1)


def test_where_many_redraws_have_no_tau_there_is_no_interval():
    nearly_constant = np.array([0.0] * 9 + [1.0])  # a third of the redraws has the zeros alone
    found = rank_correlation(nearly_constant, np.arange(10.0), draws=1000)
    assert found.tau == pytest.approx(kendalltau(nearly_constant, np.arange(10.0)).statistic)
    assert found.draws < 800
    assert math.isnan(found.low)


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


def tau_of_pairs(x, y, comparable):
    """Counted, over the pairs that may be held against each other."""
    sums = np.zeros(3)
    for i, j in itertools.combinations(range(len(x)), 2):
        if comparable[i][j]:
            sums += (np.sign((x[i] - x[j]) * (y[i] - y[j])), x[i] != x[j], y[i] != y[j])
    return sums[0] / math.sqrt(sums[1] * sums[2]) if sums[1] * sums[2] else math.nan


def test_tau_of_some_pairs_and_its_redraws_are_counted_over_these_alone():
    z = X + RNG.normal(size=14).round()
    near = np.abs(z[:, None] - z[None, :]) <= 2
    found = rank_correlation(X, Y, comparable=near, confidence=0.9, draws=60, seed=3)
    assert found.tau == pytest.approx(tau_of_pairs(X, Y, near), rel=1e-12)
    assert found.pairs == np.triu(near, 1).sum() < math.comb(14, 2)
    assert math.isnan(found.p_value)
    counts = np.random.default_rng(3).multinomial(14, np.full(14, 1 / 14), size=60)
    drawn = [np.repeat(np.arange(14), count) for count in counts]
    slow = [tau_of_pairs(X[rows], Y[rows], near[np.ix_(rows, rows)]) for rows in drawn]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(slow, [0.05, 0.95])))
    everything = rank_correlation(X, Y, comparable=np.ones((14, 14), dtype=bool), draws=60)
    assert everything.tau == pytest.approx(rank_correlation(X, Y, draws=60).tau)


def test_what_a_third_explains_is_not_seen_in_pairs_alike_in_it():
    z = np.repeat(np.arange(40.0), 5)
    x, y = z + RNG.normal(size=(2, 200))
    found = rank_correlation(x, y, comparable=z[:, None] == z[None, :], draws=300)
    assert rank_correlation(x, y, draws=300).low > 0.8
    assert found.low < 0 < found.high
    assert found.pairs == 40 * math.comb(5, 2)


def test_few_pairs_give_a_tau_and_no_interval():
    one = np.zeros((6, 6), dtype=bool)
    one[0, 1] = one[1, 0] = True
    found = rank_correlation(np.arange(6.0), np.arange(6.0), comparable=one, draws=200)
    assert (found.tau, found.pairs) == (1, 1)
    assert found.draws < 190  # a redraw has both runs of the only pair about half the time
    assert math.isnan(found.low)
    none = rank_correlation(np.arange(6.0), np.arange(6.0), comparable=np.zeros((6, 6), dtype=bool))
    assert (math.isnan(none.tau), none.pairs, none.draws) == (True, 0, 0)
