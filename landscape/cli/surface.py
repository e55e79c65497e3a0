"""`landscape surface`: the loss on a line or a plane through one or several checkpoints, into the store."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli import options
from landscape.cli.measuring import cost_of, opened
from landscape.cli.planes import Wanted, plane_and_grid
from landscape.cli.running import LARGEST_SEED, command_line, emit, one_of, plain
from landscape.errors import InvalidArgument
from landscape.grid import Grid, is_auto

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.records import Surface


def surface(
    targets: options.Targets,
    store: options.StoreToGoOn,
    x: Annotated[
        str | None,
        typer.Option(
            help="start:stop:points along the first direction, or auto[:points]: until the loss has doubled. By "
            "default -1:1:51, or what holds every mark."
        ),
    ] = None,
    y: Annotated[
        str | None, typer.Option(help="The same along the second, or auto; a line without it, but for through.")
    ] = None,
    points: Annotated[int | None, typer.Option(help="Points of an axis that is not given.")] = None,
    directions: Annotated[
        str,
        typer.Option(
            **one_of("filter", "layer", "raw", "eigenvector", "between", "through", "pca"),
            help="Random and normalised by filter or layer, or raw; eigenvectors of the Hessian; to a checkpoint; "
            "through two more; principal axes of the checkpoints a training kept.",
        ),
    ] = "filter",
    to: Annotated[str | None, typer.Option(help="The other checkpoint, of between and through.")] = None,
    other: Annotated[str | None, typer.Option("--and", help="The third checkpoint, of through.")] = None,
    eigenvectors: Annotated[
        str | None,
        typer.Option(help="top-K or bottom-K, one or two: top-1, with --y top-1,bottom-1.", show_default=False),
    ] = None,
    block: Annotated[
        str | None, typer.Option(help='The only one that moves, as in "item table" or "blocks.0.*".')
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="A line for each of these directions' seeds, drawn as a band: 0,1,2,3,4.")
    ] = None,
    one_dimensional: Annotated[
        str, typer.Option(**one_of("zero", "random", "normalised"), help="How biases and gains move.")
    ] = "zero",
    untouched: Annotated[
        str, typer.Option(**one_of("move", "zero"), help="Whether rows that the data never reaches move.")
    ] = "move",
    metric: Annotated[
        list[str] | None, typer.Option(help="Measured at each point too: ndcg@10, ..., or gradient-norm.")
    ] = None,
    chebyshev: Annotated[
        bool, typer.Option("--chebyshev", help="Interpolate from few points, with a stated error, where smooth.")
    ] = False,
    tolerance: Annotated[
        float | None, typer.Option(help="Of a Chebyshev surface: error relative to the range; 0.001 by default.")
    ] = None,
    extend: Annotated[
        bool, typer.Option("--extend", "--refine", help="Grow the surface held to these axes, which contain its own.")
    ] = False,
    users: options.Users = None,
    loss: options.Loss = None,
    split: options.Split = "train",
    data: options.Data = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of the directions and of what the objective draws.")
    ] = 0,
    direction_seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Of the directions, where it is to differ.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name in the store; CHECKPOINT-1d or -2d by default.")] = None,
    batch: Annotated[
        str,
        typer.Option(
            help="Points at a time: a number, or auto if that is measured to be faster; off in the last bits."
        ),
    ] = "1",
    workers: options.Workers = None,
    threads: options.ThreadsHere = None,
    device: options.Device = "auto",
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure the loss at w + alpha x (+ beta y), coarse to fine; interrupted or killed, the same command goes on.

    Several targets get the same directions' seed, data and grid, so that their surfaces can be compared.

    Example: landscape surface samrec:runs/sasrec samrec:runs/samrec --store study.h5 --x=-1:1:51 --y=-1:1:51

    A line to another checkpoint, with its barrier: --directions between --to samrec:runs/samrec. Eigenvectors are those
    of the loss measured here, kept in the store for models of up to 10 million coordinates.
    """
    from landscape.executors.here import make_executor
    from landscape.surface.chebyshev import usual_points

    drawn_from = seed if direction_seed is None else direction_seed
    wanted = Wanted(
        kind=directions, x=x, y=y, points=points, to=to, other=other, eigenvectors=eigenvectors, block=block,
        seed=drawn_from, seeds=seeds,
    )  # fmt: skip
    _check_options(chebyshev, tolerance, extend, batch)
    executor = make_executor(workers)
    metrics = tuple(metric or ())
    policy: dict[str, Any] = {"one_dimensional": one_dimensional, "untouched": untouched}
    policy |= {"block": block} if block is not None and wanted.is_drawn else {}
    policy |= {"kind": directions if wanted.is_drawn else "filter", "seed": drawn_from}
    settings: dict[str, Any] = {"users": users, "loss": loss, "seed": seed, "split": split, "data": data}
    objectives = opened(targets, name=name, threads=threads, device=device, **settings)
    wanted, notes, objectives = _spanned(wanted, objectives, policy)
    if dry_run:
        grid, lines = wanted.grid(), max(len(wanted.each_seed), 1)  # another span costs the same
        points_of_one = min(grid.size, usual_points(len(grid.shape))) if chebyshev else grid.size
        costs = [
            _cost(name, one, grid, metrics, workers or 1, policy, lines * points_of_one) for name, _, one in objectives
        ]
        emit(as_json, {"dry_run": costs}, "\n".join(map(_cost_line, costs)))
        return
    from landscape.surface.from_nodes import TOLERANCE, compute_chebyshev_surface
    from landscape.surface.resume import compute_surface

    measure: Any = partial(compute_surface, extend=extend, batch="auto" if batch == "auto" else int(batch))
    if chebyshev:
        measure = partial(compute_chebyshev_surface, tolerance=TOLERANCE if tolerance is None else tolerance)
    surfaces = []
    command = command_line()
    for target, (checkpoint, _, objective) in zip(targets, objectives, strict=True):
        called = name or f"{checkpoint}{_of_directions(wanted)}-{wanted.dimensions}d{'-chebyshev' if chebyshev else ''}"
        plane, grid = plane_and_grid(
            wanted, objective, checkpoint=checkpoint, target=target, store=store, command=command
        )
        surfaces += [
            measure(
                store,
                objective,
                grid=grid,
                name=f"{called}-seed-{one}" if wanted.seeds else called,
                checkpoint_name=checkpoint,
                metrics=metrics,
                executor=executor,
                command=command,
                plane=plane,
                group=called if wanted.seeds else "",
                **{**policy, "seed": one},
            )
            for one in wanted.each_seed or (drawn_from,)
        ]
    summaries = [_summary(measured) for measured in surfaces]
    text = "\n".join([*notes, *map(_summary_line, summaries)])
    emit(as_json, {"store": str(store), "surfaces": summaries, "notes": notes}, text)


def _check_options(chebyshev: bool, tolerance: float | None, extend: bool, batch: str) -> None:
    """Refuse what cannot go together, before anything is opened."""
    if tolerance is not None and not chebyshev:
        raise InvalidArgument("expected --tolerance with --chebyshev, got it alone")
    if tolerance is not None and not 0 < tolerance < 1:
        raise InvalidArgument(f"expected a --tolerance between 0 and 1, got {tolerance:g}")
    if batch != "auto" and not (batch.isdecimal() and int(batch) >= 1):
        raise InvalidArgument(f"expected --batch to be auto or a number of points, got {batch!r}")
    if batch != "1" and chebyshev:
        raise InvalidArgument("expected --batch without --chebyshev, which takes few points one by one")
    if extend and chebyshev:
        raise InvalidArgument(
            "expected --extend without --chebyshev: nodes belong to one span, give a wider one a name"
        )


def _spanned(
    wanted: Wanted, objectives: "Iterator[tuple[str, str, Objective]]", policy: dict[str, Any]
) -> "tuple[Wanted, list[str], Iterator[tuple[str, str, Objective]]]":
    """Automatic axes of drawn directions, found at the first objective, and what is to be said of them."""
    if not wanted.is_drawn or not (is_auto(wanted.x) or is_auto(wanted.y)):
        return wanted, [], objectives
    from landscape.surface.span import grid_for

    first = next(objectives)
    given, x, y = wanted.grid(), wanted.x, wanted.y
    grid, notes = grid_for(
        x if x is not None and is_auto(x) else given.alpha,
        y if y is None or is_auto(y) else given.beta,
        first[2],
        **policy,
    )
    found = replace(
        wanted, x=str(grid.alpha) if is_auto(x) else x, y=str(grid.beta) if is_auto(y) else y, points=wanted.points
    )
    return found, [f"{note}, at {first[0]}" for note in notes], chain([first], objectives)


def _of_directions(wanted: Wanted) -> str:
    """What a surface's own name says of its directions; nothing of the two that need no more to be told."""
    kind = "" if wanted.kind in ("filter", "raw") else f"-{wanted.kind}"
    return kind + ("" if wanted.block is None else f"-{wanted.block.replace(' ', '-')}")


def _cost(
    checkpoint: str,
    objective: "Objective",
    grid: Grid,
    metrics: tuple[str, ...],
    workers: int,
    policy: dict[str, Any],
    points: int,
) -> dict[str, Any]:
    """Points, seconds and memory, from one point measured here."""
    from landscape.surface.resume import surface_task

    measure = surface_task(objective, grid, metrics=metrics, **policy).open()
    corner = tuple(axis.stop for axis in (grid.alpha, grid.beta) if axis is not None)
    cost = cost_of(lambda: measure(corner))
    return {
        "checkpoint": checkpoint,
        "points": points,
        "seconds": points * cost["seconds_a_step"] / workers,
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

    from landscape.barrier import barrier_of
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
        "directions": [one.kind for one in (measured.x, measured.y) if one is not None],
        **({"marks": plain(measured.marks)} if measured.marks else {}),
        **({"barrier": plain(barrier)} if (barrier := barrier_of(measured)) is not None else {}),
        "approximation": dict(measured.approximation),
    }


def _summary_line(summary: dict[str, Any]) -> str:
    spread = "" if summary["lowest"] is None else f", loss {summary['lowest']:.6g} to {summary['highest']:.6g}"
    odd = f", {summary['non_finite']} not finite" if summary["non_finite"] else ""
    from landscape.plots.caption import approximation_note

    note = approximation_note(summary["approximation"])
    line = f"{summary['name']}: {summary['points']:,} points{spread}{odd}{'; ' if note else ''}{note}"
    if (barrier := summary.get("barrier")) is not None:
        line += (
            f"; barrier {float(barrier['over_larger_end']):.4g} over the larger end, "
            f"{float(barrier['over_straight_line']):.4g} over the straight line"
        )
    return line
