"""Each user's best items: exact, equal scores by lower id, the same whatever the chunk.

A matrix product finds the candidates, and the last bit of its entries depends on how it was blocked. So all items
within its rounding of the k-th best are scored again, one dot product each in a fixed order, and these scores decide:
identical item vectors tie exactly and go by id.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from samrec.errors import ConfigError, DataError
from samrec.evaluation.scoring import (
    Encoder,
    candidate_table,
    check_ids,
    chunk_for,
    evaluating,
    places_of_seen,
    refuse_non_finite,
    rounding,
    spans,
    user_vectors,
)

_PAIRS = 1 << 16  # scored again at once: 32 MiB a vector of 64 entries


@dataclass(frozen=True, slots=True)
class TopItems:
    """The best items of some consecutive users, the best first; 0 and minus infinity where a user has fewer."""

    start: int  # the first user
    items: Int64[np.ndarray, "users k"]
    scores: Float64[np.ndarray, "users k"]


def top_items(
    model: Encoder,
    inputs: tuple[NDArray[np.int64], NDArray[np.int64]],
    seen: tuple[NDArray[np.int64], NDArray[np.int64]],
    item_count: int,
    k: int = 10,
    *,
    keep_seen: bool = False,
    chunk: int | None = None,
) -> Iterator[TopItems]:
    """The k best items of every user, a chunk of users after the other.

    Args:
        model: anything with `encode(items, offsets)` and `item_embedding`; in eval mode while a chunk is computed.
        inputs: flat items and offsets of what the model reads, cut to its `max_length`.
        seen: flat items and offsets of each user's whole history, which is left out.
        item_count: items have ids 1 to this.
        k: so many, or all candidates where they are fewer.
        keep_seen: leave nothing out.
        chunk: users scored at once; memory is about 9 bytes times this times the items (40 where all scores tie).

    Raises:
        NonFiniteScores: a candidate's score is NaN or infinite.
        DataError, ConfigError: ids or lengths that do not fit, k below 1.
    """
    if k < 1:
        raise ConfigError(f"expected at least 1 item for each user, got {k}")
    if len(inputs[1]) != len(seen[1]):
        raise DataError(
            f"expected a history for each of {len(inputs[1]) - 1:,} sequences, got {len(seen[1]) - 1:,} histories"
        )
    check_ids("items of the histories", seen[0], item_count)
    k = min(k, item_count)
    chunk = chunk_for(item_count) if chunk is None else chunk
    with torch.no_grad():
        candidates = candidate_table(model.item_embedding.weight, item_count)
    for block, vectors in _blocks(model, inputs):
        for start, stop in spans(len(vectors), chunk):
            first = block + start
            masked = None
            if not keep_seen:
                masked = places_of_seen(seen[0], seen[1], first, block + stop, item_count, candidates.device)
            yield TopItems(first, *_best(vectors[start:stop], candidates, masked, k, first))


def _blocks(model: Encoder, inputs: tuple[np.ndarray, np.ndarray]) -> Iterator[tuple[int, Tensor]]:
    """First user and vectors; the model is in eval mode only while they are computed, not while the caller works."""
    blocks = user_vectors(model, *inputs)
    while True:
        with evaluating(model):
            found = next(blocks, None)
        if found is None:
            return
        yield found[0], found[2]


@torch.no_grad()
def _best(
    vectors: Tensor, candidates: Tensor, masked: Tensor | None, k: int, start: int
) -> tuple[np.ndarray, np.ndarray]:
    vectors = vectors.to(candidates.device).double()
    scores = vectors @ candidates.T
    suspicious = not bool(torch.isfinite(scores.sum()))
    if suspicious:
        refuse_non_finite(scores, start, masked)
    if masked is not None:
        scores.view(-1)[masked] = -torch.inf
    longest = candidates.norm(dim=1).max()
    slack = torch.nan_to_num(2 * rounding(candidates.shape[1]) * longest * vectors.norm(dim=1, keepdim=True))
    kth = torch.topk(scores, k, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    lowest = torch.finfo(torch.float64).min  # above minus infinity, which is no candidate's
    rows, columns = (scores >= (kth - slack).clamp(min=lowest)).nonzero(as_tuple=True)
    again = torch.cat(
        [
            (vectors[rows[first:last]] * candidates[columns[first:last]]).sum(dim=1)
            for first, last in spans(len(rows), _PAIRS)
        ]
        or [scores.new_empty(0)]
    )
    row, column, score = rows.cpu().numpy(), columns.cpu().numpy(), again.cpu().numpy()
    order = np.lexsort((column, -score, row))
    row, column, score = row[order], column[order], score[order]
    found = np.bincount(row, minlength=len(scores))
    place = np.arange(len(row)) - np.repeat(np.cumsum(found) - found, found)
    kept = place < k
    items = np.zeros((len(scores), k), dtype=np.int64)
    best = np.full((len(scores), k), -np.inf)
    items[row[kept], place[kept]] = column[kept] + 1
    best[row[kept], place[kept]] = score[kept]
    return items, best
