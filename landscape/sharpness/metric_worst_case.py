"""Ranking sharpness at the worst points: how far a metric drops where a search finds the loss highest.

Letters: w the checkpoint, d* the move a search ends at, q_u(w) the metric of unit u.

    drop = mean over units of q_u(w) - q_u(w + d*)

d* is that of `worst_case_sharpness` (both norms, absolute or relative to |w|) or of `keskar_sharpness`: the highest
loss found, which is a lower bound of the highest there is. The metric's own worst point may lie elsewhere, so the drop
bounds nothing. Standard errors are over paired units, the same before and after.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from landscape.objective import Objective
from landscape.parameters import Params
from landscape.records import SharpnessMeasure
from landscape.sharpness.keskar import highest_point
from landscape.sharpness.metric_sharpness import Grid, metrics_at, paired_mean
from landscape.sharpness.names import AT_WORST_POINT
from landscape.sharpness.worst_case import worst_points


def worst_case_metric_drop(
    objective: Objective, metrics: Sequence[str], rhos: Sequence[float], **search: Any
) -> tuple[SharpnessMeasure, ...]:
    """For each rho the worst case found, then the drop of each metric there.

    Costs the search, as `worst_case_sharpness` does, a pass of the metrics at w and one for each rho.

    Args:
        objective: its loss is searched, its metrics give the drop.
        metrics: names, such as "ndcg@10".
        rhos: radii.
        search: the options of `worst_case_sharpness`: p, scale, eta, block, steps, restarts, seed.

    Raises:
        InvalidArgument: an option outside what it may be, or an objective without such metrics.
        NonFiniteLoss: the loss or the gradient at w is not finite, or metrics cannot be taken at a worst point.
    """
    before = metrics_at(objective, objective.weights, metrics)
    measures: list[SharpnessMeasure] = []
    for measure, there in worst_points(objective, rhos, **search):
        measures += [measure, *_drops(objective, before, there, measure)]
    return tuple(measures)


def keskar_metric_drop(
    objective: Objective, metrics: Sequence[str], epsilon: float = 1e-3, **search: Any
) -> tuple[SharpnessMeasure, ...]:
    """Keskar's sharpness, then the drop of each metric at the largest loss in the box.

    Costs the search, as `keskar_sharpness` does, and two passes of the metrics.

    Args:
        objective: its loss is searched, its metrics give the drop.
        metrics: names, such as "ndcg@10".
        epsilon: half the box, relative to |w_i| + 1.
        search: the options of `keskar_sharpness`: block, iterations, seed.

    Raises:
        InvalidArgument: an option outside what it may be, or an objective without such metrics.
        NonFiniteLoss: metrics that cannot be taken at the highest point.
    """
    before = metrics_at(objective, objective.weights, metrics)
    measure, there = highest_point(objective, epsilon, **search)
    return measure, *_drops(objective, before, there, measure)


def _drops(
    objective: Objective, before: Mapping[str, Grid], there: Params, found: SharpnessMeasure
) -> list[SharpnessMeasure]:
    """Of each metric at the point a search found; NaN where the loss there is not finite, as no score is then."""
    nan = float("nan")
    drops, note = dict.fromkeys(before, (nan, nan)), "the loss at the worst point found is not finite"
    if math.isfinite(found.value):
        after, note = metrics_at(objective, there, list(before)), AT_WORST_POINT
        drops = {metric: paired_mean((before[metric] - after[metric])[None, :]) for metric in before}
    return [
        SharpnessMeasure(f"{found.measure}_drop", {**found.setting, "metric": metric}, *drop, 1, note)
        for metric, drop in drops.items()
    ]
