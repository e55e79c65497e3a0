"""`samrec watch`: a page on this machine that follows the training curves of runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samrec.cli.options import Json

if TYPE_CHECKING:
    from landscape.report.live import Source


def watch(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; they may be in training.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = False,
    as_json: Json = False,
) -> None:
    """Serve the training curves of runs on this machine alone, an epoch more whenever there is one. Ctrl-C ends it.

    Example: samrec watch runs/beauty runs/beauty-sam --open
    """
    from landscape.cli.watch import serve

    serve(run_source(runs), port=port, open_page=open_page, as_json=as_json)


def run_source(folders: list[Path]) -> "Source":
    """Run folders as what a page follows.

    Raises:
        RunError: one of them is no run.
    """
    from landscape.report.contents import training_sections
    from landscape.report.live import Source, version_of
    from landscape.report.parts import Report, Section, SortableTable
    from samrec.experiments.comparison_tables import history_table
    from samrec.experiments.members import Member
    from samrec.training.checkpoint import Run

    for folder in folders:
        Run(folder)

    def report() -> Report:
        runs = [Run(folder) for folder in folders]
        members = [Member(r.path.name, r.config.name, r.config.seed, r, r.record.get("stopped") or "") for r in runs]
        rows = []
        for member in members:
            history = member.run.history()
            latest = history[-1]["validation"] if history else {}
            status = str(member.run.record.get("status"))
            rows.append((member.name, member.method, member.seed, status, len(history), latest.get("NDCG@10")))
        columns = ("run", "method", "seed", "status", "epochs", "latest validation NDCG@10")
        table = Section("Runs", tables=(SortableTable("Runs", columns, tuple(rows)),))
        curves = training_sections([history_table(member) for member in members])
        return Report("Training", None, (table, *curves))

    def version() -> str:
        files = [folder / name for folder in folders for name in ("run.json", "history.jsonl")]
        return version_of(*[file for file in files if file.exists()])

    return Source(version, report)
