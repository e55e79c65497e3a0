"""Random directions around a checkpoint, drawn from a seed so that they can be drawn again.

"filter": Gaussian, each filter scaled to the norm of the same filter of the weights (Li et al. 2018), so that a step
of one means the same relative change everywhere. "layer": each tensor scaled to the norm of the same tensor of the
weights. "raw": Gaussian, unscaled. A second direction is made orthogonal to the first by Gram-Schmidt, inside each
filter and then rescaled to that filter's norm ("filter"), inside each tensor ("layer"), or as a whole ("raw"): norms
and cosine are both exact up to float64 rounding. Of a block only that block moves. Everything is float64 and costs a
few passes over the weights.

Letters: w the weights, d a direction, x the first and y the second direction of a plane.
"""

import math
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from landscape.blocks import mask_of
from landscape.directions.evidence import Named, on_one_thread, record_of, without
from landscape.errors import InvalidArgument
from landscape.parameters import Layout, Params
from landscape.records import RANDOM, Direction

ONE_DIMENSIONAL = ("zero", "random", "normalised")
UNTOUCHED = ("move", "zero")
ROUNDING = 1e-12  # of the length drawn: what is left of a direction that has no orthogonal one
Filters = Float[Tensor, "filters entries"]


@on_one_thread
def draw_direction(
    layout: Layout,
    weights: Params,
    *,
    kind: str = "filter",
    seed: int = 0,
    one_dimensional: str = "zero",
    untouched: str = "move",
    block: str | None = None,
    orthogonal_to: Params | None = None,
) -> tuple[Named, Direction]:
    """Draw a direction, float64 on the CPU, zero in the frozen rows.

    Every entry is drawn whatever the policy, so the same seed gives the same numbers where two policies agree.

    Args:
        layout: filters, frozen rows, blocks, and the row group "untouched" if there is one.
        weights: where norms come from; their values must be finite.
        kind: "filter", "layer" or "raw".
        seed: of this direction; a second direction with the seed of the first draws other numbers.
        one_dimensional: what biases and norm gains do: stay ("zero"), move by the raw draw ("random"), or move as one
            filter of the tensor's own norm ("normalised").
        untouched: whether rows the data never reaches move or stay ("zero").
        block: the one that moves, by a name that `landscape.blocks` knows; all by default.
        orthogonal_to: the first direction of a plane. Filters of one free entry that it moves stay, and are counted.

    Raises:
        InvalidArgument: an unknown option, weights that are not finite, or nothing left to move.
    """
    for name, value, known in (
        ("kind", kind, RANDOM),
        ("one_dimensional", one_dimensional, ONE_DIMENSIONAL),
        ("untouched", untouched, UNTOUCHED),
    ):
        if value not in known:
            raise InvalidArgument(f"expected {name} to be one of {', '.join(known)}, got {value!r}")
    if seed < 0:
        raise InvalidArgument(f"expected a direction seed of at least 0, got {seed}")
    inside = None if block is None else layout.unflatten(mask_of(layout, block).float())
    generator = np.random.default_rng([seed, 0 if orthogonal_to is None else 1])
    direction: Named = {}
    skipped = 0
    for name, shape in layout.shapes.items():
        drawn = torch.from_numpy(generator.standard_normal(tuple(shape)))
        origin = weights[name].detach().to("cpu", torch.float64)
        if not torch.isfinite(origin).all():
            raise InvalidArgument(f"expected finite weights to draw directions around, got NaN or infinity in {name}")
        moving = _moving(layout, name, untouched)
        if inside is not None:
            moving &= inside[name] > 0  # free rows alone: frozen ones are False there
        if len(shape) < 2 and one_dimensional == "zero":
            moving[...] = False
        whole = kind == "layer"
        filters = _filters(drawn.masked_fill_(~moving, 0), whole=whole)
        if kind != "raw":
            if orthogonal_to is not None and filters.any():
                first = _filters(orthogonal_to[name].detach().to("cpu", torch.float64), whole=whole)
                filters, left_out = _orthogonal_filters(filters, first, _filters(moving, whole=whole))
                skipped += left_out
            if len(shape) >= 2 or one_dimensional == "normalised":
                own = _filters(origin if moving.all() else origin.masked_fill(~moving, 0), whole=whole)
                filters *= _ratio(_norms(own), _norms(filters))
        direction[name] = filters.reshape(shape)
        del drawn, origin  # before the next ones are made: a table may be most of the model
    flat = layout.flatten(direction)
    other = None if orthogonal_to is None else layout.flatten(orthogonal_to).cpu()
    if kind == "raw" and other is not None:
        length = torch.linalg.vector_norm(flat)
        flat = without(flat, other.where(flat != 0, 0.0))  # what stays must not move by the first one's leave
        if torch.linalg.vector_norm(flat) <= ROUNDING * length:  # of one coordinate there is only rounding left
            flat = torch.zeros_like(flat)
        else:
            flat = flat * (length / torch.linalg.vector_norm(flat))
        direction = layout.unflatten(flat)
    if not torch.linalg.vector_norm(flat) > 0:
        raise InvalidArgument(
            f"expected a direction that moves something, got zero: kind {kind}, one-dimensional tensors "
            f"{one_dimensional}, untouched rows {untouched}{'' if block is None else f', block {block}'}"
        )
    policy = {"one_dimensional": one_dimensional, "untouched": untouched} | ({} if block is None else {"block": block})
    return direction, record_of(flat, kind=kind, seed=seed, policy=policy, orthogonal_to=other, skipped_filters=skipped)


def draw_plane(
    layout: Layout, weights: Params, *, kind: str = "filter", seed: int = 0, **policy: Any
) -> tuple[tuple[Named, Direction], tuple[Named, Direction]]:
    """Two orthogonal directions from one seed: (x, its record), (y, its record)."""
    x, x_record = draw_direction(layout, weights, kind=kind, seed=seed, **policy)
    return (x, x_record), draw_direction(layout, weights, kind=kind, seed=seed, **policy, orthogonal_to=x)


def _moving(layout: Layout, name: str, untouched: str) -> Bool[Tensor, "..."]:
    """Which entries of a tensor may move: not the frozen rows, and untouched ones by option."""
    moving = torch.ones(layout.shapes[name], dtype=torch.bool)
    untouched_rows = layout.row_groups.get("untouched", {}) if untouched == "zero" else {}
    for rows in (layout.frozen_rows.get(name), untouched_rows.get(name)):
        if rows is not None and len(rows):
            moving[rows.cpu()] = False
    return moving


def _filters(
    tensor: Tensor, *, whole: bool = False
) -> Float[Tensor, "filters entries"] | Bool[Tensor, "filters entries"]:
    """One row a filter: an index of the first axis, or the whole tensor where there is one axis or none."""
    if whole or tensor.dim() < 2:
        return tensor.reshape(1, -1)
    return tensor.reshape(tensor.shape[0], math.prod(tensor.shape[1:]))


def _norms(filters: Filters) -> Float[Tensor, "filters 1"]:
    return cast(Tensor, torch.linalg.vector_norm(filters, dim=1, keepdim=True))


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Their quotient, and 0 where the denominator is 0."""
    return torch.where(denominator > 0, numerator / denominator.where(denominator > 0, torch.ones(())), 0.0)


def _orthogonal_filters(
    filters: Filters, first: Filters, moving: Bool[Tensor, "filters entries"]
) -> tuple[Filters, int]:
    """Each filter without its part along the same filter of the first direction; those of one entry become zero.

    Where the first direction is zero there is nothing to remove.
    """
    first = first.masked_fill(~moving, 0)
    unit = first * _ratio(torch.ones_like(first[:, :1]), _norms(first))
    for _ in range(2):  # once more for what rounding left: "twice is enough" (Parlett 1980)
        filters = filters - unit * (filters * unit).sum(dim=1, keepdim=True)
    single = (moving.sum(dim=1, keepdim=True) == 1) & (_norms(first) > 0)
    return filters.masked_fill(single, 0), int(single.sum())
