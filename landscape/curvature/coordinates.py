"""An operator in other coordinates: on a block of them alone, relative to the size of each weight, or both.

Letters: H the operator over n free coordinates, D = diag(|w|), P the k coordinates of a block, u a vector over them.

    u -> P' D H D P u        k x k, symmetric as H is

D H D is H in the coordinates w_i = |w_i| (1 + x_i): it does not change when weights are re-scaled by a change that
keeps the function. A zero weight has no relative coordinate, and a zero row here.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from landscape.blocks import mask_of
from landscape.curvature.products import hessian_product
from landscape.errors import InvalidArgument, NonFiniteProduct
from landscape.objective import Objective
from landscape.parameters import Vector

Block = Float[Tensor, "size vectors"]
Coordinates = Literal["raw", "relative"]


def images(product: Callable[[Vector], Vector], vectors: Block) -> Block:
    """The products with every column, several at once where the operator has `matmat`.

    Raises:
        NonFiniteProduct: one of them held a NaN or an infinity.
    """
    several = getattr(product, "matmat", None)
    if several is not None and vectors.shape[1] > 1:
        result: Tensor = several(vectors)
    else:
        result = torch.stack([product(vector) for vector in vectors.T], dim=1)
    if not torch.isfinite(result).all():
        raise NonFiniteProduct("expected finite products, got a NaN or an infinity")
    return result


class InCoordinates:
    """H restricted to the coordinates of a mask, scaled by a vector, or both; as good an operator as H itself."""

    def __init__(
        self,
        product: Callable[[Vector], Vector],
        size: int,
        *,
        scale: Vector | None = None,
        mask: Bool[Tensor, " free"] | None = None,
    ) -> None:
        """See the operator through them.

        Args:
            product: v -> Hv over `size` coordinates.
            size: n.
            scale: (n,) the diagonal of D, |w| for relative coordinates.
            mask: (n,) which coordinates remain.
        """
        for given in (scale, mask):
            if given is not None and given.shape != (size,):
                raise InvalidArgument(f"expected {size:,} coordinates, got {tuple(given.shape)}")
        self._product, self._full_size, self._scale = product, size, scale
        self._places = None if mask is None else mask.nonzero().squeeze(1)
        self.size = size if self._places is None else len(self._places)

    def __call__(self, u: Vector) -> Vector:
        """One product."""
        return self.matmat(u[:, None])[:, 0]

    def matmat(self, U: Block) -> Block:
        """Products with every column."""
        return self._narrowed(images(self._product, self._widened(U)))

    def _widened(self, U: Tensor) -> Tensor:
        if self._places is not None:
            full = U.new_zeros(self._full_size, U.shape[1])
            full[self._places.to(U.device)] = U
            U = full
        return U if self._scale is None else self._scale.to(U)[:, None] * U

    def _narrowed(self, V: Tensor) -> Tensor:
        V = V if self._scale is None else self._scale.to(V)[:, None] * V
        return V if self._places is None else V[self._places.to(V.device)]


class Counted:
    """An operator that reports every product, for a progress bar."""

    def __init__(self, operator: InCoordinates, advance: Callable[[int], None]) -> None:
        self._operator, self._advance = operator, advance

    def __call__(self, u: Vector) -> Vector:
        """One product."""
        return self.matmat(u[:, None])[:, 0]

    def matmat(self, U: Block) -> Block:
        """Products with every column."""
        result = self._operator.matmat(U)
        self._advance(U.shape[1])
        return result


def hessian_in(objective: Objective, *, block: str | None = None, coordinates: Coordinates = "raw") -> InCoordinates:
    """The Hessian of an objective on a named block or on all of it (None), raw or relative to |w|.

    Raises:
        InvalidArgument: no such block, or nothing free in it.
    """
    layout = objective.layout
    w = layout.flatten(objective.weights)
    scale = w.abs() if coordinates == "relative" else None
    mask = None if block is None else mask_of(layout, block).to(w.device)
    return InCoordinates(hessian_product(objective), layout.size, scale=scale, mask=mask)


def rademacher(size: int, seed: int, probe: int) -> Vector:
    """The probe of this number: signs +1 and -1, float64, on the CPU; it depends on size, seed and number alone."""
    state = int(np.random.SeedSequence([seed, probe]).generate_state(1, np.uint64)[0])
    generator = torch.Generator().manual_seed(state >> 1)
    return torch.randint(0, 2, (size,), generator=generator, dtype=torch.int8).double() * 2 - 1
