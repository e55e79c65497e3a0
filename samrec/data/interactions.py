"""Interactions: every user's sequence of items, oldest first, as two flat arrays.

User u (a row, 0..U-1) has `items[offsets[u]:offsets[u + 1]]`. Item ids run from 1 to `item_count`; 0 is padding and
`item_count + 1` the mask, and neither occurs here. The arrays are read-only, so that the fingerprint stays true.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int32, Int64

from samrec.errors import DataError

SHORTEST = 3  # leave-one-out takes a test target, a validation target and one item before them


@dataclass(frozen=True, eq=False)
class Attributes:
    """What each item is: item i has `values[offsets[i]:offsets[i + 1]]`, attribute ids from 1; row 0 is empty."""

    values: Int64[np.ndarray, " values"]
    offsets: Int64[np.ndarray, " rows"]  # item_count + 2 of them
    count: int  # the highest attribute id

    def __post_init__(self) -> None:
        _freeze(self.values, self.offsets)

    def of(self, item: int) -> Int64[np.ndarray, " own"]:
        """The attributes of one item, ascending as read."""
        return self.values[self.offsets[item] : self.offsets[item + 1]]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Sequences of at least three items each, checked when made; raises DataError if they are not that."""

    name: str
    items: Int32[np.ndarray, " interactions"]
    offsets: Int64[np.ndarray, " rows"]  # U + 1 of them
    item_count: int
    user_ids: Int64[np.ndarray, " users"]  # as in the source; everything else speaks of rows
    attributes: Attributes | None = None
    dropped: int = 0  # sequences of the source too short to be used
    source: str = ""
    times: Int64[np.ndarray, " interactions"] | None = None  # microseconds since 1970 UTC; no user's may fall

    def __post_init__(self) -> None:
        _freeze(self.items, self.offsets, self.user_ids)
        if self.times is not None:
            _freeze(self.times)
        _check(self)

    @property
    def users(self) -> int:
        """How many users there are."""
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Int64[np.ndarray, " users"]:
        """How many items each user has."""
        return _freeze(np.diff(self.offsets))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of item count, offsets and items: two sources of equal content have one fingerprint."""
        digest = hashlib.sha256(np.array([self.item_count, self.users], dtype="<i8").tobytes())
        digest.update(self.offsets.astype("<i8").tobytes())
        digest.update(self.items.astype("<i4").tobytes())
        return digest.hexdigest()

    @cached_property
    def times_fingerprint(self) -> str:
        """SHA-256 of the times; empty where there are none. Equal interactions may have other times."""
        return "" if self.times is None else hashlib.sha256(self.times.astype("<i8").tobytes()).hexdigest()

    def sequence(self, user: int) -> Int32[np.ndarray, " own"]:
        """The items of one row, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def describe(self, max_length: int = 50) -> dict[str, str | int | float]:
        """The statistics people compare data sets by; `training_tokens` counts inputs cut to `max_length`."""
        rows = np.repeat(np.arange(self.users), self.lengths)
        distinct = np.unique(rows * (self.item_count + 1) + self.items)
        own = np.bincount(distinct // (self.item_count + 1), minlength=self.users)
        targets = self.items[self.offsets[1:] - 1]
        occurrences = np.add.reduceat(self.items == targets[rows], self.offsets[:-1], dtype=np.int64)
        return {
            "name": self.name,
            "source": self.source,
            "users": self.users,
            "items": self.item_count,
            "items_that_occur": len(np.unique(self.items)),
            "interactions": len(self.items),
            "mean_length": float(self.lengths.mean()),
            "shortest": int(self.lengths.min()),
            "longest": int(self.lengths.max()),
            "density": len(distinct) / (self.users * self.item_count),
            "users_with_repeats": int((own < self.lengths).sum()),
            "test_targets_already_seen": float((occurrences > 1).mean()),
            "attributes": self.attributes.count if self.attributes is not None else 0,
            "training_tokens": int(np.clip(self.lengths - 3, 0, max_length).sum()),
            "dropped": self.dropped,
            "times": "none" if self.times is None else f"{_day(self.times.min())} to {_day(self.times.max())}",
            "fingerprint": self.fingerprint,
        }


def _day(microseconds: np.int64) -> str:
    return str(np.datetime64(int(microseconds), "us").astype("datetime64[D]"))


def _freeze(*arrays: np.ndarray) -> np.ndarray:
    for array in arrays:
        array.flags.writeable = False
    return arrays[0]


def _check(data: Interactions) -> None:
    if data.users < 1:
        raise DataError(f"{data.name}: expected at least one sequence of {SHORTEST} or more items, got none")
    if data.offsets[0] != 0 or data.offsets[-1] != len(data.items):
        raise DataError(f"{data.name}: offsets must run from 0 to {len(data.items)}, the number of interactions")
    if int(data.lengths.min()) < SHORTEST:
        raise DataError(f"{data.name}: every sequence needs {SHORTEST} items, one has {int(data.lengths.min())}")
    if len(data.user_ids) != data.users:
        raise DataError(f"{data.name}: {data.users} sequences but {len(data.user_ids)} user ids")
    if int(data.items.min()) < 1 or int(data.items.max()) > data.item_count:
        raise DataError(
            f"{data.name}: item ids must lie in 1..{data.item_count}, got {data.items.min()}..{data.items.max()}"
        )
    if data.times is not None:
        if len(data.times) != len(data.items):
            raise DataError(f"{data.name}: {len(data.items):,} interactions but {len(data.times):,} times")
        falls = np.diff(data.times) < 0
        falls[data.offsets[1:-1] - 1] = False  # from one user to the next
        if falls.any():
            row = int(np.searchsorted(data.offsets, np.argmax(falls), side="right")) - 1
            raise DataError(f"{data.name}: the times of user {data.user_ids[row]} fall; expected items oldest first")
