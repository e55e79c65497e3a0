"""A text file as blocks of records, each with the line it starts on; gzipped files are decompressed as they are read.

A record is a line, or, where fields may be quoted, goes on over line ends inside quotes. The quotes of a block are
taken away all at once: separators that count become the unit separator (0x1f), line ends inside quotes the record
separator (0x1e). Quotes mean what they mean to Python's csv module. Memory is a few blocks, whatever the file's size.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64, UInt8

from samrec.data.raw_logs.layout import LONGEST_LINE, open_bytes
from samrec.errors import DataError

BLOCK = 1 << 24  # bytes, decompressed
UNIT, RECORD = "\x1f", "\x1e"  # stand for a separator that counts and a line end that does not
_QUOTE, _NEWLINE, _RETURN = 34, 10, 13


@dataclass(frozen=True, eq=False)
class Records:
    """Consecutive records of a file, blank ones left out."""

    text: pl.Series
    lines: Int64[np.ndarray, " records"]  # where each starts, from 1
    separator: str  # what stands between fields in `text`
    astray: Bool[np.ndarray, " records"]  # a field of it goes on after its closing quote


def read_records(
    path: Path,
    *,
    separator: str = "",
    quotes: bool = False,
    skip: int = 0,
    block: int = BLOCK,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[Records]:
    """The file's records, block by block.

    Args:
        path: the file.
        separator: between fields; one ASCII character where `quotes`.
        quotes: fields may be quoted as RFC 4180 has it.
        skip: so many records at the start are left out, such as a header.
        block: bytes read at once.
        advance: told how many bytes of the file were read since the last time.

    Raises:
        DataError: the file cannot be read to its end, or a quoted field goes on for more than 64 MiB.
    """
    content, raw = open_bytes(path)
    line, place, rest, first = 1, 0, b"", True
    with raw:
        while True:
            fresh = _read(path, content, block)
            data = rest + fresh
            if first:
                data, first = data.removeprefix(b"\xef\xbb\xbf"), False
            ends_here = not fresh
            if ends_here and data and not data.endswith(b"\n"):
                data += b"\n"
            records, used, line_ends = _cut(data, separator, quotes, line)
            rest = data[used:]
            if records is not None and skip:
                dropped = min(skip, len(records.text))
                skip -= dropped
                records = Records(
                    records.text[dropped:], records.lines[dropped:], records.separator, records.astray[dropped:]
                )
            if records is not None and len(records.text):
                yield records
            line += line_ends
            advance(raw.tell() - place)
            place = raw.tell()
            if ends_here or len(rest) > LONGEST_LINE:
                break
    if rest:
        what = "a quoted field that starts there" if quotes else "it"
        raise DataError(
            f"{path}, line {line}: {what} does not end within "
            f"{'the file' if ends_here else f'{LONGEST_LINE >> 20} MiB'}"
            + ("; --no-quotes takes quotes for ordinary characters" if quotes else "")
        )


def _read(path: Path, content: io.BufferedIOBase, size: int) -> bytes:
    try:
        return content.read(size)
    except EOFError:
        raise DataError(f"{path}: ends in the middle of its compressed data; it was not copied whole") from None
    except gzip.BadGzipFile as error:
        raise DataError(f"{path}: cannot be decompressed: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except zlib.error as error:
        raise DataError(f"{path}: cannot be decompressed: {error}") from None


def _cut(data: bytes, separator: str, quotes: bool, line: int) -> tuple[Records | None, int, int]:
    """The whole records of `data`, how many bytes and how many line ends they take."""
    if quotes and b'"' in data:
        return _cut_quoted(data, separator, line)
    used = data.rfind(b"\n") + 1
    if not used:
        return None, 0, 0
    text = _lines(data[: used - 1])
    starts = np.arange(line, line + len(text), dtype=np.int64)
    return _without_blanks(text, starts, separator, np.zeros(len(text), dtype=np.bool_)), used, len(text)


def _cut_quoted(data: bytes, separator: str, line: int) -> tuple[Records | None, int, int]:
    text = np.frombuffer(data, dtype=np.uint8)
    edge = ord(separator)
    starts, lengths, was_inside, is_inside = _quote_runs(text, edge)

    def inside(places: Int64[np.ndarray, " places"]) -> Bool[np.ndarray, " places"]:
        latest = np.searchsorted(starts, places) - 1
        return np.where(latest >= 0, is_inside[latest], False)

    newlines = np.flatnonzero(text == _NEWLINE)
    protected = inside(newlines)
    ends = newlines[~protected]
    if not len(ends):
        return None, 0, 0
    used = int(ends[-1]) + 1
    kept, wrong = _kept_quotes(text, edge, starts, lengths, was_inside)
    in_run = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    dropped = (np.repeat(starts, lengths) + in_run)[in_run >= np.repeat(kept, lengths)]

    changed = text[:used].copy()
    separators = np.flatnonzero(changed == edge)
    changed[separators[~inside(separators)]] = ord(UNIT)
    changed[newlines[protected & (newlines < used)]] = ord(RECORD)
    stays = np.ones(used, dtype=np.bool_)
    stays[dropped[dropped < used]] = False
    lines = _lines(changed[stays][:-1].tobytes())
    first_lines = line + np.searchsorted(newlines, np.concatenate(([0], ends[:-1] + 1)))
    astray = np.zeros(len(lines), dtype=np.bool_)
    astray[np.searchsorted(ends, starts[wrong & (starts < used)])] = True
    line_ends = int(np.searchsorted(newlines, used))
    return _without_blanks(lines, first_lines.astype(np.int64), UNIT, astray), used, line_ends


_Runs = Int64[np.ndarray, " runs"]
_Flags = Bool[np.ndarray, " runs"]


def _quote_runs(text: UInt8[np.ndarray, " bytes"], edge: int) -> tuple[_Runs, _Runs, _Flags, _Flags]:
    """Runs of adjacent quotes: where each starts, how many, and whether its two sides lie inside a quoted field.

    A run of even length changes nothing. One of odd length opens a field outside, if it stands at a field's start, and
    closes it inside. So after an odd run that is not at a start one is outside, and each one that is toggles.
    """
    quotes = np.flatnonzero(text == _QUOTE)
    begins = np.concatenate(([True], np.diff(quotes) > 1))
    starts = quotes[begins]
    lengths = np.diff(np.append(np.flatnonzero(begins), len(quotes)))
    toggles = (lengths % 2 == 1) & _at_start(text, starts, edge)
    resets = (lengths % 2 == 1) & ~toggles
    count = np.concatenate(([0], np.cumsum(toggles)))
    latest = np.maximum.accumulate(np.where(resets, np.arange(1, len(starts) + 1), 0))
    after = (count[1:] - count[latest]) % 2 == 1
    return starts, lengths, np.concatenate(([False], after[:-1])), after


def _kept_quotes(
    text: UInt8[np.ndarray, " bytes"], edge: int, starts: _Runs, lengths: _Runs, was_inside: _Flags
) -> tuple[_Runs, _Flags]:
    """How many quotes of each run are meant as such, and whether the field goes on where it should have ended."""
    opens = ~was_inside & _at_start(text, starts, edge)
    kept = np.where(was_inside, lengths // 2, np.where(opens, (lengths - 1) // 2, lengths))
    after = text[np.minimum(starts + lengths, len(text) - 1)]
    ends_field = np.isin(after, [edge, _NEWLINE, _RETURN]) | (starts + lengths >= len(text))
    closes = np.where(was_inside, lengths % 2 == 1, opens & (lengths % 2 == 0))
    return kept, closes & ~ends_field


def _at_start(text: UInt8[np.ndarray, " bytes"], places: _Runs, edge: int) -> _Flags:
    before = text[np.maximum(places - 1, 0)]
    at_start: _Flags = (places == 0) | (before == edge) | (before == _NEWLINE)
    return at_start


def _lines(data: bytes) -> pl.Series:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode(errors="replace")  # seen again, as U+FFFD, where a column that counts is concerned
    lines = pl.Series("record", [text], dtype=pl.String).str.split("\n").explode()
    return lines.str.strip_suffix("\r") if "\r" in text else lines


def _without_blanks(
    text: pl.Series, lines: Int64[np.ndarray, " records"], separator: str, astray: Bool[np.ndarray, " records"]
) -> Records:
    has_text = text.str.len_bytes().to_numpy() > 0
    if has_text.all():
        return Records(text, lines, separator, astray)
    return Records(text.filter(pl.Series(has_text)), lines[has_text], separator, astray[has_text])
