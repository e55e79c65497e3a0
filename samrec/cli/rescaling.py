"""`samrec rescaling`: which sharpness measures of a run move when its weights are re-scaled and no score changes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from landscape.cli.running import DID_NOT_SETTLE, LARGEST_SEED, emit
from samrec.cli.options import DataNow, Device, DryRun, Json, Threads


def rescaling(
    run: Annotated[Path, typer.Argument(help="A run folder, as samrec train or samrec import make it.")],
    measures: Annotated[str, typer.Option(help="all, or some of those of landscape sharpness.")] = (
        "eigenvalues,trace,sam,average-case,worst-case,m-sharpness,keskar,pac-bayes,lpf,fisher-rao,relative-flatness,"
        "ranking"
    ),
    factor: Annotated[float, typer.Option(help="c; a power of two loses no digit.")] = 4.0,
    users: Annotated[int, typer.Option(min=1, help="Users the loss is taken of.")] = 256,
    pairs: Annotated[int, typer.Option(min=2, help="Antithetic pairs of noise.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Gradients of one ascent to the worst case.")] = 8,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the users, the negatives and the noise.")] = 0,
    data: DataNow = None,
    device: Device = "auto",
    threads: Threads = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Measure sharpness before and after each re-scaling that keeps every score, and say which measures moved.

    A measure that moves says something of the weights' scale and not of the recommender. Nothing is written. Exit code
    3 where one moved that is called scale-invariant.

    Example: samrec rescaling runs/beauty --measures sam,average-case,fisher-rao
    """
    import torch

    from landscape.cli.measuring import cost_of
    from landscape.objective import gradient_at
    from landscape.sharpness.plan import sharpness_plan
    from landscape.sharpness.rescaling import rescaling_report
    from landscape.sharpness.settings import SharpnessSettings
    from landscape.sharpness.step import GRADIENT
    from samrec.objective import load
    from samrec.rescaling import RESCALINGS, rescaled

    if threads:
        torch.set_num_threads(threads)
    settings = SharpnessSettings(
        rhos=(0.1,),
        relative_rhos=(0.5,),
        sigmas=(0.01,),
        relative_sigmas=(0.1,),
        pairs=pairs,
        steps=steps,
        restarts=1,
        batches=2,
        m=max(1, users // 2),
        probes=2 * pairs,
        trace_probes=2 * pairs,
        metrics=("ndcg@10",),
        ranking_pairs=pairs,
        draws=10,
        burn_in=10,
        chains=2,
        seed=seed,
    )
    planned = sharpness_plan([part.strip() for part in measures.split(",") if part.strip()], settings)
    objective = load(str(run), users=users, seed=seed, data=data, device=device)
    if dry_run:
        cost = cost_of(lambda: gradient_at(objective, objective.weights))
        price = (1 + len(RESCALINGS)) * sum(step.price for step in planned)
        seconds = price / GRADIENT * cost["seconds_a_step"]
        payload: dict[str, Any] = {"losses": round(price), "seconds": seconds, **cost}
        emit(json, {"dry_run": payload}, f"as much as {price:.0f} losses, about {seconds:.0f} s")
        return
    found = rescaling_report(
        objective, {name: rescaled(objective.weights, name, factor) for name in RESCALINGS}, planned
    )
    rows = [
        {
            "rescaling": one.rescaling,
            "measure": one.name,
            "before": one.measure.value,
            "after": one.after,
            "moved": one.moved,
            "as_claimed": one.as_claimed,
        }
        for one in found
    ]
    emit(json, {"run": str(run), "factor": factor, "rescalings": rows}, None if json else _table(rows, factor))
    if not all(one.as_claimed for one in found):
        raise typer.Exit(DID_NOT_SETTLE)


def _table(rows: list[dict[str, Any]], factor: float) -> Any:
    """A row a measure: before, and after each re-scaling, a move marked."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from samrec.rescaling import RESCALINGS

    table = Table("measure", "before", *RESCALINGS, "moved?", title=f"re-scaled by {factor:g}", title_justify="left")
    for name in dict.fromkeys(row["measure"] for row in rows):
        own = {row["rescaling"]: row for row in rows if row["measure"] == name}
        moved = [key for key, row in own.items() if row["moved"]]
        cells = [f"{row['after']:.4g}{' *' if row['moved'] else ''}" for row in own.values()]
        table.add_row(Text(name), f"{next(iter(own.values()))['before']:.4g}", *cells, "moved" if moved else "no")
    broken = [f"{row['measure']} ({row['rescaling']})" for row in rows if not row["as_claimed"]]
    notes = [Text("  *: moved by more than 1 %, while no score changed")]
    notes += [Text(f"  called scale-invariant, and moved: {', '.join(broken)}")] if broken else []
    return Group(table, *notes)
