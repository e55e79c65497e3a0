"""Where and how far sharpness measures move the weights: the scale T, one block or all of them, and the rise there.

Letters: w the checkpoint, T a diagonal scale, u a point of the unit's own coordinates, L the frozen loss.

Every measure moves to w + T u. A coordinate whose scale is 0 (a weight of 0 in relative coordinates, a weight outside
the block) cannot move: nothing is ever divided by T, so a row of zeros is just a row that stays.
"""

from typing import Literal

import numpy as np
import torch

from landscape.blocks import mask_of
from landscape.errors import InvalidArgument
from landscape.objective import LossValue, Objective, loss_at
from landscape.parameters import Params, Vector, moved
from landscape.records import Scalars

Scale = Literal["absolute", "relative"]


def scale_of(objective: Objective, scale: Scale, *, eta: float = 0.0, block: str | None = None) -> Vector:
    """T over the free coordinates: ones, or |w| + eta; 0 outside the block.

    Args:
        objective: the frozen loss; its weights are w.
        scale: "absolute" for T = I, "relative" for T = |w| + eta.
        eta: keeps zero weights movable; any eta above 0 gives up exact scale invariance.
        block: what `landscape.blocks.mask_of` takes; all weights by default.

    Raises:
        InvalidArgument: another scale, a negative eta, or no such block.
    """
    if scale not in ("absolute", "relative"):
        raise InvalidArgument(f'expected the scale "absolute" or "relative", got {scale!r}')
    if not 0 <= eta < float("inf"):
        raise InvalidArgument(f"expected eta at least 0 and finite, got {eta}")
    w = objective.layout.flatten(objective.weights)
    stretch = torch.ones_like(w) if scale == "absolute" else w.abs() + eta
    return stretch if block is None else stretch * mask_of(objective.layout, block).to(stretch.device)


def setting_of(
    radius: Scalars,
    scale: Scale,
    *,
    eta: float | None = None,
    block: str | None = None,
    **others: float | int | str | None,
) -> dict[str, float | int | str | bool | None]:
    """The setting a measure records: eta only where it has a part, a block only where there is one."""
    own = {"eta": eta} if eta is not None and scale == "relative" else {}
    return {**radius, "scale": scale, **own, **others, **({} if block is None else {"block": block})}


def displaced(objective: Objective, step: Vector) -> dict[str, torch.Tensor]:
    """The weights w + step, in their own precision."""
    return moved(objective.weights, [(1.0, objective.layout.unflatten(step))])


def rise_at(objective: Objective, params: Params, centre: LossValue) -> float:
    """L(params) - L(centre), summed unit by unit; infinite or NaN where the loss is. One loss."""
    with np.errstate(invalid="ignore", over="ignore"):
        return loss_at(objective, params).rise_over(centre)[0]


def check_radii(radii: tuple[float, ...], name: str) -> None:
    """Refuse a radius that is negative or not finite."""
    for radius in radii:
        if not 0 <= radius < float("inf"):
            raise InvalidArgument(f"expected {name} at least 0 and finite, got {radius}")
