"""What items are, from the metadata that comes with a log: categories and brands, or genres.

Amazon 2014 (Python literals, read by `ast.literal_eval`, which runs nothing), Amazon 2018 (JSON), Yelp's businesses
(JSON) and MovieLens' movies (.dat, .csv). The first level of an Amazon category path is the whole data set's name and
says nothing: it is left out. Lines about items that are not in the data are passed over before they are parsed.
"""

import ast
import csv
import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samrec.data.interactions import Attributes
from samrec.data.raw_logs.layout import open_bytes
from samrec.errors import DataError

_ID = re.compile(r"""['"](?:asin|business_id)['"]\s*:\s*(?:'([^'\\]*)'|"([^"\\]*)")""")
_NONE = "(no genres listed)"
_MOVIES = "movieid"


@dataclass(frozen=True, slots=True)
class Named:
    """Attributes of items 1, 2, ..., what each attribute is called, and what was left out."""

    attributes: Attributes
    names: list[str]  # of attribute 1, 2, ...: "category: Hair Care", "brand: ...", "genre: ..."
    described: int  # items with at least one attribute
    rare: int  # attributes left out because too few items have them
    malformed: int  # lines that cannot be used
    example: str  # the first of them


def read_item_attributes(
    path: Path,
    own_ids: list[str],
    *,
    min_count: int = 1,
    advance: Callable[[int], object] = lambda _: None,
) -> Named:
    """The attributes of the items whose own ids are these, in the order of their ids.

    Args:
        path: the metadata; gzipped or not.
        own_ids: of item 1, 2, ...
        min_count: an attribute that fewer of these items have is left out.
        advance: told how many bytes were read.

    Raises:
        DataError: the file cannot be read, or tells nothing about any of these items.
    """
    places = {own: place for place, own in enumerate(own_ids)}
    found: list[list[str]] = [[] for _ in own_ids]
    malformed, example = 0, ""
    for number, line in _lines(path, advance):
        own, told = _parsed(line, places)
        if told is None:
            malformed += 1
            example = example or f"line {number}: {line[:60]!r}"
        elif own in places:
            found[places[own]] = list(dict.fromkeys(told))  # each once, in order
    counts = Counter(attribute for row in found for attribute in row)
    numbers: dict[str, int] = {}
    for row in found:
        for attribute in row:
            if counts[attribute] >= min_count:
                numbers.setdefault(attribute, len(numbers) + 1)
    if not numbers:
        first = f" ({malformed:,} lines cannot be read; the first, {example})" if malformed else ""
        raise DataError(f"{path}: no attribute that {min_count} or more of the {len(own_ids):,} items have{first}")
    rows = [sorted(numbers[attribute] for attribute in row if attribute in numbers) for row in found]
    return Named(
        attributes=Attributes(
            values=np.array([value for row in rows for value in row], dtype=np.int64),
            offsets=np.concatenate(([0, 0], np.cumsum([len(row) for row in rows], dtype=np.int64))),
            count=len(numbers),
        ),
        names=list(numbers),
        described=sum(map(bool, rows)),
        rare=len(counts) - len(numbers),
        malformed=malformed,
        example=example,
    )


def _lines(path: Path, advance: Callable[[int], object]) -> Iterator[tuple[int, str]]:
    content, raw = open_bytes(path)
    place = 0
    with raw:
        try:
            for number, line in enumerate(content, start=1):
                text = line.decode("utf-8", errors="replace").strip().removeprefix("\ufeff")
                if raw.tell() - place > 1 << 20:
                    advance(raw.tell() - place)
                    place = raw.tell()
                if text and not (number == 1 and text.casefold().startswith(_MOVIES)):
                    yield number, text
        except EOFError:
            raise DataError(f"{path}: ends in the middle of its compressed data; it was not copied whole") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
        advance(raw.tell() - place)


def _parsed(line: str, wanted: dict[str, int]) -> tuple[str, list[str] | None]:
    """The own id of a line and its attributes; None where the line is no metadata."""
    if not line.startswith("{"):
        return _movie(line)
    quick = _ID.search(line)
    if quick is not None and (own := quick[1] or quick[2] or "") not in wanted:
        return own, []
    held = _literal(line)
    own = held.get("asin") or held.get("business_id") if held is not None else None
    if held is None or not isinstance(own, str):
        return "", None
    return own, [*_categories(held), *_brand(held)]


def _literal(line: str) -> dict[str, Any] | None:
    try:
        held = json.loads(line)
    except (ValueError, RecursionError):
        try:
            held = ast.literal_eval(line)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return None
    return held if isinstance(held, dict) else None


def _categories(held: dict[str, Any]) -> list[str]:
    told = held.get("categories") or held.get("category") or []
    if isinstance(told, str):  # Yelp: "Bars, Nightlife"
        levels = [level.strip() for level in told.split(",")]
    elif "business_id" in held:  # Yelp's older releases: a list
        levels = [level for level in told if isinstance(level, str)]
    else:  # Amazon 2014: a list of paths; 2018: one path
        paths = told if all(isinstance(path, list) for path in told) else [told]
        levels = [level for path in paths for level in path[1:] if isinstance(level, str)]
    return [f"category: {html.unescape(level).strip()}" for level in levels if level.strip()]


def _brand(held: dict[str, Any]) -> list[str]:
    told = held.get("brand")
    return [f"brand: {html.unescape(told).strip()}"] if isinstance(told, str) and told.strip() else []


def _movie(line: str) -> tuple[str, list[str] | None]:
    fields = line.split("::") if "::" in line else next(csv.reader([line]), [])
    if len(fields) != 3:
        return "", None
    genres = [genre.strip() for genre in fields[2].split("|")]
    return fields[0], [f"genre: {genre}" for genre in genres if genre and genre != _NONE]
