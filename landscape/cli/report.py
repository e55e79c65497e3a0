"""`landscape report`: a study as one HTML page to read, turn and send on."""

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli import options
from landscape.cli.running import emit


def report(
    store: Annotated[Path, typer.Argument(help="The store to report on; a writer may be at work on it.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write, .html; beside the store by default.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading; the store's file name by default.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Group of checkpoints, or one of them, that the verdict compares the others with. By default that of "
            "`samrec compare`'s first run, else the plainest (most of what differs is off), else the first measured."
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write one self-contained HTML page: interactive surfaces, tables that sort, the verdict in words.

    It needs no network and can be printed. A half-finished store gives a half-finished report that says so.

    Example: landscape report study.h5 --out study.html
    """
    from landscape.report import write_report

    page = write_report(store, out, title=title, baseline=baseline)
    emit(as_json, {"report": page, "bytes": page.stat().st_size}, f"report in {page}")
