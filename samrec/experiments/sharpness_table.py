"""Tables of sharpness of a study's runs: every measure of the whole, and a few of them where they live.

From what `landscape export STORE --format csv` writes of the reports of its runs: RUN.sharpness.csv in the study's
`sharpness/` folder, and in `where/` those of single parts of the weights, with RUN-validation.sharpness.csv on other
targets and RUN.trace.csv of the trace by part. The first cell that is against another one is compared with it, over all
seeds, as the verdict of a report does.
"""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from landscape.changes import Measured, change_over, measured
from landscape.records import SharpnessMeasure
from landscape.sharpness.names import is_settled, sign_of
from samrec.errors import RunError
from samrec.experiments.study_folder import StudyFolder
from samrec.experiments.table import Section

ENDING, TRACE = ".sharpness.csv", ".trace.csv"
OTHER_SPLITS = ("validation",)  # of the data, told in a file's name
SCALES = {"raw": "absolute", "relative": "relative"}  # of a trace's coordinates, as other measures call them
Report = dict[Measured, SharpnessMeasure]


def sharpness_sections(study: StudyFolder) -> list[Section]:
    """A row a measure that all runs of both cells have, of the whole and of the parts; those that have any.

    Raises:
        RunError: a file that is no such report.
    """
    sections = [
        _section(
            study, "Every sharpness measure", lambda run: _read(study.path / "sharpness" / f"{run}{ENDING}", _measure)
        ),
        _section(study, "Where the sharpness lives", lambda run: _parts(study.path / "where", run)),
    ]
    return [section for section in sections if section is not None]


def _section(study: StudyFolder, title: str, report_of: Callable[[str], Report]) -> Section | None:
    after = next((cell for cell in study.study.cells if cell.against is not None), None)
    if after is None:
        return None
    before = next(cell for cell in study.study.cells if cell.label == after.against)
    runs = [[report_of(f"{cell.slug}-seed-{seed}") for seed in study.seeds] for cell in (before, after)]
    rows: list[tuple[str, ...]] = []
    bold = set()
    for name in runs[0][0]:
        if not all(name in run for group in runs for run in group):
            continue
        ours, theirs = ([run[name] for run in group] for group in runs)
        pairs = [(a.value, b.value) for a, b in zip(ours, theirs, strict=True)]
        change = change_over(name, pairs) if all(map(is_settled, ours + theirs)) else None
        if change is not None and change.is_flatter is not None:
            bold.add((len(rows), 3))
        told = "" if change is None else change.told
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
    header = ("measure", before.label, after.label, "change")
    return Section(title, header, tuple(rows), notes, frozenset(bold))


def _parts(folder: Path, run: str) -> Report:
    """Of one run the trace by part, then the measures of each part, on training targets and on other ones."""
    found = _read(folder / f"{run}{TRACE}", _trace) | _read(folder / f"{run}{ENDING}", _measure)
    for split in OTHER_SPLITS:
        others = _read(folder / f"{run}-{split}{ENDING}", _measure)
        found |= {replace(name, split=split): one for name, one in others.items()}
    return found


def _read(file: Path, measure_of: Callable[[dict[str, str]], SharpnessMeasure]) -> Report:
    """The measures of one run; empty where it was not measured. RunError where the file holds something else."""
    if not file.exists():
        return {}
    try:
        with file.open(newline="", encoding="utf-8") as text:
            found = [measure_of(row) for row in csv.DictReader(text)]
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


def _trace(row: dict[str, str]) -> SharpnessMeasure:
    part = {} if row["block"] == "all" else {"block": row["block"]}
    setting = {**part, "scale": SCALES[row["coordinates"]]}
    return SharpnessMeasure(row["quantity"], setting, float(row["value"]), float(row["standard_error"]), 0)


def _told(measure: SharpnessMeasure) -> str:
    return f"{sign_of(measure)}{measure.value:.3g}"
