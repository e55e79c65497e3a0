"""`landscape sharpness`: how much the loss rises around one or several checkpoints, into the store."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli import options
from landscape.cli.measuring import cost_of, numbers, opened
from landscape.cli.running import DID_NOT_SETTLE, LARGEST_SEED, emit

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.sharpness.plan import Step


def sharpness(
    targets: Annotated[list[str], typer.Argument(help="loader:where, as in samrec:runs/beauty or module:function.")],
    store: Annotated[Path, typer.Option(help="The study's store; made if missing.")],
    measures: Annotated[
        str,
        typer.Option(
            help="all, or some of sam, average-case, worst-case, m-sharpness, keskar, pac-bayes, lpf, fisher-rao, "
            "relative-flatness, ranking, llc."
        ),
    ] = "sam,average-case",
    block: Annotated[
        list[str] | None,
        typer.Option(
            help="Move these weights alone: a block of the layout, rows:head, a pattern of names; again for more, "
            "'whole' for all of them."
        ),
    ] = None,
    rho: Annotated[str, typer.Option(help="Lengths of SAM's step and radii of the worst case.")] = "0.01,0.1,1",
    relative_rho: Annotated[str, typer.Option(help="The same in coordinates relative to |w|.")] = "0.1,0.5,2",
    box_rho: Annotated[str, typer.Option(help="Radii of the worst case in the maximum norm.")] = "0.001",
    relative_box_rho: Annotated[str, typer.Option(help="The same relative to |w|.")] = "0.01",
    sigma: Annotated[str, typer.Option(help="Standard deviations of Gaussian noise.")] = "0.005,0.01",
    relative_sigma: Annotated[str, typer.Option(help="The same relative to |w|.")] = "0.05,0.1",
    pairs: Annotated[int, typer.Option(help="Antithetic pairs of noise for each sigma.")] = 20,
    steps: Annotated[int, typer.Option(min=1, help="Gradients of one ascent to the worst case.")] = 20,
    restarts: Annotated[int, typer.Option(min=1, help="Starts of that ascent.")] = 2,
    m: Annotated[int, typer.Option(min=1, help="Units of a batch of m-sharpness.")] = 256,
    tau: Annotated[float, typer.Option(help="Rise of the loss that PAC-Bayes flatness allows.")] = 0.1,
    table: Annotated[str | None, typer.Option(help="Tensor of relative flatness; the largest by default.")] = None,
    metrics: Annotated[str, typer.Option(help="Metrics of ranking sharpness.")] = "ndcg@10,hr@10",
    chains: Annotated[int, typer.Option(min=2, help="Chains of the LLC.")] = 4,
    draws: Annotated[int, typer.Option(min=2, help="Draws of each chain, after as many of burn-in.")] = 100,
    llc_epsilon: Annotated[float, typer.Option(help="Step of the LLC's chains.")] = 1e-4,
    llc_gamma: Annotated[
        float, typer.Option(help="How strongly the chains are held; they forget their start in 2 / (step gamma) draws.")
    ] = 1000.0,
    users: options.Users = None,
    loss: options.Loss = None,
    split: Annotated[
        str, typer.Option(help="Splits of the data that the loss is taken on, such as train,validation.")
    ] = "train",
    data: options.Data = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of the noise and of what the objective draws.")
    ] = 0,
    name: Annotated[
        str | None, typer.Option(help="Name in the store; the checkpoint's by default. Other splits add theirs.")
    ] = None,
    replace: options.Replace = False,
    threads: options.Threads = None,
    device: options.Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what each measure would cost, and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure sharpness, each raw value beside a scale-invariant one, with errors, "lower bound" and cost.

    What the store holds already with the same settings is not measured again; an interrupted call goes on. With
    eigenvalues of the same checkpoint and objective in the store, lambda_max ||w||^2 and lambda_1 / lambda_5 are added.
    --replace takes the place of this name's record alone; nothing else in the store is touched. Exit code 3 where
    chains of the LLC did not settle: the value is kept and says so.

    Example: landscape sharpness samrec:runs/sasrec samrec:runs/samrec --store study.h5 --measures all --users 2048
    """
    from landscape.errors import InvalidArgument
    from landscape.sharpness.names import is_unsettled
    from landscape.sharpness.plan import WHOLE, SharpnessSettings, plan
    from landscape.sharpness.resume import compute_sharpness, without_ranking

    splits = [part.strip() for part in split.split(",") if part.strip()]
    if not splits or len(set(splits)) != len(splits):
        raise InvalidArgument(f"expected different splits separated by commas, got {split!r}")
    settings = SharpnessSettings(
        rhos=numbers(rho, "--rho"),
        relative_rhos=numbers(relative_rho, "--relative-rho"),
        box_rhos=numbers(box_rho, "--box-rho"),
        relative_box_rhos=numbers(relative_box_rho, "--relative-box-rho"),
        sigmas=numbers(sigma, "--sigma"),
        relative_sigmas=numbers(relative_sigma, "--relative-sigma"),
        pairs=pairs,
        steps=steps,
        restarts=restarts,
        m=m,
        tau=tau,
        table=table,
        metrics=tuple(part.strip() for part in metrics.split(",") if part.strip()),
        chains=chains,
        draws=draws,
        burn_in=draws,
        llc_epsilon=llc_epsilon,
        gamma=llc_gamma,
        seed=seed,
    )
    wanted = [part.strip() for part in measures.split(",") if part.strip()]
    blocks = [None if one == WHOLE else one for one in dict.fromkeys(block or [WHOLE])]
    planned = plan(wanted, settings, blocks=blocks)
    shared: dict[str, Any] = {"users": users, "loss": loss, "seed": seed, "data": data}
    objectives = (
        (checkpoint, record if part == "train" else f"{record}-{part}", objective)
        for part in splits
        for checkpoint, record, objective in opened(
            targets, name=name, threads=threads, device=device, split=part, **shared
        )
    )
    if dry_run:
        _say_cost(objectives, planned, settings.metrics, store, as_json)
        return
    reports, restless = [], False
    for checkpoint, record, objective in objectives:
        possible = without_ranking(objective, planned) if "all" in wanted else planned
        place: Any = {"name": record, "checkpoint_name": checkpoint, "replace": replace}
        command = " ".join(["landscape", *sys.argv[1:]])
        reports.append(compute_sharpness(store, objective, possible, **place, command=command))
        asked = {name for step in possible for name, _ in step.expected}
        restless |= any(is_unsettled(measure) for measure in reports[-1].measures if measure.measure in asked)
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
    from landscape.cli.sharpness_table import tables

    emit(as_json, payload, None if as_json else tables(reports))
    if restless:
        raise typer.Exit(DID_NOT_SETTLE)


def _say_cost(
    objectives: "Iterator[tuple[str, str, Objective]]",
    steps: "Sequence[Step]",
    metrics: Sequence[str],
    path: Path,
    as_json: bool,
) -> None:
    """For each objective and family of measures what is left to be done, priced by one loss, gradient and ranking."""
    from landscape.objective import gradient_at, loss_at
    from landscape.sharpness.resume import held_measures, without_ranking

    listed, lines = [], []
    for checkpoint, record, objective in objectives:
        held = held_measures(path, objective, name=record, checkpoint_name=checkpoint)
        left = [step for step in without_ranking(objective, steps) if not step.is_held(held)]
        cost = cost_of(partial(loss_at, objective, objective.weights))
        gradient = cost_of(partial(gradient_at, objective, objective.weights))
        ranking = 0.0
        if any(step.rankings for step in left):
            ranking = cost_of(partial(objective.metrics, objective.weights, metrics))["seconds_a_step"]
        rows = []
        for family in dict.fromkeys(step.family for step in left):
            own = [step for step in left if step.family == family]
            row = {
                key: round(sum(getattr(step, key) for step in own))
                for key in ("losses", "gradients", "products", "rankings")
            }
            seconds = row["losses"] * cost["seconds_a_step"]
            seconds += (row["gradients"] + 3 * row["products"]) * gradient["seconds_a_step"] + row["rankings"] * ranking
            rows.append({"measure": family, **row, "seconds": seconds})
        total = {key: sum(row[key] for row in rows) for key in ("losses", "gradients", "products", "seconds")}
        step = {"seconds_a_gradient": gradient["seconds_a_step"], "memory_mib": gradient["memory_mib"]}
        listed.append({"checkpoint": checkpoint, "name": record, **total, **cost, **step, "measures": rows})
        lines.append(f"{record}: about {total['seconds']:.0f} s, {gradient['memory_mib']:.0f} MiB")
        lines += [
            f"  {row['measure']}: "
            + ", ".join(f"{row[key]} {key}" for key in ("losses", "gradients", "products", "rankings") if row[key])
            + f", about {row['seconds']:.0f} s"
            for row in rows
        ]
        if len(left) < len(steps):
            lines.append(f"  {len(steps) - len(left)} of {len(steps)} steps are in the store already")
    emit(as_json, {"dry_run": listed}, "\n".join(lines))
