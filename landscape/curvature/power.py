"""Both ends of the Hessian's spectrum by power iteration, each with the residual that proves it.

Letters: H the operator, v a unit vector, theta its Rayleigh quotient v.Hv, c a shift, lambda an eigenvalue of H.

Plain power iteration finds the eigenvalue of largest size, whichever its sign, and finds neither end when the two are
nearly equal and opposite, as they are for trained networks (-.503 and +.439 on a trained SASRec). So `power_iteration`
runs more than once: on H, until a pair has converged or the iterates are seen to be a mixture of both ends; then on
H - cI for each end still missing. There c starts at the other end and moves a third of the way towards the wanted one
as that becomes known: the wanted end then leads, by a factor of two over the other. What stays slow is an end with
close neighbours of its own sign.

Nothing stops because theta stopped changing, and no tolerance is absolute: the only evidence is ||Hv - theta v||
against |theta|. What a small residual proves is that an eigenvalue lies there, not that it is the end of the spectrum:
where the random start is nearly orthogonal to the end's vector, the iteration can settle on its neighbour first (1 of
600 synthetic ends was an inner eigenvalue, 2.3 % below the end). Another seed, or `top` above 1, is the check.

On synthetic spectra with those ends, a small bulk and 200,000 coordinates, 10 to 60 products an end; with neighbours 2
to 3 % away 100 to 290. An end that lies in a dense bulk, far smaller than the other end, does not settle and is
reported so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from landscape.curvature.eigenpair import MAX_PRODUCTS, TOLERANCE, Eigenpair, end_labels
from landscape.curvature.operators import Product
from landscape.errors import InvalidArgument, NonFiniteProduct
from landscape.parameters import Vector

FAR_SHARE = 1 / 3  # where c lies between the far end (0) and the wanted end (1); below 1/2 the wanted end leads
MIXED = 0.1  # ||Hv - theta v|| / ||Hv|| above which v holds more than one eigenvector of different sign
SETTLED = 1e-3  # growth of ||Hv|| a step below which only eigenvalues of nearly the largest size are left in v


def leading_eigenpair(
    product: Product, start: Vector, *, tolerance: float = TOLERANCE, max_products: int = 100
) -> Eigenpair:
    """Find the eigenvalue of largest absolute value of a symmetric operator.

    One product a step, two vectors of memory. The error shrinks by |lambda_2 / lambda_1| a step, in order of size:
    opposite eigenvalues of nearly equal size do not settle, and `power_iteration` is what finds both.

    Args:
        product: v -> Hv. Taken to be linear and symmetric, not checked here.
        start: any vector not orthogonal to the answer, of any length.
        tolerance: accepted ||Hv - theta v|| relative to |theta|.
        max_products: stop here even if the tolerance is not met.

    Returns:
        The last pair reached. Running out of products is a result, not an error: read `converged`.

    Raises:
        InvalidArgument: `start` is zero or not finite, `tolerance` not positive, or `max_products` < 1.
        NonFiniteProduct: a product held a NaN or an infinity.

    Source: Golub and Van Loan, Matrix Computations, chapter 8.
    """
    return _iterate(product, start, tolerance=tolerance, max_products=max_products).pair


def power_iteration(
    product: Product,
    size: int,
    *,
    top: int = 1,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    device: torch.device | str = "cpu",
) -> dict[str, Eigenpair]:
    """Both ends of the spectrum: "lambda_max", ..., "lambda_{top}" from above, and "lambda_min", in that order.

    Names follow the sign, not the size: lambda_max is the largest eigenvalue even where lambda_min is larger in size. A
    Rayleigh quotient never leaves the spectrum, so lambda_max is at least the value given and lambda_min at most. An
    end smaller in size than `tolerance` times the other (zero, for a convex loss with flat directions) cannot be known
    relative to itself and counts as converged at a residual of tolerance squared times the other end's size.

    Further pairs from above are found orthogonally to the earlier ones (deflation) and all of them corrected together
    by one Rayleigh-Ritz step, which costs no product; their residuals are those of the undeflated operator.

    Args:
        product: v -> Hv, linear and symmetric.
        size: n, the length of v; at least 2.
        top: pairs wanted from the upper end, below n.
        seed: of the Gaussian starts.
        tolerance: accepted ||Hv - theta v|| relative to |theta|.
        max_products: for each pair; 300 are enough for neighbours 2 % away.
        device: where the vectors live.

    Raises:
        InvalidArgument: an option outside what it may be.
        NonFiniteProduct: a product held a NaN or an infinity.
    """
    if not 1 <= top < size:
        raise InvalidArgument(f"expected 1 <= top < {size:,} (the number of free coordinates), got {top}")
    generator = torch.Generator().manual_seed(seed)

    def random_start(hint: Vector | None = None) -> Vector:
        start: Tensor = torch.randn(size, generator=generator, dtype=torch.float64).to(device)
        start = start / torch.linalg.vector_norm(start)
        if hint is not None and hint.any():
            start = start + hint / torch.linalg.vector_norm(hint)
        return start

    wanted = tolerance if top == 1 else tolerance / 2  # the Rayleigh-Ritz step mixes the residuals of close pairs
    first = _iterate(product, random_start(), tolerance=wanted, max_products=max_products, until_mixed=True)
    rising = first.pair.value > 0
    bound = first.norm  # ||Hv|| <= the largest size of an eigenvalue, and close to it by now
    hint = first.remainder
    if not first.pair.converged and first.pair.products < max_products:
        spent = first.pair.products
        first = _iterate(
            product,
            first.pair.vector,
            shift=_beyond(-bound if rising else bound),
            tolerance=wanted,
            max_products=max_products - spent,
        )
        first = first.after(spent)
    near = first.pair
    floor = tolerance * abs(near.value)
    far = near.value if near.converged else (max(bound, near.value) if rising else min(-bound, near.value))
    second = _iterate(
        product, random_start(hint), shift=_beyond(far), floor=floor, tolerance=wanted, max_products=max_products
    )
    upper, lower = (first, second) if rising else (second, first)

    above = [upper]
    while len(above) < top:
        start = random_start(above[-1].remainder)
        found = [run.pair.vector for run in above]
        above.append(
            _iterate(
                product, start, shift=_beyond(lower.pair.value), orthogonal_to=found,
                floor=floor, tolerance=wanted, max_products=max_products,
            )
        )  # fmt: skip
    biggest = max(abs(upper.pair.value), abs(lower.pair.value))
    pairs = _rayleigh_ritz(above, tolerance, tolerance * biggest) if top > 1 else [upper.pair]
    return dict(zip(end_labels(top, 1), [*pairs, lower.pair], strict=True))


@dataclass(frozen=True, slots=True)
class _Run:
    """A pair, and what the iteration learned beside it."""

    pair: Eigenpair
    image: Vector  # Hv
    remainder: Vector  # Hv - theta v: rich in the eigenvectors next in line
    norm: float  # ||Hv||

    def after(self, products: int) -> "_Run":
        """The same run, with the products of an earlier one counted in."""
        return replace(self, pair=replace(self.pair, products=self.pair.products + products))


def _iterate(
    product: Product,
    start: Vector,
    *,
    tolerance: float,
    max_products: int,
    shift: Callable[[float], float] | None = None,
    orthogonal_to: Sequence[Vector] = (),
    floor: float = 0.0,
    until_mixed: bool = False,
) -> _Run:
    """Power iteration on H - cI inside the complement of `orthogonal_to`, c = shift(theta) anew at each step."""
    if max_products < 1:
        raise InvalidArgument(f"expected at least 1 product, got {max_products}")
    if not 0 < tolerance < 1:
        raise InvalidArgument(f"expected a relative tolerance between 0 and 1, got {tolerance}")
    if not torch.isfinite(start).all() or not start.any():
        raise InvalidArgument("expected a finite start other than zero")
    step, norm = start, 0.0
    for products in range(1, max_products + 1):
        v = _without(step, orthogonal_to)
        v = v / torch.linalg.vector_norm(v)
        image = product(v)
        if not torch.isfinite(image).all():
            raise NonFiniteProduct(f"expected finite products, got a NaN or an infinity in product {products}")
        theta = torch.dot(v, image).item()
        remainder = _without(image, orthogonal_to) - theta * v
        residual = torch.linalg.vector_norm(remainder).item()
        previous, norm = norm, torch.linalg.vector_norm(image).item()
        converged = residual <= tolerance * max(abs(theta), floor)
        if converged or (until_mixed and residual > MIXED * norm and norm < (1 + SETTLED) * previous):
            break
        step = remainder + (theta - (shift(theta) if shift else 0.0)) * v
    return _Run(Eigenpair(theta, v, residual, products, converged), image, remainder, norm)


def _beyond(far: float) -> Callable[[float], float]:
    """A shift between the far end and the wanted one, which theta approaches from inside as it becomes known."""
    return lambda theta: far + FAR_SHARE * (theta - far)


def _without(vector: Vector, found: Sequence[Vector]) -> Vector:
    for known in found:
        vector = vector - torch.dot(known, vector) * known
    return vector


def _rayleigh_ritz(runs: Sequence[_Run], tolerance: float, floor: float) -> list[Eigenpair]:
    """The best pairs within the span of all vectors found, largest first, from the products already made."""
    vectors = torch.stack([run.pair.vector for run in runs])
    images = torch.stack([run.image for run in runs])
    inner = vectors @ images.T
    values, mixing = torch.linalg.eigh((inner + inner.T) / 2)
    pairs = []
    for k, run in enumerate(runs):
        theta, weights = values[-1 - k].item(), mixing[:, -1 - k]
        v = weights @ vectors
        residual = torch.linalg.vector_norm(weights @ images - theta * v).item()
        pairs.append(Eigenpair(theta, v, residual, run.pair.products, residual <= tolerance * max(abs(theta), floor)))
    return pairs
