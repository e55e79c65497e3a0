"""`samrec relate`: the runs of several studies together, every measure of sharpness held against generalisation."""

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.running import DID_NOT_SETTLE, LARGEST_SEED, emit
from samrec.cli.options import Json


def relate(
    studies: Annotated[list[Path], typer.Argument(help="Folders of studies with measurements, of one data set.")],
    out: Annotated[Path, typer.Option(help="A folder for tables, figures and the store that they are drawn from.")],
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="A run that shall not count, as STUDY/RUN, such as a near copy of another; again for more."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of redrawn runs, for the intervals.")] = 0,
    figures: Annotated[bool, typer.Option(help="Draw the figures.")] = True,
    as_json: Json = False,
) -> None:
    """Order the runs of several studies by each measure, and by test NDCG@10 and the generalisation gap.

    Kendall's tau with its interval over all pairs of runs, and over those alone whose best epochs differ by at most a
    tenth, as longer training may order runs too. Runs of equal weights count once; those that were measured on another
    loss or other users are named and left out. Records of samrec sweep --export will do. Exit code 3 if an eigenvalue
    of a run that counts did not settle.

    Example: samrec relate studies/rho studies/sam-family --out studies/related
    """
    from samrec.experiments.pooled import pooled
    from samrec.experiments.pooled_files import write_pooled
    from samrec.experiments.table import rich_tables

    found = pooled(studies, leave_out=leave_out or ())
    section, table, files = write_pooled(found, out, seed=seed, figures=figures)
    payload = {
        "studies": found.studies,
        "runs": [one.name for one in found.runs],
        "left_out": found.left_out,
        "unsettled": found.unsettled,
        "relations": list(table.rows()),
        "notes": section.notes,
        "files": files,
    }
    emit(as_json, payload, rich_tables([section]))
    if not as_json:
        print(f"folder   {out}")
    if found.unsettled:
        raise typer.Exit(DID_NOT_SETTLE)
