"""What every ranking stands on: user vectors of a model, float64 scores against its items, and when two are equal.

Scores are float64 dot products, whatever the precision of the vectors: ranks then do not depend on how users are cut
into chunks. Where only counts are asked for, `counting` spares most of them by a look in float32. Two scores are equal
when they differ by less than the rounding of such a product, so that identical item vectors tie however the product was
blocked.
"""

import contextlib
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samrec.errors import DataError, NonFiniteScores

BLOCK = 8192  # users encoded at once; fixed, so that no chunk can change a user vector
SCORES = 1 << 23  # at once: 64 MiB, and a chunk of 512 users up to 16,384 items
LARGEST_CHUNK = 512  # users


@runtime_checkable
class EvaluationSequences(Protocol):
    """What is ranked: inputs as two flat arrays, and one target each."""

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


@runtime_checkable
class Advance(Protocol):
    """Told how many users are done; the progress bar of `landscape.progress` is one."""

    def __call__(self, n: int = 1) -> None: ...  # noqa: D102


def silently(n: int = 1) -> None:
    """Nobody watches."""


@contextlib.contextmanager
def evaluating(model: Encoder) -> Iterator[None]:
    """Dropout off and no graph inside; the model is left in the mode it was in."""
    was_training = model.training
    model.train(False)
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def user_vectors(
    model: Encoder, items: NDArray[np.int64], offsets: NDArray[np.int64]
) -> Iterator[tuple[int, int, Tensor]]:
    """First user, one past the last, and their vectors, a block of users after the other."""
    for start, stop in spans(len(offsets) - 1, BLOCK):
        bounds = np.asarray(offsets[start : stop + 1], dtype=np.int64)
        yield start, stop, model.encode(items[bounds[0] : bounds[-1]], bounds - bounds[0])


def candidate_table(item_table: Tensor, item_count: int) -> Tensor:
    """Rows 1..item_count in float64, so that column j of the scores is item j + 1.

    Raises:
        DataError: fewer rows than items.
    """
    if len(item_table) < item_count + 1:
        raise DataError(f"expected an item table of at least {item_count + 1:,} rows, got {len(item_table):,}")
    return item_table[1 : item_count + 1].double().contiguous()


def spans(total: int, length: int) -> Iterator[tuple[int, int]]:
    """0..total in pieces of `length`."""
    if length < 1:
        raise DataError(f"expected a chunk of at least 1 user, got {length}")
    for start in range(0, total, length):
        yield start, min(start + length, total)


def chunk_for(item_count: int) -> int:
    """Users to score at once, so that memory grows neither with users nor, beyond 16,384, with items."""
    return min(LARGEST_CHUNK, max(1, SCORES // max(1, item_count)))


def rounding(size: int) -> float:
    """How far two ways to add up one dot product of `size` terms may differ, relative to the vectors' norms."""
    return 2 * size * torch.finfo(torch.float64).eps


def places_of_seen(
    seen_items: np.ndarray, seen_offsets: np.ndarray, start: int, stop: int, item_count: int, device: torch.device
) -> Tensor:
    """Where the seen items of users start..stop lie in their flattened scores."""
    rows = np.repeat(np.arange(stop - start), np.diff(seen_offsets[start : stop + 1]))
    flat = rows * item_count + seen_items[seen_offsets[start] : seen_offsets[stop]] - 1
    return torch.from_numpy(flat.astype(np.int64)).to(device)


def check_ids(name: str, ids: np.ndarray, item_count: int) -> None:
    """Refuse ids that are no items."""
    if len(ids) and not 1 <= int(ids.min()) <= int(ids.max()) <= item_count:
        raise DataError(f"expected {name} between 1 and {item_count:,}, got {int(ids.min())} to {int(ids.max())}")


def refuse_non_finite(scores: Tensor, start: int, masked: Tensor | None, own: Tensor | None = None) -> None:
    """Raise unless every score that is not finite is a masked one, which is no candidate's.

    Args:
        scores: (users, items), column j of item j + 1.
        start: the row of the first user, for the message.
        masked: flat places that do not count.
        own: (users, 1) scores of the targets, which count even where they are masked.
    """
    finite = torch.isfinite(scores)
    if masked is not None:
        finite.view(-1)[masked] = True
    if own is not None:
        finite &= torch.isfinite(own)
    if not bool(finite.all()):
        row, column = (~finite).nonzero()[0].tolist()
        if own is not None and not bool(torch.isfinite(own[row])):
            value = own[row].item()
            raise NonFiniteScores(f"expected finite scores, got {value} for the target of user row {start + row}")
        value = scores[row, column].item()
        raise NonFiniteScores(f"expected finite scores, got {value} for item {column + 1} of user row {start + row}")
