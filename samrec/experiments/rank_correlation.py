"""Do two numbers order the same runs alike? Kendall's tau-b with a bootstrap interval and a permutation p-value.

    tau-b = (concordant - discordant pairs) / sqrt(pairs not tied in x * pairs not tied in y)

The interval is the percentile one over redrawn runs. A redrawn run may come several times, and those copies are tied
pairs: with counts c of every run and S_x, S_y the signs of all differences, a redraw's tau is

    c' (S_x * S_y) c / sqrt(c' |S_x| c * c' |S_y| c)

so that all redraws are three matrix products. Runs of one setting with different seeds are redrawn like any others: the
interval takes runs, not settings, as the units.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import kendalltau

from samrec.errors import ConfigError

FEWEST = 4  # runs: below, the interval would span all there is


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Kendall's tau-b of some runs. NaN where it is not defined: fewer than two runs, or no two that differ."""

    tau: float
    low: float  # of the bootstrap interval; NaN for fewer than four runs
    high: float
    confidence: float
    p_value: float  # two-sided, of no association: exact without ties, else the normal approximation
    runs: int
    draws: int  # redraws in which tau is defined


def rank_correlation(
    x: Float[np.ndarray, " runs"],
    y: Float[np.ndarray, " runs"],
    *,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> RankCorrelation:
    """Kendall's tau-b of two measures of the same runs; runs where either is NaN or infinite are left out.

    Costs draws * runs^2 multiplications.

    Raises:
        ConfigError: a confidence outside 0 to 1 or no draws.

    Source: Kendall, Biometrika 33 (1945) for ties; Efron and Tibshirani (1993), chapter 13, for the interval.
    """
    if not 0 < confidence < 1 or draws < 1:
        raise ConfigError(f"expected a confidence between 0 and 1 and at least 1 draw, got {confidence} and {draws}")
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.asarray(x, dtype=np.float64)[known], np.asarray(y, dtype=np.float64)[known]
    runs = len(x)
    nothing = float("nan")
    if runs < 2 or len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return RankCorrelation(nothing, nothing, nothing, confidence, nothing, runs, 0)
    found = kendalltau(x, y)
    taus = np.zeros(0)
    low = high = nothing
    if runs >= FEWEST:
        counts = np.random.default_rng(seed).multinomial(runs, np.full(runs, 1 / runs), size=draws)
        taus = redrawn_taus(x, y, counts)
        taus = taus[np.isfinite(taus)]
        low, high = np.quantile(taus, [(1 - confidence) / 2, (1 + confidence) / 2])
    return RankCorrelation(
        float(found.statistic), float(low), float(high), confidence, float(found.pvalue), runs, len(taus)
    )


def redrawn_taus(
    x: Float[np.ndarray, " runs"], y: Float[np.ndarray, " runs"], counts: np.ndarray
) -> Float[np.ndarray, " draws"]:
    """Tau-b of each redraw, a row of `counts` each saying how often every run came; NaN where all are tied."""
    signs_x, signs_y = (np.sign(values[:, None] - values[None, :]) for values in (x, y))
    c = np.asarray(counts, dtype=np.float64)
    agreement, untied_x, untied_y = (
        np.einsum("dr,dr->d", c @ matrix, c) for matrix in (signs_x * signs_y, np.abs(signs_x), np.abs(signs_y))
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(agreement / np.sqrt(untied_x * untied_y))
