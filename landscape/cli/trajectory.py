"""`landscape trajectory`: a training's path in its principal plane, and the loss on that plane, into the store."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli import options
from landscape.cli.measuring import cost_of, name_of, opened
from landscape.cli.planes import PLANE_POINTS, Wanted, bounds_of_path, stored_trajectory
from landscape.cli.running import LARGEST_SEED, command_line, emit

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.records import Trajectory


def trajectory(
    targets: Annotated[
        list[str],
        typer.Argument(
            help="A run that kept epochs, as in samrec:runs/beauty; or checkpoints in order, the origin last."
        ),
    ],
    store: options.StoreToGoOn,
    x: Annotated[
        str | None, typer.Option(help="start:stop:points along the first; all of the path by default.")
    ] = None,
    y: Annotated[str | None, typer.Option(help="The same along the second.")] = None,
    points: Annotated[int, typer.Option(min=2, help="Points of an axis that is not given.")] = PLANE_POINTS,
    surface: Annotated[bool, typer.Option("--surface/--no-surface", help="The loss on the plane too.")] = True,
    metric: Annotated[list[str] | None, typer.Option(help="Measured at each point too, as in ndcg@10.")] = None,
    users: options.Users = None,
    loss: options.Loss = None,
    split: options.Split = "train",
    data: options.Data = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of what the objective draws.")] = 0,
    name: Annotated[str | None, typer.Option(help="Name in the store; the origin's by default.")] = None,
    workers: options.Workers = None,
    threads: options.ThreadsHere = None,
    device: options.Device = "auto",
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Find the plane through the final (best) weights that holds most of the path, and measure the loss on it.

    The principal directions of the differences from the origin, with the share of the path they explain and each
    checkpoint's distance from the plane. Interrupted or killed, the same command goes on.

    Example: samrec train --data Beauty --keep-every 2 --out runs/beauty, then landscape trajectory samrec:runs/beauty
    --store study.h5, then landscape plot study.h5 --surface beauty-path --out path.pdf
    """
    from landscape.executors.here import make_executor
    from landscape.surface.resume import compute_surface
    from landscape.trajectory import plane_of

    wanted = Wanted(kind="pca", x=x, y=y or "auto", points=points)
    executor = make_executor(workers)
    settings: dict[str, Any] = {"users": users, "loss": loss, "seed": seed, "split": split, "data": data}
    ((checkpoint, called, objective),) = opened(targets[-1:], name=name, threads=threads, device=device, **settings)
    if dry_run:
        _say_cost(objective, targets, wanted.grid().size if surface else 0, workers or 1, as_json)
        return
    command = command_line()
    path = stored_trajectory(store, objective, targets, name=called, checkpoint=checkpoint, command=command)
    summary = _summary(path)
    if surface:
        measured = compute_surface(
            store,
            objective,
            grid=wanted.grid(bounds_of_path(path)),
            name=f"{called}-path",
            checkpoint_name=checkpoint,
            metrics=tuple(metric or ()),
            executor=executor,
            command=command,
            plane=plane_of(path),
        )
        summary |= {"surface": measured.name, "points": int(measured.status.size)}
    emit(as_json, {"store": str(store), "trajectory": summary}, _table(path, summary))


def _summary(path: "Trajectory") -> dict[str, Any]:
    return {
        "name": path.name,
        "checkpoint": path.checkpoint,
        "explained": path.explained,
        "checkpoints": [
            {
                "label": path.labels[k],
                "epoch": path.epochs[k],
                "alpha": path.coordinates[k, 0],
                "beta": path.coordinates[k, 1],
                "distance": path.distances[k],
                "outside": path.outside[k],
                "loss": path.losses[k],
            }
            for k in range(len(path.labels))
        ],
    }


def _table(path: "Trajectory", summary: dict[str, Any]) -> Any:
    from rich.table import Table

    shares = ", ".join(f"{100 * share:.1f} %" for share in path.explained[:2])
    points = f"; {summary['points']:,} points measured as {summary['surface']}" if "surface" in summary else ""
    table = Table(title=f"{path.name}: the plane explains {shares}{points}", title_justify="left")
    for column in ("epoch", "alpha", "beta", "distance", "outside the plane", "loss"):
        table.add_column(column, justify="right")
    for row in summary["checkpoints"]:
        table.add_row(
            f"{row['epoch']:g}",
            f"{row['alpha']:.4g}",
            f"{row['beta']:.4g}",
            f"{row['distance']:.4g}",
            f"{100 * row['outside']:.1f} %",
            f"{row['loss']:.5g}",
        )
    return table


def _say_cost(objective: "Objective", targets: list[str], points: int, workers: int, as_json: bool) -> None:
    from landscape.objective import loss_at
    from landscape.targets import kept_path

    path = kept_path(targets[0]) if len(targets) == 1 else list(enumerate(targets))
    cost = cost_of(lambda: loss_at(objective, objective.weights))
    seconds = (len(path) + points / workers) * cost["seconds_a_step"]
    row = {
        "name": name_of(targets[-1]),
        "checkpoints": len(path),
        "points": points,
        "seconds": seconds,
        "seconds_a_loss": cost["seconds_a_step"],
        "memory_mib": cost["memory_mib"] + 8 * 6 * objective.layout.size / 2**20,  # six vectors
    }
    text = (
        f"{row['name']}: {len(path)} checkpoints and {points:,} points of {row['seconds_a_loss']:.2g} s, "
        f"{seconds:.0f} s, "
        f"about {row['memory_mib']:.0f} MiB"
    )
    emit(as_json, {"dry_run": [row]}, text)
