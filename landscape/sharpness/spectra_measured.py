"""Spectra measured for a sharpness report: both ends by Lanczos, trace and Frobenius norm by random probes.

The work is that of `landscape curvature` and `landscape trace`, by the same functions.
"""

from typing import Any

import torch

from landscape.blocks import mask_of
from landscape.curvature.ends import eigenpairs_of
from landscape.curvature.trace import trace_of
from landscape.objective import Objective, loss_at
from landscape.records import SharpnessMeasure
from landscape.sharpness.spectral import RATIO_TO, from_trace, with_all_ends


def measured_ends(
    objective: Objective, *, block: str | None, tolerance: float, max_products: int, seed: int
) -> tuple[SharpnessMeasure, ...]:
    """lambda_max, lambda_min, lambda_max ||w||^2 and lambda_1 / lambda_5, of products that all of them share.

    A loss and at most `max_products` Hessian products; `cost` of each is their number. What did not converge says so.

    Raises:
        InvalidArgument: no such block.
        NonFiniteProduct: a product held a NaN or an infinity.
    """
    size = objective.layout.size if block is None else int(mask_of(objective.layout, block).sum())
    pairs = eigenpairs_of(
        objective,
        name="sharpness",
        checkpoint="sharpness",
        top=min(RATIO_TO, size),
        bottom=int(size > RATIO_TO),
        block=block,
        seed=seed,
        tolerance=tolerance,
        max_products=max_products,
        centre=loss_at(objective, objective.weights),
    )
    return with_all_ends(pairs, weight_norm(objective, block))


def measured_traces(objective: Objective, *, block: str | None, probes: int, seed: int) -> tuple[SharpnessMeasure, ...]:
    """tr H and ||H||_F, raw and in coordinates relative to |w|, with standard errors over probes.

    A loss and 2 `probes` Hessian products; `cost` is those of either kind of coordinates, shared by trace and norm.

    Raises:
        InvalidArgument: no such block.
        NonFiniteProduct: a product held a NaN or an infinity.
    """
    centre = loss_at(objective, objective.weights)
    about: dict[str, Any] = {"name": "sharpness", "checkpoint": "sharpness", "centre": centre}
    return from_trace(trace_of(objective, block=block, probes=probes, seed=seed, **about))


def weight_norm(objective: Objective, block: str | None = None) -> float:
    """||w|| over the free coordinates, of a block's own where there is one."""
    w = objective.layout.flatten(objective.weights)
    own = w if block is None else w[mask_of(objective.layout, block).to(w.device)]
    return float(torch.linalg.vector_norm(own))
