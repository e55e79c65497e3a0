"""How many candidates score above and as much as each target: screened in float32, decided in float64.

Whatever the order of its sums, a float32 dot product of n terms lies within about n 2^-24 |user| |item| of the true one
(Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). Candidates farther than that from the
target's own score are counted as the float32 product says; those few nearer are scored again in float64. So the counts
are those of float64 scores. A chunk of users goes through float64 as a whole where that bound is worth nothing (vectors
not finite or too long, kernels of less than float32's precision, so many near scores that looking at each would cost
more) and on other devices than the CPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from samrec.evaluation.scoring import refuse_non_finite, rounding
from samrec.models.one_pass_linear import is_there, laid_out, linear_in_one_pass

_HALF_ULP = torch.finfo(torch.float32).eps / 2
_TINY = torch.finfo(torch.float32).tiny  # what is smaller may be taken for 0
_LONGEST = 1e30  # product of norms, far from float32's overflow
_NEAR = 32  # scored again for each user of a chunk, on average; with more the chunk goes through float64


class Counts(NamedTuple):
    """Of the candidates other than the target, for each user."""

    greater: NDArray[np.float64]
    equal: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some users, their targets, and what is no candidate for them."""

    start: int  # the row of the first, for messages
    vectors: Float[Tensor, "users size"]  # float64
    columns: Tensor  # (users,) of the targets in the item table
    masked: Tensor | None  # flat places in (users, items) of scores that are no candidate's


class Counter:
    """Counts against one item table, a chunk of users after the other."""

    def __init__(self, table: Float[Tensor, "items size"], users: int) -> None:
        """Take the item table in float64, and how many users a chunk has at most: 6 bytes for each of its scores."""
        self.table = table
        self.longest = table.norm(dim=1).max() if len(table) else table.new_zeros(())
        self._screens = table.device.type == "cpu"
        if self._screens:
            self._product = _product(table.float(), users)
            self._flags = np.empty((2, users, len(table)), dtype=np.bool_)

    def __call__(self, chunk: Chunk) -> Counts:
        """Count; NonFiniteScores where the score of a target or candidate is NaN or infinite."""
        norms = chunk.vectors.norm(dim=1, keepdim=True)
        slack = rounding(self.table.shape[1]) * self.longest * norms
        found = None
        if self._screens and bool((norms * self.longest <= _LONGEST).all()):  # false for NaN
            found = self._screened(chunk, norms, slack)
        return self._exactly(chunk, slack) if found is None else found

    def _screened(self, chunk: Chunk, norms: Tensor, slack: Tensor) -> Counts | None:
        """None where float32 tells too little."""
        count, size = chunk.vectors.shape
        # the sum's n half units, and as many again as rounding of entries, threshold and this bound can take
        reach = (size + 8) * _HALF_ULP * self.longest * norms + size * _TINY * (1 + self.longest + norms)
        own = (chunk.vectors * self.table[chunk.columns]).sum(dim=1, keepdim=True)
        scores = self._product(chunk.vectors.float())
        if bool(((scores.gather(1, chunk.columns[:, None]) - own).abs() > reach).any()):
            return None  # not a product in float32
        scores.scatter_(1, chunk.columns[:, None], -torch.inf)
        if chunk.masked is not None:
            scores.view(-1)[chunk.masked] = -torch.inf
        reach = reach + slack
        above, near = self._flags[:, :count]  # NumPy compares 6 times as fast as torch 2.13 here
        np.greater(scores.numpy(), (own + reach).float().numpy(), out=above)
        np.greater_equal(scores.numpy(), (own - reach).float().numpy(), out=near)
        np.logical_xor(near, above, out=near)
        if np.count_nonzero(near) > _NEAR * count:
            return None
        rows, columns = (torch.from_numpy(places) for places in np.divmod(np.flatnonzero(near), len(self.table)))
        ahead = (chunk.vectors[rows] * self.table[columns]).sum(dim=1) - own[rows, 0]
        greater = torch.bincount(rows[ahead > slack[rows, 0]], minlength=count).numpy()
        equal = torch.bincount(rows[ahead.abs() <= slack[rows, 0]], minlength=count).numpy()
        return Counts(_true(above) + greater, equal.astype(np.float64))

    def _exactly(self, chunk: Chunk, slack: Tensor) -> Counts:
        """By a product in float64."""
        scores = chunk.vectors @ self.table.T
        own = scores.gather(1, chunk.columns[:, None])
        suspicious = not bool(torch.isfinite(scores.sum()))  # one cheap pass: a NaN or an infinity survives a sum
        if chunk.masked is not None:
            scores.view(-1)[chunk.masked] = -torch.inf
        if suspicious:
            refuse_non_finite(scores, chunk.start, chunk.masked, own)
            slack = torch.nan_to_num(slack, nan=0.0, posinf=0.0)  # a seen item was not finite, or the sum overflowed
        greater = _true((scores > own + slack).cpu().numpy())
        as_good = _true((scores >= own - slack).cpu().numpy())
        return Counts(greater, as_good - greater - 1)


def _product(table: Tensor, users: int) -> Callable[[Tensor], Tensor]:
    """Scores in float32 of a chunk of at most so many users."""
    if not is_there():
        return lambda vectors: vectors @ table.T
    weight = laid_out(table, users)
    return lambda vectors: linear_in_one_pass(vectors, weight, None)


def _true(flags: NDArray[np.bool_]) -> NDArray[np.float64]:
    """True entries of each row. One NumPy call a row beats sums of booleans by 20 times."""
    return np.array([np.count_nonzero(row) for row in flags], dtype=np.float64)
