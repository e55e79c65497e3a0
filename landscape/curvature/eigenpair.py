"""An approximate eigenpair with its evidence, and how the pairs at both ends of a spectrum are called."""

from dataclasses import dataclass

from landscape.errors import InvalidArgument
from landscape.parameters import Vector
from landscape.sharpness.names import eigenvalue_label

TOLERANCE = 1e-3
MAX_PRODUCTS = 300


@dataclass(frozen=True, slots=True)
class Eigenpair:
    """An approximate eigenpair and the evidence for it."""

    value: float  # theta, in units of the loss per squared parameter
    vector: Vector  # v, unit length
    residual: float  # ||Hv - theta v||; some true eigenvalue lies within this of theta
    products: int  # operator products spent; by methods that find all pairs together, on all of them
    converged: bool  # residual <= tolerance * |theta|: an eigenvalue is there, though perhaps not the outermost one


def end_labels(top: int, bottom: int) -> list[str]:
    """Names from the largest eigenvalue down: lambda_max, lambda_2, ..., lambda_min_2, lambda_min."""
    above = [eigenvalue_label("top", k) for k in range(1, top + 1)]
    below = [eigenvalue_label("bottom", k) for k in range(bottom, 0, -1)]
    return [*above, *below]


def check_ends(top: int, bottom: int, size: int, tolerance: float, max_products: int) -> None:
    """Refuse what no method can be asked for.

    Raises:
        InvalidArgument: no pair, more of them than there are coordinates, no product, or no relative tolerance.
    """
    if top < 0 or bottom < 0 or not 1 <= top + bottom <= size:
        raise InvalidArgument(
            f"expected top and bottom of 1 to {size:,} pairs together (the number of free coordinates), got {top} and "
            f"{bottom}"
        )
    if not 0 < tolerance < 1:
        raise InvalidArgument(f"expected a relative tolerance between 0 and 1, got {tolerance}")
    if max_products < 1:
        raise InvalidArgument(f"expected at least 1 product, got {max_products}")
