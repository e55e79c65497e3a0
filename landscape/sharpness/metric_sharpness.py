"""Ranking sharpness: how far a metric (NDCG@10, HR@10) drops when the weights are moved as SAM or noise moves them.

Letters: w the checkpoint, T a diagonal scale, d a move of the weights, q_u(w) the metric of unit u.

    drop = mean over units of q_u(w) - q_u(w + d)

The moves are those of the loss's own measures: SAM's step on the frozen loss, Gaussian noise in antithetic pairs, and
(in `metric_worst_case`) the worst points that searches find. m-sharpness has no such point: each of its batches moves
the weights elsewhere, while a metric is of all units at one set of weights; SAM's step is its case of one batch. What
the loss rises by in nats need not be what users see; this says it in the metric they see. Standard errors are over
paired units: the same users before and after. Under noise, units and draws both vary, and both count.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.errors import InvalidArgument
from landscape.objective import Objective
from landscape.parameters import Params, moved
from landscape.records import SharpnessMeasure
from landscape.sharpness.average_case import noise
from landscape.sharpness.names import ONE_STEP
from landscape.sharpness.perturbation import Scale, check_radii, scale_of, setting_of
from landscape.sharpness.sam_step import ascent_step

Grid = NDArray[np.float64]


def sam_metric_drop(
    objective: Objective,
    metrics: Sequence[str],
    rhos: Sequence[float],
    *,
    scale: Scale = "absolute",
    eta: float = 0.0,
    block: str | None = None,
) -> tuple[SharpnessMeasure, ...]:
    """The drop of each metric along SAM's step of each rho. One gradient, and a pass of the metrics for each rho.

    Args:
        objective: its loss gives the step, its metrics the drop.
        metrics: names, such as "ndcg@10".
        rhos: lengths of the step.
        scale: "absolute" or "relative", as everywhere.
        eta: see `scale_of`.
        block: the only weights that move; all by default.

    Raises:
        InvalidArgument: a rho outside what it may be, or an objective without such metrics.
        NonFiniteLoss: no finite gradient at w, or metrics that cannot be taken after the step.
    """
    check_radii(tuple(rhos), "rho")
    before = metrics_at(objective, objective.weights, metrics)
    step, climbs = ascent_step(objective, scale_of(objective, scale, eta=eta, block=block))
    unit = objective.layout.unflatten(step)
    measures = []
    for rho in rhos:
        after = metrics_at(objective, moved(objective.weights, [(rho, unit)]), metrics)
        for name in metrics:
            value, error = paired_mean((before[name] - after[name])[None, :])
            setting = setting_of({"rho": float(rho)}, scale, eta=eta, block=block, metric=name)
            note = ONE_STEP if climbs else "the gradient is zero: no ascent direction"
            measures.append(SharpnessMeasure("sam_drop", setting, value, error, 2, note))
    return tuple(measures)


def average_metric_drop(
    objective: Objective,
    metrics: Sequence[str],
    sigmas: Sequence[float],
    *,
    scale: Scale = "absolute",
    block: str | None = None,
    pairs: int = 5,
    seed: int = 0,
) -> tuple[SharpnessMeasure, ...]:
    """The mean drop of each metric under noise of each sigma. Two passes of the metrics a pair and sigma.

    Args:
        objective: its metrics give the drop.
        metrics: names, such as "ndcg@10".
        sigmas: standard deviations, in units of a weight, or of |w| where relative.
        scale: "absolute" or "relative", as everywhere.
        block: the only weights that move; all by default.
        pairs: antithetic pairs, at least 2.
        seed: of the noise, the same z as for the loss's average case.

    Raises:
        InvalidArgument: an option outside what it may be, or an objective without such metrics.
    """
    if pairs < 2:
        raise InvalidArgument(f"expected at least 2 antithetic pairs, for a standard error, got {pairs}")
    check_radii(tuple(sigmas), "sigma")
    stretch = scale_of(objective, scale, block=block)
    before = metrics_at(objective, objective.weights, metrics)
    drops: dict[tuple[float, str], list[Grid]] = {(sigma, name): [] for sigma in sigmas for name in metrics}
    for z in noise(stretch, pairs, seed):
        direction = objective.layout.unflatten(stretch * z)
        for sigma in sigmas:
            ends = [metrics_at(objective, moved(objective.weights, [(s, direction)]), metrics) for s in (sigma, -sigma)]
            for name in metrics:
                drops[sigma, name].append(before[name] - (ends[0][name] + ends[1][name]) / 2)
    measures = []
    for (sigma, name), grids in drops.items():
        value, error = paired_mean(np.stack(grids))
        setting = setting_of({"sigma": float(sigma)}, scale, block=block, metric=name, pairs=pairs, seed=seed)
        measures.append(SharpnessMeasure("average_drop", setting, value, error, 2 * pairs))
    return tuple(measures)


def paired_mean(differences: Grid) -> tuple[float, float]:
    """The mean of a (draws, units) table and its standard error where both draws and units are samples.

    With units' means over draws, draws' means over units and what is left after both, the variance of the mean is
    s2_units / U + s2_draws / K - s2_left / (U K): what units and draws share is counted once. One draw: over units
    alone. NaN for a single unit.

    Source: the crossed two-way layout with one observation a cell (Searle, Casella and McCulloch, Variance Components,
    chapter 4).
    """
    draws, units = differences.shape
    mean = float(differences.mean())
    if units < 2:
        return mean, float("nan")
    over_units = differences.mean(axis=0)
    if draws == 1:
        return mean, float(over_units.std(ddof=1) / np.sqrt(units))
    over_draws = differences.mean(axis=1)
    left = differences - over_units[None, :] - over_draws[:, None] + mean
    s2 = (left**2).sum() / ((units - 1) * (draws - 1))
    variance = over_units.var(ddof=1) / units + over_draws.var(ddof=1) / draws - s2 / (units * draws)
    return mean, float(np.sqrt(max(variance, s2 / (units * draws))))


def metrics_at(objective: Objective, params: Params, names: Sequence[str]) -> dict[str, Grid]:
    """Each metric unit by unit, float64. One pass of the metrics."""
    found: dict[str, torch.Tensor] = objective.metrics(params, names)
    return {name: found[name].double().cpu().numpy() for name in names}
