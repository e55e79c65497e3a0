"""Packed batches: several sequences share a row, so that almost every slot the trunk computes holds a real token.

Rows are as wide as the longest sequence may be (50). Sequences are laid into rows by first-fit decreasing, which fills
Beauty's rows to more than 99 %; attention is block-diagonal inside a row, and causal but for pre-training. Shapes: R
rows, W slots a row, S sequences, T tokens. The few empty slots hold item 0, attend to themselves and are read by
nobody.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """Sequences laid into rows, and where each of their tokens lies."""

    items: Int[Tensor, "R W"]  # 0 in empty slots
    positions: Int[Tensor, "R W"]  # right-aligned: the newest item of any sequence has the last position
    visible: Bool[Tensor, "R W W"]  # query slot, key slot: same sequence and, where causal, not later
    slots: Int[Tensor, " T"]  # flat slot of each token, sequence by sequence, oldest first
    sequence: Int[Tensor, " T"]  # which sequence of the batch each token belongs to
    last: Int[Tensor, " S"]  # flat slot of each sequence's newest token

    def to(self, device: torch.device) -> "PackedBatch":
        """The same batch on another device."""
        return PackedBatch(*(getattr(self, name).to(device) for name in self.__slots__))


def pack(
    items: Integers, offsets: Integers, *, max_length: int = 50, width: int | None = None, causal: bool = True
) -> PackedBatch:
    """Lay sequences into rows.

    Args:
        items: flat item ids, oldest first, none longer than `max_length`.
        offsets: (S + 1,) where each sequence starts in `items`.
        max_length: the number of positions the trunk knows.
        width: slots a row; the longest sequence by default, at least 16 where the tokens allow.
        causal: a token sees none after it; otherwise all of its sequence.

    No loop over sequences: first-fit decreasing goes over the distinct lengths.
    """
    lengths = np.diff(offsets)
    width = width or max(int(lengths.max()), min(16, max_length))
    rows, columns = first_fit(lengths[None, :], width)
    return _lay_out(items, offsets[:-1], lengths, rows[0], columns[0], width, max_length, causal)


def batches(
    items: Integers, offsets: Integers, groups: Integers, *, max_length: int = 50, causal: bool = True
) -> Iterator[tuple[Integers, Integers, PackedBatch]]:
    """Pack many batches at once and yield them one by one.

    Args:
        items: flat item ids of all sequences.
        offsets: (S + 1,) starts.
        groups: (batches, sequences) indices of the sequences of each batch, padded with -1 at the end.
        max_length: the number of positions the trunk knows, and slots a row.
        causal: a token sees none after it; otherwise all of its sequence.

    Yields:
        The batch's sequences, the places of its tokens in `items` (to gather targets and negatives), and the batch.
    """
    all_lengths = np.diff(offsets)
    lengths = np.where(groups >= 0, all_lengths[groups], 0)
    rows, columns = first_fit(lengths, max_length)
    for group, row, column in zip(groups, rows, columns, strict=True):
        members = group[group >= 0]
        count = len(members)
        lengths_here, starts = all_lengths[members], offsets[members]
        batch = _lay_out(items, starts, lengths_here, row[:count], column[:count], max_length, max_length, causal)
        yield members, _places(starts, lengths_here), batch


def first_fit(lengths: Integers, width: int) -> tuple[Integers, Integers]:
    """First-fit decreasing of many independent batches: the row and first column of every sequence.

    Args:
        lengths: (batches, sequences), 0 for "none here".
        width: slots a row.

    Equal lengths are placed together: rows in order take as many as still fit. One pass over the distinct lengths.
    """
    most_rows = int(2 * lengths.sum(axis=1).max() // width) + 2
    free = np.full((len(lengths), most_rows), width, dtype=np.int64)
    rows = np.zeros_like(lengths)
    columns = np.zeros_like(lengths)
    for length in np.unique(lengths)[::-1]:
        if length == 0:
            break
        wanted = lengths == length
        capacity = free // length
        before = np.cumsum(capacity, axis=1) - capacity
        taken = np.clip(wanted.sum(axis=1)[:, None] - before, 0, capacity)
        batch, row = np.nonzero(taken)
        repeats = taken[batch, row]
        nth = _within(repeats)
        rows[wanted] = np.repeat(row, repeats)
        columns[wanted] = np.repeat(width - free[batch, row], repeats) + nth * length
        free -= taken * length
    return rows, columns


def _within(counts: Integers) -> Integers:
    """0, 1, ..., c - 1 for each count c, one after another."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _places(starts: Integers, lengths: Integers) -> Integers:
    return np.repeat(starts, lengths) + _within(lengths)


def _lay_out(
    items: Integers,
    starts: Integers,
    lengths: Integers,
    rows: Integers,
    columns: Integers,
    width: int,
    max_length: int,
    causal: bool,
) -> PackedBatch:
    within = _within(lengths)
    slots = np.repeat(rows * width + columns, lengths) + within
    shape = (int(rows.max()) + 1, width)
    size = shape[0] * shape[1]
    laid_items = np.zeros(size, dtype=np.int64)
    laid_items[slots] = items[np.repeat(starts, lengths) + within]
    positions = np.full(size, max_length - 1, dtype=np.int64)
    positions[slots] = np.repeat(max_length - lengths, lengths) + within
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    owner = np.arange(-1, -size - 1, -1)  # an empty slot is its own sequence
    owner[slots] = sequence
    owners = torch.from_numpy(owner.reshape(shape))
    visible = owners[:, :, None] == owners[:, None, :]
    if causal:
        visible &= torch.ones(width, width, dtype=torch.bool).tril()
    return PackedBatch(
        items=torch.from_numpy(laid_items.reshape(shape)),
        positions=torch.from_numpy(positions.reshape(shape)),
        visible=visible,
        slots=torch.from_numpy(slots),
        sequence=torch.from_numpy(sequence),
        last=torch.from_numpy(rows * width + columns + lengths - 1),
    )


def attention_bias(visible: Bool[Tensor, "R queries W"], dtype: torch.dtype) -> Float[Tensor, "R 1 queries W"]:
    """0 where a slot may look, minus infinity elsewhere, for every head."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, -torch.inf)[:, None]


def shuffled_groups(count: int, size: int, rng: np.random.Generator) -> Integers:
    """Random batches of `size` out of `count` sequences: (batches, size) indices, the last padded with -1."""
    return _grouped(rng.permutation(count), size)


def micro_groups(groups: Integers, size: int) -> Integers:
    """Cut every batch of (batches, sequences) into groups of at most `size` sequences, in order, none of them empty."""
    wide = -(-groups.shape[1] // size) * size
    padded = np.full((len(groups), wide), -1, dtype=np.int64)
    padded[:, : groups.shape[1]] = groups
    cut = padded.reshape(-1, size)
    return cut[(cut >= 0).any(axis=1)]


def length_sorted_groups(lengths: Integers, tokens: int) -> list[Integers]:
    """Fixed chunks of sequences of similar length, about `tokens` tokens each, shortest first."""
    order = np.argsort(lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    cuts = np.searchsorted(ends, np.arange(tokens, ends[-1], tokens))
    return [part for part in np.split(order, cuts) if len(part)]


def _grouped(order: Integers, size: int) -> Integers:
    padded = np.full(-(-len(order) // size) * size, -1, dtype=np.int64)
    padded[: len(order)] = order
    return padded.reshape(-1, size)
