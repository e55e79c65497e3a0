"""A study without its weights: what to keep of it beside code, small enough for that, and enough to go on from.

Of every run that came to its end run.json, history.jsonl and the ranks of its evaluation; study.json, measured.jsonl,
robust.jsonl, sharpness/, where/, and the tables, which rebuild from these byte for byte. `samrec sweep` takes the copy
for the study it is: it repeats nothing, and trains what is missing.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from samrec.config import Pretrained
from samrec.errors import RunError
from samrec.evaluation.evaluate import keep_evaluation, read_evaluation
from samrec.experiments.cells import Cell, Study
from samrec.experiments.measurements import as_json, read_measured, write_lines, write_measured
from samrec.experiments.robust import read_scores
from samrec.experiments.study_figures import laid_out
from samrec.experiments.study_folder import StudyFolder, define, held
from samrec.experiments.sweep import done
from samrec.experiments.table_files import write_tables
from samrec.training.checkpoint import Run
from samrec.training.files import write_bytes, write_json

Kept = TypeVar("Kept")
REPORTS = ("sharpness", "where")  # folders of what `landscape export` writes of the runs


def begin_record(study: StudyFolder, to: Path) -> StudyFolder:
    """A folder for the record of a study, with its definition, so that nothing stands in its way once runs are trained.

    Raises:
        RunError: the folder is the study's own, holds another study or a run, or cannot be written.
    """
    if to.resolve() == study.path.resolve():
        raise RunError(f"expected another folder for the study's record than its own, got {to}")
    with held(to):
        return define(to, _placeless(study.study), study.seeds, study.data, extend=True)


def export_study(study: StudyFolder, to: Path) -> list[str]:
    """Put the record of a study into a folder, or bring the one there up to date; returns the runs it was given.

    Runs that are there and not here stay, with what was measured of them; of absolute paths the last part is kept.

    Raises:
        RunError: see `begin_record`; or a file cannot be written.
    """
    record = begin_record(study, to)
    with held(to):
        given = [planned for planned in study.runs if done(study, planned) is not None]
        for planned in given:
            run = study.run(planned)
            assert run is not None
            _export_run(run, to / planned.name)
        if measured := _merged(record, read_measured(study.measured), read_measured(record.measured)):
            write_measured(record.measured, measured)
        if scores := _merged(record, read_scores(study.robust), read_scores(record.robust)):
            write_lines(record.robust, scores)
        for file in sorted(file for folder in REPORTS for file in (study.path / folder).glob("*.csv")):
            (to / file.parent.name).mkdir(exist_ok=True)
            write_bytes(to / file.parent.name / file.name, file.read_bytes())
        _, sections, tables = laid_out(record)
        write_tables(to / "tables", "study", tables, sections)
    return [planned.name for planned in given]


def _export_run(run: Run, to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    if run.record["status"] == "finished":
        keep_evaluation(read_evaluation(run.path), to)
    history = run.path / "history.jsonl"
    if history.exists():
        write_bytes(to / history.name, history.read_bytes())
    write_json(to / "run.json", as_json(run.record))


def _merged(record: StudyFolder, ours: Mapping[str, Kept], theirs: Mapping[str, Kept]) -> dict[str, Kept]:
    """Lines of both about runs that are there, in the study's order; where both have a run, ours."""
    both = {**theirs, **ours}
    return {run.name: both[run.name] for run in record.runs if run.name in both and record.run(run)}


def _placeless(study: Study) -> Study:
    """The same study, its data and pre-trainings named without their folders."""
    return replace(study, cells=tuple(_placeless_cell(cell) for cell in study.cells))


def _placeless_cell(cell: Cell) -> Cell:
    config, start = cell.config, cell.config.pretrained
    changes = {"data": as_json(config.data), "pretrained": _placeless_start(start) if start else None}
    starts = {seed: _placeless_start(one) for seed, one in cell.starts.items()}
    return replace(cell, config=config.model_copy(update=changes), starts=starts)


def _placeless_start(start: Pretrained) -> Pretrained:
    return start.model_copy(update={"run": as_json(start.run)})
