"""What a raw log looks like: its format and which columns say user, item, time and rating.

Found out from the file's name and first line, or told by options. Names of columns are compared without capitals and
without the type that some tools append (`user_id:token`). Nothing but the first line is read here.
"""

import csv
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from samrec.errors import ConfigError, DataError

Format = Literal["csv", "tsv", "parquet", "jsonl", "amazon", "yelp", "movielens"]
Role = Literal["user", "item", "time", "rating"]

ROLES = get_args(Role)
FORMATS = get_args(Format)
GZIP = b"\x1f\x8b"
LONGEST_LINE = 1 << 26  # bytes; a record that goes on longer is not a record
_KEYS: dict[str, dict[Role, str]] = {
    "amazon": {"user": "reviewerID", "item": "asin", "time": "unixReviewTime", "rating": "overall"},
    "yelp": {"user": "user_id", "item": "business_id", "time": "date", "rating": "stars"},
}
_ALIASES: dict[Role, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "reviewerid", "uid", "customer_id"),
    "item": ("item", "item_id", "itemid", "movieid", "movie_id", "asin", "parent_asin", "business_id", "product_id"),
    "time": ("time", "timestamp", "unixreviewtime", "date", "datetime"),
    "rating": ("rating", "overall", "stars", "score"),
}
_PLACES: dict[str, dict[Role, str]] = {  # columns, from 1, where no header names them
    "csv": {"user": "1", "item": "2", "time": "3", "rating": "4"},
    "movielens": {"user": "1", "item": "2", "time": "4", "rating": "3"},
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read one file."""

    format: Format
    columns: dict[Role, str]  # names (or keys of JSON objects); "rating" only where it is asked for
    places: dict[Role, int]  # delimited text: the same as places from 0
    width: int = 0  # delimited text: columns of a line
    separator: str = ","
    header: bool = False
    quotes: bool = False  # fields may be quoted as in RFC 4180

    @property
    def kind(self) -> Literal["delimited", "json", "parquet"]:
        """Which reader takes it."""
        if self.format == "parquet":
            return "parquet"
        return "json" if self.format in ("jsonl", "amazon", "yelp") else "delimited"


def find_layout(
    path: Path,
    *,
    format: str | None = None,  # noqa: A002
    user_column: str | None = None,
    item_column: str | None = None,
    time_column: str | None = None,
    rating_column: str | None = None,
    needs_rating: bool = False,
    separator: str | None = None,
    header: bool | None = None,
    quotes: bool | None = None,
) -> Layout:
    """The layout of this file; what is not told is found out.

    Args:
        path: the log; text may be gzipped.
        format: one of `FORMATS`.
        user_column: a name of the header or a JSON key; a number from 1 where there is no header. So for the others.
        item_column: see `user_column`.
        time_column: see `user_column`.
        rating_column: see `user_column`; giving it means that it is needed.
        needs_rating: a rating is wanted, under whatever name it has.
        separator: of delimited text, one character or more; `\\t` is a tab.
        header: whether the first line names the columns. By default it does, except in MovieLens' own files.
        quotes: whether fields may be quoted. By default so in .csv alone.

    Raises:
        DataError: the file cannot be read, its format cannot be told, or a column is not there.
        ConfigError: options that do not go together.
    """
    asked: dict[Role, str | None] = {
        "user": user_column, "item": item_column, "time": time_column, "rating": rating_column,
    }  # fmt: skip
    wanted = [role for role in ROLES if role != "rating" or needs_rating or rating_column is not None]
    if format is not None and format not in FORMATS:
        raise ConfigError(f"expected one of the formats {', '.join(FORMATS)}, got {format!r}")
    separator = separator.replace("\\t", "\t") if separator is not None else None
    first = _first_line(path)
    told = cast(Format, format) if format is not None else _format_of(path, first, separator)
    if told == "parquet":
        return Layout(told, _named(path, _parquet_columns(path), asked, wanted), {})
    if told in ("jsonl", "amazon", "yelp"):
        keys = _KEYS.get(told) or _named(path, list(_object(first) or {}), asked, wanted)
        return Layout(told, {role: asked[role] or keys[role] for role in wanted}, {})
    separator = separator if separator is not None else _separator(told, first)
    quotes = (told == "csv" and len(separator) == 1) if quotes is None else quotes
    if not separator or "\n" in separator or (quotes and (len(separator) > 1 or not separator.isascii())):
        raise ConfigError(f"expected a separator, one ASCII character where fields are quoted, got {separator!r}")
    names = next(csv.reader([first], delimiter=separator)) if quotes else first.split(separator)
    if header is None:
        header = told != "movielens" or names[0].casefold() in _ALIASES["user"]
    if header:
        columns = _named(path, names, asked, wanted)
        places = {role: names.index(name) for role, name in columns.items()}
    else:
        places = _numbered(path, told, len(names), asked, wanted)
        columns = {role: str(place + 1) for role, place in places.items()}
    return Layout(told, columns, places, len(names), separator, header, quotes)


def open_bytes(path: Path) -> tuple[io.BufferedIOBase, io.BufferedIOBase]:
    """The content, decompressed if it is gzipped, and the file itself, whose place tells how far reading has come.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        raw = path.open("rb")
        zipped = raw.read(2) == GZIP
        raw.seek(0)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return (gzip.GzipFile(fileobj=raw) if zipped else raw), raw


def _first_line(path: Path) -> str:
    content, raw = open_bytes(path)
    with raw:
        try:
            line = content.readline(LONGEST_LINE)
            while line and not line.strip():
                line = content.readline(LONGEST_LINE)
        except (OSError, EOFError) as error:
            raise DataError(f"{path}: cannot be decompressed: {error}") from None
    if not line:
        raise DataError(f"{path}: is empty; expected a log of interactions")
    return line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace").rstrip("\r\n")


def _format_of(path: Path, first: str, separator: str | None) -> Format:
    endings = [ending.casefold() for ending in path.suffixes]
    if first.startswith("PAR1"):
        return "parquet"
    found = _object(first)
    if found is not None:
        return next((cast(Format, name) for name, keys in _KEYS.items() if _covers(found, keys)), "jsonl")
    if "::" in first or path.name in ("ratings.dat", "u.data"):
        return "movielens"
    if ".tsv" in endings or (separator is None and "\t" in first and ".csv" not in endings):
        return "tsv"
    if ".csv" in endings or separator is not None or "," in first:
        return "csv"
    shown = first if len(first) <= 60 else first[:60] + "..."
    raise DataError(
        f"{path}: cannot tell the format from its name and its first line {shown!r}; "
        f"give --format, one of {', '.join(FORMATS)}"
    )


def _covers(found: dict[str, Any], keys: dict[Role, str]) -> bool:
    return all(keys[role] in found for role in ("user", "item", "time"))


def _object(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _separator(told: Format, first: str) -> str:
    if told == "movielens":
        return next((candidate for candidate in ("::", "\t") if candidate in first), ",")
    return "\t" if told == "tsv" else ","


def _parquet_columns(path: Path) -> list[str]:
    import polars as pl

    try:
        return list(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: is no Parquet file that can be read: {str(error).splitlines()[0]}") from None


def _named(path: Path, names: list[str], asked: dict[Role, str | None], wanted: list[Role]) -> dict[Role, str]:
    plain = {name.strip().casefold().split(":")[0]: name for name in reversed(names)}
    found: dict[Role, str] = {}
    for role in wanted:
        given = asked[role]
        if given is not None:
            name = given if given in names else plain.get(given.casefold())
        else:
            name = next((plain[alias] for alias in _ALIASES[role] if alias in plain), None)
        if name is None:
            missing = f"no column {given!r}" if given is not None else f"no column known to tell the {role}"
            known = ", ".join(name if name.isprintable() else repr(name) for name in names)
            raise DataError(f"{path}: {missing}; give --{role}-column, one of {known}")
        found[role] = name
    return found


def _numbered(
    path: Path, told: Format, width: int, asked: dict[Role, str | None], wanted: list[Role]
) -> dict[Role, int]:
    defaults = _PLACES["movielens" if told == "movielens" else "csv"]
    places: dict[Role, int] = {}
    for role in wanted:
        given = asked[role] or defaults[role]
        if not (given.isascii() and given.isdigit() and 1 <= int(given) <= width):
            raise DataError(
                f"{path}: without a header --{role}-column is a number from 1 to {width}, the columns of the first "
                f"line, got {given!r}"
            )
        places[role] = int(given) - 1
    return places
