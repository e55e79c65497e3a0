"""How many vectors Lanczos keeps, and in which precision: chosen by the memory they take.

Many vectors in float64 save restarts, and are what small models get. Where fewer than `ROOMY` of them fit, they are
kept in float32: the matrix of the Ritz values stays in float64 and residuals are still measured, but none below about
1e-6 of the eigenvalue is reached, far under what is asked for as a rule. At 100 million parameters that is five vectors
in 1.9 GiB, restarted at every other product: 91 products for a pair that seven vectors find in 31.
"""

from dataclasses import dataclass
from typing import Any

import torch

MEMORY = 2**31  # bytes for the basis by default
BASIS = 80  # vectors at most by default
ROOMY = 20  # vectors in float64 that are enough to stay with it
FINEST = 1e-5  # relative tolerance that a basis in float32 still serves


@dataclass(frozen=True, slots=True)
class BasisPlan:
    """What `lanczos` keeps."""

    vectors: int
    dtype: torch.dtype

    @property
    def facts(self) -> dict[str, Any]:
        """For a record's settings; nothing where the plan is that of a model of common size."""
        if self.dtype == torch.float64:
            return {}
        return {"basis": self.vectors, "basis_dtype": str(self.dtype).removeprefix("torch.")}

    def __str__(self) -> str:
        kind = str(self.dtype).removeprefix("torch.")
        return f"a basis of {self.vectors} vectors in {kind}"


def plan_basis(size: int, pairs: int, *, width: int = 1, tolerance: float, memory: int = MEMORY) -> BasisPlan:
    """The basis for so many pairs of an operator of this size.

    Args:
        size: n, the length of a vector.
        pairs: wanted from both ends together.
        width: starting vectors.
        tolerance: relative; finer ones than float32 can reach keep float64 whatever it takes.
        memory: bytes the basis may take, unless that is too few for any restart.
    """
    fits = memory // (8 * size)
    if fits >= min(ROOMY, size) or tolerance < FINEST:
        return BasisPlan(min(size, max(min(BASIS + width, fits), least_basis(size, pairs, width))), torch.float64)
    fits = memory // (4 * size)
    return BasisPlan(min(size, max(min(BASIS + width, fits), pairs + width + 2)), torch.float32)


def least_basis(size: int, pairs: int, width: int) -> int:
    """Vectors with which restarts still go on well."""
    return min(size, pairs + width + 5)
