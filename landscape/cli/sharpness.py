"""`landscape sharpness`: how much the loss rises around one or several checkpoints, into the store."""

import dataclasses
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli.measuring import cost_of, numbers, opened
from landscape.cli.running import LARGEST_SEED, emit

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.records import Checkpoint, Eigenpairs, SharpnessMeasure, SharpnessReport


def sharpness(
    targets: Annotated[list[str], typer.Argument(help="loader:where, as in samrec:runs/beauty or module:function.")],
    store: Annotated[Path, typer.Option(help="The study's store; made if missing.")],
    rho: Annotated[str, typer.Option(help="Lengths of SAM's step.")] = "0.01,0.1,1",
    relative_rho: Annotated[str, typer.Option(help="The same in coordinates relative to |w|.")] = "0.1,0.5,2",
    sigma: Annotated[str, typer.Option(help="Standard deviations of Gaussian noise.")] = "0.005,0.01",
    relative_sigma: Annotated[str, typer.Option(help="The same relative to |w|.")] = "0.05,0.1",
    pairs: Annotated[int, typer.Option(help="Antithetic pairs of noise for each sigma.")] = 20,
    users: Annotated[int | None, typer.Option(help="Units of data taken; all by default.")] = None,
    loss: Annotated[str | None, typer.Option(help="Loss; the one trained with by default.")] = None,
    split: Annotated[str, typer.Option(help="Split of the data that the loss is taken on.")] = "train",
    data: Annotated[str | None, typer.Option(help="Where the target's data lies now: a name or a file.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of the noise and of what the objective draws.")
    ] = 0,
    name: Annotated[str | None, typer.Option(help="Name in the store; the checkpoint's by default.")] = None,
    replace: Annotated[bool, typer.Option(help="Replace the record of this name, whatever it is of.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads for PyTorch.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
) -> None:
    """Measure SAM sharpness and average-case sharpness, each also in scale-invariant coordinates.

    With eigenvalues of the same checkpoint and objective in the store, lambda_max ||w||^2 is added. --replace takes the
    place of this name's record alone; nothing else in the store is touched.

    Example: landscape sharpness samrec:runs/sasrec samrec:runs/samrec --store study.h5 --rho .05,.1,.2
    """
    steps = {"rhos": numbers(rho, "--rho"), "relative_rhos": numbers(relative_rho, "--relative-rho")}
    noise = {"sigmas": numbers(sigma, "--sigma"), "relative_sigmas": numbers(relative_sigma, "--relative-sigma")}
    settings: dict[str, Any] = {"users": users, "loss": loss, "seed": seed, "split": split, "data": data}
    objectives = opened(targets, name=name, threads=threads, device=device, **settings)
    if dry_run:
        _say_cost(objectives, sum(map(len, steps.values())) + 2 * pairs * sum(map(len, noise.values())), as_json)
        return
    from landscape.describe import checkpoint_record, provenance
    from landscape.objective import check_frozen
    from landscape.sharpness.summary import sharpness_report
    from landscape.store import Store

    reports: list[SharpnessReport] = []
    for checkpoint, record, objective in objectives:
        centre, described = check_frozen(objective), checkpoint_record(objective, checkpoint)
        with Store.write(store) as writer:
            writer.check_origin("sharpness", record, described, provenance(objective), replace=replace)
            report = sharpness_report(
                objective,
                name=record,
                checkpoint=checkpoint,
                **steps,
                **noise,
                pairs=pairs,
                seed=seed,
                eigenpairs=_matching(writer, record, described, objective),
                centre=centre,
                command=" ".join(["landscape", *sys.argv[1:]]),
            )
            writer.add_checkpoint(described, replacing=[("sharpness", record)] if replace else ())
            writer.add_sharpness(report, replace=replace)
        reports.append(report)
    payload = {
        "store": str(store),
        "sharpness": [
            {
                "name": report.name,
                "checkpoint": report.checkpoint,
                "measures": [dataclasses.asdict(measure) for measure in report.measures],
            }
            for report in reports
        ],
    }
    emit(as_json, payload, _table(reports))


def _matching(store: Any, name: str, checkpoint: "Checkpoint", objective: "Objective") -> "Eigenpairs | None":
    """Eigenpairs the store holds of the same weights and the same objective."""
    from landscape.describe import provenance
    from landscape.store_refusals import same_objective

    if name not in store.names("curvature") or checkpoint.name not in store.names("checkpoints"):
        return None
    pairs: Eigenpairs = store.eigenpairs(name)
    same = pairs.checkpoint == checkpoint.name and store.checkpoint(checkpoint.name).hash == checkpoint.hash
    same = same and pairs.settings.get("block") is None
    return pairs if same and same_objective(pairs.provenance, provenance(objective)) else None


def _say_cost(objectives: Any, losses: int, as_json: bool) -> None:
    from landscape.objective import loss_at

    rows = []
    for checkpoint, _, objective in objectives:
        cost = cost_of(partial(loss_at, objective, objective.weights))
        seconds = (losses + 10) * cost["seconds_a_step"]  # two gradients, about four losses each, and the centres
        rows.append({"checkpoint": checkpoint, "losses": losses, "gradients": 2, "seconds": seconds, **cost})
    lines = [
        f"{row['checkpoint']}: {losses} losses and 2 gradients, about {row['seconds']:.0f} s, "
        f"{row['memory_mib']:.0f} MiB"
        for row in rows
    ]
    emit(as_json, {"dry_run": rows}, "\n".join(lines))


def _table(reports: "list[SharpnessReport]") -> Any:
    from rich.table import Table

    table = Table("checkpoint", "measure", "setting", "value", "standard error", "note")
    for report in reports:
        for measure in report.measures:
            error = "-" if measure.standard_error is None else f"{measure.standard_error:.1e}"
            table.add_row(report.name, measure.measure, _setting(measure), f"{measure.value:.6g}", error, measure.note)
    return table


def _setting(measure: "SharpnessMeasure") -> str:
    shown = {key: value for key, value in measure.setting.items() if key not in ("pairs", "seed")}
    return ", ".join(str(value) if key == "scale" else f"{key} {value:g}" for key, value in shown.items())
