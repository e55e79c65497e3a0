"""Whether stated errors hold the truth as often as they say: the band is the binomial one of the stated rate."""

import numpy as np
from scipy import stats

SEEDS = 200
RATE = 0.95
CHANCE = 0.001  # of refusing an estimator whose errors are right


def holds_at_the_stated_rate(hits, *, rate=RATE):
    """Whether as many of these intervals hold the truth as `rate` of them would, but for chance."""
    hits = np.asarray(hits, dtype=bool)
    low, high = stats.binom.interval(1 - CHANCE, len(hits), rate)
    return low <= hits.sum() <= high


def covered(values, errors, truth, *, degrees):
    """Whether value +- t error holds the truth, one by one, at 95 % of a t with so many degrees of freedom."""
    reach = stats.t.ppf((1 + RATE) / 2, degrees) if np.isfinite(degrees) else stats.norm.ppf((1 + RATE) / 2)
    return np.abs(np.asarray(values, dtype=np.float64) - truth) <= reach * np.asarray(errors, dtype=np.float64)


def is_unbiased(values, truth):
    """Whether the mean of the estimates is the truth but for chance of 1 in 1000."""
    values = np.asarray(values, dtype=np.float64)
    off = abs(values.mean() - truth) / (values.std(ddof=1) / len(values) ** 0.5)
    return off <= stats.t.ppf(1 - CHANCE / 2, len(values) - 1)
