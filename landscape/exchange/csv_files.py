"""CSV: a row a point for surfaces, a row a number for the rest; surfaces are read back bit for bit.

Numbers are written with as many digits as tell them apart from every other float64; NaN and infinity as `nan`, `inf`.
Of a point that is not measured only its place and its status are there. Lost: directions, checkpoint, provenance.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import InvalidArgument
from landscape.exchange.imported import Imported, imported_surface
from landscape.records import Eigenpairs, SharpnessReport, Status, Surface, Table
from landscape.spectra import Trace
from landscape.store.columns import as_json

PLACES = ("alpha", "beta")


def surface_csv(surface: Surface) -> bytes:
    """Columns alpha, beta (in 2D), status (pending, done, non_finite), and each value by its name."""
    axes = [surface.alpha] if surface.beta is None else [surface.alpha, surface.beta]
    places = [plane.reshape(-1).tolist() for plane in np.meshgrid(*axes, indexing="ij")]
    names = [Status(flag).name.lower() for flag in surface.status.reshape(-1).tolist()]
    columns = [
        ["" if name == "pending" else number for number, name in zip(array.reshape(-1).tolist(), names, strict=True)]
        for array in surface.values.values()
    ]
    return _csv([*PLACES[: len(axes)], "status", *surface.values], zip(*places, names, *columns, strict=True))


def eigenpairs_csv(pairs: Eigenpairs) -> bytes:
    """A row an eigenvalue, and an empty `product_error` where products are exact."""
    columns = [pairs.values, pairs.residuals, pairs.converged, pairs.products]
    rows = zip(pairs.labels, *(column.tolist() for column in columns), strict=True)
    error = "" if pairs.product_error is None else pairs.product_error
    return _csv(
        ["label", "value", "residual", "converged", "products", "product_error"], ((*row, error) for row in rows)
    )


def sharpness_csv(report: SharpnessReport) -> bytes:
    """A row a number; settings as JSON, and an empty standard error where the value is exact."""
    rows = [
        [m.measure, as_json(m.setting), m.value, "" if m.standard_error is None else m.standard_error, m.cost, m.note]
        for m in report.measures
    ]
    return _csv(["measure", "setting", "value", "standard_error", "cost", "note"], rows)


def trace_csv(trace: Trace) -> bytes:
    """A row a trace or norm of a block, with its free coordinates and the standard error over probes."""
    columns = (trace.quantities, trace.blocks, trace.coordinates, trace.sizes.tolist(), trace.estimates)
    rows = ([*told, *estimate] for *told, estimate in zip(*columns, strict=True))
    return _csv(["quantity", "block", "coordinates", "free_coordinates", "value", "standard_error"], rows)


def table_csv(table: Table) -> bytes:
    """The table as it is."""
    return _csv(list(table.columns), zip(*(column.tolist() for column in table.columns.values()), strict=True))


def read_surface_csv(file: Path, *, name: str, command: str = "") -> Imported:
    """A surface from columns alpha, beta (in 2D) and loss; others are values too. Rows in any order; no row: pending.

    Raises:
        InvalidArgument: other columns, a cell that is no number, a point twice, or a status that is none.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            header, *rows = [row for row in csv.reader(text) if row]
    except (OSError, ValueError) as problem:
        raise InvalidArgument(f"expected a CSV file with a header, got {file}: {problem}") from problem
    if "alpha" not in header or "loss" not in header or len(set(header)) < len(header):
        raise InvalidArgument(f"expected columns alpha, beta (in 2D) and loss in {file}, got {', '.join(header)}")
    if wrong := next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None):
        raise InvalidArgument(f"expected {len(header)} cells in line {wrong} of {file}, got {len(rows[wrong - 2])}")
    cells = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}
    if not cells:
        raise InvalidArgument(f"expected rows in {file}, got a header alone")
    axes, indices = [], []
    for place in PLACES:
        if place in cells:
            grid, index = np.unique(_numbers(file, place, cells[place]), return_inverse=True)
            axes.append(grid)
            indices.append(index)
    shape = tuple(map(len, axes))
    flat = np.ravel_multi_index(tuple(indices), shape)
    if len(np.unique(flat)) < len(flat):
        raise InvalidArgument(f"expected every point once in {file}, got one twice")
    status = _statuses(file, cells["status"]) if "status" in cells else np.full(len(flat), Status.DONE)
    pending = np.ones(shape, dtype=np.bool_)
    pending.reshape(-1)[flat] = status == Status.PENDING
    values = {}
    for key in header:
        if key not in (*PLACES, "status"):
            array = np.full(shape, np.nan)
            array.reshape(-1)[flat] = _numbers(file, key, cells[key])
            values[key] = array
    alpha, beta = axes[0], axes[1] if len(axes) > 1 else None
    return imported_surface(
        file, name=name, form="csv", alpha=alpha, beta=beta, pending=pending, values=values, facts={}, command=command
    )


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)  # a float by repr: the shortest text that reads back as the same number
    return text.getvalue().encode()


def _numbers(file: Path, column: str, cells: Sequence[str]) -> NDArray[np.float64]:
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError as problem:
        raise InvalidArgument(f"expected numbers in column {column} of {file}: {problem}") from None


def _statuses(file: Path, cells: Sequence[str]) -> NDArray[np.uint8]:
    known = {status.name.lower(): int(status) for status in Status}
    if unknown := [cell for cell in cells if cell not in known]:
        raise InvalidArgument(f"expected a status out of {', '.join(known)} in {file}, got {unknown[0]!r}")
    return np.array([known[cell] for cell in cells], dtype=np.uint8)
