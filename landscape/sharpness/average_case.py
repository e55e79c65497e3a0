"""Average-case sharpness: the mean rise of the loss under Gaussian noise on the weights, with its standard error.

Letters: w the checkpoint, T a diagonal scale, z standard Gaussian, L the frozen loss, H its Hessian.

    E L(w + sigma T z) - L(w)   =   sigma^2 / 2 tr(T H T) for a quadratic

Draws come in antithetic pairs +z and -z, which cancels the gradient's share of the variance exactly. T = I or T = |w|
("relative", unchanged by re-scalings that leave the function alone). The same seed gives the same z for every sigma and
every checkpoint of one layout, so that differences between them are paired.

`smoothed_loss` is the loss itself under the same noise: LPF, the measure of Bisla et al. 2022.
"""

import math
from collections.abc import Iterator, Sequence

import torch

from landscape.errors import InvalidArgument
from landscape.objective import LossValue, Objective, loss_at
from landscape.parameters import Vector, moved
from landscape.records import Scalars, SharpnessMeasure
from landscape.sharpness.perturbation import Scale, check_radii, rise_at, scale_of, setting_of


def average_case_sharpness(
    objective: Objective,
    sigmas: Sequence[float],
    *,
    scale: Scale = "absolute",
    block: str | None = None,
    pairs: int = 20,
    seed: int = 0,
) -> tuple[SharpnessMeasure, ...]:
    """The mean rise and its standard error over pairs, for each sigma. Two losses a pair and sigma.

    Args:
        objective: the frozen loss; its weights are the centre.
        sigmas: standard deviations of the noise, in units of a weight, or of |w| where relative.
        scale: "absolute" for T = I, "relative" for T = |w|.
        block: the only weights that move; all by default.
        pairs: antithetic pairs, at least 2. The error speaks of the noise alone: the data is taken as fixed.
        seed: of z.

    Raises:
        InvalidArgument: fewer than two pairs, or a sigma that is negative or not finite.
    """
    _, rises = _centre_and_rises(objective, sigmas, scale, block, pairs, seed)
    return tuple(
        _measure("average_case", own, _setting(sigma, scale, block, pairs, seed))
        for sigma, own in zip(sigmas, rises, strict=True)
    )


def smoothed_loss(
    objective: Objective,
    sigmas: Sequence[float],
    *,
    scale: Scale = "absolute",
    block: str | None = None,
    pairs: int = 20,
    seed: int = 0,
) -> tuple[SharpnessMeasure, ...]:
    """E L(w + sigma T z), the Gaussian-smoothed loss (LPF), for each sigma: its cost and errors as above.

    Bisla et al. 2022 average over independent draws with T = I; antithetic pairs estimate the same number more
    closely. It is the loss at w plus the average case of the same sigma: two checkpoints differ in it by both.
    """
    centre, rises = _centre_and_rises(objective, sigmas, scale, block, pairs, seed)
    return tuple(
        _measure("lpf", [centre.value + rise for rise in own], _setting(sigma, scale, block, pairs, seed))
        for sigma, own in zip(sigmas, rises, strict=True)
    )


def rises_under_noise(
    objective: Objective, stretch: Vector, sigmas: Sequence[float], centre: LossValue, *, pairs: int, seed: int
) -> list[list[float]]:
    """For each sigma the rise of each antithetic pair, its two ends averaged. Two losses a pair and sigma.

    Raises:
        InvalidArgument: fewer than two pairs, or a sigma that is negative or not finite.
    """
    if pairs < 2:
        raise InvalidArgument(f"expected at least 2 antithetic pairs, for a standard error, got {pairs}")
    check_radii(tuple(sigmas), "sigma")
    rises: list[list[float]] = [[] for _ in sigmas]
    for z in noise(stretch, pairs, seed):
        direction = objective.layout.unflatten(stretch * z)
        for k, sigma in enumerate(sigmas):
            ends = [moved(objective.weights, [(step, direction)]) for step in (sigma, -sigma)]
            up, down = (rise_at(objective, end, centre) for end in ends)
            rises[k].append((up + down) / 2)
    return rises


def noise(stretch: Vector, draws: int, seed: int) -> Iterator[Vector]:
    """Standard Gaussian vectors, the same ones for one seed and size; one in memory at a time."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield torch.randn(len(stretch), generator=generator, dtype=torch.float64).to(stretch.device)


def _centre_and_rises(
    objective: Objective, sigmas: Sequence[float], scale: Scale, block: str | None, pairs: int, seed: int
) -> tuple[LossValue, list[list[float]]]:
    """The loss at w, and for each sigma the rise of each pair."""
    centre = loss_at(objective, objective.weights)
    stretch = scale_of(objective, scale, block=block)
    return centre, rises_under_noise(objective, stretch, sigmas, centre, pairs=pairs, seed=seed)


def _setting(sigma: float, scale: Scale, block: str | None, pairs: int, seed: int) -> Scalars:
    return setting_of({"sigma": float(sigma)}, scale, block=block, pairs=pairs, seed=seed)


def _measure(measure: str, values: list[float], setting: Scalars) -> SharpnessMeasure:
    pairs = len(values)
    lost = sum(not math.isfinite(value) for value in values)
    note = f"{lost} of {pairs} pairs were not finite" if lost else ""
    if lost:
        mean, error = sum(values) / pairs, float("nan")
    else:
        mean = math.fsum(values) / pairs
        error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (pairs - 1) / pairs)
    return SharpnessMeasure(measure, setting, mean, error, 2 * pairs, note)
