"""A study kept without weights goes on where it was; runs that another study has finished are not trained again."""

import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from samrec_tests import small_runs, small_studies
from samrec_tests.commands import samrec_in
from samrec_tests.small_studies import arguments
from scipy import stats

from landscape.changes import measured
from landscape.exchange.csv_files import sharpness_csv
from landscape.records import BlockMass
from landscape.store import Store
from samrec.errors import RunError
from samrec.evaluation.evaluate import read_evaluation
from samrec.experiments.measurements import as_json, read_measured, write_measured
from samrec.experiments.reuse import is_same
from samrec.experiments.sharpness_table import sharpness_sections
from samrec.experiments.study_folder import held, open_study
from samrec.training.checkpoint import Run

MEASURING = ("--measure", "--robust", "--users", "20", "--tolerance", "0.2", "--max-products", "40")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A measured study, exported: its folder, that of its record."""
    folder = tmp_path_factory.mktemp("exported")
    small_studies.data_file(folder)
    with pytest.MonkeyPatch.context() as patch:
        samrec = samrec_in(folder, patch, Silent())
        assert samrec(*arguments(*MEASURING, "--export", "kept", epochs=1))[0] == 0
    return folder / "study", folder / "kept"


class Silent:
    """Stands in for capsys where a fixture outlives a test."""

    def readouterr(self):
        return self

    out = err = ""


def differing(one, other):
    """What `diff -r` says."""
    found = subprocess.run(["diff", "-r", one, other], capture_output=True, text=True, check=False)
    assert found.returncode < 2, found.stderr  # 2: a folder that is not there
    return found.stdout


def texts(folder):
    return {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}


def test_a_record_has_all_but_weights_and_names_no_place(exported):
    study, kept = exported
    files = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    runs = [planned.name for planned in open_study(study).runs]
    own = ("run.json", "history.jsonl", "evaluation-test-masked.json", "ranks-test-masked.npz")
    tables = {f"tables/{name}" for name in texts(study)}
    assert files == {f"{run}/{name}" for run in runs for name in own} | tables | {
        *("study.json", "measured.jsonl", "robust.jsonl"),
    }
    assert texts(kept) == texts(study)
    for name in files - {name for name in files if name.endswith(".npz")}:
        assert str(study.parent) not in (kept / name).read_text(), name


def test_from_its_record_alone_a_study_goes_on_and_repeats_nothing(exported, tmp_path, samrec):
    study, kept = exported
    shutil.copytree(kept, tmp_path / "study")
    command = arguments(*MEASURING, "--export", "again", "--json", epochs=1)
    code, out, err = samrec(*command)
    assert (code, err) == (0, "again: the record of 4 of 4 runs, without weights\n")
    assert json.loads(out)["trained"] == []
    assert not list((tmp_path / "study").rglob("*.safetensors"))
    assert differing(kept, tmp_path / "again") == ""
    (tmp_path / "study" / "study.h5").unlink()
    assert differing(kept, tmp_path / "study") == ""
    assert samrec("sweep", "--out", "study", "--tables-only", "--no-figures")[0] == 0
    assert texts(tmp_path / "study") == texts(study)
    ours, theirs = Store.read(tmp_path / "study" / "study.h5"), Store.read(study / "study.h5")
    for name in theirs.names("curvature"):
        assert as_json(ours.checkpoint(name)) == as_json(theirs.checkpoint(name))
        assert as_json(ours.eigenpairs(name)) == as_json(theirs.eigenpairs(name))
        assert as_json(ours.sharpness(name)) == as_json(theirs.sharpness(name))


def test_every_sharpness_measure_is_a_row_with_its_change_over_seeds(exported, tmp_path, samrec):
    _, kept = exported
    shutil.copytree(kept, tmp_path / "study")
    study = open_study(tmp_path / "study")
    assert sharpness_sections(study) == []
    reports = {name: found.sharpness for name, found in read_measured(study.measured).items()}
    (study.path / "sharpness").mkdir()
    for name, report in reports.items():
        (study.path / "sharpness" / f"{name}.sharpness.csv").write_bytes(sharpness_csv(report))
    (section,) = sharpness_sections(study)
    assert section.header == ("measure", *(cell.label for cell in study.study.cells), "change")
    pairs = [(planned.name, other.name) for planned, other in zip(study.runs[::2], study.runs[1::2], strict=True)]
    assert len(pairs) == 2
    for number, row in enumerate(section.rows):
        before, after = (np.array([reports[pair[side]].measures[number].value for pair in pairs]) for side in (0, 1))
        low, high = stats.ttest_rel(after, before).confidence_interval(0.95)
        assert row[0] == str(measured(reports[pairs[0][0]].measures[number]))
        assert [float(cell.removeprefix("≥ ")) for cell in row[1].split(" / ")] == pytest.approx(before, rel=6e-3)
        scale = before.mean()
        assert row[3] == f"{(after - before).mean() / scale:+.0%} [{low / scale:+.0%}, {high / scale:+.0%}]"
        assert ((number, 3) in section.bold) == (low > 0 or high < 0)
    code, _, _ = samrec("sweep", "--out", "study", "--tables-only", "--no-figures", "--export", "again")
    assert code == 0
    assert differing(tmp_path / "study" / "sharpness", tmp_path / "again" / "sharpness") == ""
    assert "Every sharpness measure" in (tmp_path / "again" / "tables" / "study.md").read_text(encoding="utf-8")
    (study.path / "where").mkdir()
    for name, report in reports.items():
        (study.path / "where" / f"{name}.trace.csv").write_text(
            f"quantity,block,coordinates,free_coordinates,value,standard_error\ntrace,norms,raw,9,{len(name)},0.5\n"
        )
        (study.path / "where" / f"{name}-validation.sharpness.csv").write_bytes(sharpness_csv(report))
    _, where = sharpness_sections(study)
    assert where.rows[0][0] == "trace, norms (raw)"
    assert where.rows[0][1:3] == tuple(" / ".join(str(len(pair[side])) for pair in pairs) for side in (0, 1))
    assert [row[0] for row in where.rows[1:]] == [f"{row[0]}, validation" for row in section.rows]
    assert [row[1:] for row in where.rows[1:]] == [row[1:] for row in section.rows]
    shutil.rmtree(study.path / "where")
    missing = next((study.path / "sharpness").iterdir())
    for other in ("measure,value\nsam,1\n", "measure,setting,value,standard_error,cost,note\nsam,{,1,,1,\n"):
        missing.write_text(other)
        with pytest.raises(RunError, match=f"expected a sharpness report as CSV in .*{missing.name}"):
            sharpness_sections(study)
    missing.unlink()
    assert sharpness_sections(study) == []


def test_what_stands_in_the_way_of_a_record_is_found_before_anything_is_trained(tmp_path, samrec):
    small_studies.data_file(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "run.json").write_text("{}")
    for place, why in (("taken", "that of a run"), ("study", "another folder")):
        code, out, err = samrec(*arguments("--export", place, epochs=1))
        assert (code, out) == (2, "")
        assert why in err
        assert [path.name for path in (tmp_path / "study").iterdir()] == ["study.json"]


def test_what_a_record_lacks_is_trained_and_measured_alone(exported, tmp_path, samrec):
    _, kept = exported
    shutil.copytree(kept, tmp_path / "study")
    shutil.rmtree(tmp_path / "study" / "sasrec-seed-2")
    before = (tmp_path / "study" / "measured.jsonl").read_text().splitlines()
    code, out, err = samrec(*arguments(*MEASURING, "--json", epochs=1))
    assert (code, err, json.loads(out)["trained"]) == (0, "", ["sasrec-seed-2"])
    assert Run(tmp_path / "study" / "sasrec-seed-2").load_model()
    after = (tmp_path / "study" / "measured.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in after] == [json.loads(line)["run"] for line in before]
    again = json.loads(after[2])  # the same weights again: measured already
    assert after == before
    assert again["run"] == "sasrec-seed-2"


def test_a_run_without_weights_that_was_not_measured_stays_so_and_is_named(exported, tmp_path, samrec):
    _, kept = exported
    shutil.copytree(kept, tmp_path / "study")
    lines = (tmp_path / "study" / "measured.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "study" / "measured.jsonl").write_text("".join(lines[1:]))
    code, out, err = samrec(*arguments(*MEASURING, "--json", epochs=1))
    assert (code, err) == (3, "not measured, as their weights are not here: sasrec-seed-1\n")
    assert (json.loads(out)["failed"], json.loads(out)["without_weights"]) == ({}, ["sasrec-seed-1"])
    assert "- Not measured: sasrec-seed-1." in (tmp_path / "study" / "tables" / "study.md").read_text()


def test_measurements_of_other_weights_than_the_evaluated_ones_do_not_count(exported, tmp_path):
    _, kept = exported
    study = open_study(shutil.copytree(kept, tmp_path / "study"))
    found = read_measured(study.measured)
    other = replace(found["sasrec-seed-1"].checkpoint, hash="0" * 64)
    write_measured(study.measured, {**found, "sasrec-seed-1": replace(found["sasrec-seed-1"], checkpoint=other)})
    from samrec.experiments.study_values import read_values

    assert read_values(study).unmeasured == ("sasrec-seed-1",)


def test_a_bare_run_whose_history_or_evaluation_is_not_whole_is_not_done(exported, tmp_path, samrec):
    _, kept = exported
    shutil.copytree(kept, tmp_path / "study")
    (tmp_path / "study" / "sasrec-seed-1" / "history.jsonl").write_text("")
    (tmp_path / "study" / "sasrec-seed-2" / "ranks-test-masked.npz").unlink()
    code, out, _ = samrec(*arguments("--json", epochs=1))
    assert code == 2
    assert set(json.loads(out)["failed"]) == {"sasrec-seed-1", "sasrec-seed-2"}


def test_a_record_grows_and_keeps_what_it_had(exported, tmp_path, samrec):
    _, kept = exported
    shutil.copytree(kept, tmp_path / "kept")
    assert samrec(*arguments("--export", "kept", out="fresh", seeds="3", epochs=1))[0] == 0
    grown = open_study(tmp_path / "kept")
    assert grown.seeds == (1, 2, 3)
    assert list(read_measured(grown.measured)) == list(read_measured(open_study(kept).measured))
    assert "Not measured: sasrec-seed-3, samrec-rho-0.05-seed-3." in (
        tmp_path / "kept" / "tables" / "study.md"
    ).read_text().replace("- Not", "Not")
    for name, message in (("fresh", "another folder for the study's record"), ("data.txt", "expected a folder")):
        code, out, err = samrec("sweep", "--out", "fresh", "--export", name)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err
    code, _, err = samrec(*arguments("--export", "kept", out="other", rho="0,0.1", epochs=1))
    assert code == 2
    assert "another definition: cells" in err


def test_a_record_is_taken_of_what_is_finished_while_a_sweep_is_at_work(exported, tmp_path, samrec):
    study = shutil.copytree(exported[0], tmp_path / "study")
    Run(study / "sasrec-seed-2").update(status="running")
    before = differing(exported[0], study)
    with held(study):
        code, out, err = samrec("sweep", "--out", "study", "--export", "kept", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "folder": "kept",
        "runs": ["sasrec-seed-1", "samrec-rho-0.05-seed-1", "samrec-rho-0.05-seed-2"],
        "of": 4,
    }
    assert differing(exported[0], study) == before
    kept = open_study(tmp_path / "kept")
    assert [kept.run(planned) is not None for planned in kept.runs] == [True, True, False, True]
    assert "sasrec-seed-2" not in read_measured(kept.measured)


def test_finished_runs_of_another_study_are_taken_with_what_was_measured(exported, tmp_path, samrec):
    study, kept = exported
    asked = arguments(*MEASURING, "--reuse", study, "--json", rho="0,0.1", seeds="1", epochs=1)
    plan = json.loads(samrec(*asked, "--dry-run")[1])
    assert (plan["runs_left"], plan["runs_taken"]) == (1, {"sasrec-seed-1": "study/sasrec-seed-1"})
    assert not (tmp_path / "study").exists()
    code, out, _ = samrec(*asked)
    assert (code, json.loads(out)["trained"]) == (0, ["samrec-rho-0.1-seed-1"])
    taken = Run(tmp_path / "study" / "sasrec-seed-1")
    for name in ("best.safetensors", "state.safetensors", "history.jsonl"):
        assert (taken.path / name).read_bytes() == (study / "sasrec-seed-1" / name).read_bytes()
    assert taken.record["fingerprints"] == Run(study / "sasrec-seed-1").record["fingerprints"]
    assert taken.record["taken_from"] == "study/sasrec-seed-1"
    ours, theirs = (read_measured(folder / "measured.jsonl")["sasrec-seed-1"] for folder in (tmp_path / "study", study))
    assert as_json(ours) == as_json(theirs)
    note = "Taken from other studies, not trained again: sasrec-seed-1 of study/sasrec-seed-1."
    assert note in (tmp_path / "study" / "tables" / "study.md").read_text()
    code, out, _ = samrec(*arguments("--reuse", kept, "--json", out="bare", rho="0,0.1", seeds="1", epochs=1))
    assert (code, json.loads(out)["trained"]) == (0, ["samrec-rho-0.1-seed-1"])  # a record serves as well
    code, out, err = samrec(*arguments("--reuse", "nowhere", out="x"))
    assert (code, out, err) == (2, "", "error: expected runs to reuse in nowhere, found none\n")


def test_a_cap_that_neither_reaches_makes_no_other_run(tmp_path):
    run = small_runs.trained(tmp_path / "run", epochs=60, patience=1, rho=0.05)
    epochs, data = run.record["cost"]["epochs"], small_runs.data().fingerprint
    assert run.record["stopped"] == "patience"

    def same(record=None, **changes):
        asked = small_runs.config(**{"epochs": 60, "patience": 1, "rho": 0.05, **changes})
        if record:
            Run(run.path).update(**record)
        return is_same(Run(run.path), asked, data)

    assert same()
    assert same(epochs=epochs + 1)
    again = small_runs.trained(tmp_path / "again", epochs=epochs + 1, patience=1, rho=0.05)
    assert small_runs.history(again) == small_runs.history(run)
    assert not same(epochs=epochs)
    assert not same(patience=2)
    assert not same(epochs=200, rho=0.06)
    assert not same(rho_schedule="cosine")
    assert not is_same(run, run.config, "other data")
    assert not same({"stopped": "cap"}, epochs=200)
    assert not same({"status": "diverged"})


def test_measurements_read_back_as_they_were(exported, tmp_path):
    study, _ = exported
    found = read_measured(study / "measured.jsonl")["sasrec-seed-1"]
    mass = BlockMass(("a", "b"), np.array([3, 4]), 7, np.array([[0.25, 0.75], [1.0, 0.0]]))
    odd = np.array([np.nan, -np.inf])
    whole = replace(found, eigenpairs=replace(found.eigenpairs, mass=mass, residuals=odd))
    write_measured(tmp_path / "measured.jsonl", {"sasrec-seed-1": whole})
    again = read_measured(tmp_path / "measured.jsonl")["sasrec-seed-1"]
    assert as_json(again) == as_json(whole)
    np.testing.assert_array_equal(again.eigenpairs.residuals, odd)
    assert again.eigenpairs.mass.masses.tolist() == mass.masses.tolist()
    assert again.sharpness == whole.sharpness
    assert as_json({"in": "/a/b/c", "target": "samrec:/x/y/run-1@best", "not": "λ1 / λ5, a/b"}) == {
        "in": "c",
        "target": "samrec:run-1@best",
        "not": "λ1 / λ5, a/b",
    }


@pytest.mark.parametrize("line", ["{}", "[]", "{", '{"run": "a", "checkpoint": {}}'])
def test_a_line_that_holds_no_measurements_is_named(line, exported, tmp_path):
    good = (exported[0] / "measured.jsonl").read_text().splitlines()[0]
    (tmp_path / "measured.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(RunError, match=r"of a run in line 2 of .*measured\.jsonl"):
        read_measured(tmp_path / "measured.jsonl")


def test_ranks_are_kept_exactly_and_those_of_before_are_read(exported, tmp_path):
    run = shutil.copytree(exported[0] / "sasrec-seed-1", tmp_path / "run")
    found = read_evaluation(run)
    assert (found.users.dtype, found.ranks.dtype) == (np.int64, np.float64)
    assert (2 * found.ranks % 1 == 0).all()
    told = {"weights": np.array(found.weights), "protocol": np.array(found.protocol)}
    np.savez_compressed(run / "ranks-test-masked.npz", users=found.users, ranks=found.ranks, **told)
    again = read_evaluation(run)
    np.testing.assert_array_equal(again.users, found.users)
    np.testing.assert_array_equal(again.ranks, found.ranks)
