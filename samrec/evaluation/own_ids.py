"""The user's own ids in, the user's own ids out: an id map where one lies beside the data, the numbers themselves else.

An id map is anything with `own(ids)` and `ids(own)`; the one of `samrec data prepare` is found by its file's name.
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from samrec.data.id_map import id_map_path, read_id_map
from samrec.data.interactions import Interactions
from samrec.errors import DataError

Kind = Literal["items", "users"]
_SEARCHED = 20_000  # ids among which near matches are looked for


@runtime_checkable
class OwnIds(Protocol):
    """Between ids of the data, from 1, and the user's own."""

    def own(self, ids: Iterable[int]) -> Sequence[Any]:
        """The own ids of these ids."""
        ...

    def ids(self, own: Iterable[str]) -> Int64[np.ndarray, " ids"]:
        """The ids of these own ids; DataError for one that is not there, with what comes near."""
        ...


class Numbers:
    """Ids that are their own: whole numbers as the data file has them."""

    def __init__(self, known: Int64[np.ndarray, " known"], kind: Kind, source: str = "") -> None:
        self._known = np.sort(known)
        self._kind = kind
        self._source = source

    def own(self, ids: Iterable[int]) -> list[int]:
        """The same numbers."""
        return [int(number) for number in ids]

    def ids(self, own: Iterable[str]) -> Int64[np.ndarray, " ids"]:
        """The numbers of these words."""
        words = list(own)
        numbers = np.array(
            [int(word) if word.isascii() and word.isdigit() and len(word) < 19 else -1 for word in words]
        )
        numbers = numbers.astype(np.int64)
        unknown = ~np.isin(numbers, self._known)
        if unknown.any():
            word = words[int(np.argmax(unknown))]
            near = difflib.get_close_matches(word, [str(number) for number in self._known[:_SEARCHED]], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            where, number = self._source or "the data", len(self._known)
            raise DataError(
                f"expected {self._kind} of {where} ({number:,} ids from {self._known[0]} to {self._known[-1]}), "
                f"got {word!r}{hint}"
            )
        return numbers


def own_ids(interactions: Interactions, kind: Kind) -> OwnIds:
    """The ids to speak to the user in.

    Raises:
        DataError: there is a map beside the data that cannot be read.
    """
    text = Path(interactions.source)
    if interactions.source and id_map_path(text, kind).is_file():
        return read_id_map(text, kind)
    known = interactions.user_ids if kind == "users" else np.arange(1, interactions.item_count + 1, dtype=np.int64)
    return Numbers(known, kind, interactions.name)
