"""SAM's sharpness: the rise of the loss along one ascent step of length rho, plain and scale-invariant.

Letters: w the checkpoint, g the gradient, T a diagonal scale, d the step, L the frozen loss.

    d = rho T^2 g / ||T g||,   sharpness = L(w + d) - L(w)

T = I is Foret et al. 2021. T = |w| ("relative") is the step of ASAM (Kwon et al. 2021) with eta = 0 and on every
tensor: it does not change when weights are re-scaled without changing the function, so it can be compared between
checkpoints of different ||w||. Both are lower bounds of the worst case at distance rho: one step, not a search.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from landscape.errors import InvalidArgument, NonFiniteLoss
from landscape.objective import LossValue, Objective, gradient_at, loss_at
from landscape.parameters import Params, Vector, moved
from landscape.records import SharpnessMeasure

Scale = Literal["absolute", "relative"]


def sam_sharpness(
    objective: Objective, rhos: Sequence[float], *, scale: Scale = "absolute", eta: float = 0.0
) -> tuple[SharpnessMeasure, ...]:
    """The rise along one ascent step for each rho: one gradient for all, then a loss for each.

    Args:
        objective: the frozen loss; its weights are the centre.
        rhos: lengths of T^-1 d, at least 0.
        scale: "absolute" for T = I, "relative" for T = |w| + eta.
        eta: keeps zero weights movable; any eta above 0 gives up exact scale invariance.

    Returns:
        A measure for each rho, exact for the objective's data. The first one's cost holds the gradient that serves
        all, each has its loss; the loss at the centre is left aside. A zero gradient has no ascent direction: the value
        is 0 and the note says so. A loss that overflows at w + d is kept as it is.

    Raises:
        InvalidArgument: a negative or non-finite rho or eta.
        NonFiniteLoss: the loss or the gradient at w holds a NaN or an infinity.
    """
    for rho in rhos:
        if not 0 <= rho < float("inf"):
            raise InvalidArgument(f"expected rho at least 0 and finite, got {rho}")
    weights = objective.weights
    loss, g = gradient_at(objective, weights)
    if not torch.isfinite(g).all():
        raise NonFiniteLoss(f"expected a finite loss and gradient at the checkpoint, got a loss of {loss}")
    stretch = scale_of(objective, scale, eta=eta)
    length = torch.linalg.vector_norm(stretch * g).item()
    note = (
        "one ascent step: a lower bound of the worst case"
        if length > 0
        else "the gradient is zero: no ascent direction"
    )
    unit = objective.layout.unflatten(stretch**2 * g / length if length > 0 else torch.zeros_like(g))
    centre = loss_at(objective, weights)
    measures = []
    for k, rho in enumerate(rhos):
        rise = rise_at(objective, moved(weights, [(rho, unit)]), centre)
        setting = {"rho": float(rho), "scale": scale} | ({"eta": eta} if scale == "relative" else {})
        measures.append(SharpnessMeasure("sam", setting, rise, None, 2 if k == 0 else 1, note))
    return tuple(measures)


def rise_at(objective: Objective, params: Params, centre: LossValue) -> float:
    """L(params) - L(centre), summed unit by unit; infinite or NaN where the loss is. One loss."""
    with np.errstate(invalid="ignore", over="ignore"):
        return loss_at(objective, params).rise_over(centre)[0]


def scale_of(objective: Objective, scale: Scale, *, eta: float = 0.0) -> Vector:
    """T over the free coordinates: ones, or |w| + eta."""
    if scale not in ("absolute", "relative"):
        raise InvalidArgument(f'expected the scale "absolute" or "relative", got {scale!r}')
    if not 0 <= eta < float("inf"):
        raise InvalidArgument(f"expected eta at least 0 and finite, got {eta}")
    w = objective.layout.flatten(objective.weights)
    return torch.ones_like(w) if scale == "absolute" else w.abs() + eta
