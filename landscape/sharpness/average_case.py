"""Average-case sharpness: the mean rise of the loss under Gaussian noise on the weights, with its standard error.

Letters: w the checkpoint, T a diagonal scale, z standard Gaussian, L the frozen loss, H its Hessian.

    E L(w + sigma T z) - L(w)   =   sigma^2 / 2 tr(T H T) for a quadratic

Draws come in antithetic pairs +z and -z, which cancels the gradient's share of the variance exactly. T = I or T = |w|
("relative", unchanged by re-scalings that leave the function alone). The same seed gives the same z for every sigma and
every checkpoint of one layout, so that differences between them are paired.
"""

import math
from collections.abc import Sequence

import torch

from landscape.errors import InvalidArgument
from landscape.objective import Objective, loss_at
from landscape.parameters import moved
from landscape.records import SharpnessMeasure
from landscape.sharpness.worst_case import Scale, rise_at, scale_of


def average_case_sharpness(
    objective: Objective, sigmas: Sequence[float], *, scale: Scale = "absolute", pairs: int = 20, seed: int = 0
) -> tuple[SharpnessMeasure, ...]:
    """The mean rise and its standard error over pairs, for each sigma. Two losses a pair and sigma.

    Args:
        objective: the frozen loss; its weights are the centre.
        sigmas: standard deviations of the noise, in units of a weight, or of |w| where relative.
        scale: "absolute" for T = I, "relative" for T = |w|.
        pairs: antithetic pairs, at least 2. The error speaks of the noise alone: the data is taken as fixed.
        seed: of z.

    Raises:
        InvalidArgument: fewer than two pairs, or a sigma that is negative or not finite.
    """
    if pairs < 2:
        raise InvalidArgument(f"expected at least 2 antithetic pairs, for a standard error, got {pairs}")
    for sigma in sigmas:
        if not 0 <= sigma < float("inf"):
            raise InvalidArgument(f"expected sigma at least 0 and finite, got {sigma}")
    weights, layout = objective.weights, objective.layout
    stretch = scale_of(objective, scale)
    centre = loss_at(objective, weights)
    generator = torch.Generator().manual_seed(seed)
    rises: list[list[float]] = [[] for _ in sigmas]
    for _ in range(pairs):
        z = torch.randn(layout.size, generator=generator, dtype=torch.float64).to(stretch.device)
        noise = layout.unflatten(stretch * z)
        for k, sigma in enumerate(sigmas):
            up, down = (rise_at(objective, moved(weights, [(step, noise)]), centre) for step in (sigma, -sigma))
            rises[k].append((up + down) / 2)
    return tuple(
        _measure(values, {"sigma": float(sigma), "scale": scale, "pairs": pairs, "seed": seed})
        for sigma, values in zip(sigmas, rises, strict=True)
    )


def _measure(rises: list[float], setting: dict[str, float | int | str | bool | None]) -> SharpnessMeasure:
    pairs = len(rises)
    lost = sum(not math.isfinite(rise) for rise in rises)
    note = f"{lost} of {pairs} pairs were not finite" if lost else ""
    if lost:
        mean, error = sum(rises) / pairs, float("nan")
    else:
        mean = math.fsum(rises) / pairs
        error = math.sqrt(math.fsum((rise - mean) ** 2 for rise in rises) / (pairs - 1) / pairs)
    return SharpnessMeasure("average_case", setting, mean, error, 2 * pairs, note)
