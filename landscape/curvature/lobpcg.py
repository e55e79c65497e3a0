"""Both ends of a spectrum by SciPy's LOBPCG, to compare with: the blocks, the tolerance always passed, true residuals.

SciPy's tolerance is absolute and by default n sqrt(eps), .013 for a SASRec of 877,888 coordinates: larger than most of
the eigenvalues that are looked for. Here it is `tolerance` times the smallest wanted eigenvalue, as known after a few
steps, and what is reported is computed afterwards from one more product for each pair.

SciPy gives back the block with the smallest residuals that it has seen. In a large space that is the random start for
many steps: its quotients and residuals are small, and grow before they shrink. Rounds of one length would then begin
at the start for ever, so each is twice as long as the one before.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from landscape.curvature.eigenpair import MAX_PRODUCTS, TOLERANCE, Eigenpair, check_ends, end_labels
from landscape.curvature.operators import Product
from landscape.errors import InvalidArgument, NonFiniteProduct

STEPS = 5  # before the eigenvalues are looked at; twice as many before the next time, and so on
SPARE = 1  # vectors beyond those wanted: the last of a block is the slowest


def lobpcg_ends(
    product: Product,
    size: int,
    *,
    top: int = 1,
    bottom: int = 1,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    device: torch.device | str = "cpu",
) -> dict[str, Eigenpair]:
    """The largest and the smallest eigenvalues, each end in a run of its own, without a preconditioner.

    Three blocks of vectors in float64 of memory, in NumPy. Pairs of one end share their products.

    Args:
        product: v -> Hv, linear and symmetric.
        size: n, the length of v; more than five times the block.
        top: pairs wanted from the upper end.
        bottom: pairs wanted from the lower end.
        seed: of the Gaussian starts.
        tolerance: accepted ||Hv - theta v|| relative to |theta|.
        max_products: for each end.
        device: where the vectors are multiplied.

    Raises:
        InvalidArgument: an option outside what it may be, or a space too small for the method.
        NonFiniteProduct: a product held a NaN or an infinity.

    Source: Knyazev 2001, as `scipy.sparse.linalg.lobpcg`.
    """
    check_ends(top, bottom, size, tolerance, max_products)
    if size < 5 * (max(top, bottom) + SPARE) + 1:
        raise InvalidArgument(f"expected more than {5 * (max(top, bottom) + SPARE):,} coordinates, got {size:,}")
    rng = np.random.default_rng(seed)
    above = _one_end(product, rng.standard_normal((size, top + SPARE)), top, 1, tolerance, max_products, device)
    below = _one_end(product, rng.standard_normal((size, bottom + SPARE)), bottom, -1, tolerance, max_products, device)
    biggest = max((abs(pair[0]) for pair in [*above, *below]), default=0.0)
    pairs = [
        Eigenpair(value, vector, residual, products, residual <= tolerance * max(abs(value), tolerance * biggest))
        for value, vector, residual, products in [*above, *below[::-1]]
    ]
    return dict(zip(end_labels(top, bottom), pairs, strict=True))


def _one_end(
    product: Product,
    X: NDArray[np.float64],
    wanted: int,
    sign: int,
    tolerance: float,
    max_products: int,
    device: torch.device | str,
) -> list[tuple[float, torch.Tensor, float, int]]:
    """Pairs of sign * H from the largest down: value, vector, residual, products."""
    if not wanted:
        return []
    from scipy.sparse.linalg import LinearOperator, lobpcg

    spent = 0

    def multiplied(columns: NDArray[np.float64]) -> NDArray[np.float64]:
        nonlocal spent
        columns = columns.reshape(len(X), -1)
        image = np.empty_like(columns)
        for k in range(columns.shape[1]):
            spent += 1
            found = product(torch.from_numpy(columns[:, k].copy()).to(device))
            if not torch.isfinite(found).all():
                raise NonFiniteProduct(f"expected finite products, got a NaN or an infinity in product {spent}")
            image[:, k] = sign * found.cpu().numpy()
        return image

    operator = LinearOperator((len(X), len(X)), matvec=multiplied, matmat=multiplied, dtype=np.float64)
    width, accepted, allowed = X.shape[1], np.finfo(np.float64).tiny, STEPS
    while True:
        steps = min(allowed, (max_products - spent) // width - 3)  # a start, a final residual and ours beside them
        allowed *= 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it did not converge is ours to say
            values, X = lobpcg(operator, X, tol=accepted, maxiter=max(steps, 0), largest=True)
        order = np.argsort(-values)[:wanted]
        smallest = np.abs(values[order]).min()
        accepted = tolerance / 2 * max(smallest, tolerance * np.abs(values).max())
        images = multiplied(X[:, order])
        residuals = np.linalg.norm(images - values[order] * X[:, order], axis=0)
        if (residuals <= 2 * accepted).all() or steps <= 1 or spent + 4 * width > max_products:
            break
    return [
        (sign * float(values[k]), torch.from_numpy(X[:, k].copy()), float(residual), spent)
        for k, residual in zip(order, residuals, strict=True)
    ]
