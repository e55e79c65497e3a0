"""Taking finished runs from another study, interrupted at any point: the folder opens, and nothing measured is lost."""

import os
import shutil
from pathlib import Path

import pytest
from samrec_tests import small_runs, small_studies

from samrec.errors import RunError
from samrec.experiments import reuse
from samrec.experiments.measure import MeasureSettings, measure_study
from samrec.experiments.measurements import as_json, read_measured, write_lines
from samrec.experiments.reuse import runs_elsewhere, take
from samrec.experiments.robust import Score, Scores, read_scores
from samrec.experiments.study_folder import define, held
from samrec.training.checkpoint import Run

SETTINGS = MeasureSettings(users=20, tolerance=0.2, max_products=10, pairs=2, device="cpu")


class Killed(BaseException):
    """Stands in for SIGKILL: no handler may run after it, so what cleans up is switched off beside it."""


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A study of two runs that were measured, with scores on noisy histories made up."""
    study, _ = small_studies.swept(tmp_path_factory.mktemp("origin"), seeds=(1,), epochs=1)
    assert measure_study(study, data=study.study.baseline.config.data, settings=SETTINGS) == {}
    hashes = {name: found.checkpoint.hash for name, found in read_measured(study.measured).items()}
    score = Score("replace", 0.1, "HR@10", 0.25)
    write_lines(study.robust, {name: Scores(weights, None, (score,)) for name, weights in hashes.items()})
    return study


def taken(origin, path):
    """The same study, begun at `path` with the runs of the other."""
    with held(path):
        study = define(path, origin.study, origin.seeds, origin.data)
        take(study, runs_elsewhere(study, [origin.path]))
    return study


def assert_taken_with_measurements(study, origin):
    assert [planned.name for planned in study.runs if study.run(planned)] == [planned.name for planned in origin.runs]
    ours, theirs = read_measured(study.measured), read_measured(origin.measured)
    assert {name: as_json(one) for name, one in ours.items()} == {name: as_json(one) for name, one in theirs.items()}
    assert read_scores(study.robust) == read_scores(origin.robust)
    assert not [path.name for path in study.path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("moment", ["while the first is copied", "before the first", "before the second"])
def test_an_interrupted_copy_is_taken_up_again_with_what_was_measured(moment, origin, tmp_path, monkeypatch):
    renames, copies = [], []
    replace, copy = Path.replace, shutil.copyfileobj

    def renamed(self, target):
        if self.is_dir():
            renames.append(target)
            if len(renames) == (1 if moment == "before the first" else 2):
                raise Killed
        return replace(self, target)

    def copied(*files):
        copies.append(files)
        if moment == "while the first is copied" and len(copies) == 2:
            raise Killed
        copy(*files)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", renamed)
        patch.setattr(reuse.shutil, "copyfileobj", copied)
        patch.setattr(reuse.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            taken(origin, tmp_path / "study")
    there = [planned.name for planned in origin.runs if (tmp_path / "study" / planned.name).exists()]
    assert there == [planned.name for planned in origin.runs][: moment == "before the second"]
    assert (tmp_path / "study" / f".{origin.runs[len(there)].name}.aside").is_dir()
    if there:
        assert list(read_measured(tmp_path / "study" / "measured.jsonl"))[:1] == there
    assert_taken_with_measurements(taken(origin, tmp_path / "study"), origin)


def test_a_copy_that_fails_leaves_nothing_and_says_so(origin, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(reuse.shutil, "copyfileobj", full)
        with pytest.raises(RunError, match=r"cannot copy .*sasrec-seed-1 to .*: No space left on device"):
            taken(origin, tmp_path / "study")
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["study.json"]


def test_a_copy_is_on_the_disk_before_it_has_its_name(origin, tmp_path, monkeypatch):
    flushed, fsync, replace, on_disk = set(), os.fsync, Path.replace, {}

    def flush(descriptor):
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def renamed(self, target):
        if self.is_dir():
            on_disk[target.name] = all(path.stat().st_ino in flushed for path in (self, *self.iterdir()))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", renamed)
    study = taken(origin, tmp_path / "study")
    assert on_disk == {planned.name: True for planned in origin.runs}
    assert study.path.stat().st_ino in flushed


def test_a_study_is_opened_without_touching_what_other_programs_are_writing(tmp_path):
    study = small_studies.defined(tmp_path)
    others = [".study.h5.aside", ".other.h5.aside", ".imported.7.aside/run.json"]
    left = [".study.json.7.aside", ".measured.jsonl.7.aside", ".sasrec-seed-1.aside/run.json"]
    for name in (*others, *left):
        (study.path / name).parent.mkdir(exist_ok=True)
        (study.path / name).write_bytes(b"half")
    small_studies.defined(tmp_path)
    there = {path.relative_to(study.path).as_posix() for path in study.path.rglob("*") if path.is_file()}
    assert there == {"study.json", *others}


def test_a_run_that_was_taken_is_the_run_that_it_was(origin, tmp_path):
    study = taken(origin, tmp_path / "study")
    assert_taken_with_measurements(study, origin)
    for planned in study.runs:
        one, other = (Run(folder / planned.name) for folder in (study.path, origin.path))
        small_runs.assert_same_runs(one, other)
        assert {path.name for path in one.path.iterdir()} == {path.name for path in other.path.iterdir()}
