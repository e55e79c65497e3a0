"""Sweeps: ordinary runs, nothing done twice, another definition refused, runs that diverge or fail kept and named."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from samrec_tests import small_runs, small_studies
from samrec_tests.s3rec_files import write_s3rec_text
from samrec_tests.small_studies import SMALL, arguments

from samrec.errors import ConfigError, RunError
from samrec.evaluation.evaluate import read_evaluation
from samrec.experiments.study_folder import define, open_study
from samrec.experiments.sweep import sweep
from samrec.training.checkpoint import Run


def test_every_run_is_an_ordinary_run_folder_with_its_evaluation(finished):
    study, outcomes = finished
    names = [f"{cell}-seed-{seed}" for seed in (1, 2) for cell in ("sasrec", "samrec-rho-0.05")]
    assert [run.name for run in study.runs] == names
    assert [(outcome.run, outcome.status) for outcome in outcomes] == [(name, "finished") for name in names]
    for planned in study.runs:
        run = Run(study.path / planned.name)
        assert run.config == planned.config
        assert read_evaluation(run.path).metrics.keys() >= {"HR@10", "NDCG@10"}


def test_a_run_of_a_study_is_the_run_that_training_alone_gives(finished, tmp_path):
    study, _ = finished
    alone = small_runs.trained(tmp_path / "alone", rho=0.05, seed=2, data=study.study.baseline.config.data)
    small_runs.assert_same_runs(Run(study.path / "samrec-rho-0.05-seed-2"), alone)


def test_a_second_sweep_does_nothing_again(finished):
    study, _ = finished
    before = {planned.name: small_studies.stamps(study.path / planned.name) for planned in study.runs}
    threads = torch.get_num_threads()
    outcomes = sweep(study, data=study.study.baseline.config.data, device="cpu")
    assert [outcome.worked for outcome in outcomes] == [False] * 4
    assert {planned.name: small_studies.stamps(study.path / planned.name) for planned in study.runs} == before
    assert torch.get_num_threads() == threads


def test_runs_are_ranked_on_the_device_they_are_trained_on(tmp_path, monkeypatch):
    import samrec.experiments.sweep as module

    devices = []
    evaluate = module.evaluate_run
    monkeypatch.setattr(
        module, "evaluate_run", lambda *given, **named: devices.append(named["device"]) or evaluate(*given, **named)
    )
    small_studies.swept(tmp_path, seeds=(1,), epochs=1)
    assert devices == [torch.device("cpu")] * 2


def test_some_settings_are_trained_this_time_and_the_rest_the_next(tmp_path, samrec):
    command = [*arguments(epochs=1, seeds="1"), "--no-figures", "--json"]
    code, out, err = samrec(*command, "--only", "samrec-rho-0.05")
    first = json.loads(out)
    assert (code, first["trained"], first["waiting"]) == (0, ["samrec-rho-0.05-seed-1"], ["sasrec-seed-1"])
    assert "not trained this time: sasrec-seed-1" in err
    assert [row[1] for row in first["tables"]["Runs"][1:]] == ["SASRec", "SAMRec (rho 0.05)"]
    assert [row[0] for row in first["tables"]["Test scores"][1:]] == ["SAMRec (rho 0.05)"]
    _, out, _ = samrec(*command)
    second = json.loads(out)
    assert (second["trained"], second["waiting"]) == (["sasrec-seed-1"], [])
    code, out, err = samrec(*command, "--only", "sasrec,samrec")
    assert (code, out) == (2, "")
    assert err == "error: expected settings of the study grid out of sasrec, samrec-rho-0.05, got samrec\n"


def test_a_missing_or_foreign_evaluation_is_made_again_and_nothing_is_trained(tmp_path):
    study, _ = small_studies.swept(tmp_path, seeds=(1,), epochs=1)
    first, second = (study.path / planned.name for planned in study.runs)
    (first / "evaluation-test-masked.json").unlink()
    summary = json.loads((second / "evaluation-test-masked.json").read_text())
    (second / "evaluation-test-masked.json").write_text(json.dumps({**summary, "weights": "other"}))
    trained = [small_studies.stamps(folder)["state.safetensors"] for folder in (first, second)]
    outcomes = sweep(study, data=study.study.baseline.config.data, device="cpu")
    assert [(outcome.status, outcome.worked) for outcome in outcomes] == [("finished", True)] * 2
    assert [small_studies.stamps(folder)["state.safetensors"] for folder in (first, second)] == trained
    assert "other" not in {read_evaluation(folder).weights for folder in (first, second)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rho": "0,0.1"}, "cells SASRec, SAMRec (rho 0.05) there, SASRec, SAMRec (rho 0.1) asked"),
        ({"epochs": 3}, "epochs of SASRec: 2 there, 3 asked"),
        ({"seeds": "1,2,3"}, "the seeds it was made with, 1, 2, got 1, 2, 3; --extend adds some"),
        ({"seeds": "1"}, "the seeds it was made with, 1, 2, got 1"),
    ],
)
def test_another_definition_is_refused_in_one_line(change, message, finished, tmp_path, samrec):
    small_studies.defined(tmp_path, epochs=2)
    before = (tmp_path / "study" / "study.json").read_bytes()
    code, out, err = samrec(*arguments(**change))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert (tmp_path / "study" / "study.json").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == ["study.json"]


def test_other_data_and_another_study_are_refused(tmp_path, samrec):
    small_studies.defined(tmp_path, epochs=2)
    write_s3rec_text(small_runs.data(seed=1), tmp_path / "data.txt")
    assert "another definition: data " in samrec(*arguments())[2]
    assert "expected the study of study, grid, got rho" in samrec("sweep", "rho", "--out", "study", "--tables-only")[2]


def test_seeds_are_added_with_extend_and_nothing_is_repeated(tmp_path, samrec):
    assert samrec(*arguments(seeds="1", epochs=1))[0] == 0
    code, out, _ = samrec(*arguments("--extend", "--json", seeds="2", epochs=1))
    assert code == 0
    assert json.loads(out)["trained"] == ["sasrec-seed-2", "samrec-rho-0.05-seed-2"]
    assert open_study(tmp_path / "study").seeds == (1, 2)
    assert json.loads(samrec(*arguments("--json", seeds="2,1", epochs=1))[1])["trained"] == []


def test_tables_rebuild_from_the_run_folders_when_nothing_else_is_left(tmp_path, samrec):
    assert samrec(*arguments(epochs=1))[0] == 0
    study = tmp_path / "study"
    first = {path.name: path.read_bytes() for path in (study / "tables").iterdir()}
    for name in ("study.json", "study.h5", *(f"tables/{table}" for table in first)):
        (study / name).unlink()
    before = {path.name: small_studies.stamps(path) for path in study.iterdir() if path.name != "tables"}
    code, out, _ = samrec(*arguments("--tables-only", "--json", epochs=1))
    assert (code, json.loads(out)["trained"]) == (0, [])
    assert {path.name: path.read_bytes() for path in (study / "tables").iterdir()} == first
    assert {name: small_studies.stamps(study / name) for name in before} == before


def test_users_of_several_targets_count_once_in_the_differences(tmp_path, samrec):
    code, out, _ = samrec(*arguments("--base", "split=leave-last-2", "--json", seeds="1", epochs=1))
    differences = json.loads(out)["tables"]["Paired differences on test"]
    assert code == 0
    assert {row[-1] for row in differences[1:]} == {f"{small_runs.data().users} users, 1 pair"}


def test_a_definition_of_before_a_field_existed_still_fits(tmp_path):
    study = small_studies.defined(tmp_path)
    record = json.loads((study.path / "study.json").read_text())
    for cell in record["cells"]:
        del cell["config"]["data_fraction"]
    (study.path / "study.json").write_text(json.dumps(record))
    assert small_studies.defined(tmp_path).runs == study.runs


def test_a_definition_that_is_none_is_refused_by_its_file(tmp_path):
    study = small_studies.defined(tmp_path)
    record = json.loads((study.path / "study.json").read_text())
    record["cells"][0]["config"]["epochs"] = 0
    (study.path / "study.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"study\.json: epochs: expected 1 or more, got 0"):
        open_study(study.path)


def test_a_folder_of_another_run_is_refused_before_anything_is_trained(tmp_path):
    study = small_studies.defined(tmp_path)
    small_runs.trained(study.path / study.runs[1].name, rho=0.07, seed=1, epochs=1)
    with pytest.raises(RunError, match=r"rho 0\.07 there, 0\.05 asked"):
        sweep(study, data=study.study.baseline.config.data, device="cpu")
    assert not (study.path / study.runs[0].name).exists()


def test_a_runs_folder_is_no_place_for_a_study(finished, tmp_path, samrec):
    study, _ = finished
    run = tmp_path / "run"
    shutil.copytree(study.path / study.runs[0].name, run)
    before = sorted(run.iterdir())
    code, out, err = samrec("sweep", "rho", "--data", "data.txt", "--out", run)
    assert (code, out, err) == (2, "", f"error: expected a folder for a study, got that of a run: {run}\n")
    assert sorted(run.iterdir()) == before


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_that_cannot_be_are_refused(seeds, tmp_path):
    with pytest.raises(ConfigError, match="different seeds"):
        define(tmp_path, small_studies.study(tmp_path), seeds, "data")


def test_a_run_that_diverges_is_kept_in_the_table_and_tells_with_3(tmp_path, samrec):
    code, out, err = samrec(*arguments("--json", rho="0,1e6", epochs=1))
    payload = json.loads(out)
    assert code == 3
    assert [run["status"] for run in payload["runs"]] == ["finished", "diverged"] * 2
    assert err.count("diverged: diverged in epoch 1") == 2
    text = (tmp_path / "study" / "tables" / "study.md").read_text()
    assert "SAMRec (rho 1e+06): 2 of 2 runs diverged." in text
    assert "| SAMRec (rho 1e+06) | 0 of 2 | - |" in text
    assert (tmp_path / "study" / "samrec-rho-1e06-seed-1").exists()  # not 1e-06
    again = samrec(*arguments("--json", rho="0,1e6", epochs=1))
    assert (again[0], json.loads(again[1])["trained"]) == (3, [])


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path, samrec):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "sasrec-seed-1").write_text("in the way")
    code, out, err = samrec(*arguments("--json", epochs=1))
    payload = json.loads(out)
    assert code == 2
    assert list(payload["failed"]) == ["sasrec-seed-1"]
    assert [run["status"] for run in payload["runs"]] == ["not begun", "finished", "finished", "finished"]
    assert "sasrec-seed-1 failed: " in err
    assert err.splitlines()[-1].startswith("error: expected every run to come to its end")


def test_a_dry_run_tells_what_is_left_and_writes_nothing(tmp_path, samrec):
    before = sorted(path.name for path in tmp_path.iterdir())
    code, out, _ = samrec(*arguments("--dry-run", "--json"))
    cost = json.loads(out)
    assert (code, cost["runs"], cost["runs_left"]) == (0, 4, 4)
    assert cost["gradients_to_the_caps"] == 2 * (2 * 3 + 2 * 3 * 2)  # seeds, epochs of three steps, SAM twice
    assert cost["fields_that_vary"] == ["rho", "sam"]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_a_base_leaves_out_of_a_study_is_told_in_the_plan_and_under_the_tables(tmp_path, samrec):
    base = [text for value in (*SMALL, "epochs=1", "method=cl4srec") for text in ("--base", value)]
    command = ["sweep", "sam-family", "--out", "study", "--data", "data.txt", "--seeds", "1", "--no-figures", *base]
    status, out, err = samrec(*command, "--dry-run", "--json")
    assert (status, err) == (0, "")
    (note,) = json.loads(out)["notes"]
    assert "sam_users 5 (cl4srec contrasts" in note
    assert note in samrec(*command, "--dry-run")[1]
    assert samrec(*command, "--json")[0] == 0
    assert note in (tmp_path / "study" / "tables" / "study.md").read_text()
    assert open_study(tmp_path / "study").study.notes == (note,)


def test_the_list_tells_every_study_as_json_too(samrec):
    code, out, _ = samrec("sweep", "--list", "--json")
    assert code == 0
    assert json.loads(out)["rho"].endswith("?")
    assert "data-fraction" in samrec("sweep", "--list")[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("sweep",), "expected --out"),
        (("sweep", "rho", "--out", "x"), "expected a study and --data"),
        (("sweep", "--data", "data.txt", "--out", "x"), "expected a study and --data"),
        (("sweep", "radius", "--data", "data.txt", "--out", "x"), "expected a study out of"),
        (("sweep", "grid", "--data", "data.txt", "--out", "x"), "expected fields to vary"),
        (
            ("sweep", "grid", "--vary", "split=leave-one-out,leave-last-2", "--data", "data.txt", "--out", "x"),
            "expected one split in all runs of a study",
        ),
        (("sweep", "rho", "--data", "data.txt", "--out", "x", "--base", "epochs"), "expected FIELD=VALUE for --base"),
        (("sweep", "rho", "--data", "data.txt", "--out", "x", "--base", "seed=1"), "expected --seeds for seed"),
        (("sweep", "rho", "--data", "data.txt", "--out", "x", "--base", "epochs=0"), "epochs"),
        (("sweep", "rho", "--data", "data.txt", "--out", "x", "--seeds", "1,a"), "whole numbers"),
        (("sweep", "rho", "--data", "nowhere.txt", "--out", "x"), "nowhere"),
        (("sweep", "--tables-only", "--out", "x"), "expected a study in x, found no study.json"),
        (("sweep", "rho", "--tables-only", "--data", "data.txt", "--out", "x"), "expected a study in x"),
        (("sweep", "rho", "--data", "data.txt", "--out", "x", "--seeds", "1,1"), "expected different seeds"),
        (("sweep", "rho", "--data", "data.txt", "--out", "x", "--seeds", "-1"), "expected different seeds from 0"),
        (("sweep", "rho", "--data", "data.txt", "--out", "x", "--seeds", str(2**63)), "expected different seeds from"),
        (("sweep", "rho", "--data", "data.txt", "--out", "x", "--device", "tpu"), "expected a device such as"),
        (("sweep", "rho", "--data", "data.txt", "--out", "x", "--base", "l2=0", "--base", "l2=1"), "each field once"),
        (("sweep", "grid", "--data", "data.txt", "--out", "x", "--vary", "l2=0,1", "--vary", "l2=0,2"), "each field"),
        (
            ("sweep", "loss", "--data", "data.txt", "--out", "x"),
            "SASRec, loss gbce: expected fewer negatives than the 200 items, got 256",
        ),
        (("sweep", "rho", "--data", "data.txt", "--out", "x", "--pretrained", "nowhere"), "nowhere"),
        (("sweep", "rho", "--data", "data.txt", "--out", "data.txt/x"), "expected a folder, got a file"),
    ],
)
def test_misuse_is_one_line(more, message, samrec, tmp_path):
    code, out, err = samrec(*more)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (Path("x")).exists()
