"""The numbers of a study's tables: runs, values, summary over seeds, paired differences, budgets and rank correlations.

Each is a `Table` of plain columns, written as CSV as it is, laid out for people by `study_sections`, and handed to the
store for figures. Equal folders give equal tables.

Users' level: per user the mean over seeds of (cell - against), seeds paired; it speaks of these checkpoints. Seeds'
level: one difference a seed; it speaks of the methods. Corrections for many comparisons are taken over all comparisons
of one level, all metrics shown together.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.records import Table
from samrec.evaluation.metrics import averaged_by_owner, per_user
from samrec.evaluation.paired import SEEDS_LEVEL, bootstrap_interval, paired_seeds, sign_flip_p
from samrec.experiments.cells import Cell
from samrec.experiments.choice import choice_table
from samrec.experiments.corrections import benjamini_hochberg, holm
from samrec.experiments.measure_changes import changes_table
from samrec.experiments.published import published_table
from samrec.experiments.relations import relations_table
from samrec.experiments.stopping import stopping_table
from samrec.experiments.study_values import StudiedRun, StudyValues

COMPARED = ("HR@10", "NDCG@10")
USERS_LEVEL = "users within these pairs of checkpoints"
WATCHED = "NDCG@10"  # in every run's history, whatever it stops by
BUDGETS = ("epochs", "gradients", "seconds")

Columns = dict[str, NDArray[Any]]


def study_tables(values: StudyValues) -> dict[str, Table]:
    """Every table by name; those without a row are left out, but for the runs."""
    tables = [
        runs_table(values),
        values_table(values),
        summary_table(values),
        differences_table(values),
        budgets_table(values),
        relations_table(values.measures, values.column),
    ]
    filled = [table for table in tables if table.name == "runs" or len(next(iter(table.columns.values())))]
    optional = (choice_table(values), published_table(values), stopping_table(values), changes_table(values))
    return {table.name: table for table in (*filled, *filter(None, optional))}


def runs_table(values: StudyValues) -> Table:
    """A row a run: how far it came and what ended it. -1 and NaN where that is not known yet."""
    costs = [run.record.get("cost") or {} for run in values.runs]
    bests = [run.record.get("best") or {} for run in values.runs]
    columns = {
        **_places(values, values.runs),
        "status": _texts([run.status for run in values.runs]),
        "stopped": _texts([str(run.record.get("stopped") or "") for run in values.runs]),
        "best_epoch": _integers([best.get("epoch", -1) for best in bests]),
        "epochs": _integers([cost.get("epochs", -1) for cost in costs]),
        "gradients": _integers([cost.get("gradients", -1) for cost in costs]),
        "seconds": _floats([cost.get("seconds", np.nan) for cost in costs]),
        "cap": _integers([run.planned.config.epochs for run in values.runs]),
    }
    taken = [f"{run.name} of {run.record['taken_from']}" for run in values.runs if "taken_from" in run.record]
    notes = [f"Taken from other studies, not trained again: {', '.join(taken)}."] if taken else []
    return Table("runs", columns, {**_about(values), "notes": [*values.folder.study.notes, *notes]})


def values_table(values: StudyValues) -> Table:
    """A row a run and quantity."""
    rows = [(run, name) for name in values.quantities for run in values.runs if name in run.values]
    columns = {
        **_places(values, [run for run, _ in rows]),
        "quantity": _texts([name for _, name in rows]),
        "value": _floats([run.values[name] for run, name in rows]),
    }
    return Table("values", columns, {**_about(values), "measures": list(values.measures)})


def summary_table(values: StudyValues) -> Table:
    """A row a cell and quantity: mean, standard deviation (n - 1; NaN for one seed), lowest and highest over seeds."""
    rows: list[tuple[Cell, str, NDArray[np.float64]]] = []
    for cell in values.folder.study.cells:
        for name in values.quantities:
            found = _floats([run.values[name] for run in values.of(cell) if name in run.values])
            if len(found):
                rows.append((cell, name, found))
    columns = {
        **_cells([cell for cell, *_ in rows]),
        "quantity": _texts([name for _, name, _ in rows]),
        "seeds": _integers([len(found) for *_, found in rows]),
        "mean": _floats([found.mean() for *_, found in rows]),
        "deviation": _floats([_deviation(found) for *_, found in rows]),
        "lowest": _floats([found.min() for *_, found in rows]),
        "highest": _floats([found.max() for *_, found in rows]),
    }
    return Table("summary", columns, _about(values))


def differences_table(values: StudyValues, metrics: Sequence[str] = COMPARED) -> Table:
    """A row a cell, metric and level, for cells that are compared with another: paired, with adjusted p-values."""
    rows: list[dict[str, Any]] = []
    for cell in values.folder.study.cells:
        pairs = values.pairs(cell) if cell.against else []
        for metric in metrics if pairs else ():
            place = {"cell": cell.label, "against": cell.against, "metric": metric, "seeds": len(pairs)}
            rows.append({**place, **_over_users(pairs, metric)})
            if len(pairs) > 1:
                rows.append({**place, **_over_seeds(pairs, metric)})
    names = ("difference", "low", "high", "p_value", "smallest_p")
    columns: Columns = {name: _texts([row[name] for row in rows]) for name in ("cell", "against", "metric", "level")}
    columns |= {name: _floats([row[name] for row in rows]) for name in names}
    for name, adjust in (("holm", holm), ("benjamini_hochberg", benjamini_hochberg)):
        columns[name] = np.full(len(rows), np.nan)
        for level in (USERS_LEVEL, SEEDS_LEVEL):
            own = columns["level"] == level
            columns[name][own] = adjust(columns["p_value"][own])
    columns |= {name: _integers([row[name] for row in rows]) for name in ("seeds", "users")}
    return Table("differences", columns, {"difference": "cell - against", "confidence": 0.95})


def budgets_table(values: StudyValues) -> Table:
    """Cells at the budget of the runs they are compared with: equal epochs, equal gradients, equal time.

    For each pair of runs of one seed: the budget is all that `against` spent until it stopped; of the other run, the
    best validation score (by the stopping metric; NDCG@10 where the two cells stop by different ones) counts among the
    epochs that had ended within that budget. `against` counts with its best epoch. Means over the pairs that had
    such an epoch, and the t interval of their differences; where none had, the mean of `against` alone. S3-Rec's
    pre-training counts in gradients and seconds, of every run that starts from it.
    """
    stops_by = {cell.label: cell.config.stop_metric for cell in values.folder.study.cells}
    rows: list[dict[str, Any]] = []
    for cell in values.folder.study.cells:
        for budget in BUDGETS if cell.against else ():
            metric = stops_by[cell.label] if stops_by[cell.label] == stops_by[str(cell.against)] else WATCHED
            found = [
                (
                    _best_within(a, np.inf, "epochs", metric),
                    _best_within(b, _spent(a, budget), budget, metric),
                    _spent(a, budget),
                )
                for a, b in values.pairs(cell)
            ]
            within = [row for row in found if np.isfinite(row[1])]
            if not found:
                continue
            row: dict[str, Any] = {"cell": cell.label, "against": cell.against, "budget": budget, "pairs": len(found)}
            row |= {"reached": len(within), "amount": np.mean([amount for *_, amount in found])}
            differences = _floats([other - own for own, other, _ in within])
            interval = paired_seeds(differences) if len(differences) > 1 else None
            row["metric"] = metric
            row["value_against"] = np.mean([own for own, *_ in within or found])
            row["value"] = np.mean([other for _, other, _ in within]) if within else np.nan
            row["difference"] = differences.mean() if within else np.nan
            row["low"], row["high"] = (interval.low, interval.high) if interval else (np.nan, np.nan)
            rows.append(row)
    columns: Columns = {name: _texts([row[name] for row in rows]) for name in ("cell", "against", "budget", "metric")}
    columns |= {
        name: _floats([row[name] for row in rows])
        for name in ("amount", "value_against", "value", "difference", "low", "high")
    }
    columns |= {name: _integers([row[name] for row in rows]) for name in ("pairs", "reached")}
    about: dict[str, Any] = {
        "difference": "cell - against, both on validation",
        "reached": "pairs with an epoch within the budget",
    }
    about |= {"pretrained": [_pretraining(cell) for cell in values.folder.study.cells if cell.config.pretrained]}
    return Table("budgets", columns, about)


def _over_users(pairs: Sequence[tuple[StudiedRun, StudiedRun]], metric: str) -> dict[str, Any]:
    of_pairs = np.stack([_of_users(b, metric) - _of_users(a, metric) for a, b in pairs])
    differences: NDArray[np.float64] = np.round(
        of_pairs.mean(axis=0), 12
    )  # equal ones stay equal whatever the order of summation was
    low, high = bootstrap_interval(differences)
    found = {"difference": differences.mean(), "low": low, "high": high, "p_value": sign_flip_p(differences)[0]}
    return {"level": USERS_LEVEL, **found, "smallest_p": np.nan, "users": len(differences)}


def _over_seeds(pairs: Sequence[tuple[StudiedRun, StudiedRun]], metric: str) -> dict[str, Any]:
    found = paired_seeds(_floats([b.values[metric] - a.values[metric] for a, b in pairs]))
    numbers = {"difference": found.mean, "low": found.low, "high": found.high, "p_value": found.p_value}
    return {"level": found.level, **numbers, "smallest_p": found.smallest_p, "users": -1}


def _of_users(run: StudiedRun, metric: str) -> NDArray[np.float64]:
    assert run.evaluation is not None
    return averaged_by_owner(per_user(run.evaluation.ranks, metric), run.evaluation.users)


def _spent(run: StudiedRun, budget: str) -> float:
    """All that a run spent until it stopped."""
    return max((_cost(run, entry, budget) for entry in run.history), default=np.nan)


def _best_within(run: StudiedRun, amount: float, budget: str, metric: str) -> float:
    """The best validation score among the epochs that had ended by then; NaN if none had."""
    scores = [entry["validation"][metric] for entry in run.history if _cost(run, entry, budget) <= amount]
    return float(max(scores, default=np.nan))


def _cost(run: StudiedRun, entry: Mapping[str, Any], budget: str) -> float:
    """What a run had spent at the end of an epoch, with what was spent before it; NaN where that is not known."""
    start = run.planned.config.pretrained
    before = 0 if start is None or budget == "epochs" else getattr(start, budget)
    return float(entry["epoch" if budget == "epochs" else budget]) + (np.nan if before is None else before)


def _pretraining(cell: Cell) -> str:
    start = cell.config.pretrained
    assert start is not None
    cost = "unknown" if start.gradients is None else f"{start.gradients:,} gradients"
    return f"{cell.label}: {start.epochs} epochs, {cost}"


def _deviation(found: NDArray[np.float64]) -> float:
    return float(found.std(ddof=1)) if len(found) > 1 else float("nan")


def _places(values: StudyValues, runs: Sequence[StudiedRun]) -> Columns:
    cells = {cell.label: cell for cell in values.folder.study.cells}
    return {
        "run": _texts([run.name for run in runs]),
        **_cells([cells[run.planned.cell] for run in runs]),
        "seed": _integers([run.planned.seed for run in runs]),
    }


def _cells(cells: Sequence[Cell]) -> Columns:
    return {
        "cell": _texts([cell.label for cell in cells]),
        "line": _texts([cell.line for cell in cells]),
        "setting": _floats([np.nan if cell.setting is None else cell.setting for cell in cells]),
    }


def _about(values: StudyValues) -> dict[str, Any]:
    study = values.folder.study
    return {
        "study": study.name,
        "question": study.question,
        "axis": study.axis,
        "cells": [cell.label for cell in study.cells],
        "objective": {key: values.measured_on.get(key) for key in ("loss", "units", "split", "seed")},
        **_measured_on(values),
    }


def _measured_on(values: StudyValues) -> dict[str, Any]:
    if (loss := values.measured_loss) is None:
        return {}
    return {
        "measured_on": {**loss.record, "told": str(loss)},
        "measured_otherwise": list(values.measured_otherwise),
        "unmeasured": list(values.unmeasured),
    }


def _texts(entries: Sequence[Any]) -> NDArray[Any]:
    return np.array(entries, dtype=np.str_)


def _integers(entries: Sequence[Any]) -> NDArray[np.int64]:
    return np.array(entries, dtype=np.int64)


def _floats(entries: Sequence[Any] | Iterator[Any]) -> NDArray[np.float64]:
    return np.array(entries, dtype=np.float64)
