"""Histories to recommend from: typed, from a file in the S3-Rec text format, or of users of the training data.

A file's lines are either all `user item item ...`, ids of items being the user's own, or all a single user's id, whose
whole sequence is taken then, held-out items included.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from samrec.data.interactions import Interactions
from samrec.errors import DataError
from samrec.evaluation.own_ids import OwnIds
from samrec.models.sasrec import gathered


@dataclass(frozen=True, slots=True)
class Histories:
    """Whole histories, oldest first, and what each user is called."""

    users: list[str]
    items: Int64[np.ndarray, " items"]
    offsets: Int64[np.ndarray, " rows"]

    def newest(self, count: int) -> tuple[Int64[np.ndarray, " items"], Int64[np.ndarray, " rows"]]:
        """Flat items and offsets of the newest `count` items of each."""
        lengths = np.minimum(np.diff(self.offsets), count)
        offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))
        places = np.repeat(self.offsets[1:] - offsets[1:], lengths) + np.arange(offsets[-1])
        return self.items[places], offsets


def typed_history(text: str, items: OwnIds) -> Histories:
    """One history out of `ID,ID,...`, called "1"; DataError where there is no id in it."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise DataError(f"expected item ids separated by commas, got {text!r}")
    return Histories(["1"], items.ids(words), np.array([0, len(words)], dtype=np.int64))


def read_histories(path: Path, interactions: Interactions, *, items: OwnIds, users: OwnIds) -> Histories:
    """The histories a file has or names.

    Raises DataError, with the line where there is one, for a file that cannot be read, lines of both kinds, a user
    twice, and ids that are unknown.
    """
    lines = [line.split() for line in _text(path).splitlines()]
    if not lines:
        raise DataError(f"{path}: is empty; expected 'user item item ...' or a user id on each line")
    widths = np.array([len(line) for line in lines])
    names_users = bool(widths[0] == 1)
    wrong = widths != 1 if names_users else widths < 2
    if wrong.any():
        expected = "a user id alone, as on line 1" if names_users else "'user item item ...'"
        raise DataError(
            f"{path}, line {int(np.argmax(wrong)) + 1}: expected {expected}, got {widths[np.argmax(wrong)]} words"
        )
    called = [line[0] for line in lines]
    _refuse_twice(path, called)
    if names_users:
        rows = _rows_of(interactions, users.ids(called))
        found, offsets = gathered(interactions.items.astype(np.int64), interactions.offsets, rows)
        return Histories(called, found, offsets)
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(widths - 1)))
    return Histories(called, items.ids(word for line in lines for word in line[1:]), offsets)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip("\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no text; expected 'user item item ...' or a user id on each line") from None


def _refuse_twice(path: Path, called: list[str]) -> None:
    if len(set(called)) == len(called):
        return
    first: dict[str, int] = {}
    for number, name in enumerate(called, start=1):
        if name in first:
            raise DataError(f"{path}, line {number}: user {name} was already on line {first[name]}")
        first[name] = number


def _rows_of(interactions: Interactions, ids: Int64[np.ndarray, " ids"]) -> Int64[np.ndarray, " ids"]:
    order = np.argsort(interactions.user_ids, kind="stable")
    places = np.searchsorted(interactions.user_ids, ids, sorter=order)
    rows: Int64[np.ndarray, " ids"] = order[np.minimum(places, len(order) - 1)]
    missing = interactions.user_ids[rows] != ids
    if missing.any():
        raise DataError(
            f"expected users with a sequence in {interactions.name}, got user {ids[np.argmax(missing)]}, who has none "
            "of three or more items"
        )
    return rows
