"""`landscape surface`: the loss on a line or a plane through one or several checkpoints, into the store."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli.measuring import cost_of, opened
from landscape.cli.running import LARGEST_SEED, emit
from landscape.grid import Grid, parse_axis

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.records import Surface


def surface(
    targets: Annotated[list[str], typer.Argument(help="loader:where, as in samrec:runs/beauty or module:function.")],
    store: Annotated[Path, typer.Option(help="The study's store; made if missing, gone on with if not finished.")],
    x: Annotated[str, typer.Option(help="start:stop:points along the first direction.")] = "-1:1:51",
    y: Annotated[str | None, typer.Option(help="start:stop:points along the second; a line without it.")] = None,
    directions: Annotated[str, typer.Option(help="filter (normalised) or raw.")] = "filter",
    one_dimensional: Annotated[str, typer.Option(help="Biases and gains: zero, random or normalised.")] = "zero",
    untouched: Annotated[str, typer.Option(help="Rows the data never reaches: move or zero.")] = "move",
    metric: Annotated[list[str] | None, typer.Option(help="Measured at each point too, as in ndcg@10.")] = None,
    users: Annotated[int | None, typer.Option(help="Units of data taken; all by default.")] = None,
    loss: Annotated[str | None, typer.Option(help="Loss; the one trained with by default.")] = None,
    split: Annotated[str, typer.Option(help="Split of the data that the loss is taken on.")] = "train",
    data: Annotated[str | None, typer.Option(help="Where the target's data lies now: a name or a file.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of the directions and of what the objective draws.")
    ] = 0,
    direction_seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Of the directions, where it is to differ.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name in the store; CHECKPOINT-1d or -2d by default.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes of one thread each; this process by default.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads for PyTorch in this process.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON only.")] = False,
) -> None:
    """Measure the loss at w + alpha x (+ beta y), coarse to fine; interrupted or killed, the same command goes on.

    Several targets get the same directions' seed, data and grid, so that their surfaces can be compared.

    Example: landscape surface samrec:runs/sasrec samrec:runs/samrec --store study.h5 --x=-1:1:51 --y=-1:1:51
    """
    from landscape.executors.here import make_executor

    grid = Grid(parse_axis(x), None if y is None else parse_axis(y))
    executor = make_executor(workers)
    metrics = tuple(metric or ())
    policy: dict[str, Any] = {"one_dimensional": one_dimensional, "untouched": untouched, "kind": directions}
    policy["seed"] = seed if direction_seed is None else direction_seed
    settings: dict[str, Any] = {"users": users, "loss": loss, "seed": seed, "split": split, "data": data}
    objectives = opened(targets, name=name, threads=threads, device=device, **settings)
    if dry_run:
        costs = [_cost(checkpoint, one, grid, metrics, workers or 1, policy) for checkpoint, _, one in objectives]
        emit(as_json, {"dry_run": costs}, "\n".join(map(_cost_line, costs)))
        return
    from landscape.surface.resume import compute_surface

    surfaces = [
        compute_surface(
            store,
            objective,
            grid=grid,
            name=name or f"{checkpoint}-{len(grid.shape)}d",
            checkpoint_name=checkpoint,
            metrics=metrics,
            executor=executor,
            command=" ".join(["landscape", *sys.argv[1:]]),
            **policy,
        )
        for checkpoint, _, objective in objectives
    ]
    summaries = [_summary(measured) for measured in surfaces]
    emit(as_json, {"store": str(store), "surfaces": summaries}, "\n".join(map(_summary_line, summaries)))


def _cost(
    checkpoint: str, objective: "Objective", grid: Grid, metrics: tuple[str, ...], workers: int, policy: dict[str, Any]
) -> dict[str, Any]:
    """Points, seconds and memory, from one point measured here."""
    from landscape.surface.resume import surface_task

    measure = surface_task(objective, grid, metrics=metrics, **policy).open()
    corner = tuple(axis.stop for axis in (grid.alpha, grid.beta) if axis is not None)
    cost = cost_of(lambda: measure(corner))
    return {
        "checkpoint": checkpoint,
        "points": grid.size,
        "seconds": grid.size * cost["seconds_a_step"] / workers,
        "seconds_a_point": cost["seconds_a_step"],
        "workers": workers,
        "memory_mib": cost["memory_mib"] * (1 if workers == 1 else workers + 1),
    }


def _cost_line(cost: dict[str, Any]) -> str:
    return (
        f"{cost['checkpoint']}: {cost['points']:,} points of {cost['seconds_a_point']:.2g} s, {cost['seconds']:.0f} s "
        f"with {cost['workers']} worker{'s' if cost['workers'] > 1 else ''}, about {cost['memory_mib']:.0f} MiB"
    )


def _summary(measured: "Surface") -> dict[str, Any]:
    import numpy as np

    from landscape.records import Status

    loss = measured.values["loss"]
    done = loss[measured.status == Status.DONE]
    return {
        "name": measured.name,
        "checkpoint": measured.checkpoint,
        "points": int(loss.size),
        "non_finite": int((measured.status == Status.NON_FINITE).sum()),
        "finished": measured.is_finished,
        "lowest": float(np.min(done)) if done.size else None,
        "highest": float(np.max(done)) if done.size else None,
        "cosine": None if measured.y is None else measured.y.cosine,
    }


def _summary_line(summary: dict[str, Any]) -> str:
    spread = "" if summary["lowest"] is None else f", loss {summary['lowest']:.6g} to {summary['highest']:.6g}"
    odd = f", {summary['non_finite']} not finite" if summary["non_finite"] else ""
    return f"{summary['name']}: {summary['points']:,} points{spread}{odd}"
