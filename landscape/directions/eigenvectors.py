"""Directions along eigenvectors of the Hessian: the k-th from the top or from the bottom of the spectrum.

Letters: H the Hessian of the frozen objective, or its part inside a block; theta, v an eigenpair of it.

The vector is kept in float32 with the record where the model has at most `LARGEST_KEPT` coordinates, and drawn again
from there: solving again would cost every worker and every resumed surface a hundred products, and would end in other
bits with another thread count. A larger model keeps the solver's settings alone; the redraw solves again on one
thread, and is refused where it ends elsewhere. An eigenvector that did not settle is a direction like any other: its
record says so, with theta and the residual of v, and the stated error of the products where they are inexact.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from landscape.blocks import mask_of
from landscape.curvature.eigenpair import MAX_PRODUCTS, TOLERANCE, Eigenpair
from landscape.curvature.lanczos import lanczos
from landscape.curvature.operators import Hessian
from landscape.describe import provenance
from landscape.directions.between import LARGEST_KEPT
from landscape.directions.evidence import on_one_thread, settled
from landscape.errors import InvalidArgument
from landscape.objective import Objective
from landscape.parameters import Vector, content_hash
from landscape.records import Direction, Plane
from landscape.sharpness.names import eigenvalue_label

KIND = "eigenvector"
ENDS = ("top", "bottom")
Which = tuple[str, int]  # end and number, counted from 1


def parse_which(text: str) -> Which:
    """Read "top-1" or "bottom-2": the end and how far from it. "top" alone is top-1.

    Raises:
        InvalidArgument: the text is no such end.
    """
    end, _, number = text.strip().partition("-")
    if end in ENDS and (not number or number.isdecimal()):
        k = int(number or 1)
        if k >= 1:
            return end, k
    raise InvalidArgument(f"expected eigenvectors as top-K or bottom-K, such as top-1,bottom-1, got {text!r}")


def plane_of_eigenvectors(
    objective: Objective,
    which: Sequence[str] = ("top-1",),
    *,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    block: str | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Plane:
    """A line along one eigenvector or a plane along two, of unit length, the second orthogonal to the first.

    Args:
        objective: the frozen loss, at whose weights the Hessian is taken.
        which: one or two of "top-K", "bottom-K".
        seed: of the solver's start.
        tolerance: accepted residual relative to theta.
        max_products: at most, for all of them.
        block: the eigenvectors of this block's own part of the Hessian; of all free coordinates by default.
        advance: told 1 after each product.

    Raises:
        InvalidArgument: an unknown end, more than two, the same twice, or more than the block has coordinates.
        NonFiniteProduct: a product held a NaN or an infinity.
    """
    wanted = _parsed(which)
    settings: dict[str, Any] = {"tolerance": tolerance, "max_products": max_products}
    settings |= {} if block is None else {"block": block}
    solve = _solved if objective.layout.size <= LARGEST_KEPT else on_one_thread(_solved)  # only what is solved again
    pairs, error = solve(objective, wanted, seed=seed, advance=advance, **settings)
    evidence = {} if error is None else {"product_error": error}
    return _plane_of(objective, pairs, wanted, {**settings, **evidence}, seed)


@on_one_thread
def _plane_of(
    objective: Objective,
    pairs: Mapping[Which, Eigenpair],
    wanted: Sequence[Which],
    settings: Mapping[str, Any],
    seed: int,
) -> Plane:
    """The records of these pairs, the second orthogonal to the first."""
    records: list[Direction] = []
    first: Vector | None = None
    for one in wanted:
        pair = pairs[one]
        policy = {
            **settings,
            "end": one[0],
            "k": one[1],
            "also": [f"{end}-{k}" for end, k in wanted],
            "value": pair.value,
            "residual": pair.residual,
            "converged": pair.converged,
            "checkpoint": content_hash(objective.weights),
            "objective": _objective_hash(objective),
        }
        single = pair.vector.cpu().to(torch.float32)
        kept = single.numpy() if objective.layout.size <= LARGEST_KEPT else None
        flat, record = settled(single.double(), kind=KIND, policy=policy, seed=seed, norm=1.0, first=first, vector=kept)
        first = flat if first is None else first
        records.append(record)
    return Plane(records[0], records[1] if len(records) > 1 else None)


def held_plane(
    directions: Iterable[Direction],
    objective: Objective,
    which: Sequence[str],
    *,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    block: str | None = None,
) -> Plane | None:
    """What `plane_of_eigenvectors` would solve for, where it is among these directions, each with its vector."""
    wanted = _parsed(which)
    asked = {
        "tolerance": tolerance,
        "max_products": max_products,
        "block": block,
        "also": [f"{end}-{k}" for end, k in wanted],
        "checkpoint": content_hash(objective.weights),
        "objective": _objective_hash(objective),
    }
    fitting = [
        one
        for one in directions
        if one.kind == KIND
        and one.seed == seed
        and one.vector is not None
        and all(one.policy.get(key) == value for key, value in asked.items())
    ]
    found: list[Direction] = []
    for end, k in wanted:
        first = found[0].hash if found else None
        same = [d for d in fitting if (d.policy["end"], d.policy["k"], d.orthogonal_to) == (end, k, first)]
        if not same:
            return None
        found.append(same[0])
    return Plane(found[0], found[1] if len(found) > 1 else None)


def solved_again(record: Direction, objective: Objective | None) -> Vector:
    """The eigenvector of a record that does not keep it, by the same solver with the same settings.

    Raises:
        InvalidArgument: the objective has other weights or settings than the record was measured with.
    """
    if objective is None or content_hash(objective.weights) != record.policy["checkpoint"]:
        raise InvalidArgument("expected the checkpoint whose Hessian the eigenvector is of, got another or none")
    if _objective_hash(objective) != record.policy["objective"]:
        raise InvalidArgument("expected the objective whose Hessian the eigenvector is of, got one of other settings")
    settings = {key: record.policy[key] for key in ("tolerance", "max_products", "block") if key in record.policy}
    wanted = [parse_which(one) for one in record.policy["also"]]
    pair, _ = _solved(objective, wanted, seed=record.seed, advance=lambda _: None, **settings)
    return pair[record.policy["end"], record.policy["k"]].vector.cpu().to(torch.float32).double()


def default_reach(record: Direction, loss: float) -> float:
    """How far to look along an eigenvector: where its parabola has moved the loss by the loss itself, two digits.

    |theta| s^2 / 2 = L(w). One where the curvature or the loss is zero.
    """
    theta = abs(float(record.policy["value"]))
    reach = math.sqrt(2 * abs(loss) / theta) if theta > 0 and loss else 1.0
    return float(f"{reach:.1e}")


def _parsed(which: Sequence[str]) -> list[Which]:
    wanted = [parse_which(one) for one in which]
    if not 1 <= len(wanted) <= 2 or len(set(wanted)) < len(wanted):
        raise InvalidArgument(f"expected one eigenvector or two different ones, got {', '.join(which) or 'none'}")
    return wanted


def _solved(
    objective: Objective,
    wanted: Sequence[Which],
    *,
    seed: int,
    tolerance: float,
    max_products: int,
    advance: Callable[[int], object],
    block: str | None = None,
) -> tuple[dict[Which, Eigenpair], float | None]:
    """The pairs, both ends at once, and how far off the products may be, see `landscape.product_error`."""
    hessian = Hessian(objective, block=block)
    depth = {end: max((k for one, k in wanted if one == end), default=0) for end in ENDS}
    if max(depth.values()) >= hessian.size:
        raise InvalidArgument(
            f"expected eigenvectors below number {hessian.size:,} (the free coordinates), got {max(depth.values())}"
        )

    def product(v: Vector) -> Vector:
        result = hessian(v)
        advance(1)
        return result

    pairs = lanczos(
        product, hessian.size, top=depth["top"], bottom=depth["bottom"],
        seed=seed, tolerance=tolerance, max_products=max_products, device=hessian.device,
    )  # fmt: skip
    found = {(end, k): pairs[eigenvalue_label(end, k)] for end in ENDS for k in range(1, depth[end] + 1)}
    if block is None:
        return found, hessian.relative_error
    inside = mask_of(objective.layout, block).nonzero().squeeze(1).to(hessian.device)
    spread = {
        one: replace(pair, vector=_spread(pair.vector, inside, objective.layout.size)) for one, pair in found.items()
    }
    return spread, hessian.relative_error


def _spread(v: Tensor, inside: Tensor, size: int) -> Tensor:
    full = v.new_zeros(size)
    full[inside] = v
    return full


def _objective_hash(objective: Objective) -> str:
    """Of the settings that a surface's provenance keeps: the Hessian is theirs as much as the weights'."""
    settings = json.dumps(provenance(objective).objective, sort_keys=True, default=str)
    return hashlib.sha256(settings.encode()).hexdigest()
