"""Which setting of a study validation chooses, and what test says of that one: test decides nothing.

Every cell but the baseline is a candidate, once all of its seeds are evaluated; the highest mean over seeds of the best
validation score (the stopping metric) is chosen. Test scores of the other candidates stand elsewhere; here stand those
of the chosen one and of the baseline.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from landscape.records import Table
from samrec.experiments.study_values import StudyValues
from samrec.experiments.table import COMPARED, Section, spread

TITLE = "Chosen on validation"


def choice_table(values: StudyValues) -> Table | None:
    """A row a cell: validation over seeds, whether it is the one chosen, and test of that one and of the baseline.

    None where there is nothing to choose between, or where cells stop by different metrics.
    """
    study = values.folder.study
    metrics = {cell.config.stop_metric for cell in study.cells}
    if len(study.cells) < 3 or len(metrics) > 1:
        return None
    (metric,) = metrics
    evaluated = {cell.label: [run for run in values.of(cell) if run.evaluation is not None] for cell in study.cells}
    found = {label: np.array([run.record["best"][metric] for run in runs]) for label, runs in evaluated.items()}
    means = {label: scores.mean() for label, scores in found.items() if len(scores) == len(values.folder.seeds)}
    candidates = [label for label in means if label != study.baseline.label]
    if not candidates:
        return None
    chosen = max(candidates, key=lambda label: float(means[label]))

    def test(label: str, name: str) -> float:
        if label not in (chosen, study.baseline.label) or not evaluated[label]:
            return float("nan")
        return float(np.mean([run.values[name] for run in evaluated[label]]))

    labels = list(found)
    columns: dict[str, Any] = {
        "cell": np.array(labels, dtype=np.str_),
        "seeds": np.array([len(found[label]) for label in labels], dtype=np.int64),
        "validation": np.array([found[label].mean() if len(found[label]) else np.nan for label in labels]),
        "deviation": np.array([found[label].std(ddof=1) if len(found[label]) > 1 else np.nan for label in labels]),
        "chosen": np.array([int(label == chosen) for label in labels], dtype=np.int64),
        **{name: np.array([test(label, name) for label in labels]) for name in COMPARED},
    }
    about = {
        "metric": metric,
        "planned": len(values.folder.seeds),
        "chosen": chosen,
        "baseline": study.baseline.label,
        "left_out": [cell.label for cell in study.cells if cell.label not in means],
        "baseline_is_better": bool(means.get(study.baseline.label, -np.inf) > means[chosen]),
    }
    return Table("choice", columns, about)


def choice_section(table: Table) -> Section:
    """Laid out for people."""
    about: Mapping[str, Any] = table.attributes
    columns = {name: column.tolist() for name, column in table.columns.items()}
    rows = tuple(
        (
            f"{cell} (chosen)" if columns["chosen"][k] else cell,
            f"{columns['seeds'][k]} of {about['planned']}",
            _told(columns["validation"][k], columns["deviation"][k]),
            *(_told(columns[name][k]) for name in COMPARED),
        )
        for k, cell in enumerate(columns["cell"])
        if columns["seeds"][k] or cell not in about["left_out"]
    )
    notes = [
        f"Chosen: {about['chosen']}, the highest mean over seeds of the best {about['metric']} on validation among all "
        f"but the baseline, {about['baseline']}. Test scores of these two alone.",
        *(["The baseline is better than it on validation."] if about["baseline_is_better"] else []),
        *(
            [f"Without a score of every seed, and no part of the choice: {', '.join(out)}."]
            if (out := about["left_out"])
            else []
        ),
    ]
    header = ("cell", "seeds", f"validation {about['metric']}", *(f"test {name}" for name in COMPARED))
    return Section(TITLE, header, rows, tuple(notes))


def _told(mean: float, deviation: float = float("nan")) -> str:
    return "-" if np.isnan(mean) else spread(mean, deviation, ".4f")
