"""`samrec data prepare`: a raw log of interactions becomes a data set."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from samrec.cli.options import Json


class LogFormat(StrEnum):
    """Formats of raw logs."""

    csv = "csv"
    tsv = "tsv"
    parquet = "parquet"
    jsonl = "jsonl"
    amazon = "amazon"
    yelp = "yelp"
    movielens = "movielens"


class TimeUnit(StrEnum):
    """Units of times that are numbers."""

    seconds = "seconds"
    milliseconds = "milliseconds"
    microseconds = "microseconds"
    nanoseconds = "nanoseconds"


class Repeats(StrEnum):
    """What becomes of repeats of a (user, item)."""

    keep = "keep"
    first = "first"


def prepare(
    raw: Annotated[Path, typer.Argument(help="The log; text may be gzipped.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The folder for the data set.")],
    name: Annotated[str, typer.Option(help="The data set's name.")],
    format: Annotated[  # noqa: A002
        LogFormat | None, typer.Option(help="By default told by the file's name and first line.")
    ] = None,
    user_column: Annotated[str | None, typer.Option(help="A column, JSON key, or number from 1.")] = None,
    item_column: Annotated[str | None, typer.Option(help="The same for items.")] = None,
    time_column: Annotated[str | None, typer.Option(help="The same for times.")] = None,
    rating_column: Annotated[str | None, typer.Option(help="The same for ratings.")] = None,
    separator: Annotated[str | None, typer.Option(help="Between columns; \\t is a tab.")] = None,
    header: Annotated[bool | None, typer.Option("--header/--no-header", help="Does a line name the columns?")] = None,
    quotes: Annotated[bool | None, typer.Option("--quotes/--no-quotes", help="May fields be quoted?")] = None,
    time_unit: Annotated[TimeUnit, typer.Option(help="Of times that are numbers.")] = TimeUnit.seconds,
    since: Annotated[str | None, typer.Option(help="A date such as 2019-01-01: earlier rows are left out.")] = None,
    until: Annotated[str | None, typer.Option(help="A date, itself included: later rows are left out.")] = None,
    min_rating: Annotated[float | None, typer.Option(help="Rows rated lower are left out.")] = None,
    k: Annotated[int, typer.Option(min=1, help="Users and items with fewer interactions go, until none is left.")] = 5,
    duplicates: Annotated[Repeats, typer.Option(help="Repeats of a (user, item): keep, or the first.")] = Repeats.keep,
    metadata: Annotated[Path | None, typer.Option(help="Of the items: their categories, brands or genres.")] = None,
    min_attribute_count: Annotated[int, typer.Option(min=1, help="Attributes of fewer items are left out.")] = 1,
    strict: Annotated[bool, typer.Option("--strict", help="A malformed row is an error.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Take the place of a data set of that name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but write.")] = False,
    as_json: Json = False,
) -> None:
    """Read a log of (user, item, time), keep its k-core, and write it with id maps and times.

    Reads CSV, TSV, Parquet, JSON lines, Amazon reviews, Yelp reviews and MovieLens ratings. Rows that cannot be used
    are counted and the first ones named.

    Example: samrec data prepare reviews_Beauty.json.gz --out data --name Beauty --metadata meta_Beauty.json.gz
    """
    from landscape.cli.running import emit
    from landscape.progress import progress
    from samrec.data.moments import moment
    from samrec.data.prepare import Choices, prepare_data
    from samrec.data.raw_logs.layout import find_layout
    from samrec.errors import DataError

    for path in [raw, *([metadata] if metadata else [])]:
        if not path.is_file():
            found = f"{path} is a folder" if path.is_dir() else f"there is no file {path}"
            raise DataError(f"{found}; expected a raw log or metadata")
    layout = find_layout(
        raw,
        format=format,
        user_column=user_column,
        item_column=item_column,
        time_column=time_column,
        rating_column=rating_column,
        needs_rating=min_rating is not None,
        separator=separator,
        header=header,
        quotes=quotes,
    )
    choices = Choices(
        k=k,
        duplicates=duplicates.value,
        unit=time_unit.value,
        since=None if since is None else moment(since),
        until=None if until is None else moment(until, ends=True),
        min_rating=min_rating,
        min_attribute_count=min_attribute_count,
        strict=strict,
    )
    total = raw.stat().st_size + (metadata.stat().st_size if metadata else 0)
    with progress(f"reading {raw.name}", total=total >> 20) as bar:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            bar((done + count >> 20) - (done >> 20))
            done += count

        record = prepare_data(
            raw,
            out,
            name,
            layout=layout,
            choices=choices,
            metadata=metadata,
            overwrite=overwrite,
            dry_run=dry_run,
            advance=advance,
        )
    emit(as_json, {"written": None if dry_run else str(out / f"{name}.txt"), **record}, _told(record, out, dry_run))


def _told(record: dict[str, Any], out: Path, dry_run: bool) -> str:
    counts, malformed = record["counts"], record["malformed"]
    lines = [f"{counts['rows']:,} rows of {record['source']['file']}, read as {record['source']['layout']['format']}"]
    for key, what in {
        "outside_dates": "outside the dates asked for",
        "rated_too_low": "rated too low",
        "repeats_dropped": "repeats of a (user, item)",
        "below_k": f"below the {record['choices']['k']}-core ({counts['rounds']} rounds)",
    }.items():
        if counts[key]:
            lines.append(f"  {counts[key]:>12,}  left out, {what}")
    lines += [f"  {count:>12,}  malformed: {problem}" for problem, count in malformed["by_problem"].items()]
    lines += [
        f"                {one['place']} {one['line']}: {one['problem']}: {one['record']!r}"
        for one in malformed["first"]
    ]
    lines.append(
        f"  {counts['interactions']:>12,}  left: {counts['users']:,} users, {counts['items']:,} items, "
        f"{record['first_time'][:10]} to {record['last_time'][:10]}"
    )
    if counts["users_too_short"]:
        lines.append(f"  {counts['users_too_short']:>12,}  users have fewer than 3 and will be dropped in training")
    if "metadata" in record:
        told = record["metadata"]
        lines.append(
            f"{told['attributes']:,} attributes of {told['items_described']:,} items ({told['too_rare']:,} too rare; "
            f"{told['malformed']:,} malformed lines{'; ' + told['first_malformed'] if told['malformed'] else ''})"
        )
    lines.append("nothing written (--dry-run)" if dry_run else f"-> {out / record['name']}.txt")
    return "\n".join(lines)
