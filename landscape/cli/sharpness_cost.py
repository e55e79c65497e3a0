"""What `landscape sharpness --dry-run` says: for each family of measures what is left to be done, and its price."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.cli.measuring import cost_of
from landscape.cli.running import emit

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.sharpness.step import Step


def say_cost(
    objectives: "Iterator[tuple[str, str, Objective]]",
    steps: "Sequence[Step]",
    metrics: Sequence[str],
    path: Path,
    as_json: bool,
) -> None:
    """For each objective and family of measures what is left to be done, priced by one loss, gradient and ranking."""
    from landscape.objective import gradient_at, loss_at
    from landscape.sharpness.resume import held_measures, possible_steps
    from landscape.sharpness.step import GRADIENT, PRODUCT

    listed, lines = [], []
    for checkpoint, record, objective in objectives:
        held = held_measures(path, objective, steps, name=record, checkpoint_name=checkpoint)
        left = [step for step in possible_steps(objective, steps) if not step.is_held(held)]
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
            gradients = row["gradients"] + PRODUCT / GRADIENT * row["products"]
            seconds += gradients * gradient["seconds_a_step"] + row["rankings"] * ranking
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
