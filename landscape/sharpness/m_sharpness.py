"""m-sharpness: the mean, over batches of m units, of the batch's own worst case (Foret et al. 2021, section 3).

Each batch has its own loss, gradient and step; SAM trained on batches of m lowers this one, and the sharpness of the
whole data is its case of one batch. Two forms: "step" takes each batch's SAM step, "ascent" searches its worst case;
both are lower bounds. Batches are random and disjoint; the standard error is over batches.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch

from landscape.errors import InvalidArgument
from landscape.objective import Objective
from landscape.records import SharpnessMeasure
from landscape.sharpness.perturbation import Scale, setting_of
from landscape.sharpness.sam_step import sam_sharpness
from landscape.sharpness.units import unit_count, with_units
from landscape.sharpness.worst_case import worst_case_sharpness

Form = Literal["step", "ascent"]


def m_sharpness(
    objective: Objective,
    rhos: Sequence[float],
    *,
    m: int = 256,
    form: Form = "step",
    batches: int | None = 8,
    scale: Scale = "absolute",
    eta: float = 0.0,
    block: str | None = None,
    steps: int = 10,
    seed: int = 0,
) -> tuple[SharpnessMeasure, ...]:
    """The mean over batches of the rise each batch's loss can have within rho.

    A batch costs a gradient and a loss for each rho ("step"), or at most `steps` + 1 gradients and a loss for each
    ("ascent"), of the chunks its units lie in.

    Args:
        objective: the frozen loss; its weights are the centre.
        rhos: radii.
        m: units of a batch; all units in one batch where there are fewer.
        form: "step" or "ascent".
        batches: how many, the first of a random order of the units; None takes all that are full.
        scale: "absolute" or "relative", as everywhere.
        eta: see `scale_of`.
        block: the only weights that move; all by default.
        steps: gradients of one ascent.
        seed: of the order of the units.

    Raises:
        InvalidArgument: an option outside what it may be.
    """
    if m < 1 or (batches is not None and batches < 1):
        raise InvalidArgument(f"expected at least 1 unit a batch and 1 batch, got {m} and {batches}")
    if form not in ("step", "ascent"):
        raise InvalidArgument(f'expected the form "step" or "ascent", got {form!r}')
    units = unit_count(objective)
    order = torch.randperm(units, generator=torch.Generator().manual_seed(seed))
    full = max(1, units // m)
    parts = [order[k * m : (k + 1) * m] for k in range(full if batches is None else min(full, batches))]
    found: list[tuple[SharpnessMeasure, ...]] = []
    for part in parts:
        own = with_units(objective, part)
        if form == "step":
            found.append(sam_sharpness(own, rhos, scale=scale, eta=eta, block=block))
        else:
            found.append(
                worst_case_sharpness(own, rhos, scale=scale, eta=eta, block=block, steps=steps, restarts=1, seed=seed)
            )
    others: dict[str, float | int | str | None] = {"m": m, "form": form, "batches": batches, "seed": seed}
    if form == "ascent":
        others["steps"] = steps
    measures = []
    for k, rho in enumerate(rhos):
        rises = [one[k].value for one in found]
        setting = setting_of({"rho": float(rho)}, scale, eta=eta, block=block, **others)
        cost = sum(one[k].cost for one in found)
        measures.append(SharpnessMeasure("m_sharpness", setting, *mean_and_error(rises), cost, "lower bound"))
    return tuple(measures)


def mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and its standard error; NaN for values that are not finite, none for a single one."""
    count = len(values)
    if not all(map(math.isfinite, values)):
        return sum(values) / count, float("nan")
    mean = math.fsum(values) / count
    if count < 2:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count)
