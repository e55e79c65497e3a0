"""A raw log becomes a data set: k-core, order, ids, and the files that every other command reads.

    NAME.txt                     S3-Rec text
    NAME_items.parquet           id -> own id (see id_map)
    NAME_users.parquet           the same of users
    NAME_times.parquet           when each interaction happened (see times_file)
    NAME_item2attributes.json    where metadata were given; NAME_attributes.json names the attributes
    NAME.json                    source and its hash, options, counts, what was left out and why

Rules, in this order: rows outside the dates or rated too low go; of repeats of a (user, item) all stay, or the earliest
by (time, file order); k-core; users and items get ids from 1 in the order in which the file first mentions them, among
the rows that are left; rows are ordered by (user, time, file order).
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Int32, Int64, Integer

from samrec.data.asides import written_together
from samrec.data.id_map import id_map_path, write_id_map
from samrec.data.interactions import SHORTEST
from samrec.data.item_attributes import Named, read_item_attributes
from samrec.data.kcore import by_first_appearance, k_core
from samrec.data.raw_logs.layout import Layout, find_layout
from samrec.data.raw_logs.read import RawLog, read_log
from samrec.data.s3rec_text import attributes_path
from samrec.data.times_file import times_path, write_times
from samrec.errors import ConfigError, DataError

Duplicates = Literal["keep", "first"]
FORMAT = "samrec data 1"
_AT_ONCE = 1 << 20  # interactions turned into text at once


@dataclass(frozen=True, slots=True)
class Choices:
    """What is made of a log; the layout says how it is read."""

    k: int = 5
    duplicates: Duplicates = "keep"
    unit: str = "seconds"  # of times that are numbers
    since: int | None = None  # microseconds since 1970 UTC; this moment is in
    until: int | None = None  # this moment is out
    min_rating: float | None = None
    min_attribute_count: int = 1
    strict: bool = False


@dataclass(frozen=True, eq=False)
class Prepared:
    """The rows that are left, ordered by (user, time, file order), and the account of how they were chosen."""

    users: Int64[np.ndarray, " interactions"]  # ids from 1, ascending
    items: Int32[np.ndarray, " interactions"]
    times: Int64[np.ndarray, " interactions"]
    user_names: pl.Series  # own id of user 1, 2, ...
    item_names: pl.Series
    counts: dict[str, int]
    malformed: dict[str, Any] = field(default_factory=dict)


def prepare_data(
    raw: Path,
    out: Path,
    name: str,
    *,
    layout: Layout | None = None,
    choices: Choices | None = None,
    metadata: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    advance: Callable[[int], object] = lambda _: None,
) -> dict[str, Any]:
    """Read a log, reduce it, and write the data set NAME into the folder `out`.

    Args:
        raw: the log.
        out: a folder; made if it is not there.
        name: of the data set.
        layout: how the log is read; found out by default.
        choices: what is made of it.
        metadata: of the items, for attributes.
        overwrite: take the place of a data set of that name.
        dry_run: do everything but write.
        advance: told how many bytes were read, of the log and the metadata.

    Returns:
        What NAME.json holds.

    Raises:
        DataError: the log or metadata cannot be used, nothing is left, or files cannot be written. Nothing is written.
        ConfigError: an option outside what it may be.
    """
    choices = choices or Choices()
    text = out / f"{name}.txt"
    if not name or Path(name).name != name or name.startswith("."):
        raise ConfigError(f"expected a plain name for the data set, got {name!r}")
    if not dry_run and not overwrite and (text.exists() or text.with_suffix(".json").exists()):
        raise DataError(f"there is a data set {name} in {out} already; --overwrite takes its place")
    layout = layout or find_layout(raw, needs_rating=choices.min_rating is not None)
    log = read_log(
        raw,
        layout,
        unit=choices.unit,
        since=choices.since,
        until=choices.until,
        min_rating=choices.min_rating,
        strict=choices.strict,
        advance=advance,
    )
    prepared = reduce_log(log, k=choices.k, duplicates=choices.duplicates)
    del log
    named = None
    if metadata is not None:
        own = prepared.item_names.to_list()
        named = read_item_attributes(metadata, own, min_count=choices.min_attribute_count, advance=advance)
    record = _record(raw, name, layout, choices, prepared, metadata, named)
    if not dry_run:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{out}: cannot be made: {error.strerror}") from None
        _write(text, prepared, named, record)
    return record


def reduce_log(log: RawLog, *, k: int = 5, duplicates: Duplicates = "keep") -> Prepared:
    """Repeats, k-core, ids and order; DataError if nothing is left."""
    users, items, times = log.users, log.items, log.times
    repeats = 0
    if duplicates == "first":
        rows = _first_of_each(users, items, times)
        repeats = len(users) - len(rows)
        users, items, times = users[rows], items[rows], times[rows]
    before = len(users)
    core = k_core(users, items, k)
    if not len(core.rows):
        raise DataError(f"the {k}-core of {before:,} interactions is empty: no group of users and items has {k} each")
    users, items, times = users[core.rows], items[core.rows], times[core.rows]
    user_ids, user_codes = by_first_appearance(users)
    item_ids, item_codes = by_first_appearance(items)
    order = np.lexsort((times, user_ids))  # stable: the file's order where times are equal
    lengths = np.bincount(user_ids)[1:]
    if int(lengths.max()) < SHORTEST:
        raise DataError(f"no user has {SHORTEST} interactions, which training and evaluation need; the log is too thin")
    return Prepared(
        users=user_ids[order],
        items=item_ids[order].astype(np.int32),
        times=times[order],
        user_names=log.user_names.gather(user_codes),
        item_names=log.item_names.gather(item_codes),
        counts={
            "rows": log.rows,
            "malformed": sum(log.malformed.values()),
            "outside_dates": log.outside,
            "rated_too_low": log.low,
            "repeats_dropped": repeats,
            "below_k": before - len(core.rows),
            "rounds": core.rounds,
            "users_in_log": len(log.user_names),
            "items_in_log": len(log.item_names),
            "users": len(user_codes),
            "items": len(item_codes),
            "interactions": len(core.rows),
            "users_too_short": int((lengths < SHORTEST).sum()),
        },
        malformed={"by_problem": log.malformed, "first": [asdict(example) for example in log.examples]},
    )


def _first_of_each(
    users: Integer[np.ndarray, " rows"], items: Integer[np.ndarray, " rows"], times: Int64[np.ndarray, " rows"]
) -> Int64[np.ndarray, " kept"]:
    pair = users.astype(np.int64) * (int(items.max()) + 1) + items
    order = np.lexsort((times, pair))
    is_first = np.concatenate(([True], np.diff(pair[order]) != 0))
    return np.sort(order[is_first])


def _record(
    raw: Path,
    name: str,
    layout: Layout,
    choices: Choices,
    prepared: Prepared,
    metadata: Path | None,
    named: Named | None,
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "format": FORMAT,
        "name": name,
        "source": {**_source(raw), "layout": asdict(layout)},
        "choices": asdict(choices),
        "counts": prepared.counts,
        "malformed": prepared.malformed,
        "order": "user, time, file order; ids from 1 by first appearance in the file among the rows that are left",
        "first_time": _iso(prepared.times.min()),
        "last_time": _iso(prepared.times.max()),
        "versions": {package: importlib.metadata.version(package) for package in ("samrec", "numpy", "polars")},
    }
    if metadata is not None and named is not None:
        record["metadata"] = {
            **_source(metadata),
            "attributes": named.attributes.count,
            "items_described": named.described,
            "too_rare": named.rare,
            "malformed": named.malformed,
            "first_malformed": named.example,
        }
    return record


def _source(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {
            "file": path.name,
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def _iso(microseconds: np.int64) -> str:
    return str(np.datetime64(int(microseconds), "us"))


def _write(text: Path, prepared: Prepared, named: Named | None, record: dict[str, Any]) -> None:
    paths = [
        id_map_path(text, "items"),
        id_map_path(text, "users"),
        times_path(text),
        attributes_path(text),
        text.with_name(f"{text.stem}_attributes.json"),
        text.with_suffix(".json"),
        text,
    ]
    with written_together(paths) as (items, users, times, attributes, attribute_names, account, sequences):
        write_id_map(prepared.item_names, items)
        write_id_map(prepared.user_names, users)
        write_times(times, prepared.users, prepared.items, prepared.times)
        if named is not None:
            known = named.attributes
            table = {str(item): known.of(item).tolist() for item in range(1, len(prepared.item_names) + 1)}
            attributes.write_text(json.dumps({item: own for item, own in table.items() if own}) + "\n")
            attribute_names.write_text(json.dumps(dict(enumerate(named.names, start=1)), ensure_ascii=False, indent=1))
        account.write_text(json.dumps(record, indent=2) + "\n")
        with sequences.open("wb") as file:
            for lines in _text(prepared.users, prepared.items):
                file.write(lines)
        if named is None:  # nothing of a data set that was there before may stay and speak for this one
            attributes_path(text).unlink(missing_ok=True)
            text.with_name(f"{text.stem}_attributes.json").unlink(missing_ok=True)


def _text(users: Int64[np.ndarray, " interactions"], items: Int32[np.ndarray, " interactions"]) -> Any:
    """The S3-Rec text, some users at a time."""
    starts = np.flatnonzero(np.diff(users, prepend=0))
    cuts = starts[np.unique(np.searchsorted(starts, np.arange(0, len(users), _AT_ONCE)).clip(max=len(starts) - 1))]
    for start, stop in zip(cuts, [*cuts[1:], len(users)], strict=True):
        block = pl.DataFrame({"user": users[start:stop], "item": items[start:stop]})
        lines = block.group_by("user", maintain_order=True).agg(pl.col("item").cast(pl.String).str.join(" "))
        joined = lines.select(
            pl.concat_str(pl.col("user").cast(pl.String), pl.col("item"), separator=" ").str.join("\n")
        )
        yield joined.item().encode() + b"\n"
