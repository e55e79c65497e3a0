"""Users' sequences as fixed, packed pieces with all that is scored at their tokens: the data of a frozen objective.

Users are sorted by length and packed into rows whose width, chosen for each chunk, leaves the fewest empty slots: on
Beauty over 98 % of what is computed is a real token. Negatives are drawn once, for all users whoever takes part.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from samrec.data.batches import PackedBatch, first_fit, length_sorted_groups, pack
from samrec.data.holdout import LEAVE_ONE_OUT, Holdout
from samrec.data.interactions import Interactions
from samrec.data.negatives import NegativeSampler
from samrec.data.split import evaluation_sequences, training_sequences
from samrec.errors import ConfigError
from samrec.models.sasrec import gathered

TOKENS = 4096  # a chunk; on Beauty 2,048 to 8,192 were equal within noise, 16,384 slower
SCORES = 1 << 23  # at most this many scores a chunk, or entries of candidates looked up: 32 MiB in float32

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class UserChunk:
    """Some users' sequences, packed, with what is scored at each of their tokens."""

    batch: PackedBatch
    targets: Int[Tensor, " T"]
    candidates: Int[Tensor, "T candidates"] | None  # the target first, then negatives; None: every item
    counts: Float[Tensor, " units"]  # targets of each user
    users: Integers  # who the units are: indices into the interactions
    drawable: Int[Tensor, " T"]  # how many items a negative of the token could be


def user_chunks(
    interactions: Interactions,
    split: str,
    *,
    max_length: int,
    size: int,
    users: int | None = None,
    seed: int = 0,
    negative_count: int | None = None,
    negatives: str = "training",
    tokens: int = TOKENS,
    device: torch.device | str = "cpu",
    holdout: Holdout = LEAVE_ONE_OUT,
) -> tuple[Integers, Callable[[Integers], list[UserChunk]]]:
    """Who takes part, and what gives the chunks of any users by their index, shortest sequences first.

    Args:
        interactions: the data.
        split: "train": every target of the training sequences; "validation", "test": the one target held out.
        max_length: newest items of a sequence that count.
        size: of a hidden state; with it goes the memory of a chunk.
        users: a random subset of so many users, drawn from `seed`; all with a target by default.
        seed: of the subset and of the negatives. Which negatives a user gets does not depend on `users`.
        negative_count: negatives of each target; None scores every item.
        negatives: the rule of `NegativeSampler`.
        tokens: about how many tokens a chunk has.
        device: where they live.
        holdout: which interactions are held out.

    Raises:
        ConfigError: another split, or more users than there are.
    """
    items, offsets, targets, owners = _sequences(interactions, split, max_length, holdout)
    chosen = _chosen(np.flatnonzero(np.diff(offsets)), users, seed)
    candidates = None
    looked_up = interactions.item_count  # numbers a token
    sampler = NegativeSampler(interactions, rule=cast(Any, negatives), holdout=holdout)
    token_users = np.repeat(owners, _counts(offsets, split))
    if negative_count:
        drawn = sampler.draw(np.random.default_rng(seed), token_users, size=negative_count)
        candidates = np.concatenate([targets[:, None], drawn], axis=1)
        looked_up = candidates.shape[1] * size
    drawable = sampler.drawable(token_users)

    def chunk(members: Integers) -> UserChunk:
        inputs, starts = gathered(items, offsets, members)
        batch = pack(inputs, starts, max_length=max_length, width=tightest_width(np.diff(starts), max_length))
        if split == "train":
            places = np.repeat(offsets[members] - starts[:-1], np.diff(starts)) + np.arange(starts[-1])
        else:  # only the newest token of a sequence has a target
            batch = replace(batch, slots=batch.last, sequence=torch.arange(len(members)))
            places = members
        counts = torch.bincount(batch.sequence, minlength=len(members)).double()
        return UserChunk(
            batch.to(torch.device(device)),
            torch.from_numpy(targets[places]).to(device),
            None if candidates is None else torch.from_numpy(candidates[places]).to(device),
            counts.to(device),
            owners[members],
            torch.from_numpy(drawable[places]).to(device),
        )

    def packed(users: Integers) -> list[UserChunk]:
        members = np.flatnonzero(np.isin(owners, users) & (np.diff(offsets) > 0))
        groups = length_sorted_groups(np.diff(offsets)[members], max(1, min(tokens, SCORES // looked_up)))
        return [chunk(members[group]) for group in groups]

    return owners[chosen], packed


def tightest_width(lengths: Integers, max_length: int) -> int:
    """The width, from the longest sequence up, that leaves the fewest empty slots; the smallest of equal ones."""
    longest = int(lengths.max())
    widths = np.arange(longest, max(longest, max_length) + 1)
    slots = [(int(first_fit(lengths[None, :], int(width))[0].max()) + 1) * int(width) for width in widths]
    return int(widths[int(np.argmin(slots))])


def _sequences(
    interactions: Interactions, split: str, max_length: int, holdout: Holdout
) -> tuple[Integers, Integers, Integers, Integers]:
    """Inputs, offsets, targets (a token's each in training, a sequence's each otherwise) and users."""
    if split == "train":
        found = training_sequences(interactions, max_length=max_length, holdout=holdout)
    elif split in ("validation", "test"):
        found = evaluation_sequences(interactions, cast(Any, split), max_length=max_length, holdout=holdout)
    else:
        raise ConfigError(f"expected a split out of train, validation, test, got {split!r}")
    return found.items, found.offsets, found.targets, found.users


def _counts(offsets: Integers, split: str) -> Integers:
    lengths = np.diff(offsets)
    return lengths if split == "train" else np.ones_like(lengths)


def _chosen(usable: Integers, users: int | None, seed: int) -> Integers:
    """The sequences that take part: all usable ones, or a random subset, in ascending order."""
    if users is None:
        return usable
    if not 1 <= users <= len(usable):
        raise ConfigError(f"expected between 1 and {len(usable):,} users, got {users:,}")
    drawn = np.random.default_rng([seed, 1]).choice(usable, users, replace=False)
    return np.sort(drawn)
