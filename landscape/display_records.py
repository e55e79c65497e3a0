"""Each kind of record in brief, as `display` shows it: what it is of, how far it is, its numbers with their errors."""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from landscape.display import Display, SortableTable
from landscape.records import (
    Checkpoint,
    Eigenpairs,
    SharpnessReport,
    Status,
    Surface,
    Table,
    Trajectory,
)
from landscape.spectra import Density, Subsets, Trace


@singledispatch
def display_of(record: Any) -> Display:
    """A record in brief. TypeError for what is none."""
    raise TypeError(f"expected a record, got {type(record).__name__}")


@display_of.register
def _(record: Checkpoint) -> Display:
    facts = {"parameters": record.parameters, "‖w‖": record.norm, "loss": record.loss, **record.metrics}
    return Display("Checkpoint", record.name, {**facts, "hash": record.hash[:12]})


@display_of.register
def _(record: Surface) -> Display:
    from landscape.plots.caption import approximation_note

    measured = record.status != Status.PENDING
    directions = record.x.kind if record.y is None else " and ".join(dict.fromkeys((record.x.kind, record.y.kind)))
    facts = {
        "checkpoint": record.checkpoint,
        "points": " × ".join(map(str, record.shape)),
        "measured": "all" if measured.all() else f"{int(measured.sum()):,} of {measured.size:,}",
        "directions": f"{directions}, seed {record.x.seed}",
    }
    rows = []
    for name, values in record.values.items():
        there = values[measured]
        finite = there[np.isfinite(there)]
        ends = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
        rows.append((name.replace("_", " "), record.centre.get(name), *ends, len(there) - len(finite)))
    tables = [_table(("value", "at the checkpoint", "lowest", "highest", "not finite"), rows)]
    if record.marks:
        marks = [(mark.name, mark.alpha, mark.beta, mark.loss, mark.outside) for mark in record.marks]
        tables.append(_table(("mark", "α", "β", "its own loss", "outside of the plane"), marks))
    note = approximation_note(record.approximation)
    return Display("Surface", record.name, facts, tuple(tables), (note,) if note else ())


@display_of.register
def _(record: Eigenpairs) -> Display:
    facts = {"checkpoint": record.checkpoint, "loss": record.loss, "by": record.method}
    facts |= {"block": record.settings.get("block"), "products": int(record.products.max(initial=0))}
    columns = (record.values.tolist(), record.residuals.tolist(), record.converged.tolist())
    rows = list(zip(map(_greek, record.labels), *columns, strict=True))
    note = "An eigenvalue lies within the residual of each value."
    return Display("Eigenpairs", record.name, facts, (_table(("", "value", "residual", "settled"), rows),), (note,))


@display_of.register
def _(record: Density) -> Display:
    settings = record.settings
    facts = {"checkpoint": record.checkpoint, "loss": record.loss, "eigenvalues": record.dimension}
    facts |= {"probes": record.probes, "steps": settings.get("steps"), "block": settings.get("block")}
    facts |= {"coordinates": settings.get("coordinates")}
    estimates = {"trace": record.trace, "Frobenius norm": record.frobenius_norm, "negative share": record.negative}
    outermost = {"outermost above": record.end(1), "outermost below": record.end(-1)}
    rows = [(name, value, error, "standard error") for name, (value, error) in estimates.items()]
    rows += [(name, value, residual, "residual") for name, (value, residual) in outermost.items()]
    return Display("Density", record.name, facts, (_table(("", "value", "±", "which is a"), rows),))


@display_of.register
def _(record: Trace) -> Display:
    facts = {"checkpoint": record.checkpoint, "loss": record.loss, "by": record.settings.get("method")}
    names = (quantity.replace("_", " ") for quantity in record.quantities)
    columns = zip(names, record.blocks, record.coordinates, record.estimates, strict=True)
    rows = [(quantity, block, frame, value, error) for quantity, block, frame, (value, error) in columns]
    columns_shown = ("", "block", "coordinates", "value", "standard error")
    return Display("Trace", record.name, {**facts, "probes": record.probes}, (_table(columns_shown, rows),))


@display_of.register
def _(record: Subsets) -> Display:
    columns = (record.users, record.seeds, record.losses, *record.values.T, *record.residuals.T)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    shown = ("users", "seed", "loss", "λ_max", "λ_min", "residual of λ_max", "of λ_min")
    facts = {"checkpoint": record.checkpoint, "draws": len(rows), "settled": bool(record.converged.all())}
    return Display("Subsets", record.name, facts, (_table(shown, rows),))


@display_of.register
def _(record: SharpnessReport) -> Display:
    from landscape.sharpness.names import family_of, is_invariant, radius_text

    rows = [
        (family_of(m), radius_text(m), "invariant" if is_invariant(m) else "raw", m.value, m.standard_error, m.note)
        for m in record.measures
    ]
    columns = ("measure", "radius", "under re-scaling", "value", "standard error", "note")
    facts = {"checkpoint": record.checkpoint, "loss": record.loss, "numbers": len(rows)}
    return Display("Sharpness", record.name, facts, (_table(columns, rows),))


@display_of.register
def _(record: Trajectory) -> Display:
    x, y = record.explained[:2].tolist()
    facts = {"origin": record.checkpoint, "checkpoints": len(record.labels), "explained": f"{x:.1%} and {y:.1%}"}
    columns = (*record.coordinates.T.tolist(), record.losses.tolist(), record.outside.tolist())
    rows = list(zip(record.epochs.tolist(), *columns, strict=True))
    shown = _table(("epoch", "α", "β", "loss", "outside of the plane"), rows)
    return Display("Trajectory", record.name, facts, (shown,))


@display_of.register
def _(record: Table) -> Display:
    columns = [column.tolist() for column in record.columns.values()]
    rows = list(zip(*columns, strict=True))
    names = tuple(name.replace("_", " ") for name in record.columns)
    return Display("Table", record.name, {"rows": len(rows)}, (_table(names, rows),))


def _table(columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> SortableTable:
    return SortableTable("", columns, tuple(rows))


def _greek(label: str) -> str:
    return label.replace("lambda", "λ")
