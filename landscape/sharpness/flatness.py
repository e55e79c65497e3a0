"""PAC-Bayes flatness: how much noise the weights bear before the mean loss rises by tau (Jiang et al. 2020).

Letters: w the checkpoint, T a diagonal scale, z standard Gaussian, f the mean rise, L the frozen loss.

    sigma = the largest with f(sigma) = E L(w + sigma T z) - L(w) <= tau;   flatness 1 / sigma^2, small where flat

T = I, or T = |w| ("relative": the magnitude-aware form of Jiang et al.). Every sigma is tried with the same pairs z and
-z, so that f is one smooth function and can be bisected; which sigma it leads to still depends on the draw, and
the standard error says how much: that of f at sigma, divided by the slope of f there.

For a quadratic f = sigma^2 / 2 tr(T H T), hence sigma^2 = 2 tau / tr(T H T).
"""

import math
from collections.abc import Callable

import torch

from landscape.errors import InvalidArgument
from landscape.objective import Objective, loss_at
from landscape.records import SharpnessMeasure
from landscape.sharpness.average_case import rises_under_noise
from landscape.sharpness.m_sharpness import mean_and_error
from landscape.sharpness.perturbation import Scale, scale_of, setting_of

TAU = 0.1  # Jiang et al. 2020 take a tenth too, of the training error
WIDEST = 2.0**20  # sigmas are looked for between the first guess divided and multiplied by this
MOST_TRIES = 60
SLOPE = 0.05  # the slope of f is taken over this share of sigma


def pac_bayes_flatness(
    objective: Objective,
    tau: float = TAU,
    *,
    scale: Scale = "absolute",
    block: str | None = None,
    pairs: int = 10,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> tuple[SharpnessMeasure, SharpnessMeasure]:
    """1 / sigma^2 ("pac_bayes") and sigma ("pac_bayes_sigma"), each with its standard error.

    Two losses a pair for each sigma tried; on trained networks about five are.

    Args:
        objective: the frozen loss; its weights are the centre.
        tau: the rise allowed, in units of the loss, above 0.
        scale: "absolute" for T = I, "relative" for T = |w|.
        block: the only weights that move; all by default.
        pairs: antithetic pairs, at least 2. The error speaks of the noise alone.
        tolerance: accepted |f(sigma) / tau - 1|.
        seed: of z.

    Returns:
        The first sigma, from the small ones up, at which f passes tau. Where no noise raises the loss by tau, sigma is
        infinite and 1 / sigma^2 is 0, and the note says up to which sigma was looked.

    Raises:
        InvalidArgument: an option outside what it may be.
    """
    if not 0 < tau < math.inf:
        raise InvalidArgument(f"expected tau above 0 and finite, got {tau}")
    if not 0 < tolerance < 1:
        raise InvalidArgument(f"expected a tolerance between 0 and 1, got {tolerance}")
    stretch = scale_of(objective, scale, block=block)
    centre = loss_at(objective, objective.weights)
    tried: dict[float, list[float]] = {}

    def rises(sigma: float) -> list[float]:
        if sigma not in tried:
            (tried[sigma],) = rises_under_noise(objective, stretch, [sigma], centre, pairs=pairs, seed=seed)
        return tried[sigma]

    def mean_rise(sigma: float) -> float:
        mean = sum(rises(sigma)) / pairs
        return math.inf if math.isnan(mean) else mean  # past what the loss can be computed at

    setting = setting_of({"tau": float(tau)}, scale, block=block, pairs=pairs, seed=seed)
    guess = 0.1 if scale == "relative" else 0.1 * _typical_weight(objective) or 0.1
    sigma, settled = _crossing(mean_rise, tau, guess, tolerance)
    if math.isinf(sigma):
        note = f"no sigma up to {guess * WIDEST:.3g} raises the loss by tau"
        found: list[tuple[float, float | None]] = [(0.0, None), (sigma, None)]
    else:
        _, spread = mean_and_error(rises(sigma))
        wider = sigma * (1 + SLOPE)
        slope = (mean_rise(wider) - mean_rise(sigma)) / (wider - sigma)
        error = (spread or 0.0) / slope if 0 < slope < math.inf else math.nan
        note = "" if settled else "f jumps over tau here"
        found = [(1 / sigma**2, 2 * error / sigma**3), (sigma, error)]
    cost = 2 * pairs * len(tried)
    names = ("pac_bayes", cost), ("pac_bayes_sigma", 0)
    first, second = (
        SharpnessMeasure(name, setting, value, error, spent, note)
        for (name, spent), (value, error) in zip(names, found, strict=True)
    )
    return first, second


def _crossing(f: Callable[[float], float], tau: float, guess: float, tolerance: float) -> tuple[float, bool]:
    """Where f first passes tau, by bisection; each guess takes f for a square where that lies inside the bracket."""
    low, high, sigma = 0.0, math.inf, guess
    for _ in range(MOST_TRIES):
        at = f(sigma)
        if abs(at / tau - 1) <= tolerance:
            return sigma, True
        low, high = (sigma, high) if at < tau else (low, sigma)
        if low >= guess * WIDEST:
            return math.inf, True
        if math.isfinite(high) and high - low <= 1e-9 * high:
            break
        square = sigma * math.sqrt(tau / at) if 0 < at < math.inf else math.nan
        inner = low + 0.02 * (high - low) if math.isfinite(high) else low, high - 0.02 * (high - low)
        if inner[0] < square < inner[1] and square < 4 * sigma:
            sigma = square
        else:
            sigma = 4 * low if math.isinf(high) else (low + high) / 2 if low else high / 4
    return low or high, False


def _typical_weight(objective: Objective) -> float:
    w = objective.layout.flatten(objective.weights)
    return float(torch.linalg.vector_norm(w)) / math.sqrt(len(w))
