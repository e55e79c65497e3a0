"""`samrec compare`: two or more runs side by side, in scores, curvature, sharpness and surfaces."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli.running import DID_NOT_SETTLE, LARGEST_SEED, command_line, emit
from samrec.cli.options import Device, Json, Threads

if TYPE_CHECKING:
    from samrec.experiments.compare import Comparison


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; the first one's method is the baseline.")],
    out: Annotated[Path, typer.Option(help="The study's store; figures and tables go beside it.")],
    surface_points: Annotated[int, typer.Option(help="Points a side of each surface.")] = 21,
    span: Annotated[float, typer.Option(help="Surfaces cover -SPAN to SPAN.")] = 1.0,
    users: Annotated[int, typer.Option(help="Users for curvature and sharpness; the rest takes all.")] = 2048,
    metric: Annotated[list[str] | None, typer.Option(help="Also measure it at each point, such as ndcg@10.")] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="bce, gbce, sampled-softmax or ce; the one all runs were trained with by default, else ce."),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Accepted residual relative to an eigenvalue.")] = 1e-3,
    max_products: Annotated[int, typer.Option(help="Hessian products at most, for each run.")] = 500,
    workers: Annotated[int, typer.Option(help="One-thread processes that measure points.")] = 1,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of users, negatives, directions, starts and noise.")
    ] = 0,
    data: Annotated[str | None, typer.Option(help="Where the runs' data lies now: a name or a file.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Compare runs: test scores with paired tests, both ends of the spectrum, sharpness, and surfaces.

    Beside the store: figures, tables, and a report, one HTML page to read and to send on. Interrupted, the same command
    goes on. Exit code 3 if an eigenvalue did not settle; it is kept, marked so.

    Example: samrec compare runs/beauty runs/beauty-sam --out study.h5
    """
    import torch

    from samrec.errors import ConfigError
    from samrec.experiments.compare import Options, compare_runs, cost_of_comparison

    if out.suffix != ".h5":
        raise ConfigError(f"expected --out to be a store, a file ending in .h5, got {str(out)!r}")
    if threads:
        torch.set_num_threads(threads)
    options = Options(
        surface_points=surface_points,
        span=span,
        users=users,
        metrics=tuple(metric or ()),
        loss=loss,
        tolerance=tolerance,
        max_products=max_products,
        workers=workers,
        seed=seed,
        data=data,
        device=device,
    )
    if dry_run:
        cost = cost_of_comparison(runs, options)
        emit(as_json, cost, "\n".join(f"{name.replace('_', ' ')}: {_told(value)}" for name, value in cost.items()))
        return
    command = command_line("samrec")
    show(compare_runs(runs, out, options, command=command), as_json=as_json)


def show(comparison: "Comparison", *, as_json: bool) -> None:
    """Draw figures, write tables and report, print the tables, and leave with 3 if an eigenvalue did not settle."""
    from landscape.report import write_report
    from landscape.store import Store
    from samrec.experiments.figures import draw_comparison
    from samrec.experiments.table import rich_tables, sections_of, write_markdown

    figures = draw_comparison(comparison.store)
    tables = comparison.store.with_suffix(".md")
    with Store.read(comparison.store) as store:
        sections = sections_of(store)
        found = {name: _rows(store.table("comparisons", name)) for name in ("runs", "scores", "differences")}
        found["curvature"] = [store.eigenpairs(member.name) for member in comparison.members]
        found["sharpness"] = [store.sharpness(member.name) for member in comparison.members]
    write_markdown(tables, sections)
    report = write_report(comparison.store)
    places: dict[str, Any] = {"store": comparison.store, "tables": tables, "report": report, "figures": figures}
    told = {"unsettled": comparison.unsettled, "measured_on": comparison.measured_on.record}
    emit(as_json, {**places, **told, **found}, rich_tables(sections))
    if not as_json:
        print(f"store    {comparison.store}\ntables   {tables}\nfigures  {figures[0].parent}\nreport   {report}")
    if comparison.unsettled:
        print(f"did not settle: {', '.join(comparison.unsettled)}", file=sys.stderr)
        raise typer.Exit(DID_NOT_SETTLE)


def _rows(table: Any) -> list[Any]:
    columns = {name: column.tolist() for name, column in table.columns.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} ({what})" for name, what in value.items())
    if isinstance(value, str):
        return value
    return f"{value:,.3g}" if isinstance(value, float) else f"{value:,}"
