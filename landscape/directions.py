"""Random directions around a checkpoint, drawn from a seed so that they can be drawn again.

"filter": Gaussian, each filter scaled to the norm of the same filter of the weights (Li et al. 2018), so that a step
of one means the same relative change everywhere. "raw": Gaussian, unscaled. A second direction is made orthogonal to
the first by Gram-Schmidt, inside each filter and then rescaled to that filter's norm ("filter") or as a whole ("raw"):
norms and cosine are both exact up to float64 rounding. Everything is float64 and costs a few passes over the weights.

Letters: w the weights, d a direction, x the first and y the second direction of a plane.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from landscape.errors import InvalidArgument, StoreMismatch
from landscape.parameters import Layout, Params
from landscape.records import Direction

KINDS = ("filter", "raw")
ONE_DIMENSIONAL = ("zero", "random", "normalised")
UNTOUCHED = ("move", "zero")
Named = dict[str, Tensor]
P = ParamSpec("P")
T = TypeVar("T")
Filters = Float[Tensor, "filters entries"]


def _on_one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Sums in one order whatever the thread count, so that a worker of one thread redraws the very same numbers."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function(*args, **kwargs)
        finally:
            torch.set_num_threads(threads)

    return run


@_on_one_thread
def draw_direction(
    layout: Layout,
    weights: Params,
    *,
    kind: str = "filter",
    seed: int = 0,
    one_dimensional: str = "zero",
    untouched: str = "move",
    orthogonal_to: Params | None = None,
) -> tuple[Named, Direction]:
    """Draw a direction, float64 on the CPU, zero in the frozen rows.

    Every entry is drawn whatever the policy, so the same seed gives the same numbers where two policies agree.

    Args:
        layout: filters, frozen rows, and the row group "untouched" if there is one.
        weights: where filter norms come from; their values must be finite.
        kind: "filter" or "raw".
        seed: of this direction; a second direction with the seed of the first draws other numbers.
        one_dimensional: what biases and norm gains do: stay ("zero"), move by the raw draw ("random"), or move as one
            filter of the tensor's own norm ("normalised").
        untouched: whether rows the data never reaches move or stay ("zero").
        orthogonal_to: the first direction of a plane.

    Raises:
        InvalidArgument: an unknown option, weights that are not finite, or nothing left to move.
    """
    for name, value, known in (
        ("kind", kind, KINDS),
        ("one_dimensional", one_dimensional, ONE_DIMENSIONAL),
        ("untouched", untouched, UNTOUCHED),
    ):
        if value not in known:
            raise InvalidArgument(f"expected {name} to be one of {', '.join(known)}, got {value!r}")
    if seed < 0:
        raise InvalidArgument(f"expected a direction seed of at least 0, got {seed}")
    generator = np.random.default_rng([seed, 0 if orthogonal_to is None else 1])
    direction: Named = {}
    skipped = 0
    for name, shape in layout.shapes.items():
        filters = _filters(torch.from_numpy(generator.standard_normal(tuple(shape))))
        origin = _filters(weights[name].detach().to("cpu", torch.float64))
        if not torch.isfinite(origin).all():
            raise InvalidArgument(f"expected finite weights to draw directions around, got NaN or infinity in {name}")
        wants_norm = len(shape) >= 2 if one_dimensional != "normalised" else True
        if len(shape) < 2 and one_dimensional == "zero":
            filters = torch.zeros_like(filters)
        _still(filters, layout, name, untouched)
        if kind == "filter":
            first = None if orthogonal_to is None else _filters(orthogonal_to[name].detach().to("cpu", torch.float64))
            if first is not None and filters.any():
                filters, left_out = _orthogonal_filters(filters, first)
                skipped += left_out
            if wants_norm:
                filters = filters * _ratio(_norms(origin), _norms(filters))
        direction[name] = filters.reshape(shape)
    flat = layout.flatten(direction)
    if kind == "raw" and orthogonal_to is not None:
        length = torch.linalg.vector_norm(flat)
        first_flat = layout.flatten(orthogonal_to).cpu()
        for _ in range(2):  # once more for what rounding left: "twice is enough" (Parlett 1980)
            flat = flat - first_flat * ((flat @ first_flat) / (first_flat @ first_flat))
        flat = flat * (length / torch.linalg.vector_norm(flat))
        direction = layout.unflatten(flat)
    norm = float(torch.linalg.vector_norm(flat))
    if not norm > 0:
        raise InvalidArgument(
            f"expected a direction that moves something, got zero: kind {kind}, one-dimensional tensors "
            f"{one_dimensional}, untouched rows {untouched}"
        )
    other = None if orthogonal_to is None else layout.flatten(orthogonal_to).cpu()
    return direction, Direction(
        kind=kind,
        seed=seed,
        policy={"one_dimensional": one_dimensional, "untouched": untouched},
        hash=_hash(flat),
        norm=norm,
        orthogonal_to=None if other is None else _hash(other),
        cosine=None if other is None else float(flat @ other / (norm * torch.linalg.vector_norm(other))),
        skipped_filters=skipped,
    )


def draw_plane(
    layout: Layout, weights: Params, *, kind: str = "filter", seed: int = 0, **policy: Any
) -> tuple[tuple[Named, Direction], tuple[Named, Direction]]:
    """Two orthogonal directions from one seed: (x, its record), (y, its record)."""
    x, x_record = draw_direction(layout, weights, kind=kind, seed=seed, **policy)
    return (x, x_record), draw_direction(layout, weights, kind=kind, seed=seed, **policy, orthogonal_to=x)


def redraw(record: Direction, layout: Layout, weights: Params, *, orthogonal_to: Params | None = None) -> Named:
    """The direction of a record, drawn again.

    Raises:
        StoreMismatch: the redraw is another direction: other weights, another library's random numbers.
    """
    if (record.orthogonal_to is None) != (orthogonal_to is None):
        raise InvalidArgument("expected the first direction with a second one and only then")
    policy: Mapping[str, Any] = record.policy
    direction, drawn = draw_direction(
        layout, weights, kind=record.kind, seed=record.seed, orthogonal_to=orthogonal_to, **policy
    )
    same_norm = math.isclose(drawn.norm, record.norm, rel_tol=1e-9)
    if drawn.hash != record.hash or not same_norm or drawn.orthogonal_to != record.orthogonal_to:
        raise StoreMismatch(
            f"expected the {record.kind} direction of seed {record.seed} with hash {record.hash[:12]} and norm "
            f"{record.norm:.6g}, got {drawn.hash[:12]} and {drawn.norm:.6g}: other weights or other random numbers"
        )
    return direction


def _filters(tensor: Tensor) -> Filters:
    """One row a filter: an index of the first axis, or the whole tensor where there is one axis or none."""
    return tensor.reshape(tensor.shape[0], math.prod(tensor.shape[1:])) if tensor.dim() >= 2 else tensor.reshape(1, -1)


def _norms(filters: Filters) -> Float[Tensor, "filters 1"]:
    return cast(Tensor, torch.linalg.vector_norm(filters, dim=1, keepdim=True))


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Their quotient, and 0 where the denominator is 0."""
    return torch.where(denominator > 0, numerator / denominator.where(denominator > 0, torch.ones(())), 0.0)


def _still(filters: Filters, layout: Layout, name: str, untouched: str) -> None:
    """Zero the rows that must not move, in place."""
    untouched_rows = layout.row_groups.get("untouched", {}) if untouched == "zero" else {}
    for rows in (layout.frozen_rows.get(name), untouched_rows.get(name)):
        if rows is not None and len(rows):
            if len(layout.shapes[name]) >= 2:
                filters[rows.cpu()] = 0
            else:
                filters[:, rows.cpu()] = 0


def _orthogonal_filters(filters: Filters, first: Filters) -> tuple[Filters, int]:
    """Each filter without its part along the same filter of the first direction; those of one entry become zero.

    Where the first direction is zero there is nothing to remove.
    """
    if filters.shape[1] == 1:
        moving = (filters != 0) & (first != 0)
        return filters.where(~moving, torch.zeros(())), int(moving.sum())
    unit = first * _ratio(torch.ones_like(first[:, :1]), _norms(first))
    for _ in range(2):  # once more for what rounding left: "twice is enough" (Parlett 1980)
        filters = filters - unit * (filters * unit).sum(dim=1, keepdim=True)
    return filters, 0


def _hash(flat: Tensor) -> str:
    """SHA-256 over the float32 values of the free coordinates."""
    return hashlib.sha256(flat.to(torch.float32).numpy().tobytes()).hexdigest()
