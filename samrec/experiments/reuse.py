"""Runs that other studies have finished already, taken instead of trained again.

A run is the one asked for if its data and everything that decides its training are the same. A cap that neither of the
two configurations reaches decides nothing: a run that patience ended before both caps would have ended so under either.
"""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape.whole_files import synchronise_folder, written_whole
from samrec.config import RunConfig
from samrec.errors import RunError
from samrec.evaluation.evaluate import read_evaluation
from samrec.experiments.measurements import Measured, read_measured, write_lines, write_measured
from samrec.experiments.robust import read_scores
from samrec.experiments.study_folder import MEASURED, ROBUST, PlannedRun, StudyFolder, deciding_fields
from samrec.experiments.sweep import is_evaluated
from samrec.fingerprints import fingerprint
from samrec.training.checkpoint import Run
from samrec.training.files import read_json, write_json
from samrec.training.run_folder import FORMAT


@dataclass(frozen=True, slots=True)
class Found:
    """A finished run elsewhere that is one of a study's."""

    planned: PlannedRun
    run: Run

    @property
    def place(self) -> str:
        """As notes name it: the study's folder and the run's."""
        path = self.run.path.resolve()
        return f"{path.parent.name}/{path.name}"


def runs_elsewhere(study: StudyFolder, folders: Sequence[Path]) -> list[Found]:
    """Finished runs in these folders, at any depth, that this study asks for and has not begun; nothing is written.

    Raises:
        RunError: a folder without runs.
    """
    there = [run for folder in folders for run in _runs_in(folder)]
    found = []
    for planned in study.runs:
        if (study.path / planned.name / "run.json").exists():
            continue
        same = [run for run in there if is_same(run, planned.config, study.data) and is_evaluated(run)]
        found += [Found(planned, run) for run in sorted(same, key=lambda run: run.is_bare)[:1]]
    return found


def take(study: StudyFolder, found: Iterable[Found]) -> None:
    """Copy runs into the study's folder, with what was measured of them. Call it while the folder is `held`.

    Each folder appears whole or not at all; its run.json has the configuration asked for, and says whose run it was.
    What was measured of it comes first: a run that is there is not looked up again, and lines of one that is not there
    count for nothing.
    """
    for one in found:
        with _copied(study, one):
            _take_measurements(study, one)


def is_same(run: Run, asked: RunConfig, data: str) -> bool:
    """Whether a run is what training this configuration on the data of this fingerprint would give."""
    if run.record["status"] != "finished" or run.record["fingerprints"]["data"] != data:
        return False
    there, wanted = deciding_fields(run.config), deciding_fields(asked)
    if there == wanted:
        return True
    free_of_caps = asked.rho_schedule == "constant" or asked.rho_epochs is not None
    ended_itself = run.record.get("stopped") == "patience" and run.record["cost"]["epochs"] < asked.epochs
    return free_of_caps and ended_itself and {**there, "epochs": 0} == {**wanted, "epochs": 0}


def _runs_in(folder: Path) -> list[Run]:
    records = sorted(folder.rglob("run.json")) if folder.is_dir() else []
    if not records:
        raise RunError(f"expected runs to reuse in {folder}, found none")
    return [Run(record.parent) for record in records if read_json(record).get("format") == FORMAT]


@contextlib.contextmanager
def _copied(study: StudyFolder, one: Found) -> Iterator[None]:
    """The run's copy aside; it is in its place when the block ends without error, or else gone."""
    target, aside = study.path / one.planned.name, study.path / f".{one.planned.name}.aside"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for file in sorted(one.run.path.iterdir()):
            if file.is_file() and not file.name.startswith(".") and file.name != "run.json":
                with written_whole(aside / file.name) as copy, file.open("rb") as original:
                    shutil.copyfileobj(original, copy)
        write_json(aside / "run.json", _record(one))
        yield
        if target.exists():
            target.rmdir()  # begun, and nothing written yet
        aside.replace(target)
        synchronise_folder(study.path)
    except OSError as error:
        raise RunError(f"cannot copy {one.run.path} to {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _record(one: Found) -> dict[str, Any]:
    """The run.json of the copy."""
    config = one.planned.config
    trained = {"training": fingerprint(config.model_dump()), "training_without_seed": fingerprint(config.without_seed)}
    return {
        **one.run.record,
        "config": config.model_dump(),
        "fingerprints": {**one.run.record["fingerprints"], **trained},
        "taken_from": one.run.record.get("taken_from", one.place),
    }


def _take_measurements(study: StudyFolder, one: Found) -> None:
    """Write the lines of what was measured and ranked of the run's weights, where there are any."""
    origin, weights, name = one.run.path.resolve(), read_evaluation(one.run.path).weights, one.planned.name
    names = [planned.name for planned in study.runs]
    kept = read_measured(origin.parent / MEASURED).get(origin.name)
    if kept is not None and kept.checkpoint.hash == weights:
        measured = {**read_measured(study.measured), name: _renamed(kept, name)}
        write_measured(study.measured, {name: measured[name] for name in names if name in measured})
    ranked = read_scores(origin.parent / ROBUST).get(origin.name)
    if ranked is not None and ranked.weights == weights:
        scores = {**read_scores(study.robust), name: ranked}
        write_lines(study.robust, {name: scores[name] for name in names if name in scores})


def _renamed(measured: Measured, name: str) -> Measured:
    return Measured(
        replace(measured.checkpoint, name=name),
        replace(measured.eigenpairs, name=name, checkpoint=name),
        replace(measured.sharpness, name=name, checkpoint=name),
        measured.gap,
    )
