"""The samples of S3-Rec's pre-training: every prefix of every user's training part.

The training part is s[:-2], cut to its newest `max_length` items. A prefix is known by the place of its last item, so
there are as many prefixes as items: 150,258 on Beauty, with 1,074,507 tokens. Nothing is copied until a batch asks.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from samrec.data.interactions import Interactions
from samrec.data.split import seen_items
from samrec.errors import DataError


@dataclass(frozen=True, eq=False)
class Prefixes:
    """Prefix i ends with `items[i]` and begins at `items[starts[i]]`."""

    items: Int64[np.ndarray, " prefixes"]  # the users' training parts, one after another
    starts: Int64[np.ndarray, " prefixes"]
    users: Int64[np.ndarray, " prefixes"]  # rows of the Interactions
    offsets: Int64[np.ndarray, " rows"]  # of the training parts

    def __len__(self) -> int:
        return len(self.items)

    def lengths(self) -> Int64[np.ndarray, " prefixes"]:
        """How many items each prefix has."""
        lengths: Int64[np.ndarray, " prefixes"] = np.arange(len(self)) - self.starts + 1
        return lengths

    def gathered(
        self, members: Int64[np.ndarray, " members"]
    ) -> tuple[Int64[np.ndarray, " tokens"], Int64[np.ndarray, " ends"]]:
        """The flat items of some prefixes, and where each begins in them."""
        lengths = members - self.starts[members] + 1
        ends = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))
        return self.items[np.arange(ends[-1]) + np.repeat(self.starts[members] - ends[:-1], lengths)], ends


def training_prefixes(
    interactions: Interactions, max_length: int = 50, *, users: Int64[np.ndarray, " users"] | None = None
) -> Prefixes:
    """Every prefix of the training parts of `users` (None: all), user by user, shortest first.

    The training parts of other users are left empty: rows stay those of the Interactions.

    Raises:
        DataError: `max_length` below 1.
    """
    if max_length < 1:
        raise DataError(f"max_length must be 1 or more, got {max_length}")
    items, offsets = seen_items(interactions, "train")
    lengths = np.diff(offsets)
    taken = np.minimum(lengths, max_length)
    if users is not None:
        taken = np.where(np.isin(np.arange(interactions.users), users), taken, 0)
    kept = np.repeat(offsets[1:], lengths) - np.arange(len(items)) <= np.repeat(taken, lengths)
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(taken)))
    owners = np.repeat(np.arange(interactions.users), taken)
    return Prefixes(items=items[kept], starts=offsets[owners], users=owners, offsets=offsets)
