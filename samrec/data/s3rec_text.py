"""The S3-Rec text format, read fast and refused by line number.

One user a line, `user item item item ...`, whole numbers from 1, items oldest first. Beside NAME.txt may lie
NAME_item2attributes.json, `{"item": [attribute, ...]}`, and NAME_times.parquet (see times_file). The whole file is
parsed at once as an array of bytes (Beauty, 1.1 MB: some 30 ms), and since the parse keeps every number's place, an
error can name its line.
"""

import json
import os
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from samrec.data.interactions import SHORTEST, Attributes, Interactions
from samrec.data.times_file import read_times, times_path
from samrec.errors import DataError

LARGEST = 2**31 - 1
FORMAT = "the S3-Rec text format, one 'user item item ...' a line"
_SIGNATURES = {
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "a Parquet file",
    b"{": "JSON",
    b"[": "JSON",
    b"<": "a markup file",
}
_NEWLINE, _SPACES = 10, (9, 13, 32)  # bytes: line feed; tab, carriage return, space


def read_s3rec_text(path: str | os.PathLike[str], *, strict: bool = False) -> Interactions:
    """The interactions of a file, with item attributes where their file lies beside it.

    Sequences of fewer than three items cannot be split: left out and counted in `dropped`, or under `strict` refused.
    `item_count` is the highest id of the whole file. Raises DataError, with the line number where there is one.
    """
    path = Path(path)
    raw = _content(path)
    text = np.frombuffer(raw.removeprefix(b"\xef\xbb\xbf"), dtype=np.uint8)
    values, lines, line_count = _numbers(path, text)

    per_line = np.bincount(lines, minlength=line_count)
    _refuse_lines(path, per_line == 0, "is empty; expected 'user item item ...'")
    _refuse_lines(path, per_line == 1, "has a user but no items")
    firsts = np.concatenate(([0], np.cumsum(per_line)[:-1]))
    user_ids = values[firsts]
    _refuse_duplicates(path, user_ids)

    lengths = per_line - 1
    short = lengths < SHORTEST
    if strict:
        _refuse_lines(path, short, f"has fewer than {SHORTEST} items, which --strict refuses")
    if short.all():
        raise DataError(f"{path}: no sequence of {SHORTEST} or more items; there is nothing to train on")
    is_item = np.ones(len(values), dtype=bool)
    is_item[firsts] = False
    item_count = int(values[is_item].max())
    times = _read_times(path, user_ids[lines[is_item]], values[is_item])
    is_kept = ~short[lines[is_item]]
    return Interactions(
        name=path.stem,
        items=values[is_item][is_kept].astype(np.int32),
        offsets=np.concatenate(([0], np.cumsum(lengths[~short]))),
        item_count=item_count,
        user_ids=user_ids[~short],
        attributes=_read_attributes(attributes_path(path), item_count),
        dropped=int(short.sum()),
        source=str(path),
        times=None if times is None else times[is_kept],
    )


def attributes_path(path: Path) -> Path:
    """Where the attributes of NAME.txt are: NAME_item2attributes.json, beside it."""
    return path.with_name(f"{path.stem}_item2attributes.json")


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not raw.strip():
        raise DataError(f"{path}: is empty; expected {FORMAT}")
    for signature, what in _SIGNATURES.items():
        if raw.lstrip().startswith(signature):
            raise DataError(f"{path}: looks like {what}; expected {FORMAT}")
    if b"\x00" in raw[:4096]:
        raise DataError(f"{path}: looks like a binary file; expected {FORMAT}")
    return raw


def _numbers(
    path: Path, text: UInt8[np.ndarray, " bytes"]
) -> tuple[Int64[np.ndarray, " numbers"], Int64[np.ndarray, " numbers"], int]:
    """Every number of the file in order, the line (from 0) each stands on, and how many lines there are."""
    newline = text == _NEWLINE
    in_word = ~(newline | np.isin(text, _SPACES))
    edges = np.flatnonzero(np.diff(in_word.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2]
    lines = np.searchsorted(np.flatnonzero(newline), starts)
    line_count = int(newline.sum()) + int(text[-1] != _NEWLINE)

    strange = in_word & ((text < ord("0")) | (text > ord("9")))
    widths = ends - starts
    wrong = widths > 10  # no int32 is longer; leading zeros are nobody's ids
    wrong[np.searchsorted(starts, np.flatnonzero(strange), side="right") - 1] = True
    values = np.zeros(len(starts), dtype=np.int64)
    for place in range(int(min(widths.max(), 10))):
        longer = np.flatnonzero(widths > place)
        values[longer] = values[longer] * 10 + (text[starts[longer] + place].astype(np.int64) - ord("0"))
    wrong |= (values < 1) | (values > LARGEST)
    if wrong.any():
        first = int(np.argmax(wrong))
        word = text[starts[first] : ends[first]].tobytes().decode("utf-8", "replace")
        shown = repr(word if len(word) <= 40 else word[:40] + "...")
        raise DataError(
            f"{path}, line {lines[first] + 1}: {shown} is no id; expected whole numbers from 1 to {LARGEST}, "
            f"in {FORMAT}"
        )
    return values, lines, line_count


def _refuse_lines(path: Path, wrong: np.ndarray, complaint: str) -> None:
    if not wrong.any():
        return
    others = int(wrong.sum()) - 1
    also = f" (and {others} more)" if others else ""
    raise DataError(f"{path}, line {int(np.argmax(wrong)) + 1}{also}: {complaint}")


def _refuse_duplicates(path: Path, user_ids: Int64[np.ndarray, " lines"]) -> None:
    order = np.argsort(user_ids, kind="stable")
    again = np.flatnonzero(np.diff(user_ids[order]) == 0)
    if len(again) == 0:
        return
    at = again[np.argmin(order[again + 1])]  # the repetition that comes first in the file
    raise DataError(
        f"{path}, line {order[at + 1] + 1}: user {user_ids[order[at]]} was already on line {order[at] + 1}; "
        "expected one line a user"
    )


def _read_times(
    path: Path, users: Int64[np.ndarray, " interactions"], items: Int64[np.ndarray, " interactions"]
) -> Int64[np.ndarray, " interactions"] | None:
    known = times_path(path)
    return read_times(known, users, items) if known.is_file() else None


def _read_attributes(path: Path, item_count: int) -> Attributes | None:
    """Attributes of the items 1..item_count; the file may speak of other items, which are passed over."""
    if not path.is_file():
        return None
    try:
        table = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(table, dict):
        raise DataError(f"{path}: expected an object of item to list of attributes, got a {type(table).__name__}")
    rows: list[list[int]] = [[] for _ in range(item_count + 1)]
    for item, own in table.items():
        if not (item.isascii() and item.isdigit() and int(item) >= 1):
            raise DataError(f"{path}: {item!r} is no item id; expected whole numbers from 1")
        if not isinstance(own, list) or not all(type(value) is int and 1 <= value <= LARGEST for value in own):
            raise DataError(f"{path}: item {item} should have a list of attribute ids from 1 to {LARGEST}, has {own!r}")
        if int(item) <= item_count:
            rows[int(item)] = own
    values = np.array([value for own in rows for value in own], dtype=np.int64)
    offsets = np.concatenate(([0], np.cumsum([len(own) for own in rows], dtype=np.int64)))
    return Attributes(values=values, offsets=offsets, count=int(values.max(initial=0)))
