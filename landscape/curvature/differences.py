"""Hessian products from gradients alone, each with the error it may have: central differences, extrapolated.

Letters: w the weights, g the gradient, v a unit vector, v_T and w_T their parts in tensor T, t the first step,
D(h) = (g(w + h v) - g(w - h v)) / 2h, which is Hv + c h^2 + d h^4 + ... + rounding / h.

No step suits every v: on a trained SASRec in float32 the best for a random v leaves a tenth or more of the leading
eigenvectors' product as an error, since these lie in few and small tensors, along which the loss bends much faster.
The first step is therefore measured by what v changes, and narrowed by thirds until two extrapolations agree.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from landscape.parameters import Params, Vector

NARROWED = 3.0  # each step by the next: a half leaves more truncation to pay for, a tenth more rounding
SLOPES = 4  # at most, each of two gradients
ACCEPTED = 1e-3  # the stated relative error at which no further slope is taken: the solvers' own default tolerance
MARGIN = 2.0  # the stated error is this many times the disagreement it is read from


class Differences:
    """Products with the Hessian at fixed weights, four to eight gradients each, and the largest error any may have."""

    relative_error: float | None = None  # ||found - Hv|| / ||Hv|| as stated, the largest of all products so far

    def __init__(self, gradient: Callable[[Params], Vector], weights: Params, *, step: float | None = None) -> None:
        """Fix where and from what.

        Args:
            gradient: weights -> the gradient in the coordinates that are answered for, flat, float64.
            weights: all tensors of the model.
            step: t, the first step for a v spread over the weights as noise would be; by default the cube root of
                their precision times ||w||.
        """
        self._gradient, self._weights, self._step = gradient, weights, step
        self._rooms: dict[str, float] = {}

    @property
    def step(self) -> float:
        """t."""
        if self._step is None:
            precision = max(torch.finfo(tensor.dtype).eps for tensor in self._weights.values())
            self._step = precision ** (1 / 3) * self._length
        return self._step

    def product(self, direction: Params) -> Vector:
        """Hv for one unit v, given by the tensors it moves. Updates `relative_error`.

        Memory: up to ten vectors of the answer's length.
        """
        found, error = extrapolated(lambda h: self._slope(direction, h), self.step * self._room(direction))
        self.relative_error = max(error, self.relative_error or 0.0)
        return found

    def _slope(self, direction: Params, step: float) -> Vector:
        def at(h: float) -> Vector:
            there = {name: self._weights[name].add(v, alpha=h) for name, v in direction.items()}
            return self._gradient({**self._weights, **there})

        return (at(step) - at(-step)).div_(2 * step)

    def _room(self, direction: Params) -> float:
        """How far v may go beside one spread over the weights as noise would be: 1 for that one, less for others.

        1 / (||w|| sum over T of |v_T|^2 |v_T| / |w_T|), the relative change of the tensors weighed by what v has in
        them. No |w_T| counts as smaller than that of a tensor of its size with the weights' root mean square: a bias
        near zero is no scale.
        """
        if not self._rooms:
            length, size = self._length, sum(tensor.numel() for tensor in self._weights.values())
            for name, tensor in self._weights.items():
                self._rooms[name] = max(_length_of([tensor]) / length, math.sqrt(tensor.numel() / size))
        return 1 / sum(_length_of([v]) ** 3 / self._rooms[name] for name, v in direction.items())

    @property
    def _length(self) -> float:
        return _length_of(self._weights.values()) or 1.0


def extrapolated(slope: Callable[[float], Tensor], step: float) -> tuple[Tensor, float]:
    """The limit of slope(h) at h = 0, where its error is even in h, and the relative error it may have.

    Ridders' method: slopes at steps narrowed by thirds, polynomials through them (Neville), and of all the one that
    agrees best with the two it was made from. The error is twice the larger of these two distances: where truncation
    prevails that is the error of the poorer of the two, many times the answer's own; where rounding prevails, whose
    part in a slope grows as 1/h, it is near twice the answer's. It is an estimate, not a bound: on few coordinates
    rounding may agree by chance. Narrowing ends at `ACCEPTED`, after `SLOPES` slopes, or when rounding takes over.

    Returns:
        The limit and its error relative to its length: infinite if no slope was finite, 0 if all were zero.

    Source: Ridders 1982, Accurate computation of F'(x) and F'(x) F''(x), Advances in Engineering Software 4.
    """
    row = [slope(step)]
    best, error = row[0], math.inf
    for k in range(1, SLOPES):
        above, row = row, [slope(step / NARROWED**k)]
        least = math.inf
        for j, wider in enumerate(above):
            narrower = row[j]
            both = narrower + (narrower - wider) / (NARROWED ** (2 * j + 2) - 1)
            row.append(both)
            stated = _error_of(both, narrower, wider)
            least = min(least, stated)
            if stated < error:
                best, error = both, stated
        if error <= ACCEPTED or least > 2 * error:
            break
    return best, error


def _error_of(found: Tensor, *others: Tensor) -> float:
    distance = MARGIN * max(torch.linalg.vector_norm(found - other).item() for other in others)
    if distance == 0:
        return 0.0
    size = torch.linalg.vector_norm(found).item()
    return distance / size if math.isfinite(distance) and size else math.inf


def _length_of(tensors: Iterable[Tensor]) -> float:
    return math.hypot(*(torch.linalg.vector_norm(tensor, dtype=torch.float64).item() for tensor in tensors))
