"""Records to checked rows: line, user, item, time, rating, and for a row that cannot be used what is wrong with it.

Every format is brought into the same columns of text first, and then judged by the same rules.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from samrec.data.raw_logs.layout import ROLES, Layout, Role
from samrec.data.raw_logs.records import BLOCK, RECORD, Records, read_records
from samrec.data.raw_logs.times import Clock, find_clock
from samrec.errors import DataError

PROBLEMS = (
    "",
    "wrong number of columns",
    "text after a closing quote",
    "no JSON object",
    "no user",
    "no item",
    "no time",
    "a time that cannot be read",
    "no rating",
    "a rating that is no number",
    "text that is not UTF-8",
)
_CODE = {problem: code for code, problem in enumerate(PROBLEMS)}
_SAMPLE = 1000  # rows that decide how the file writes time
_ROWS = 1 << 20  # of Parquet, at once
_DATES = (pl.Date, pl.Datetime)


def read_rows(
    path: Path,
    layout: Layout,
    *,
    unit: str = "seconds",
    block: int = BLOCK,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[pl.DataFrame]:
    """Frames of line, user, item, time (microseconds), rating (where the layout has it), problem (a code), record.

    Rows are in file order; `problem` 0 is a row that can be used. `record` is the text, or of Parquet what it held.

    Raises:
        DataError: the file cannot be read to its end.
    """
    clock: Clock | None = None
    for raw in _raw(path, layout, block, advance):
        if clock is None and raw.schema["time"] == pl.String:
            clock = find_clock(raw["time"].drop_nulls().head(_SAMPLE), unit)
        yield _judged(raw, clock or Clock(unit=unit))  # type: ignore[arg-type]


def _raw(path: Path, layout: Layout, block: int, advance: Callable[[int], object]) -> Iterator[pl.DataFrame]:
    if layout.kind == "parquet":
        yield from _parquet(path, layout)
        advance(path.stat().st_size)
    elif layout.kind == "json":
        for records in read_records(path, block=block, advance=advance):
            yield _json_objects(records, layout)
    else:
        read = read_records(
            path,
            separator=layout.separator,
            quotes=layout.quotes,
            skip=int(layout.header),
            block=block,
            advance=advance,
        )
        for records in read:
            yield _delimited(records, layout)


def _judged(raw: pl.DataFrame, clock: Clock) -> pl.DataFrame:
    """Check the columns that count; the first thing that is wrong with a row is its problem."""
    time: pl.Expr = pl.col("time")
    if raw.schema["time"] == pl.String:
        time = clock.microseconds(time)
    checks = [(pl.col("problem") > 0, pl.col("problem"))]
    checks += [(pl.col(role).fill_null("") == "", pl.lit(_CODE[f"no {role}"])) for role in ("user", "item")]
    checks.append((_is_missing(raw, "time"), pl.lit(_CODE["no time"])))
    checks.append((time.is_null(), pl.lit(_CODE["a time that cannot be read"])))
    columns = [pl.col("line"), pl.col("user"), pl.col("item"), time.alias("time")]
    if "rating" in raw.columns:
        rating = pl.col("rating")
        if raw.schema["rating"] == pl.String:
            rating = rating.str.strip_chars()
        rating = rating.cast(pl.Float64, strict=False)
        checks.append((_is_missing(raw, "rating"), pl.lit(_CODE["no rating"])))
        checks.append((~rating.is_finite().fill_null(value=False), pl.lit(_CODE["a rating that is no number"])))
        columns.append(rating.alias("rating"))
    for role in ("user", "item"):
        checks.append((pl.col(role).str.contains("�", literal=True), pl.lit(_CODE["text that is not UTF-8"])))
    problem = pl.lit(0, pl.UInt8)
    for wrong, code in reversed(checks):
        problem = pl.when(wrong).then(code.cast(pl.UInt8)).otherwise(problem)
    return raw.select(*columns, problem.alias("problem"), pl.col("record"))


def _is_missing(raw: pl.DataFrame, role: Role) -> pl.Expr:
    column = pl.col(role)
    return column.fill_null("").str.strip_chars() == "" if raw.schema[role] == pl.String else column.is_null()


def _delimited(records: Records, layout: Layout) -> pl.DataFrame:
    """Split every record; only the fields up to the last one that counts are made."""
    last = max(layout.places.values())
    text, separator = records.text, records.separator
    wrong = (text.str.count_matches(separator, literal=True) != layout.width - 1).fill_null(value=False).to_numpy()
    problem = np.where(records.astray, _CODE["text after a closing quote"], 0)
    problem = np.where(wrong, _CODE["wrong number of columns"], problem)
    fields = text.str.split_exact(separator, last + 1).struct.unnest()
    columns = {role: fields[f"field_{place}"] for role, place in layout.places.items()}
    if layout.quotes and text.str.contains(RECORD, literal=True).any():
        columns = {role: column.str.replace_all(RECORD, "\n", literal=True) for role, column in columns.items()}
        text = text.str.replace_all(RECORD, "\n", literal=True)
    return _frame(records.lines, columns, problem, text.str.replace_all(separator, layout.separator, literal=True))


def _json_objects(records: Records, layout: Layout) -> pl.DataFrame:
    """Take the keys that count of every object, all lines at once; line by line only where one of them is broken."""
    keys = layout.columns
    form = pl.Struct(dict.fromkeys(keys.values(), pl.String))
    problem = np.zeros(len(records.text), dtype=np.int64)
    try:
        fields = records.text.str.json_decode(form).struct.unnest()
        columns = {role: fields[key] for role, key in keys.items()}
    except pl.exceptions.PolarsError:
        found = [_object(line) for line in records.text]
        problem[[held is None for held in found]] = _CODE["no JSON object"]
        columns = {
            role: pl.Series(role, [_text((held or {}).get(key)) for held in found], dtype=pl.String)
            for role, key in keys.items()
        }
    return _frame(records.lines, columns, problem, records.text)


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(value: object) -> str | None:
    """Text and numbers as text; lists, objects and halves of characters are as good as missing."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    return value.encode(errors="ignore").decode() if isinstance(value, str) else None


def _parquet(path: Path, layout: Layout) -> Iterator[pl.DataFrame]:
    """Rows count as lines. Dates keep their meaning; numbers and text are read as in any other file."""
    names = layout.columns
    try:
        schema = pl.read_parquet_schema(path)
        columns = []
        for role, name in names.items():
            is_date = role == "time" and isinstance(schema[name], _DATES)
            column = (
                pl.col(name).cast(pl.Datetime("us")).dt.timestamp("us") if is_date else pl.col(name).cast(pl.String)
            )
            columns.append(column.alias(role))
        start = 1
        for frame in pl.scan_parquet(path).select(columns).collect_batches(maintain_order=True, chunk_size=_ROWS):
            lines = np.arange(start, start + len(frame), dtype=np.int64)
            start += len(frame)
            problem = np.zeros(len(frame), dtype=np.int64)
            shown = frame.select(pl.concat_str(pl.all().cast(pl.String).fill_null("null"), separator=", ")).to_series()
            yield _frame(lines, {role: frame[role] for role in names}, problem, shown)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def _frame(lines: np.ndarray, columns: dict[Role, pl.Series], problem: np.ndarray, record: pl.Series) -> pl.DataFrame:
    ordered = {role: columns[role] for role in ROLES if role in columns}
    return pl.DataFrame({"line": lines, **ordered, "problem": problem.astype(np.uint8), "record": record})
