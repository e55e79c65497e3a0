"""`landscape inspect`: what a store holds, and how far each surface is."""

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from landscape.cli import options
from landscape.cli.running import emit


def inspect(
    store: Annotated[Path, typer.Argument(help="The store to look into; a writer may be at work on it.")],
    as_json: options.AsJson = False,
) -> None:
    """List what a store holds and how far it is.

    Example: landscape inspect study.h5
    """
    from landscape.store import Store

    with Store.read(store) as opened:
        found = contents(opened)
    emit(as_json, {"store": str(store), **found}, _tables(str(store), found))


def contents(store: Any) -> dict[str, list[dict[str, Any]]]:
    """For each kind of record in a store, a row for each name."""
    from landscape.store.reading import TableKind

    return {
        "checkpoints": [_checkpoint(store.checkpoint(name)) for name in store.names("checkpoints")],
        "surfaces": [_surface(store.surface(name)) for name in store.names("surfaces")],
        "curvature": [_eigenpairs(store.eigenpairs(name)) for name in store.names("curvature")],
        "densities": [_density(store.density(name)) for name in store.names("densities")],
        "traces": [row for name in store.names("traces") for row in _trace(store.trace(name))],
        "subsets": [_subsets(store.subsets(name)) for name in store.names("subsets")],
        "sharpness": [_sharpness(store.sharpness(name)) for name in store.names("sharpness")],
        "trajectories": [_trajectory(store.trajectory(name)) for name in store.names("trajectories")],
        **{kind: [_table(store.table(kind, name)) for name in store.names(kind)] for kind in get_args(TableKind)},
    }


def _checkpoint(record: Any) -> dict[str, Any]:
    return {
        "name": record.name,
        "norm": record.norm,
        "parameters": record.parameters,
        **record.metrics,
        "hash": record.hash,
    }


def _surface(record: Any) -> dict[str, Any]:
    from landscape.plots.caption import approximation_note
    from landscape.records import Status

    measured = record.status != Status.PENDING
    loss = record.values["loss"][record.status == Status.DONE] if "loss" in record.values else []
    return {
        "name": record.name,
        "checkpoint": record.checkpoint,
        "loss": record.centre.get("loss"),
        "points": " x ".join(str(length) for length in record.shape),
        "measured": int(measured.sum()),
        "of": record.status.size,
        "not_finite": int((record.status == Status.NON_FINITE).sum()),
        "directions": record.x.kind,
        "seed": record.x.seed,
        "lowest_loss": float(min(loss)) if len(loss) else None,
        "highest_loss": float(max(loss)) if len(loss) else None,
        "values": list(record.values),
        **({"marks": [mark.name for mark in record.marks]} if record.marks else {}),
        **({"group": record.group} if record.group else {}),
        "approximation": approximation_note(record.approximation) or None,
    }


def _eigenpairs(record: Any) -> dict[str, Any]:
    return {
        "name": record.name,
        "checkpoint": record.checkpoint,
        "loss": record.loss,
        "method": record.method,
        **{label: float(value) for label, value in zip(record.labels, record.values, strict=True)},
        "largest_residual": float(record.residuals.max(initial=0.0)),
        "converged": bool(record.converged.all()),
        **_inexact(record),
    }


def _density(record: Any) -> dict[str, Any]:
    from landscape.cli.density import as_json_of

    row = {**as_json_of(record), "loss": record.loss}
    shown = "name checkpoint loss block coordinates steps probes smallest_node largest_node trace trace_error"
    return {key: row[key] for key in shown.split()} | _inexact(record)


def _trace(record: Any) -> list[dict[str, Any]]:
    """A row for each kind of coordinates: blocks are in `--json` of `landscape trace`, and in the store."""
    rows = []
    for coordinates in dict.fromkeys(record.coordinates):
        value, error = record.estimate("trace", coordinates=coordinates)
        row = {"name": record.name, "checkpoint": record.checkpoint, "loss": record.loss}
        row |= {"method": record.settings["method"], "block": record.settings["block"], "coordinates": coordinates}
        row |= {"probes": record.probes, "trace": value, "trace_error": error, **_inexact(record)}
        rows.append(row)
    return rows


def _subsets(record: Any) -> dict[str, Any]:
    return {
        "name": record.name,
        "checkpoint": record.checkpoint,
        "users": sorted({str(number) for number in record.users.tolist()}, key=int),
        "draws": len(record.users),
        "converged": bool(record.converged.all()),
        **_inexact(record),
    }


def _inexact(record: Any) -> dict[str, float]:
    return {} if record.product_error is None else {"product_error": record.product_error}


def _sharpness(record: Any) -> dict[str, Any]:
    measures = sorted({measure.measure for measure in record.measures})
    return {
        "name": record.name,
        "checkpoint": record.checkpoint,
        "loss": record.loss,
        "numbers": len(record.measures),
        "measures": measures,
    }


def _trajectory(record: Any) -> dict[str, Any]:
    return {
        "name": record.name,
        "checkpoint": record.checkpoint,
        "points": len(record.labels),
        "explained_x": float(record.explained[0]),
        "explained_y": float(record.explained[1]),
        "most_outside": float(record.outside.max()),
    }


def _table(record: Any) -> dict[str, Any]:
    rows = max((len(column) for column in record.columns.values()), default=0)
    return {"name": record.name, "rows": rows, "columns": list(record.columns)}


def _tables(title: str, found: dict[str, list[dict[str, Any]]]) -> Any:
    from rich.console import Group
    from rich.table import Table

    parts: list[Any] = []
    for kind, rows in found.items():
        if not rows:
            continue
        table = Table(title=kind, title_justify="left")
        columns = list(dict.fromkeys(key for row in rows for key in row))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(_cell(column, row.get(column)) for column in columns))
        parts.append(table)
    return Group(*parts) if parts else f"{title} holds nothing yet"


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)[:12] if column == "hash" else str(value)
