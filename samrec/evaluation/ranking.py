"""The rank of every target among all items, exact ties counted half, in memory that does not grow with the users.

rank = 1 + number of greater scores + half the number of OTHER items with an equal score. Padding and mask id are no
candidates; seen items (the whole history before the target) are none either unless `keep_seen`. A target that was
already seen cannot be hit then: its rank is infinite, and every metric of it 0.

Scores are float64 dot products, whatever the precision of the vectors: it costs no more here (the comparisons and the
product take .6 s together on Beauty), and ranks then do not depend on how users are cut into chunks. Two scores are
equal when they differ by less than the rounding of such a product, so that identical item vectors tie however the
product was blocked.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from samrec.errors import DataError, NonFiniteScores

Ids = Int[np.ndarray, " entries"]
Offsets = Int[np.ndarray, " users_and_one"]
_ENCODED_AT_ONCE = 8192  # users; fixed, so that `chunk` cannot change a user vector


@runtime_checkable
class EvaluationSequences(Protocol):
    """What is ranked: inputs as two flat arrays, and one target a user."""

    @property
    def items(self) -> np.ndarray: ...  # noqa: D102
    @property
    def offsets(self) -> np.ndarray: ...  # noqa: D102
    @property
    def targets(self) -> np.ndarray: ...  # noqa: D102


@runtime_checkable
class Encoder(Protocol):
    """A recommender that scores items by the dot product of a user vector and its item table."""

    training: bool
    max_length: int
    item_embedding: nn.Embedding

    def encode(self, items: NDArray[np.int64], offsets: NDArray[np.int64]) -> Tensor: ...  # noqa: D102
    def train(self, mode: bool = True) -> object: ...  # noqa: D102


def full_ranks(
    model: Encoder,
    sequences: EvaluationSequences,
    seen: tuple[Ids, Offsets],
    item_count: int,
    *,
    keep_seen: bool = False,
    chunk: int = 512,
) -> Float64[np.ndarray, " users"]:
    """Rank every user's target with dropout off; the model is left in the mode it was in.

    Args:
        model: anything with `encode(items, offsets)` and `item_embedding`.
        sequences: inputs and targets, such as `evaluation_sequences` gives.
        seen: flat items and offsets, user by user, such as `seen_items` gives.
        item_count: items have ids 1 to this; other rows of the item table are never candidates.
        keep_seen: rank seen items too.
        chunk: users scored at once; memory is about 10 bytes times this times the items.

    Raises:
        NonFiniteScores: the score of a target or candidate is NaN or infinite.
        DataError: targets, seen items and sequences do not fit each other or the item count.
    """
    users = len(sequences.targets)
    if len(sequences.offsets) != users + 1:
        raise DataError(f"expected {users:,} sequences, one a target, got {len(sequences.offsets) - 1:,}")
    table = model.item_embedding.weight
    ranks = np.empty(users, dtype=np.float64)
    was_training = model.training
    model.train(False)
    try:
        with torch.no_grad():
            candidates = _candidates(table, item_count)
            for start, stop in _spans(users, _ENCODED_AT_ONCE):
                bounds = np.asarray(sequences.offsets[start : stop + 1], dtype=np.int64)
                vectors = model.encode(sequences.items[bounds[0] : bounds[-1]], bounds - bounds[0])
                seen_bounds = seen[1][start : stop + 1]
                ranks[start:stop] = _rank_against(
                    vectors,
                    candidates,
                    sequences.targets[start:stop],
                    seen[0][seen_bounds[0] : seen_bounds[-1]],
                    seen_bounds - seen_bounds[0],
                    keep_seen=keep_seen,
                    chunk=chunk,
                )
    finally:
        model.train(was_training)
    return ranks


def rank_targets(
    user_vectors: Float[Tensor, "users size"],
    item_table: Float[Tensor, "rows size"],
    targets: Int[np.ndarray, " users"],
    seen_items: Ids,
    seen_offsets: Offsets,
    item_count: int,
    *,
    keep_seen: bool = False,
    chunk: int = 512,
) -> Float64[np.ndarray, " users"]:
    """Rank targets given the user vectors; see `full_ranks`.

    Args:
        user_vectors: one a user.
        item_table: row i is item i, row 0 is padding; rows beyond `item_count` are never candidates.
        targets: the item id of each user.
        seen_items: flat item ids, user by user.
        seen_offsets: where each user's begin, and the end.
        item_count: items have ids 1 to this.
        keep_seen: rank seen items too.
        chunk: users scored at once; memory is about 10 bytes times this times the items.

    Raises:
        NonFiniteScores: the score of a target or candidate is NaN or infinite.
        DataError: targets, seen items and vectors do not fit each other or the item count.
    """
    with torch.no_grad():
        candidates = _candidates(item_table, item_count)
        return _rank_against(
            user_vectors, candidates, targets, seen_items, seen_offsets, keep_seen=keep_seen, chunk=chunk
        )


def targets_already_seen(
    targets: Int[np.ndarray, " users"], seen_items: Ids, seen_offsets: Offsets
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """For each user, whether the target is among the items seen before it."""
    users = np.repeat(np.arange(len(targets)), np.diff(seen_offsets))
    flags = np.zeros(len(targets), dtype=np.bool_)
    flags[users[np.asarray(seen_items) == np.asarray(targets)[users]]] = True
    return flags


def _candidates(item_table: Tensor, item_count: int) -> Tensor:
    """Rows 1..item_count in float64, so that column j of the scores is item j + 1."""
    if len(item_table) < item_count + 1:
        raise DataError(f"expected an item table of at least {item_count + 1:,} rows, got {len(item_table):,}")
    return item_table[1 : item_count + 1].double().contiguous()


def _spans(total: int, length: int) -> Iterator[tuple[int, int]]:
    if length < 1:
        raise DataError(f"expected a chunk of at least 1 user, got {length}")
    for start in range(0, total, length):
        yield start, min(start + length, total)


def _check(targets: np.ndarray, seen_items: np.ndarray, seen_offsets: np.ndarray, users: int, item_count: int) -> None:
    if len(targets) != users or len(seen_offsets) != users + 1:
        raise DataError(
            f"expected targets and seen items of {users:,} users, got {len(targets):,} and {len(seen_offsets) - 1:,}"
        )
    for name, ids in (("targets", targets), ("seen items", seen_items)):
        if len(ids) and not 1 <= int(ids.min()) <= int(ids.max()) <= item_count:
            raise DataError(f"expected {name} between 1 and {item_count:,}, got {int(ids.min())} to {int(ids.max())}")


def _rank_against(
    user_vectors: Tensor,
    candidates: Tensor,
    targets: np.ndarray,
    seen_items: np.ndarray,
    seen_offsets: np.ndarray,
    *,
    keep_seen: bool,
    chunk: int,
) -> np.ndarray:
    users, item_count, device = len(user_vectors), len(candidates), candidates.device
    targets, seen_items, seen_offsets = np.asarray(targets), np.asarray(seen_items), np.asarray(seen_offsets)
    _check(targets, seen_items, seen_offsets, users, item_count)
    unreachable = np.zeros(users, dtype=np.bool_)
    if not keep_seen:
        unreachable = targets_already_seen(targets, seen_items, seen_offsets)
    ranks = np.empty(users, dtype=np.float64)
    longest = candidates.norm(dim=1).max() if item_count else candidates.new_zeros(())
    rounding = 2 * candidates.shape[1] * torch.finfo(torch.float64).eps  # of a dot product, relative to |u| |e|
    buffer = candidates.new_empty((min(chunk, users), item_count))
    flags = torch.empty_like(buffer, dtype=torch.bool)
    for start, stop in _spans(users, chunk):
        count = stop - start
        vectors = user_vectors[start:stop].to(device).double()
        scores = torch.mm(vectors, candidates.T, out=buffer[:count])
        columns = torch.from_numpy(targets[start:stop].astype(np.int64) - 1).to(device)
        own = scores.gather(1, columns[:, None])
        suspicious = not bool(torch.isfinite(scores.sum()))  # one cheap pass: a NaN or an infinity survives a sum
        if not keep_seen:
            low, high = seen_offsets[start], seen_offsets[stop]
            rows = np.repeat(np.arange(count), np.diff(seen_offsets[start : stop + 1]))
            masked = torch.from_numpy(rows * item_count + seen_items[low:high] - 1).to(device)
            scores.view(-1)[masked] = -torch.inf
        if suspicious:
            _refuse_non_finite(scores, own, start, None if keep_seen else masked)
        slack = rounding * longest * vectors.norm(dim=1, keepdim=True)
        if suspicious:  # only a seen item was not finite, or the sum overflowed
            slack = torch.nan_to_num(slack, nan=0.0, posinf=0.0)
        greater = _count(torch.gt(scores, own + slack, out=flags[:count]))
        as_good = _count(torch.ge(scores, own - slack, out=flags[:count]))
        ranks[start:stop] = 1 + greater + (as_good - greater - 1) / 2
    ranks[unreachable] = np.inf
    return ranks


def _count(flags: Tensor) -> np.ndarray:
    """True entries of each row. One NumPy call a row beats torch's sum of booleans by 20 times on the CPU."""
    if flags.device.type != "cpu":
        return flags.sum(1).double().cpu().numpy()
    return np.array([np.count_nonzero(row) for row in flags.numpy()], dtype=np.float64)


def _refuse_non_finite(scores: Tensor, own: Tensor, start: int, masked: Tensor | None) -> None:
    """Raise unless every non-finite score is a seen item's, which is no candidate."""
    finite = torch.isfinite(scores)
    if masked is not None:
        finite.view(-1)[masked] = True
    finite &= torch.isfinite(own)
    if not bool(finite.all()):
        row, column = (~finite).nonzero()[0].tolist()
        value = scores[row, column].item()
        if not bool(torch.isfinite(own[row])):
            value = own[row].item()
            raise NonFiniteScores(f"expected finite scores, got {value} for the target of user row {start + row}")
        raise NonFiniteScores(f"expected finite scores, got {value} for item {column + 1} of user row {start + row}")
