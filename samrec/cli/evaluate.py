"""`samrec evaluate`: full-ranking scores of a run, printed and kept in its folder."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from samrec.evaluation.evaluate import Evaluation


class Split(StrEnum):
    """Which item of every sequence is the target."""

    test = "test"
    validation = "validation"


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder, as samrec train or samrec import make it.")],
    split: Annotated[Split, typer.Option(help="The last item of every sequence, or the one before.")] = Split.test,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Rank items of the user's history too, instead of masking them.")
    ] = False,
    data: Annotated[str | None, typer.Option(help="Where the run's data lies now: a name or a file.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where to look for a data name first.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
) -> None:
    """Rank every user's target against all items: HR@k, NDCG@k and MRR with standard errors.

    Example: samrec evaluate runs/beauty --json
    """
    from landscape.cli.running import emit
    from samrec.evaluation.evaluate import evaluate_run
    from samrec.training.checkpoint import Run

    folder = Run(run)
    result = evaluate_run(folder, split.value, keep_seen=keep_seen, interactions=folder.data(data, data_dir=data_dir))
    emit(json, result.summary(), _table(result))


def _table(result: "Evaluation") -> "Group":
    from rich.console import Group
    from rich.table import Table

    from samrec.evaluation.protocol import seen_rule

    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("standard error", justify="right")
    for name, value in result.metrics.items():
        table.add_row(name, f"{value:.4f}", f"{result.standard_errors[name]:.4f}")
    unreachable = " and cannot be hit" if result.targets_seen and not result.keep_seen else ""
    return Group(
        f"{result.run}: {result.split}, {len(result.users):,} users, seen items {seen_rule(result.keep_seen)}",
        table,
        f"{result.targets_seen:.1%} of the targets were already seen{unreachable}; protocol {result.protocol[:12]}",
    )
