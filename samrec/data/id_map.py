"""Between ids of the S3-Rec text and the ids somebody's own log had, both ways.

NAME_items.parquet and NAME_users.parquet lie beside a NAME.txt that `samrec data prepare` made. Each has two columns,
`id` (1, 2, 3, ... without gaps, in this order) and `own` (text, unique); any Parquet reader opens them.
"""

import difflib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Int64

from samrec.errors import DataError

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["items", "users"]
KINDS: tuple[Kind, ...] = ("users", "items")


class IdMap:
    """Own ids by number and numbers by own id."""

    def __init__(self, own: "pl.Series", *, kind: Kind, source: str = "") -> None:
        """`own` is the own id of 1, 2, 3, ..."""
        self._own = own
        self.kind = kind
        self.source = source

    def __len__(self) -> int:
        return len(self._own)

    def own(self, ids: Iterable[int]) -> list[str]:
        """The own ids of these ids; DataError for one that is not there."""
        places = np.fromiter(ids, dtype=np.int64) - 1
        if len(places) and not (places.min() >= 0 and places.max() < len(self)):
            wrong = int(places[(places < 0) | (places >= len(self))][0]) + 1
            raise DataError(f"{self._where}expected {self.kind} from 1 to {len(self):,}, got {wrong}")
        return list(self._own.gather(places).to_list())

    def ids(self, own: Iterable[str]) -> Int64[np.ndarray, " ids"]:
        """The ids of these own ids; DataError names one that is not there, and what comes near."""
        wanted = list(own)
        found = [self._numbers.get(word) for word in wanted]
        if None in found:
            unknown = wanted[found.index(None)]
            near = difflib.get_close_matches(unknown, list(self._numbers)[:20_000], n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise DataError(f"{self._where}{unknown!r} is none of the {len(self):,} {self.kind}{hint}")
        return np.array(found, dtype=np.int64)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self._own, start=1)}

    @property
    def _where(self) -> str:
        return f"{self.source}: " if self.source else ""


def id_map_path(text: Path, kind: Kind) -> Path:
    """Where the map of NAME.txt is: NAME_items.parquet or NAME_users.parquet, beside it."""
    return text.with_name(f"{text.stem}_{kind}.parquet")


def read_id_map(text: Path, kind: Kind) -> IdMap:
    """The map that belongs to a NAME.txt. Raises DataError if there is none or it is no id map."""
    import polars as pl

    path = id_map_path(Path(text), kind)
    if not path.is_file():
        raise DataError(f"there is no id map {path}; samrec data prepare makes one")
    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    if table.columns != ["id", "own"] or table.schema["own"] != pl.String:
        raise DataError(f"{path}: expected the columns id and own (text), got {', '.join(table.columns)}")
    if not np.array_equal(table["id"].to_numpy(), np.arange(1, len(table) + 1)) or table["own"].null_count():
        raise DataError(f"{path}: expected the ids 1, 2, 3, ... with an own id each, got others")
    return IdMap(table["own"], kind=kind, source=str(path))


def write_id_map(own: "pl.Series", path: Path) -> None:
    """Write the own ids of 1, 2, 3, ... to exactly this path."""
    import polars as pl

    pl.DataFrame({"id": np.arange(1, len(own) + 1, dtype=np.int64), "own": own}).write_parquet(path)
