"""Directions made of checkpoints: the line to another one, the plane through three, any fixed combination of several.

Letters: w the origin, w_i another checkpoint, m_i = w_i - w over the free coordinates, d = sum of c_i m_i.

A record holds the targets, the hashes of their weights and the coefficients c, so a direction of any size is drawn
again by reading the checkpoints one after another: three vectors of memory. Where checkpoints are tensors at hand
instead of targets, the direction itself is kept in float32, up to `LARGEST_KEPT` coordinates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from landscape.directions.evidence import on_one_thread, settled, without
from landscape.errors import InvalidArgument, StoreMismatch
from landscape.objective import Objective, loss_at
from landscape.parameters import Layout, Params, Vector, content_hash
from landscape.records import Direction, Mark, Plane
from landscape.targets import load_weights

KINDS = ("between", "through", "pca")
LARGEST_KEPT = 10_000_000  # coordinates of a vector that a store keeps: 40 MB, and every change of a store copies it
SLICE = 1 << 24  # entries that are subtracted at once
PARALLEL = 1e-7  # a second direction shorter than this share of the vector it came from is rounding


@dataclass(frozen=True)
class Source:
    """Where a checkpoint's weights are: at a target, or in `params` where there is none."""

    name: str
    target: str | None = None
    params: Params | None = field(default=None, repr=False)

    def load(self) -> Params:
        """The weights by name."""
        if self.params is not None:
            return self.params
        assert self.target is not None
        return load_weights(self.target)


def as_source(checkpoint: "str | Params | Source", name: str = "") -> Source:
    """A source from a target, or from tensors that need a name."""
    if isinstance(checkpoint, Source):
        return checkpoint
    if isinstance(checkpoint, str):
        return Source(name or checkpoint, checkpoint)
    return Source(name or "other", None, checkpoint)


@on_one_thread
def line_between(objective: Objective, to: str | Params | Source, *, origin: str = "origin", name: str = "") -> Plane:
    """The line from the objective's weights (alpha = 0) to another checkpoint (alpha = 1), both marked.

    Costs two losses and two vectors.

    Args:
        objective: the frozen loss; its weights are the origin.
        to: the other checkpoint, a target or tensors of the same layout.
        origin: what the origin is called.
        name: what the other one is called; its target by default.

    Raises:
        InvalidArgument: other shapes, or the same weights.
    """
    there = as_source(to, name)
    layout, params = objective.layout, there.load()
    flat = difference(objective, there, params)
    if not flat.any():
        raise InvalidArgument(
            f"expected two checkpoints that differ, got the same weights in {origin} and {there.name}"
        )
    _, x = combination(layout, "between", flat, [there], [content_hash(params)], [1.0])
    marks = (
        Mark(origin, 0.0, 0.0, loss_at(objective, objective.weights).value),
        Mark(there.name, 1.0, 0.0, loss_of(objective, params)),
    )
    return Plane(x, None, marks)


@on_one_thread
def plane_through(
    objective: Objective,
    one: str | Params | Source,
    other: str | Params | Source,
    *,
    origin: str = "origin",
    names: tuple[str, str] = ("", ""),
) -> Plane:
    """The plane through the objective's weights and two more checkpoints, all three marked at their coordinates.

    x leads to `one`, which lies at (1, 0). y is the part of the way to `other` that is orthogonal to x, as long as x: a
    distance in the picture is the same distance in weight space along both axes. Costs three losses and four vectors.

    Raises:
        InvalidArgument: other shapes, or three checkpoints on one line.
    """
    sources = as_source(one, names[0]), as_source(other, names[1])
    params = [source.load() for source in sources]
    hashes = [content_hash(held) for held in params]
    layout = objective.layout
    first, second = (difference(objective, source, held) for source, held in zip(sources, params, strict=True))
    if not first.any():
        raise InvalidArgument(
            f"expected checkpoints that differ, got the same weights in {origin} and {sources[0].name}"
        )
    x, x_record = combination(layout, "through", first, sources[:1], hashes[:1], [1.0])
    if not _length(without(second, x)) > PARALLEL * _length(second):
        raise InvalidArgument(f"expected three checkpoints that span a plane, got {sources[1].name} on the line of two")
    y, y_record = combination(layout, "through", second, sources[1:], hashes[1:], [1.0], first=x, norm=x_record.norm)
    marks = [Mark(origin, 0.0, 0.0, loss_at(objective, objective.weights).value)]
    for source, held, m in zip(sources, params, (first, second), strict=True):
        (alpha, beta), outside = place_of(m, x, y)
        marks.append(Mark(source.name, alpha, beta, loss_of(objective, held), outside))
    return Plane(x_record, y_record, tuple(marks))


def place_of(m: Vector, x: Vector, y: Vector | None) -> tuple[tuple[float, float], float]:
    """The coordinates of a difference's projection, by the Gram system of the directions, and its share outside.

    The share is of the distance, not of its square. Once more for what rounding left, as in Gram-Schmidt.
    """
    if not m.any():
        return (0.0, 0.0), 0.0
    directions = [x] if y is None else [x, y]
    gram = np.array([[float(a @ b) for b in directions] for a in directions])
    rest, total = m, np.zeros(len(directions))
    for _ in range(2):
        step = np.linalg.solve(gram, np.array([float(a @ rest) for a in directions]))
        for length, direction in zip(step, directions, strict=True):
            rest = torch.add(rest, direction, alpha=-float(length))
        total += step
    alpha, beta = (*total.tolist(), 0.0)[:2]
    return (alpha, beta), _length(rest) / _length(m)


def combination(
    layout: Layout,
    kind: str,
    raw: Vector,
    sources: Sequence[Source],
    hashes: Sequence[str],
    coefficients: Sequence[float],
    *,
    norm: float | None = None,
    first: Vector | None = None,
) -> tuple[Vector, Direction]:
    """A combination of checkpoints as a direction, and its record, from which `combined` gives `raw` again.

    Raises:
        InvalidArgument: a checkpoint that is tensors at hand, in a model too large to keep the direction.
    """
    kept = None
    if any(source.target is None for source in sources):
        if layout.size > LARGEST_KEPT:
            raise InvalidArgument(
                f"expected checkpoints as loader:where in a model of over {LARGEST_KEPT:,} coordinates, got tensors"
            )
        kept = raw.to(torch.float32).numpy()
        raw = torch.from_numpy(kept).double()
    policy = {
        "checkpoints": [source.target or source.name for source in sources],
        "hashes": list(hashes),
        "coefficients": [float(c) for c in coefficients],
    }
    return settled(raw, kind=kind, policy=policy, norm=norm, first=first, vector=kept)


def combined(record: Direction, layout: Layout, weights: Params) -> Vector:
    """The combination of a record, from its checkpoints read one by one; not shaped yet.

    Raises:
        StoreMismatch: a checkpoint holds other weights than it did.
    """
    policy: Mapping[str, Any] = record.policy
    flat = torch.zeros(layout.size, dtype=torch.float64)
    for target, expected, c in zip(policy["checkpoints"], policy["hashes"], policy["coefficients"], strict=True):
        params = load_weights(target)
        if (found := content_hash(params)) != expected:
            raise StoreMismatch(f"expected the weights {expected[:12]} in {target}, got {found[:12]}")
        add_difference(flat, layout, params, weights, c)
    return flat


def add_difference(flat: Vector, layout: Layout, there: Params, origin: Params, coefficient: float) -> None:
    """Add c (w_i - w) in place, slice by slice: the one way both drawing and redrawing add."""
    start = 0
    for one, other in zip(layout.pieces(there), layout.pieces(origin), strict=True):
        for a, b in zip(torch.split(one, SLICE), torch.split(other, SLICE), strict=True):
            flat[start : start + len(a)] += (a.cpu().double() - b.cpu().double()) * coefficient
            start += len(a)


def difference(objective: Objective, source: Source, params: Params) -> Vector:
    """m = w_i - w over the free coordinates, float64 on the CPU; see `check_layout` for errors."""
    check_layout(objective.layout, source, params)
    flat = torch.zeros(objective.layout.size, dtype=torch.float64)
    add_difference(flat, objective.layout, params, objective.weights, 1.0)
    return flat


def check_layout(layout: Layout, source: Source, params: Params) -> None:
    """InvalidArgument where a checkpoint's tensors are others than the origin's, or not finite."""
    try:
        if extra := [name for name in params if name not in layout.shapes]:
            raise InvalidArgument(f"expected tensors {', '.join(layout.shapes)}, got also {extra[0]}")
        finite = all(bool(torch.isfinite(piece).all()) for piece in layout.pieces(params))
    except InvalidArgument as problem:
        raise InvalidArgument(f"{source.name} has not the shapes of the origin: {problem}") from None
    if not finite:
        raise InvalidArgument(f"expected finite weights in {source.name}, got NaN or infinity")


def loss_of(objective: Objective, params: Params) -> float:
    """The loss at another checkpoint, frozen rows included, in the origin's precision and on its device."""
    there = {name: params[name].detach().to(weight.device, weight.dtype) for name, weight in objective.weights.items()}
    return loss_at(objective, there).value


def _length(vector: Vector) -> float:
    return float(torch.linalg.vector_norm(vector))
