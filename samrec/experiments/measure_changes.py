"""How far curvature, sharpness and the generalisation gap change between cells: paired over seeds, with t intervals."""

from typing import Any

import numpy as np

from landscape.records import Table
from samrec.evaluation.paired import paired_seeds
from samrec.experiments.study_values import LOSSES, StudyValues
from samrec.experiments.table import Section

TITLE = "Change of curvature, sharpness and generalisation gap"


def changes_table(values: StudyValues) -> Table | None:
    """A row a compared cell and measure that at least two pairs of runs of one seed have; None without such a row."""
    rows: list[tuple[Any, ...]] = []
    for cell in values.folder.study.cells:
        for name in (*values.measures, *LOSSES) if cell.against else ():
            both = [(a.values.get(name, np.nan), b.values.get(name, np.nan)) for a, b in values.pairs(cell)]
            found = np.array(both).reshape(-1, 2)
            found = found[np.isfinite(found).all(axis=1)]
            if len(found) > 1:
                change = paired_seeds(found[:, 1] - found[:, 0])
                before = float(found[:, 0].mean())
                rows.append((cell.label, cell.against, name, len(found), before, change.mean, change.low, change.high))
    if not rows:
        return None
    kinds = (np.str_, np.str_, np.str_, np.int64, np.float64, np.float64, np.float64, np.float64)
    names = ("cell", "against", "quantity", "pairs", "before", "difference", "low", "high")
    columns: dict[str, Any] = {
        name: np.array([row[k] for row in rows], dtype=kind)
        for k, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }
    return Table("changes", columns, {"difference": "cell - against", "confidence": 0.95})


def changes_section(table: Table) -> Section:
    """Laid out for people: a row a measure, a column a compared cell, in percent of the size of its baseline's mean."""
    told = {(r["cell"], r["quantity"]): r for r in table.rows()}
    compared = {r["cell"]: f"{r['cell']} − {r['against']}" for r in table.rows()}
    rows: list[tuple[str, ...]] = []
    bold = set()
    for name in dict.fromkeys(r["quantity"] for r in table.rows()):
        row = [name]
        for cell in compared:
            found = told.get((cell, name))
            if found is not None and (found["low"] > 0 or found["high"] < 0):
                bold.add((len(rows), len(row)))
            row.append("-" if found is None else _told(found))
        rows.append(tuple(row))
    pairs = " or ".join(map(str, sorted(set(table.columns["pairs"].tolist()))))
    notes = (
        f"Mean over {pairs} pairs of runs of one seed with its 95 % t interval, in percent of the size of the mean "
        "that it is compared with; λmin is below 0: above 0 % is shallower. Bold: the interval leaves zero out; it is "
        "not corrected for the number of measures.",
    )
    return Section(TITLE, ("measure", *compared.values()), tuple(rows), notes, frozenset(bold))


def _told(found: dict[str, Any]) -> str:
    size = abs(found["before"]) or float("nan")
    mean, low, high = (f"{found[name] / size:+.0%}" for name in ("difference", "low", "high"))
    return f"{mean} [{low}, {high}]"
