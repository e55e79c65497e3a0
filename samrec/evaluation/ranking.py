"""The rank of every target among all items, exact ties counted half, in memory that does not grow with the users.

rank = 1 + number of greater scores + half the number of OTHER items with an equal score. Padding and mask id are no
candidates; seen items (the whole history before the target) are none either unless `keep_seen`. A target that was
already seen cannot be hit then: its rank is infinite, and every metric of it 0.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from samrec.errors import DataError
from samrec.evaluation.counting import Chunk, Counter
from samrec.evaluation.scoring import (
    Advance,
    Encoder,
    EvaluationSequences,
    candidate_table,
    check_ids,
    chunk_for,
    evaluating,
    places_of_seen,
    silently,
    spans,
    user_vectors,
)

Ids = Int[np.ndarray, " entries"]
Offsets = Int[np.ndarray, " users_and_one"]
CHUNK = 128  # users, whose float32 scores of Beauty's items are 6 MiB


def full_ranks(
    model: Encoder,
    sequences: EvaluationSequences,
    seen: tuple[Ids, Offsets],
    item_count: int,
    *,
    keep_seen: bool = False,
    chunk: int | None = None,
    advance: Advance = silently,
) -> Float64[np.ndarray, " users"]:
    """Rank every user's target with dropout off; the model is left in the mode it was in.

    Args:
        model: anything with `encode(items, offsets)` and `item_embedding`.
        sequences: inputs and targets, such as `evaluation_sequences` gives.
        seen: flat items and offsets, user by user, such as `seen_items` gives.
        item_count: items have ids 1 to this; other rows of the item table are never candidates.
        keep_seen: rank seen items too.
        chunk: users scored at once; memory is about 6 bytes times this times the items, 9 where float32 does not do
            (see `counting`). By default 128, fewer where the items are more than 65,536.
        advance: told how many users are done.

    Raises:
        NonFiniteScores: the score of a target or candidate is NaN or infinite.
        DataError: targets, seen items and sequences do not fit each other or the item count.
    """
    users = len(sequences.targets)
    if len(sequences.offsets) != users + 1:
        raise DataError(f"expected {users:,} sequences, one a target, got {len(sequences.offsets) - 1:,}")
    ranks = np.empty(users, dtype=np.float64)
    with evaluating(model):
        candidates = candidate_table(model.item_embedding.weight, item_count)
        for start, stop, vectors in user_vectors(model, sequences.items, sequences.offsets):
            seen_bounds = seen[1][start : stop + 1]
            ranks[start:stop] = _rank_against(
                vectors,
                candidates,
                sequences.targets[start:stop],
                seen[0][seen_bounds[0] : seen_bounds[-1]],
                seen_bounds - seen_bounds[0],
                keep_seen=keep_seen,
                chunk=chunk,
                advance=advance,
            )
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
    chunk: int | None = None,
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
        chunk: users scored at once; see `full_ranks`.

    Raises:
        NonFiniteScores: the score of a target or candidate is NaN or infinite.
        DataError: targets, seen items and vectors do not fit each other or the item count.
    """
    with torch.no_grad():
        candidates = candidate_table(item_table, item_count)
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


def _rank_against(
    user_vectors: Tensor,
    candidates: Tensor,
    targets: np.ndarray,
    seen_items: np.ndarray,
    seen_offsets: np.ndarray,
    *,
    keep_seen: bool,
    chunk: int | None,
    advance: Advance = silently,
) -> np.ndarray:
    users, item_count, device = len(user_vectors), len(candidates), candidates.device
    targets, seen_items, seen_offsets = np.asarray(targets), np.asarray(seen_items), np.asarray(seen_offsets)
    if len(targets) != users or len(seen_offsets) != users + 1:
        raise DataError(
            f"expected targets and seen items of {users:,} users, got {len(targets):,} and {len(seen_offsets) - 1:,}"
        )
    check_ids("targets", targets, item_count)
    check_ids("seen items", seen_items, item_count)
    unreachable = np.zeros(users, dtype=np.bool_)
    if not keep_seen:
        unreachable = targets_already_seen(targets, seen_items, seen_offsets)
    ranks = np.empty(users, dtype=np.float64)
    chunk = min(CHUNK, chunk_for(item_count)) if chunk is None else chunk
    counted = Counter(candidates, max(1, min(chunk, users)))
    for start, stop in spans(users, chunk):
        masked = None
        if not keep_seen:
            masked = places_of_seen(seen_items, seen_offsets, start, stop, item_count, device)
        columns = torch.from_numpy(targets[start:stop].astype(np.int64) - 1).to(device)
        greater, equal = counted(Chunk(start, user_vectors[start:stop].to(device).double(), columns, masked))
        ranks[start:stop] = 1 + greater + equal / 2
        advance(stop - start)
    ranks[unreachable] = np.inf
    return ranks
