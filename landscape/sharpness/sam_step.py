"""SAM's sharpness: the rise of the loss along one ascent step of length rho, plain and scale-invariant.

Letters: w the checkpoint, g the gradient, T a diagonal scale, d the step, L the frozen loss.

    d = rho T^2 g / ||T g||,   sharpness = L(w + d) - L(w)

T = I is Foret et al. 2021. T = |w| ("relative") is the step of ASAM (Kwon et al. 2021) with eta = 0 and on every
tensor: it does not change when weights are re-scaled without changing the function, so it can be compared between
checkpoints of different ||w||. Both are lower bounds of the worst case at distance rho: one step, not a search.
"""

from collections.abc import Sequence

import torch

from landscape.errors import NonFiniteLoss
from landscape.objective import Objective, gradient_at, loss_at
from landscape.parameters import Vector, moved
from landscape.records import SharpnessMeasure
from landscape.sharpness.perturbation import Scale, check_radii, rise_at, scale_of, setting_of


def sam_sharpness(
    objective: Objective,
    rhos: Sequence[float],
    *,
    scale: Scale = "absolute",
    eta: float = 0.0,
    block: str | None = None,
) -> tuple[SharpnessMeasure, ...]:
    """The rise along one ascent step for each rho: one gradient for all, then a loss for each.

    Args:
        objective: the frozen loss; its weights are the centre.
        rhos: lengths of T^-1 d, at least 0.
        scale: "absolute" for T = I, "relative" for T = |w| + eta.
        eta: keeps zero weights movable; any eta above 0 gives up exact scale invariance.
        block: the only weights that move; all by default.

    Returns:
        A measure for each rho, exact for the objective's data. The first one's cost holds the gradient that serves
        all, each has its loss; the loss at the centre is left aside. A zero gradient has no ascent direction: the value
        is 0 and the note says so. A loss that overflows at w + d is kept as it is.

    Raises:
        InvalidArgument: a negative or non-finite rho or eta, or no such block.
        NonFiniteLoss: the loss or the gradient at w holds a NaN or an infinity.
    """
    check_radii(tuple(rhos), "rho")
    step, climbs = ascent_step(objective, scale_of(objective, scale, eta=eta, block=block))
    note = "one ascent step: a lower bound of the worst case" if climbs else "the gradient is zero: no ascent direction"
    unit = objective.layout.unflatten(step)
    centre = loss_at(objective, objective.weights)
    measures = []
    for k, rho in enumerate(rhos):
        rise = rise_at(objective, moved(objective.weights, [(rho, unit)]), centre)
        setting = setting_of({"rho": float(rho)}, scale, eta=eta, block=block)
        measures.append(SharpnessMeasure("sam", setting, rise, None, 2 if k == 0 else 1, note))
    return tuple(measures)


def ascent_step(objective: Objective, stretch: Vector) -> tuple[Vector, bool]:
    """SAM's step for rho = 1, T^2 g / ||T g||, and whether there is one: zero for a zero gradient. One gradient.

    Raises:
        NonFiniteLoss: the loss or the gradient at w holds a NaN or an infinity.
    """
    loss, g = gradient_at(objective, objective.weights)
    if not torch.isfinite(g).all():
        raise NonFiniteLoss(f"expected a finite loss and gradient at the checkpoint, got a loss of {loss}")
    length = torch.linalg.vector_norm(stretch * g).item()
    return (stretch**2 * g / length, True) if length > 0 else (torch.zeros_like(g), False)
