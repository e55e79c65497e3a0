"""A raw log in memory: users and items as codes, times, in file order, and an account of what was left out.

20 million rows take some 320 MB: text is turned into codes block by block, and only what is distinct is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int64, UInt32

from samrec.data.raw_logs.layout import Layout
from samrec.data.raw_logs.records import BLOCK
from samrec.data.raw_logs.rows import PROBLEMS, read_rows
from samrec.errors import DataError

EXAMPLES = 5  # malformed rows that are named
_SHOWN = 60  # characters of such a row


@dataclass(frozen=True, slots=True)
class Malformed:
    """A row that cannot be used."""

    line: int
    problem: str
    record: str  # its beginning
    place: str = "line"  # what is counted: lines of text, or rows of Parquet

    def __str__(self) -> str:
        return f"{self.place} {self.line}: {self.problem}: {self.record!r}"


@dataclass(frozen=True, eq=False)
class RawLog:
    """The usable rows of a log in file order, and what was left out."""

    users: UInt32[np.ndarray, " rows"]  # codes: places in `user_names`
    items: UInt32[np.ndarray, " rows"]
    times: Int64[np.ndarray, " rows"]  # microseconds since 1970 UTC
    user_names: pl.Series
    item_names: pl.Series
    rows: int  # of the file, malformed ones too, blank lines not
    malformed: dict[str, int]  # how many, by problem
    examples: list[Malformed]  # the first ones
    outside: int = 0  # rows before `since` or after `until`
    low: int = 0  # rows rated below `min_rating`


def read_log(
    path: Path,
    layout: Layout,
    *,
    unit: str = "seconds",
    since: int | None = None,
    until: int | None = None,
    min_rating: float | None = None,
    strict: bool = False,
    block: int = BLOCK,
    advance: Callable[[int], object] = lambda _: None,
) -> RawLog:
    """Read a whole log.

    Args:
        path: the file.
        layout: as `find_layout` gives it; with a rating where `min_rating` is given.
        unit: of times that are numbers.
        since: rows before this moment are left out; microseconds since 1970 UTC.
        until: rows at this moment or later are left out.
        min_rating: rows rated lower are left out.
        strict: a malformed row is an error.
        block: bytes read at once; the outcome does not depend on it.
        advance: told how many bytes were read.

    Raises:
        DataError: no row can be used, or under `strict` one cannot; the first ones are named by line.
    """
    tally = _Tally("row" if layout.kind == "parquet" else "line")
    users, items = _Codes(), _Codes()
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for frame in read_rows(path, layout, unit=unit, block=block, advance=advance):
        tally.rows += len(frame)
        good = tally.usable(frame)
        if strict and tally.examples:
            raise DataError(f"{path}, {tally.examples[0]}; --strict takes no malformed row")
        within = len(good)
        if since is not None:
            good = good.filter(pl.col("time") >= since)
        if until is not None:
            good = good.filter(pl.col("time") < until)
        tally.outside += within - len(good)
        if min_rating is not None:
            rated = len(good)
            good = good.filter(pl.col("rating") >= min_rating)
            tally.low += rated - len(good)
        parts.append((users.of(good["user"]), items.of(good["item"]), good["time"].to_numpy()))
    if not any(len(times) for _, _, times in parts):
        raise DataError(f"{path}: {_nothing(tally)}")
    return RawLog(
        users=np.concatenate([part[0] for part in parts]),
        items=np.concatenate([part[1] for part in parts]),
        times=np.concatenate([part[2] for part in parts]).astype(np.int64, copy=False),
        user_names=users.names(),
        item_names=items.names(),
        rows=tally.rows,
        malformed=tally.malformed,
        examples=tally.examples,
        outside=tally.outside,
        low=tally.low,
    )


@dataclass
class _Tally:
    place: str
    rows: int = 0
    outside: int = 0
    low: int = 0
    malformed: dict[str, int] = field(default_factory=dict)
    examples: list[Malformed] = field(default_factory=list)

    def usable(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows without a problem; the others are counted, and the first of all named."""
        problems = frame["problem"].to_numpy()
        if not problems.any():
            return frame
        for code, count in enumerate(np.bincount(problems, minlength=len(PROBLEMS)).tolist()):
            if code and count:
                self.malformed[PROBLEMS[code]] = self.malformed.get(PROBLEMS[code], 0) + count
        bad = frame.filter(pl.col("problem") > 0).select("line", "problem", pl.col("record").str.head(_SHOWN + 1))
        for line, code, record in bad.head(max(0, EXAMPLES - len(self.examples))).iter_rows():
            shown = record if len(record) <= _SHOWN else record[:_SHOWN] + "..."
            self.examples.append(Malformed(line, PROBLEMS[code], shown, self.place))
        return frame.filter(pl.col("problem") == 0)


class _Codes:
    """Text to numbers from 0; equal text has an equal number. Which number depends on nothing a user may rely on."""

    def __init__(self) -> None:
        self._type = pl.Categorical(pl.Categories.random())
        self._first_seen: list[pl.Series] = []  # polars forgets its numbers when the last column that has them is gone
        self._known = np.zeros(0, dtype=np.bool_)

    def of(self, text: pl.Series) -> UInt32[np.ndarray, " rows"]:
        coded = text.cast(self._type)
        codes = coded.to_physical().to_numpy()
        if len(codes) == 0:
            return codes
        missing = int(codes.max()) + 1 - len(self._known)
        if missing > 0:
            self._known = np.concatenate((self._known, np.zeros(missing, dtype=np.bool_)))
        is_new = ~self._known[codes]
        if is_new.any():
            self._known[codes] = True
            self._first_seen.append(coded.filter(pl.Series(is_new)).unique())
        return codes

    def names(self) -> pl.Series:
        codes = [seen.to_physical().to_numpy() for seen in self._first_seen]
        if not codes:
            return pl.Series(dtype=pl.String)
        order = np.argsort(np.concatenate(codes), kind="stable")
        assert len(order) == len(self._known), "expected codes without gaps"
        return pl.concat([seen.cast(pl.String) for seen in self._first_seen]).gather(order)


def _nothing(tally: _Tally) -> str:
    if not tally.rows:
        return "has no rows; expected a log of interactions"
    said = [f"{count:,} with {problem}" for problem, count in tally.malformed.items()]
    said += [f"{tally.outside:,} outside the dates asked for"] * bool(tally.outside)
    said += [f"{tally.low:,} rated too low"] * bool(tally.low)
    first = f"; the first, {tally.examples[0]}" if tally.examples else ""
    return f"none of {tally.rows:,} rows can be used ({', '.join(said)}){first}"
