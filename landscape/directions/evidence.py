"""What every direction carries so that a redraw can be trusted: its hash and norm, taken on one thread."""

import functools
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from landscape.errors import StoreMismatch
from landscape.parameters import Vector
from landscape.records import Direction

Named = dict[str, Tensor]
P = ParamSpec("P")
T = TypeVar("T")


def on_one_thread(function: Callable[P, T]) -> Callable[P, T]:
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


def record_of(
    flat: Vector,
    *,
    kind: str,
    seed: int,
    policy: Mapping[str, Any],
    orthogonal_to: Vector | None = None,
    skipped_filters: int = 0,
    vector: Any = None,
) -> Direction:
    """The record of a direction given as a flat vector, with its evidence."""
    norm = float(torch.linalg.vector_norm(flat))
    other = orthogonal_to
    return Direction(
        kind=kind,
        seed=seed,
        policy=policy,
        hash=direction_hash(flat),
        norm=norm,
        orthogonal_to=None if other is None else direction_hash(other),
        cosine=None if other is None else float(flat @ other / (norm * torch.linalg.vector_norm(other))),
        skipped_filters=skipped_filters,
        vector=vector,
    )


def without(flat: Vector, first: Vector) -> Vector:
    """The vector without its part along another; once more for what rounding left ("twice is enough", Parlett 1980)."""
    square = first @ first
    for _ in range(2 if square > 0 else 0):
        flat = flat - first * ((flat @ first) / square)  # in this order: stores hold hashes of the result
    return flat


def shaped(flat: Vector, *, norm: float | None = None, first: Vector | None = None) -> Vector:
    """The vector made orthogonal to `first` and given a norm; by default it keeps its own."""
    wanted = float(torch.linalg.vector_norm(flat)) if norm is None else norm
    if first is not None:
        flat = without(flat, first)
    own = float(torch.linalg.vector_norm(flat))
    return flat if own in (wanted, 0.0) else flat * (wanted / own)


def settled(
    raw: Vector,
    *,
    kind: str,
    policy: Mapping[str, Any],
    seed: int = 0,
    norm: float | None = None,
    first: Vector | None = None,
    vector: Any = None,
) -> tuple[Vector, Direction]:
    """A direction from what its recipe gives, and its record: the one way in which it is first drawn and drawn again.

    Args:
        raw: what the recipe gives; `vector` in float64 where that is kept.
        kind: of the record, as policy and seed are.
        policy: see `kind`.
        seed: see `kind`.
        norm: what the direction gets; that of `raw` by default. It is recorded as given, so that a redraw scales by the
            very same number.
        first: the direction to be orthogonal to.
        vector: float32 values kept in the record.
    """
    wanted = float(torch.linalg.vector_norm(raw)) if norm is None else norm
    flat = shaped(raw, norm=wanted, first=first)
    record = record_of(flat, kind=kind, seed=seed, policy=policy, orthogonal_to=first, vector=vector)
    return flat, replace(record, norm=wanted)


def check_same(drawn: Direction, record: Direction, told: str) -> None:
    """Refuse a redraw that is another direction.

    Args:
        drawn: what came.
        record: what was expected.
        told: how to call it in the message, as in "filter direction of seed 3".

    Raises:
        StoreMismatch: hash, norm, or the direction it is orthogonal to differs.
    """
    same_norm = math.isclose(drawn.norm, record.norm, rel_tol=1e-9)
    if drawn.hash != record.hash or not same_norm or drawn.orthogonal_to != record.orthogonal_to:
        raise StoreMismatch(
            f"expected the {told} with hash {record.hash[:12]} and norm {record.norm:.6g}, got {drawn.hash[:12]} and "
            f"{drawn.norm:.6g}: other weights, or other numbers than those it was first drawn with"
        )


def direction_hash(flat: Vector) -> str:
    """SHA-256 over the float32 values of the free coordinates."""
    return hashlib.sha256(flat.detach().cpu().to(torch.float32).numpy().data).hexdigest()
