"""`landscape merge`: stores computed apart become one."""

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli import options
from landscape.cli.running import emit


def merge(
    stores: Annotated[list[Path], typer.Argument(help="Two or more stores.")],
    out: Annotated[Path, typer.Option("--out", help="The store to write; must not be there yet.")],
    as_json: options.AsJson = False,
) -> None:
    """Put all records of several stores into a new one; what was measured in parts is joined.

    Of one name, checkpoint and objective: points and metrics of a surface, measures of a sharpness report, eigenvalues,
    density, trace and subsets of a spectrum, more probes or draws of one. What contradicts is refused in one line, and
    then nothing is written: other weights, grids, directions, settings or objectives under one name, or two values.

    Example: landscape merge left.h5 right.h5 --out study.h5
    """
    from landscape.merge import merge_stores

    counts = merge_stores(stores, out)
    text = (
        f"{out}: {counts['records']} records from {len(stores)} stores, {counts['shared']} of one name joined, "
        f"{counts['points']:,} points of surfaces taken from a later store"
    )
    emit(as_json, {"store": str(out), **counts}, text)
