"""The k-core of a log: users and items with fewer than k interactions are dropped, again and again, until none is left.

The outcome does not depend on the order of dropping. A round is two bincounts over what is left; real logs take 3 to
20 rounds, and the later ones touch little.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Integer

from samrec.errors import ConfigError


class Core(NamedTuple):
    """What is left, and in how many rounds it settled."""

    rows: Int64[np.ndarray, " kept"]  # places in the log, ascending
    rounds: int


def k_core(users: Integer[np.ndarray, " rows"], items: Integer[np.ndarray, " rows"], k: int = 5) -> Core:
    """The largest part of a log in which every user and every item has at least k rows; it may be empty.

    Repeats of a (user, item) count as often as they are there. `users` and `items` are codes from 0. Raises
    ConfigError for k below 1.
    """
    if k < 1:
        raise ConfigError(f"expected k of at least 1, got {k}")
    rows = np.arange(len(users), dtype=np.int64)
    rounds = 0
    while len(rows):
        enough = (np.bincount(users) >= k)[users] & (np.bincount(items) >= k)[items]
        if enough.all():
            break
        rows, users, items = rows[enough], users[enough], items[enough]
        rounds += 1
    return Core(rows, rounds)


def by_first_appearance(codes: Integer[np.ndarray, " rows"]) -> tuple[Int64[np.ndarray, " rows"], np.ndarray]:
    """Ids from 1 in the order in which codes first appear, and the code of id 1, 2, ..."""
    first = np.full(int(codes.max()) + 1 if len(codes) else 0, len(codes), dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of a code's rows the first is written last
    order = np.argsort(first, kind="stable")[: int((first < len(codes)).sum())]
    ids = np.zeros(len(first), dtype=np.int64)
    ids[order] = np.arange(1, len(order) + 1)
    return ids[codes], order
