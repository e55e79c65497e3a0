"""What a split holds out, as evaluation needs it: inputs, targets, histories, and what training had.

The one place of evaluation that asks for a split; everything after it takes sequences with one target each, in whatever
number a user has them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
from jaxtyping import Int64

from samrec.data.holdout import LEAVE_ONE_OUT, Holdout
from samrec.data.interactions import Interactions
from samrec.data.popularity import head_and_tail, training_popularity
from samrec.data.split import Sequences, evaluation_sequences, seen_items, training_sequences
from samrec.errors import ConfigError
from samrec.evaluation.protocol import EvaluationSplit


@dataclass(frozen=True, eq=False)
class HeldOut:
    """One target a sequence, the history before it, and the training part of the same split."""

    interactions: Interactions
    name: str  # as protocols say it
    max_length: int
    sequences: Sequences
    seen: tuple[Int64[np.ndarray, " seen"], Int64[np.ndarray, " rows"]]  # the whole history before each target
    holdout: Holdout

    @property
    def users(self) -> Int64[np.ndarray, " sequences"]:
        """Whose the sequences are, by their ids in the data."""
        ids: Int64[np.ndarray, " sequences"] = self.interactions.user_ids[self.sequences.users]
        return ids

    @property
    def targets(self) -> Int64[np.ndarray, " sequences"]:
        """What is to be ranked."""
        return self.sequences.targets

    @property
    def lengths(self) -> Int64[np.ndarray, " sequences"]:
        """Items before each target."""
        return np.diff(self.seen[1])

    @cached_property
    def popularity(self) -> Int64[np.ndarray, " ids"]:
        """Interactions of each item in training, by id."""
        items = seen_items(self.interactions, "train", holdout=self.holdout)[0]
        return training_popularity(items, self.interactions.item_count)

    @cached_property
    def head_and_tail(self) -> tuple[Int64[np.ndarray, " head"], Int64[np.ndarray, " tail"]]:
        """Ids of the most popular fifth of the items seen in training, and of the others seen there."""
        training = training_sequences(self.interactions, max_length=self.max_length, holdout=self.holdout)
        return head_and_tail(training, self.interactions.item_count)


def held_out(
    interactions: Interactions, split: EvaluationSplit, max_length: int, *, holdout: Holdout = LEAVE_ONE_OUT
) -> HeldOut:
    """What the split holds out of these interactions, for a model that reads the newest `max_length` items.

    Raises:
        ConfigError: a split that is neither validation nor test.
    """
    if split not in get_args(EvaluationSplit):
        raise ConfigError(f"expected the split validation or test, got {split!r}")
    # a holdout that looks at times is another one where times differ
    told = f" by {interactions.times_fingerprint[:16]}" if holdout.hides_future_items else ""
    return HeldOut(
        interactions,
        f"{holdout.name}{told}, {split}",
        max_length,
        evaluation_sequences(interactions, split, max_length=max_length, holdout=holdout),
        seen_items(interactions, split, holdout=holdout),
        holdout,
    )
