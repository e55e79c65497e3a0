"""What shorter patience would have chosen: how far a study's answer hangs on its stop rule, from the histories alone.

A run with less patience is the beginning of one with more: same weights, epoch by epoch. So every patience up to a
run's own has its outcome in that run's history, without training anything again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.records import Table
from samrec.experiments.study_values import StudyValues
from samrec.experiments.table import Section, spread

TITLE = "Shorter patience"
PATIENCES = (5, 10, 20, 30, 50, 100)


def stopping_table(values: StudyValues) -> Table | None:
    """A row a cell and patience: best epoch and validation score, means over the seeds that ended.

    Patience counts epochs without a better score, as `samrec train` does; the longest is each cell's own. None where
    no run ended by a patience longer than the shortest here, or cells stop by different metrics.
    """
    study = values.folder.study
    metrics = {cell.config.stop_metric for cell in study.cells}
    if len(metrics) > 1:
        return None
    (metric,) = metrics
    rows: list[tuple[str, int, int, float, float, float]] = []
    for cell in study.cells:
        ended = [run for run in values.of(cell) if run.record.get("stopped") == "patience"]
        own = [[float(entry["validation"][metric]) for entry in run.history] for run in ended]
        for patience in [one for one in PATIENCES if one < cell.config.patience] + [cell.config.patience]:
            found = [best_before_stop(scores, patience) for scores in own]
            if found:
                scores = np.array([score for _, score in found])
                deviation = float(scores.std(ddof=1)) if len(found) > 1 else float("nan")
                epoch = float(np.mean([epoch for epoch, _ in found]))
                rows.append((cell.label, patience, len(found), epoch, float(scores.mean()), deviation))
    if not any(patience > PATIENCES[0] for _, patience, *_ in rows):
        return None
    names = ("cell", "patience", "seeds", "best_epoch", "validation", "deviation")
    columns: dict[str, Any] = {
        name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    return Table("stopping", columns, {"metric": metric})


def best_before_stop(scores: Sequence[float], patience: int) -> tuple[int, float]:
    """The best epoch, from 1, of a run that stops once so many epochs in a row brought nothing better, and its score.

    The first of equals.
    """
    best = 0
    for epoch, score in enumerate(scores):
        if score > scores[best]:
            best = epoch
        elif epoch - best >= patience:
            break
    return best + 1, float(scores[best])


def stopping_section(table: Table) -> Section:
    """Laid out for people: a row a cell, a column a patience."""
    known = {
        (r["cell"], r["patience"]): f"{spread(r['validation'], r['deviation'], '.4f')} ({r['best_epoch']:.0f})"
        for r in table.rows()
    }
    cells, patiences = dict.fromkeys(cell for cell, _ in known), sorted({patience for _, patience in known})
    rows = tuple((cell, *(known.get((cell, patience), "-") for patience in patiences)) for cell in cells)
    notes = (
        f"Best {table.attributes['metric']} on validation, mean over seeds ± standard deviation, and in brackets the "
        "mean of its epochs, had the same runs stopped after so many epochs in a row without a better score.",
        "Read from the histories of runs that their own patience, the longest here, ended.",
    )
    return Section(TITLE, ("cell", *(f"patience {patience}" for patience in patiences)), rows, notes)
