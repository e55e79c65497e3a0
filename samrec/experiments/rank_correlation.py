"""Do two numbers order the same runs alike? Kendall's tau-b with a bootstrap interval and a permutation p-value.

    tau-b = (concordant - discordant pairs) / sqrt(pairs not tied in x * pairs not tied in y)

The interval is the percentile one over redrawn runs. A redrawn run may come several times, and those copies are tied
pairs: with counts c of every run and S_x, S_y the signs of all differences, a redraw's tau is

    c' (S_x * S_y) c / sqrt(c' |S_x| c * c' |S_y| c)

so that all redraws are three matrix products. Runs of one setting with different seeds are redrawn like any others: the
interval takes runs, not settings, as the units.

What a third number z explains of both is taken out by Kendall's partial tau,

    (tau_xy - tau_xz tau_yz) / sqrt((1 - tau_xz^2) (1 - tau_yz^2))
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import kendalltau

from samrec.errors import ConfigError

FEWEST = 4  # runs: below, the interval would span all there is
ROUNDING = 1e-12  # a third that orders runs as one of the two does leaves nothing, but for rounding
NOTHING = float("nan")


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Kendall's tau-b of some runs, or a partial one. NaN where not defined: fewer than two runs, or all alike."""

    tau: float
    low: float  # of the bootstrap interval; NaN for fewer than four runs
    high: float
    confidence: float
    p_value: float  # two-sided, of no association: exact without ties, else the normal approximation; NaN of a partial
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
    _check(confidence, draws)
    x, y = _finite(x, y)
    runs = len(x)
    if not _is_ordered(x, y):
        return RankCorrelation(NOTHING, NOTHING, NOTHING, confidence, NOTHING, runs, 0)
    found = kendalltau(x, y)
    low = high = NOTHING
    taus = np.zeros(0)
    if runs >= FEWEST:
        taus = redrawn_taus(x, y, _redraws(runs, draws, seed))
        low, high, taus = _interval(taus, confidence)
    return RankCorrelation(float(found.statistic), low, high, confidence, float(found.pvalue), runs, len(taus))


def partial_rank_correlation(
    x: Float[np.ndarray, " runs"],
    y: Float[np.ndarray, " runs"],
    given: Float[np.ndarray, " runs"],
    *,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> RankCorrelation:
    """Kendall's partial tau of two measures of the same runs, given a third; runs without one of the three left out.

    Not defined, NaN, where the third orders the runs as one of the two does, the other way round too, or is the same
    for all of them. No p-value: its distribution without an association is not known. Costs three times a plain one.

    Raises:
        ConfigError: a confidence outside 0 to 1 or no draws.

    Source: Kendall, Biometrika 32 (1942).
    """
    _check(confidence, draws)
    x, y, z = _finite(x, y, given)
    runs = len(x)
    if not _is_ordered(x, y, z):
        return RankCorrelation(NOTHING, NOTHING, NOTHING, confidence, NOTHING, runs, 0)
    once = np.ones((1, runs), dtype=np.int64)
    tau = float(_partial(x, y, z, once)[0])
    low = high = NOTHING
    taus = np.zeros(0)
    if runs >= FEWEST and np.isfinite(tau):
        low, high, taus = _interval(_partial(x, y, z, _redraws(runs, draws, seed)), confidence)
    return RankCorrelation(tau, low, high, confidence, NOTHING, runs, len(taus))


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


def _partial(
    x: Float[np.ndarray, " runs"], y: Float[np.ndarray, " runs"], z: Float[np.ndarray, " runs"], counts: np.ndarray
) -> Float[np.ndarray, " draws"]:
    xy, xz, yz = (redrawn_taus(a, b, counts) for a, b in ((x, y), (x, z), (y, z)))
    left = (1 - xz**2) * (1 - yz**2)
    return np.where(left > ROUNDING, (xy - xz * yz) / np.sqrt(np.maximum(left, ROUNDING)), NOTHING)


def _interval(
    taus: Float[np.ndarray, " draws"], confidence: float
) -> tuple[float, float, Float[np.ndarray, " defined"]]:
    """Both ends, and the redraws in which there is a tau; NaN where there is none."""
    taus = taus[np.isfinite(taus)]
    if not len(taus):
        return NOTHING, NOTHING, taus
    low, high = np.quantile(taus, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high), taus


def _redraws(runs: int, draws: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(runs, np.full(runs, 1 / runs), size=draws)


def _finite(*measures: np.ndarray) -> list[Float[np.ndarray, " runs"]]:
    """Of the runs that have all of them."""
    known = np.all([np.isfinite(measure) for measure in measures], axis=0)
    return [np.asarray(measure, dtype=np.float64)[known] for measure in measures]


def _is_ordered(*measures: Float[np.ndarray, " runs"]) -> bool:
    return all(len(np.unique(measure)) > 1 for measure in measures)


def _check(confidence: float, draws: int) -> None:
    if not 0 < confidence < 1 or draws < 1:
        raise ConfigError(f"expected a confidence between 0 and 1 and at least 1 draw, got {confidence} and {draws}")
