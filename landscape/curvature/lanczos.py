"""Both ends of a spectrum at once by Lanczos: the fewest products for a few eigenpairs, each with its true residual.

Letters: H the operator, V the orthonormal basis kept, B the products' coordinates in it (H V_m = V B, m the vectors
multiplied so far), theta and y an eigenpair of V_m^T H V_m, q the vectors of V still waiting for their product.

A step multiplies one waiting vector and makes what is new in the product orthogonal to the whole basis, twice, so that
no copies of converged pairs appear. B is kept in full and not only its three diagonals: ||B y - theta y|| is then the
residual ||Hv - theta v|| of the operator as it is, rounding and any asymmetry of the products included, and nothing
stops on anything else. From one start vector this is the Lanczos iteration, from several its band form, where the
vector that has waited longest is multiplied next: so k starts find up to k copies of a multiple eigenvalue.
Eigenvectors of another checkpoint save most as one start, their sum: on operators 1e-5, 1e-3 and 1e-2 away it took 5,
10 and 14 products where a random start took 26, and the vectors side by side 4, 8 and 27.

A full basis is restarted thickly (Wu and Simon 2000): the Ritz vectors nearest to both ends stay. When a product brings
nothing new, the basis spans an invariant subspace, and another random vector, orthogonal to it, starts a chain of its
own: so further copies of multiple eigenvalues are found, which one chain cannot see. `confirm` adds such a chain
wherever there was no breakdown: the pairs are then also proven to be the outermost as far as a second random vector
can tell.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.curvature.basis import BASIS, MEMORY, least_basis
from landscape.curvature.eigenpair import MAX_PRODUCTS, TOLERANCE, Eigenpair, check_ends, end_labels
from landscape.curvature.operators import Product
from landscape.errors import InvalidArgument, NonFiniteProduct

NOTHING_NEW = 1e3  # a remainder smaller than this many roundings of ||H|| is rounding


def lanczos(
    product: Product,
    size: int,
    *,
    top: int = 1,
    bottom: int = 1,
    start: Tensor | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    basis: int | None = None,
    confirm: bool = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> dict[str, Eigenpair]:
    """The largest and the smallest eigenvalues: "lambda_max", "lambda_2", ..., "lambda_min_2", "lambda_min".

    Names follow the sign, not the size. An end smaller in size than `tolerance` times the other (zero, for a convex
    loss with flat directions) cannot be known relative to itself and counts as converged at a residual of tolerance
    squared times the other end's size.

    Time: the products, and four passes over the basis for each. Memory: the basis. Ritz values never leave the
    spectrum: lambda_max is at least the value given and lambda_min at most.

    Args:
        product: v -> Hv, linear and symmetric.
        size: n, the length of v.
        top: pairs wanted from the upper end.
        bottom: pairs wanted from the lower end.
        start: a vector (n,), such as the sum of the same eigenvectors at another checkpoint, or several as columns
            (n, k); random by default. Pairs of which it has no share are found only after a breakdown or by `confirm`.
        seed: of the random vectors.
        tolerance: accepted ||Hv - theta v|| relative to |theta|.
        max_products: in all.
        basis: vectors kept at most; by default as many as fit into 2 GiB, up to 80, and never too few for a restart.
        confirm: add a chain from another random vector once all has converged, as long as the first was, and go on if
            it finds anything further out.
        dtype: of the basis, and of the vectors that `product` is given. In float32 it takes half the memory, and no
            residual below about 1e-6 |lambda| is reached. `plan_basis` chooses both by memory.
        device: where the basis lives.

    Returns:
        Pairs by name, from the largest value down. `products` is the number of all of them, which the pairs share.
        Running out of products is a result: read `converged`. Of a tie at the end of the products, fewer pairs than
        asked may have been reached; those missing are NaN, with a zero vector.

    Raises:
        InvalidArgument: an option outside what it may be, or a start without any direction.
        NonFiniteProduct: a product held a NaN or an infinity.

    Source: Golub and Van Loan, Matrix Computations, chapter 10; Ruhe 1979 (band form); Wu and Simon 2000.
    """
    check_ends(top, bottom, size, tolerance, max_products)
    starts = _starts(start, size)
    width = 1 if starts is None else starts.shape[1]
    if basis is None:
        fits = MEMORY // (size * torch.finfo(dtype).bits // 8)
        basis = max(min(BASIS + width, fits), least_basis(size, top + bottom, width))
    least = min(size, top + bottom + width + 2)
    if basis < least:
        raise InvalidArgument(f"expected a basis of at least {least} vectors for these pairs and starts, got {basis}")
    krylov = _Krylov(size, min(basis, size), seed=seed, dtype=dtype, device=torch.device(device))
    krylov.begin(starts)
    wanted = _Wanted(top, bottom, tolerance)
    chain = longest = 0  # products since the last random start, and of the longest chain before it
    known: NDArray[np.float64] | None = None  # values at the last random start: a whole chain must leave them alone
    settled = False
    while krylov.products < max_products:
        grew = krylov.multiply(product, newest_first=settled)
        chain += 1
        settled = wanted.settled(krylov)
        if krylov.is_complete:
            break
        ended = krylov.waiting == 0 or (settled and not grew)
        if ended or (settled and (known is None or chain >= longest)):
            values = wanted.values(krylov)
            if settled and (wanted.same(known, values) if known is not None else not (confirm or ended)):
                break
            krylov.make_room(wanted)
            krylov.add_random()
            known, longest, chain = values, max(longest, chain), 0
        krylov.make_room(wanted)
    return wanted.pairs(krylov)


def _starts(start: Tensor | None, size: int) -> Tensor | None:
    if start is None:
        return None
    columns = start[:, None] if start.ndim == 1 else start
    if columns.ndim != 2 or columns.shape[0] != size or columns.shape[1] < 1:
        raise InvalidArgument(f"expected a start of shape ({size:,},) or ({size:,}, k), got {tuple(start.shape)}")
    if not torch.isfinite(columns).all() or not columns.any():
        raise InvalidArgument("expected a finite start other than zero")
    return columns


class _Krylov:
    """The basis, its products' coordinates, and the Ritz pairs in it."""

    def __init__(self, size: int, limit: int, *, seed: int, dtype: torch.dtype, device: torch.device) -> None:
        self.size, self.limit, self.products = size, limit, 0
        self.V = torch.zeros(limit, size, dtype=dtype, device=device)  # a vector a row: multiplied ones, then waiting
        self.B = np.zeros((limit, limit))
        self.multiplied = self.waiting = 0
        self.theta = np.zeros(0)
        self.Y = np.zeros((0, 0))
        self.residuals = np.zeros(0)
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def held(self) -> int:
        """Vectors in the basis."""
        return self.multiplied + self.waiting

    @property
    def is_complete(self) -> bool:
        """Whether the basis is the whole space, every vector multiplied."""
        return self.multiplied == self.size

    @property
    def scale(self) -> float:
        """About ||H||."""
        return float(np.abs(self.theta).max(initial=0.0))

    def begin(self, starts: Tensor | None) -> None:
        """Put the starts, orthonormal, or one random vector into the basis."""
        if starts is None:
            self.add_random()
            return
        for column in range(starts.shape[1]):
            vector = starts[:, column].to(self.V)
            length = torch.linalg.vector_norm(vector)
            if length == 0:
                continue
            remainder, _ = self._orthogonal(vector / length)
            if torch.linalg.vector_norm(remainder) > self._rounding(1.0):
                self._append(remainder)

    def add_random(self) -> None:
        """A random vector, orthogonal to all others, that waits."""
        while self.held < self.size:
            vector = torch.randn(self.size, generator=self._generator, dtype=torch.float64).to(self.V)
            remainder, _ = self._orthogonal(vector.div_(torch.linalg.vector_norm(vector)))
            if torch.linalg.vector_norm(remainder) > self._rounding(1.0):
                self._append(remainder)
                return

    def multiply(self, product: Product, *, newest_first: bool) -> bool:
        """One product: a column of B, and one more vector that waits if there was anything new in it."""
        if self.waiting > 1 and newest_first:
            self._swap()
        m = self.multiplied
        image = product(self.V[m])
        self.products += 1
        norm = torch.linalg.vector_norm(image).item()
        if not math.isfinite(norm) and not torch.isfinite(image).all():
            raise NonFiniteProduct(f"expected finite products, got a NaN or an infinity in product {self.products}")
        image = image.to(self.V)
        remainder, inner = self._orthogonal(image)
        del image
        self.B[: self.held, m] = inner
        length = torch.linalg.vector_norm(remainder).item()
        self.multiplied, self.waiting = m + 1, self.waiting - 1
        grew = length > self._rounding(max(norm, self.scale)) and self.held < self.size
        if grew:
            self.B[self.held, m] = length
            self._append(remainder)
        self._solve()
        return grew

    def make_room(self, wanted: "_Wanted") -> None:
        """Restart if another product might not find room: the Ritz vectors nearest to both ends stay."""
        if self.held < self.limit or self.limit == self.size:
            return
        m, q = self.multiplied, self.waiting
        if wanted.count + q + 2 > self.limit:  # several chains were needed: each leaves a vector that waits
            self._widen(4)
            return
        kept = wanted.nearest(m, max(wanted.count + 1, min((m + wanted.count) // 2, self.limit - q - 2)))
        mixing = torch.from_numpy(self.Y[:, kept].T.copy()).to(self.V)
        count = len(kept)
        rows = self.V[:m]
        for first in range(0, self.size, 1 << 16):  # in place, a piece at a time
            piece = slice(first, first + (1 << 16))
            rows[:count, piece] = mixing @ rows[:, piece]
        self.V[count : count + q] = self.V[m : m + q].clone()
        self.V[count + q :] = 0
        coupled = self.B[m : m + q, :m] @ self.Y[:, kept]
        self.B[:] = 0
        self.B[np.arange(count), np.arange(count)] = self.theta[kept]
        self.B[count : count + q, :count] = coupled
        self.multiplied = count
        self._solve()

    def vector(self, k: int) -> Tensor:
        """The Ritz vector of theta[k], unit length, float64."""
        found: Tensor = torch.from_numpy(self.Y[:, k].copy()).to(self.V) @ self.V[: self.multiplied]
        found = found.double()
        return found.div_(torch.linalg.vector_norm(found))

    def _swap(self) -> None:
        """The newest of the waiting vectors goes first: what waits from an earlier chain has converged."""
        first, last = self.multiplied, self.held - 1
        self.V[[first, last]] = self.V[[last, first]]
        self.B[[first, last]] = self.B[[last, first]]

    def _widen(self, by: int) -> None:
        self.V = torch.cat([self.V, self.V.new_zeros(by, self.size)])
        self.B = np.pad(self.B, ((0, by), (0, by)))
        self.limit += by

    def _orthogonal(self, vector: Tensor) -> tuple[Tensor, NDArray[np.float64]]:
        """What of a vector is outside the basis, and its coordinates inside: Gram-Schmidt, twice."""
        rows = self.V[: self.held]
        inner = torch.zeros(self.held, dtype=self.V.dtype, device=self.V.device)
        for _ in range(2):
            share = rows @ vector
            vector = torch.addmv(vector, rows.T, share, alpha=-1)
            inner += share
        return vector, inner.double().cpu().numpy()

    def _append(self, vector: Tensor) -> None:
        torch.div(vector, torch.linalg.vector_norm(vector), out=self.V[self.held])
        self.waiting += 1

    def _rounding(self, size: float) -> float:
        return NOTHING_NEW * torch.finfo(self.V.dtype).eps * size

    def _solve(self) -> None:
        m = self.multiplied
        T = self.B[:m, :m]
        self.theta, self.Y = np.linalg.eigh((T + T.T) / 2)
        off = self.B[: self.held, :m] @ self.Y
        off[:m] -= self.theta * self.Y
        self.residuals = np.linalg.norm(off, axis=0)
        if self.V.dtype != torch.float64:  # what the basis itself rounds away is not in B
            self.residuals = np.maximum(self.residuals, torch.finfo(self.V.dtype).eps * self.scale)


@dataclass(frozen=True)
class _Wanted:
    """Which Ritz pairs are asked for, and when they are good enough."""

    top: int
    bottom: int
    tolerance: float

    @property
    def count(self) -> int:
        return self.top + self.bottom

    def places(self, count: int) -> list[int]:
        """Indices into ascending Ritz values, from the largest down."""
        top = min(self.top, count)
        return [*range(count - 1, count - 1 - top, -1), *range(min(self.bottom, count - top) - 1, -1, -1)]

    def nearest(self, count: int, kept: int) -> list[int]:
        """So many indices, wanted ones and those next to them at either end."""
        kept = min(kept, count)
        below = min(max(self.bottom, round(kept * self.bottom / self.count)), kept - min(self.top, kept))
        return [*range(below), *range(count - (kept - below), count)]

    def limits(self, krylov: _Krylov) -> NDArray[np.float64]:
        """The accepted residual of each Ritz pair."""
        limits: NDArray[np.float64] = self.tolerance * np.maximum(np.abs(krylov.theta), self.tolerance * krylov.scale)
        return limits

    def settled(self, krylov: _Krylov) -> bool:
        if krylov.multiplied < self.count:
            return False
        return bool((krylov.residuals <= self.limits(krylov))[self.places(krylov.multiplied)].all())

    def values(self, krylov: _Krylov) -> NDArray[np.float64]:
        values: NDArray[np.float64] = krylov.theta[self.places(krylov.multiplied)]
        return values

    def same(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
        """Whether nothing further out was found."""
        if len(before) != len(after):
            return False
        scale = np.abs(after).max(initial=0.0)
        return bool(
            (np.abs(after - before) <= self.tolerance * np.maximum(np.abs(after), self.tolerance * scale)).all()
        )

    def pairs(self, krylov: _Krylov) -> dict[str, Eigenpair]:
        places = self.places(krylov.multiplied)
        limits = self.limits(krylov)
        found = [
            Eigenpair(
                float(krylov.theta[k]),
                krylov.vector(k),
                float(krylov.residuals[k]),
                krylov.products,
                bool(krylov.residuals[k] <= limits[k]),
            )
            for k in places
        ]
        missing = Eigenpair(
            float("nan"),
            torch.zeros(krylov.size, dtype=torch.float64, device=krylov.V.device),
            float("nan"),
            krylov.products,
            False,
        )
        above = min(self.top, len(found))
        gap = [missing] * (self.count - len(found))
        return dict(zip(end_labels(self.top, self.bottom), [*found[:above], *gap, *found[above:]], strict=True))
