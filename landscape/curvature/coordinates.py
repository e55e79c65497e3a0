"""The Hessian in coordinates relative to the size of each weight, and the random signs that probe an operator.

Letters: H an operator over n coordinates, D = diag(|w|), z a probe.

D H D is H in the coordinates w_i = |w_i| (1 + x_i): it does not change when weights are re-scaled by a change that
keeps the function. A zero weight has no relative coordinate, and a zero row here.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from landscape.blocks import mask_of
from landscape.curvature.operators import Hessian, Operator, Product
from landscape.errors import InvalidArgument, NonFiniteProduct
from landscape.objective import Objective
from landscape.parameters import Vector

Columns = Float[Tensor, "free columns"]
Coordinates = Literal["raw", "relative"]


class Rescaled(Operator):
    """D H D for an operator H and a diagonal D."""

    def __init__(self, operator: Operator, scale: Vector) -> None:
        if scale.shape != (operator.size,):
            raise InvalidArgument(f"expected a scale of {operator.size:,} coordinates, got {tuple(scale.shape)}")
        self.size, self.device = operator.size, operator.device
        self._operator, self._scale = operator, scale

    @property
    def relative_error(self) -> float | None:
        """Of the products of H itself."""
        return self._operator.relative_error

    def matmat(self, V: Columns) -> Columns:
        """The product with several vectors at once."""
        self._check(V, 2)
        scale = self._scale.to(V.device)[:, None]
        return scale * self._operator.matmat(scale * V)


class Counted(Operator):
    """An operator that reports how many products were made, for a progress bar."""

    def __init__(self, operator: Operator, report: Callable[[int], None]) -> None:
        self.size, self.device = operator.size, operator.device
        self._operator, self._report = operator, report

    @property
    def relative_error(self) -> float | None:
        """As the operator says it."""
        return self._operator.relative_error

    def matmat(self, V: Columns) -> Columns:
        """The product with several vectors at once."""
        result = self._operator.matmat(V)
        self._report(V.shape[1])
        return result


def hessian_in(objective: Objective, *, block: str | None = None, coordinates: Coordinates = "raw") -> Operator:
    """The Hessian of an objective on a named block or on all of it (None), raw or relative to |w|.

    Raises:
        InvalidArgument: no such block, or nothing free in it.
    """
    hessian = Hessian(objective, block=block)
    if coordinates == "raw":
        return hessian
    size = objective.layout.flatten(objective.weights).abs()
    return Rescaled(hessian, size if block is None else size[mask_of(objective.layout, block).to(size.device)])


def images(product: Product, vectors: Columns) -> Columns:
    """The products with every column, several at once where the operator can.

    Raises:
        NonFiniteProduct: one of them held a NaN or an infinity.
    """
    several = getattr(product, "matmat", None)
    result: Tensor = torch.stack([product(v) for v in vectors.T], dim=1) if several is None else several(vectors)
    if not torch.isfinite(result).all():
        raise NonFiniteProduct("expected finite products, got a NaN or an infinity")
    return result


def rademacher(size: int, seed: int, probe: int) -> Vector:
    """The probe of this number: signs +1 and -1, float64, on the CPU; it depends on size, seed and number alone."""
    state = int(np.random.SeedSequence([seed, probe]).generate_state(1, np.uint64)[0])
    generator = torch.Generator().manual_seed(state >> 1)
    return torch.randint(0, 2, (size,), generator=generator, dtype=torch.int8).double() * 2 - 1
