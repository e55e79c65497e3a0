"""Negatives: items a user has not had, drawn uniformly, exactly, and without rejection.

With the user's distinct items a_0 < a_1 < ..., the number of items missing below a_i is a_i - i - 1. The k-th missing
item (k from 0) is therefore k + 1 + #{i : a_i - i - 1 <= k}, one search in a sorted array shared by all users.
Under a holdout that hides the future only items of the training part are drawn: numbers are then places among those.
An epoch of Beauty, 128,031 draws, costs some 10 ms.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Int64, Integer

from samrec.data.holdout import LEAVE_ONE_OUT, Holdout
from samrec.data.interactions import Interactions
from samrec.data.split import seen_items
from samrec.errors import ConfigError, DataError

Rule = Literal["training", "s3rec"]


class NegativeSampler:
    """Draws items outside a user's set.

    `rule` says which set: "training", the items of the training part, so that the held-out items stay possible
    negatives; "s3rec", the whole sequence with both held-out items, as the S3-Rec code does (a small leak; a holdout
    that hides the future refuses it).
    """

    def __init__(
        self, interactions: Interactions, rule: Rule = "training", *, holdout: Holdout = LEAVE_ONE_OUT
    ) -> None:
        if rule not in get_args(Rule):
            raise ConfigError(f"expected one of the negative rules {', '.join(get_args(Rule))}, got {rule!r}")
        self.rule = rule
        self.item_count = interactions.item_count
        self._user_ids = interactions.user_ids
        if rule == "training":
            items, offsets = seen_items(interactions, "train", holdout=holdout)
        else:
            items, offsets = interactions.items.astype(np.int64), interactions.offsets
        self._known: Int64[np.ndarray, " known"] | None = None  # items that may be drawn, ascending; None: all
        if holdout.hides_future_items:
            if rule != "training":
                raise ConfigError(
                    f"expected the negative rule training under {holdout.name}, got {rule}: it looks ahead"
                )
            self._known = np.unique(items)
            self.item_count = len(self._known)
            items = np.searchsorted(self._known, items) + 1
        self._stride = self.item_count + 1
        rows = np.repeat(np.arange(interactions.users), np.diff(offsets))
        distinct = np.unique(rows * self._stride + items)
        owners = distinct // self._stride
        taken = np.bincount(owners, minlength=interactions.users)
        self._starts = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(taken)))
        self._missing = self.item_count - taken
        self._keys = distinct - (np.arange(len(distinct)) - self._starts[owners]) - 1  # user * stride + missing below

    def drawable(self, users: Integer[np.ndarray, " draws"]) -> Int64[np.ndarray, " draws"]:
        """How many items a negative of each entry of `users` could be: a draw takes each with one chance in so many."""
        missing: Int64[np.ndarray, " draws"] = self._missing[users]
        return missing

    def draw(
        self, rng: np.random.Generator, users: Integer[np.ndarray, " draws"], size: int = 1
    ) -> Int64[np.ndarray, "draws size"]:
        """`size` independent negatives for each entry of `users` (rows of the interactions, repeats welcome).

        Raises DataError for a user who has had every item.
        """
        missing = self._missing[users]
        if len(missing) and int(missing.min()) < 1:
            row = users[int(np.argmin(missing))]
            raise DataError(
                f"user {self._user_ids[row]} has had all {self.item_count} items, so no negative can be drawn"
            )
        return self._missing_items(users, rng.integers(0, missing[:, None], size=(len(users), size)))

    def draw_distinct(
        self, rng: np.random.Generator, users: Integer[np.ndarray, " draws"], size: int
    ) -> Int64[np.ndarray, "draws size"]:
        """`size` different negatives for each entry of `users`, every set equally likely (Floyd's algorithm).

        `size` passes over the users. Raises DataError for a user with fewer items to draw from.
        """
        missing = self._missing[users]
        if len(missing) and int(missing.min()) < size:
            row = users[int(np.argmin(missing))]
            raise DataError(
                f"expected {size} items to draw for every user, got {missing.min()} that user {self._user_ids[row]} "
                "has not had"
            )
        k = np.empty((len(users), size), dtype=np.int64)
        for place in range(size):
            highest = missing - size + place
            drawn = rng.integers(0, highest + 1)
            k[:, place] = np.where((k[:, :place] == drawn[:, None]).any(axis=1), highest, drawn)
        return self._missing_items(users, k)

    def _missing_items(
        self, users: Integer[np.ndarray, " draws"], k: Int64[np.ndarray, "draws size"]
    ) -> Int64[np.ndarray, "draws size"]:
        """The k-th item, from 0, that each user has not had."""
        below = np.searchsorted(self._keys, users[:, None] * self._stride + k, side="right")
        items: Int64[np.ndarray, "draws size"] = k + 1 + below - self._starts[users][:, None]
        return items if self._known is None else self._known[items - 1]
