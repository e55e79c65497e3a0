"""Keskar et al.'s sharpness: the largest loss in a small box around a checkpoint, in percent of 1 + L.

Letters: w the checkpoint, d the move, L the frozen loss.

    100 (max over |d_i| <= epsilon (|w_i| + 1) of L(w + d) - L(w)) / (1 + L(w))

Keskar et al. 2017 (ICLR), metric 2.1 in the full space, with L-BFGS-B (SciPy's) and 10 iterations. The search starts
at a random point inside the box: at a minimum the gradient of the centre is about 0 and leads nowhere. L-BFGS-B's
first step is the gradient itself, whatever its size; here the gradient at the start is given the size of the box.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize

from landscape.errors import InvalidArgument
from landscape.objective import Objective, gradient_at, loss_at
from landscape.parameters import Params
from landscape.records import SharpnessMeasure
from landscape.sharpness.perturbation import check_radii, displaced, scale_of


def keskar_sharpness(
    objective: Objective,
    epsilon: float = 1e-3,
    *,
    block: str | None = None,
    iterations: int = 10,
    seed: int = 0,
) -> SharpnessMeasure:
    """The rise in percent of 1 + L. About one gradient an iteration, and 30 vectors of memory for L-BFGS-B.

    Args:
        objective: the frozen loss; its weights are the centre.
        epsilon: half the box, relative to |w_i| + 1; Keskar et al. take 1e-3 and 5e-4.
        block: the only weights that move; all by default.
        iterations: of L-BFGS-B.
        seed: of the start, uniform in the box.

    Returns:
        A lower bound: the largest loss met on the way, the centre's included. Points that are not finite are left out
        and counted in the note.

    Raises:
        InvalidArgument: an option outside what it may be.
    """
    return highest_point(objective, epsilon, block=block, iterations=iterations, seed=seed)[0]


def highest_point(
    objective: Objective,
    epsilon: float = 1e-3,
    *,
    block: str | None = None,
    iterations: int = 10,
    seed: int = 0,
) -> tuple[SharpnessMeasure, Params]:
    """The measure of `keskar_sharpness` and the weights of the largest loss met; w itself where nothing lies higher.

    Raises:
        InvalidArgument: fewer than one iteration, or an epsilon that is negative or not finite.
    """
    check_radii((epsilon,), "epsilon")
    if iterations < 1:
        raise InvalidArgument(f"expected at least 1 iteration, got {iterations}")
    half = epsilon * scale_of(objective, "relative", eta=1.0, block=block)
    moving = half != 0
    size = torch.linalg.vector_norm(half).item() or 1.0  # half the box's diagonal: the unit of length below
    centre = loss_at(objective, objective.weights).value
    best, spent, lost = centre, 0, 0
    highest: Params = objective.weights

    def climb(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        nonlocal best, spent, lost, highest
        d = torch.zeros_like(half)
        d[moving] = size * torch.from_numpy(x).to(half)
        there = displaced(objective, d)
        loss, g = gradient_at(objective, there)
        spent += 1
        slope = size * g[moving].cpu().numpy()
        if not (np.isfinite(loss) and np.isfinite(slope).all()):
            lost += 1
            return -1e300, np.zeros_like(x)
        if loss > best:
            best, highest = loss, there
        return loss, slope

    if epsilon > 0:
        bound = (half[moving] / size).cpu().numpy()
        start = bound * np.random.default_rng(seed).uniform(-1, 1, len(bound))
        unit = float(np.linalg.norm(climb(start)[1])) or 1.0

        def fall(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            loss, slope = climb(x)
            return -loss / unit, -slope / unit

        options = {"maxiter": iterations, "maxfun": 4 * iterations, "ftol": 0.0, "gtol": 0.0}
        minimize(fall, start, jac=True, bounds=Bounds(-bound, bound), method="L-BFGS-B", options=options)
    note = "lower bound" + (f"; {lost} points of the search were not finite" if lost else "")
    setting = {"epsilon": float(epsilon), "iterations": iterations, "seed": seed}
    place = {} if block is None else {"block": block}
    value = 100 * (best - centre) / (1 + centre)
    return SharpnessMeasure("keskar", {**setting, **place}, value, None, spent, note), highest
