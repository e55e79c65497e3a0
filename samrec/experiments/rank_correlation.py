"""Do two numbers order the same runs alike? Kendall's tau-b with a bootstrap interval and a permutation p-value.

    tau-b = (concordant - discordant pairs) / sqrt(pairs not tied in x * pairs not tied in y)

The interval is the percentile one over redrawn runs. A redrawn run may come several times, and those copies are tied
pairs: with counts c of every run and S_x, S_y the signs of all differences, a redraw's tau is

    c' (S_x * S_y) c / sqrt(c' |S_x| c * c' |S_y| c)

so that all redraws are three matrix products. Runs of one setting with different seeds are redrawn like any others: the
interval takes runs, not settings, as the units. Runs in perfect order have no interval: no redraw can leave it, and
one of no width would claim certainty. Where only some pairs of runs may be held against each other, all sums
are over these.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import kendalltau

from samrec.errors import ConfigError

FEWEST = 4  # runs: below, the interval would span all there is
MOST_UNDEFINED = 0.05  # share of redraws without a tau; beyond, those with one are no fair sample
ROUNDING = 1e-12  # of a tau of perfect order
NOTHING = float("nan")


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Kendall's tau-b of some runs. NaN where it is not defined: fewer than two runs, or no two that differ."""

    tau: float
    low: float  # of the bootstrap interval; NaN for fewer than four runs, perfect order, or too few redraws with a tau
    high: float
    confidence: float
    p_value: float  # two-sided, of no association: exact for up to 33 runs without ties, else normal; of all pairs
    runs: int
    pairs: int  # of runs, held against each other
    draws: int  # redraws in which tau is defined


def rank_correlation(
    x: Float[np.ndarray, " runs"],
    y: Float[np.ndarray, " runs"],
    *,
    comparable: Bool[np.ndarray, "runs runs"] | None = None,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> RankCorrelation:
    """Kendall's tau-b of two measures of the same runs; runs where either is NaN or infinite are left out.

    Costs draws * runs^2 multiplications.

    Args:
        x: one measure.
        y: the other.
        comparable: which pairs of runs count, a symmetric matrix; all by default. There is no p-value of a part of
            the pairs.
        confidence: of the interval.
        draws: how often runs are redrawn.
        seed: of the redraws.

    Raises:
        ConfigError: a confidence outside 0 to 1 or no draws.

    Source: Kendall, Biometrika 33 (1945) for ties; Efron and Tibshirani (1993), chapter 13, for the interval.
    """
    if not 0 < confidence < 1 or draws < 1:
        raise ConfigError(f"expected a confidence between 0 and 1 and at least 1 draw, got {confidence} and {draws}")
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.asarray(x, dtype=np.float64)[known], np.asarray(y, dtype=np.float64)[known]
    runs = len(x)
    counted = np.ones((runs, runs), dtype=np.bool_) if comparable is None else comparable[np.ix_(known, known)]
    pairs = int(np.triu(counted, 1).sum())
    tau = float(redrawn_taus(x, y, np.ones((1, runs)), counted)[0])
    p_value = low = high = NOTHING
    taus = np.zeros(0)
    if np.isfinite(tau):
        if comparable is None:
            whole = kendalltau(x, y)
            tau, p_value = float(whole.statistic), float(whole.pvalue)
        if runs >= FEWEST:
            counts = np.random.default_rng(seed).multinomial(runs, np.full(runs, 1 / runs), size=draws)
            taus = redrawn_taus(x, y, counts, counted)
            taus = taus[np.isfinite(taus)]
        if abs(tau) < 1 - ROUNDING and len(taus) and len(taus) >= (1 - MOST_UNDEFINED) * draws:
            low, high = map(float, np.quantile(taus, [(1 - confidence) / 2, (1 + confidence) / 2]))
    return RankCorrelation(tau, low, high, confidence, p_value, runs, pairs, len(taus))


def redrawn_taus(
    x: Float[np.ndarray, " runs"],
    y: Float[np.ndarray, " runs"],
    counts: np.ndarray,
    comparable: Bool[np.ndarray, "runs runs"] | None = None,
) -> Float[np.ndarray, " draws"]:
    """Tau-b of each redraw, a row of `counts` each saying how often every run came; NaN where all are tied."""
    signs_x, signs_y = (np.sign(values[:, None] - values[None, :]) for values in (x, y))
    if comparable is not None:
        signs_x, signs_y = signs_x * comparable, signs_y * comparable
    c = np.asarray(counts, dtype=np.float64)
    agreement, untied_x, untied_y = (
        np.einsum("dr,dr->d", c @ matrix, c) for matrix in (signs_x * signs_y, np.abs(signs_x), np.abs(signs_y))
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(agreement / np.sqrt(untied_x * untied_y))
