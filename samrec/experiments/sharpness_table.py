"""The table of every sharpness measure of a study's runs, from `sharpness/RUN.sharpness.csv` in its folder.

Those files are what `landscape export STORE --format csv --out STUDY/sharpness` writes of the reports of its runs. The
first cell that is against another one is compared with it, over all seeds, as the verdict of a report does.
"""

import csv
import json
from pathlib import Path

from landscape.changes import Measured, change_over, measured
from landscape.records import SharpnessMeasure
from landscape.sharpness.names import is_settled, sign_of
from samrec.errors import RunError
from samrec.experiments.study_folder import StudyFolder
from samrec.experiments.table import Section

FOLDER, ENDING = "sharpness", ".sharpness.csv"
TITLE = "Every sharpness measure"


def sharpness_section(study: StudyFolder) -> Section | None:
    """A row a measure that all runs of both cells have; None where there is none.

    Raises:
        RunError: a file that is no such report.
    """
    after = next((cell for cell in study.study.cells if cell.against is not None), None)
    if after is None or not (study.path / FOLDER).is_dir():
        return None
    before = next(cell for cell in study.study.cells if cell.label == after.against)
    files = [
        [study.path / FOLDER / f"{cell.slug}-seed-{seed}{ENDING}" for seed in study.seeds] for cell in (before, after)
    ]
    runs = [[_read(file) for file in group] for group in files]
    rows = []
    for name in runs[0][0]:
        if not all(name in run for group in runs for run in group):
            continue
        ours, theirs = ([run[name] for run in group] for group in runs)
        pairs = [(a.value, b.value) for a, b in zip(ours, theirs, strict=True)]
        change = change_over(name, pairs) if all(map(is_settled, ours + theirs)) else None
        told = "" if change is None else change.told if change.is_flatter is None else f"**{change.told}**"
        rows.append((str(name), " / ".join(map(_told, ours)), " / ".join(map(_told, theirs)), told))
    if not rows:
        return None
    seeds = ", ".join(map(str, study.seeds))
    notes = (
        f"Seeds {seeds}, in this order. ≥: a lower bound, the best that a step or search found; ?: not settled.",
        "Change: mean over pairs of one seed with its 95 % t-interval, in percent where the value cannot be zero; bold "
        "where that interval leaves zero out. Intervals are not corrected for the number of measures.",
        "Invariant: stays where weights are re-scaled and the function is kept.",
    )
    return Section(TITLE, ("measure", before.label, after.label, "change"), tuple(rows), notes)


def _read(file: Path) -> dict[Measured, SharpnessMeasure]:
    """The measures of one run; empty where it was not measured. RunError where the file holds something else."""
    if not file.exists():
        return {}
    try:
        with file.open(newline="", encoding="utf-8") as text:
            found = [_measure(row) for row in csv.DictReader(text)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"expected a sharpness report as CSV in {file}, got {error!r}") from None
    return {measured(one): one for one in found}


def _measure(row: dict[str, str]) -> SharpnessMeasure:
    return SharpnessMeasure(
        row["measure"],
        json.loads(row["setting"]),
        float(row["value"]),
        float(row["standard_error"]) if row["standard_error"] else None,
        int(row["cost"]),
        row["note"],
    )


def _told(measure: SharpnessMeasure) -> str:
    return f"{sign_of(measure)}{measure.value:.3g}"
