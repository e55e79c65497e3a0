"""`landscape ratio-map`: |lambda_min / lambda_max| of the Hessian over a plane, into the store."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli import options
from landscape.cli.measuring import cost_of, opened
from landscape.cli.running import DID_NOT_SETTLE, LARGEST_SEED, command_line, emit
from landscape.grid import Grid, parse_axis

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.records import Surface

USERS = 2048  # as many as fit, where nothing else is asked for


def ratio_map(
    targets: options.Targets,
    store: options.StoreToGoOn,
    x: Annotated[str, typer.Option(help="start:stop:points along the first direction.")] = "-1:1:11",
    y: Annotated[str, typer.Option(help="start:stop:points along the second.")] = "-1:1:11",
    directions: Annotated[str, typer.Option(help="filter (normalised) or raw.")] = "filter",
    tolerance: Annotated[float, typer.Option(help="Accepted residual relative to the eigenvalue.")] = 1e-3,
    max_products: Annotated[
        int, typer.Option(min=1, help="Hessian products at a point, for both ends together.")
    ] = 300,
    users: Annotated[
        int | None, typer.Option(help="Units of data taken; 2,048 by default where the target has so many.")
    ] = None,
    loss: options.Loss = None,
    split: options.Split = "train",
    data: options.Data = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of the directions, the start and what the objective draws.")
    ] = 0,
    name: Annotated[str | None, typer.Option(help="Name in the store; CHECKPOINT-ratio by default.")] = None,
    workers: options.Workers = None,
    threads: options.ThreadsHere = None,
    device: options.Device = "auto",
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Find both ends of the Hessian's spectrum at each point of a plane; interrupted, the same command goes on.

    Draw it with `landscape plot study.h5 --surface NAME --value ratio`. Exit code 3 if a point did not converge: it is
    kept, and named.

    Example: landscape ratio-map samrec:runs/sasrec samrec:runs/samrec --store study.h5
    """
    from landscape.executors.here import make_executor
    from landscape.surface.ratio_map import compute_ratio_map

    grid = Grid(parse_axis(x), parse_axis(y))
    executor = make_executor(workers)
    settings: dict[str, Any] = {"users": users, "loss": loss, "seed": seed, "split": split, "data": data}
    objectives = opened(targets, name=name, threads=threads, device=device, usual_users=USERS, **settings)
    asked: dict[str, Any] = {"kind": directions, "seed": seed}
    if dry_run:
        costs = [_cost(checkpoint, one, grid, asked, tolerance, max_products) for checkpoint, _, one in objectives]
        emit(as_json, {"dry_run": costs}, "\n".join(map(_cost_line, costs)))
        return
    maps = [
        compute_ratio_map(
            store,
            objective,
            grid=grid,
            name=name or f"{checkpoint}-ratio",
            checkpoint_name=checkpoint,
            tolerance=tolerance,
            max_products=max_products,
            solver_seed=seed,
            executor=executor,
            command=command_line(),
            **asked,
        )
        for checkpoint, _, objective in objectives
    ]
    rows = [_summary(measured) for measured in maps]
    settled = not any(row["unconverged"] for row in rows)
    emit(as_json, {"store": str(store), "converged": settled, "maps": rows}, "\n".join(map(_line, rows)))
    if not settled:
        raise typer.Exit(DID_NOT_SETTLE)


def _cost(
    checkpoint: str, objective: "Objective", grid: Grid, asked: dict[str, Any], tolerance: float, max_products: int
) -> dict[str, Any]:
    """Points, seconds and memory, from one point measured here."""
    from landscape.surface.ratio_map import CurvatureTask
    from landscape.surface.resume import surface_task

    measure = CurvatureTask(surface_task(objective, grid, **asked), tolerance, max_products, 0).open()
    assert grid.beta is not None
    corner = (float(grid.alpha.stop), float(grid.beta.stop))
    cost = cost_of(lambda: measure(corner))
    return {"checkpoint": checkpoint, "points": grid.size, "seconds": grid.size * cost["seconds_a_step"], **cost}


def _cost_line(cost: dict[str, Any]) -> str:
    return (
        f"{cost['checkpoint']}: {cost['points']:,} points of about {cost['seconds_a_step']:.2g} s, "
        f"{cost['seconds']:.0f} s in one process, {cost['memory_mib']:.0f} MiB"
    )


def _summary(measured: "Surface") -> dict[str, Any]:
    import numpy as np

    from landscape.records import Status
    from landscape.surface.ratio_map import unconverged

    ratio = measured.values["ratio"][measured.status == Status.DONE]
    return {
        "name": measured.name,
        "checkpoint": measured.checkpoint,
        "points": int(measured.status.size),
        "non_finite": int((measured.status == Status.NON_FINITE).sum()),
        "lowest_ratio": float(np.min(ratio)) if ratio.size else None,
        "highest_ratio": float(np.max(ratio)) if ratio.size else None,
        "products": int(np.nansum(measured.values["products"])),
        "unconverged": unconverged(measured),
    }


def _line(row: dict[str, Any]) -> str:
    spread = "" if row["lowest_ratio"] is None else f", |ratio| {row['lowest_ratio']:.3g} to {row['highest_ratio']:.3g}"
    odd = f", {row['non_finite']} not finite" if row["non_finite"] else ""
    places = ", ".join("(" + ", ".join(f"{c:g}" for c in place) + ")" for place in row["unconverged"])
    unsettled = f"; {len(row['unconverged'])} not converged: {places}" if places else ""
    return f"{row['name']}: {row['points']:,} points, {row['products']:,} products{spread}{odd}{unsettled}"
