"""`samrec train` from the command line: exit codes, one line an error, JSON alone, Ctrl-C and on again."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import torch
from samrec_tests import small_runs
from samrec_tests.s3rec_files import write_s3rec_text

from samrec.config import RunConfig
from samrec.data.s3rec_text import read_s3rec_text
from samrec.training.checkpoint import Run
from samrec.training.files import read_tensors, write_tensors
from samrec.training.trainer import train

SMALL = ["--size", "8", "--layers", "1", "--max-length", "16", "--batch-size", "20", "--device", "cpu"]


def train_arguments(*more, out="run", epochs=2):
    return ["train", "--data", "data.txt", "--out", out, "--epochs", epochs, *SMALL, *more]


def assert_one_line(outcome, *words):
    code, out, err = outcome
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def test_a_run_is_summed_up_in_a_line(samrec, tmp_path):
    code, out, err = samrec(*train_arguments("--rho", 0.05))
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert out.startswith("SAMRec (rho 0.05), seed 0: best epoch ")
    assert "stopped by cap, 12 gradients" in out
    assert Run(tmp_path / "run").config.data == str(tmp_path / "data.txt")  # found from any folder


def test_a_member_of_sams_family_is_put_together_from_options(samrec, tmp_path):
    family = "--rho 0.5 --asam --asam-eta 0.02 --sam-period 2 --sam-alpha 0.5 --sam-users 5 --sam-group body"
    rest = "--rho-schedule step --rho-epochs 1 --rho-factor 0.1 --optimizer sgd --momentum 0.9 --weight-decay 0.01"
    code, out, err = samrec(*train_arguments(*family.split(), *rest.split(), "--l2", "1e-4"))
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert out.startswith("m-LookASAM (rho 0.5, step over 1 epochs, factor 0.1, k 2, alpha 0.5, eta 0.02, m 5, body ")
    assert "SGD, momentum 0.9, decay 0.01, L2 0.0001), seed 0: best epoch" in out
    assert "9 gradients" in out  # six steps, three of them climb
    code, out, err = samrec(*train_arguments("--rho", 0.1, "--sam-period", 2, "--sam-between", "plain", out="plain"))
    assert out.startswith("SAMRec (rho 0.1, plain steps between, k 2)")
    code, out, err = samrec(*train_arguments("--micro-batch", 7, "--json", out="cut"))
    assert (code, json.loads(out)["config"]["micro_batch"]) == (0, 7)


def test_options_of_a_loss_and_of_the_contrast_reach_the_run(samrec, tmp_path):
    contrast = ["--cl-weight", 0.2, "--cl-temperature", 0.5, "--cl-similarity", "cosine", "--cl-vectors", "all"]
    shares = ["--cl-operators", "crop,mask", "--cl-crop", 0.5, "--cl-mask", 0.4, "--cl-reorder", 0.3]
    loss = ["--loss", "gbce", "--negative-count", 7, "--gbce-t", 0.9]
    code, out, err = samrec(*train_arguments("--method", "cl4srec", *loss, *contrast, *shares, epochs=1))
    assert (code, err) == (0, "")
    assert out.startswith("CL4SRec, seed 0: ")
    config = Run(tmp_path / "run").config
    assert (config.loss, config.negative_count, config.gbce_t) == ("gbce", 7, 0.9)
    assert config.contrast.model_dump() == {
        "weight": 0.2,
        "temperature": 0.5,
        "similarity": "cosine",
        "vectors": "all",
        "operators": ("crop", "mask"),
        "crop": 0.5,
        "mask": 0.4,
        "reorder": 0.3,
    }


def test_json_is_all_there_is_on_stdout(samrec):
    code, out, err = samrec(*train_arguments("--json"))
    record = json.loads(out)
    assert (code, err) == (0, "")
    assert (record["status"], record["stopped"], record["cost"]["gradients"]) == ("finished", "cap", 6)


@pytest.mark.parametrize("as_json", [True, False])
def test_a_dry_run_writes_nothing(as_json, samrec, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    code, out, err = samrec(*train_arguments("--dry-run", "--rho", 0.05, *(["--json"] if as_json else [])))
    assert (code, err) == (0, "")
    assert sorted(tmp_path.rglob("*")) == before
    if as_json:
        cost = json.loads(out)
        assert (cost["steps_an_epoch"], cost["gradients_to_the_cap"]) == (3, 12)
    else:
        assert "gradients to the cap: 12" in out


def test_a_diverged_run_leaves_with_3_and_its_record(samrec, tmp_path):
    code, out, err = samrec(*train_arguments("--rho", "1e6"))
    assert (code, out) == (3, "")
    assert err.startswith("error: diverged in epoch 1: ")
    assert err.count("\n") == 1
    assert Run(tmp_path / "run").record["status"] == "diverged"


def test_a_run_there_already_is_misuse_unless_resumed(samrec):
    _, first, _ = samrec(*train_arguments("--json"))
    assert_one_line(samrec(*train_arguments()), "expected no run in run", "resume")
    assert samrec(*train_arguments("--resume", "--json")) == (0, first, "")
    assert_one_line(samrec(*train_arguments("--resume", "--seed", 1)), "seed 0 there, 1 asked")
    write_s3rec_text(small_runs.data(seed=1), "data.txt")
    assert_one_line(samrec(*train_arguments("--resume")), "was trained on")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--rho", "-1"), "rho"),
        (("--rho", "inf"), "rho"),
        (("--rho", "nan"), "rho"),
        (("--loss", "hinge"), "loss"),
        (("--loss", "ce", "--negative-count", "3"), "negative_count"),
        (("--negative-count", "0"), "negative_count"),
        (("--negative-count", "200"), "fewer negatives than the 200 items"),
        (("--gbce-t", "0.5"), "gbce_t"),
        (("--method", "bert4rec"), "method"),
        (("--cl-weight", "0.2"), "cl4srec"),
        (("--method", "cl4srec", "--cl-operators", "crop,flip"), "contrast.operators"),
        (("--method", "cl4srec", "--cl-similarity", "angle"), "contrast.similarity"),
        (("--method", "cl4srec", "--cl-temperature", "nan"), "contrast.temperature"),
        (("--sam-group", "head"), "sam_group"),
        (("--sam-period", "5"), "sam_period 5 has no effect"),
        (("--rho", "0.1", "--rho-factor", "0.1"), "rho_factor 0.1 has no effect"),
        (("--weight-decay", "0.1"), "adamw or sgd"),
        (("--optimizer", "lion"), "optimizer"),
        (("--micro-batch", "21"), "batch_size"),
        (("--size", "9"), "heads"),
        (("--dropout", "1"), "dropout"),
        (("--threads", "0"), "threads"),
        (("--device", "abacus"), "abacus"),
        (("--epoch-count", "3"), "epoch-count"),
    ],
)
def test_misuse_is_one_line(arguments, word, samrec, tmp_path):
    assert_one_line(samrec(*train_arguments(*arguments)), word)
    assert not (tmp_path / "run").exists()


def test_data_that_is_not_there_is_one_line(samrec):
    assert_one_line(samrec("train", "--data", "nowhere.txt", "--out", "run"), "nowhere.txt")


def misshapen(tensors, name):
    tensors[name] = tensors[name][:-1].contiguous()


def poisoned(tensors, name):
    tensors[name][1] = torch.nan


def missing(tensors, name):
    del tensors[name]


@pytest.mark.parametrize(
    ("spoil", "word"), [(misshapen, "shape (202, 8)"), (poisoned, "NaN or infinity"), (missing, "got none")]
)
def test_weights_that_do_not_fit_are_one_line(spoil, word, samrec, tmp_path):
    samrec(*train_arguments(epochs=1))
    tensors, metadata = read_tensors(tmp_path / "run" / "best.safetensors")
    spoil(tensors, "item_embedding.weight")
    write_tensors(tmp_path / "run" / "best.safetensors", tensors, metadata)
    assert_one_line(samrec("evaluate", "run"), "item_embedding.weight", word)


def test_a_state_cut_short_is_one_line(samrec, tmp_path):
    samrec(*train_arguments(epochs=1))
    Run(tmp_path / "run").update(status="running")
    state = tmp_path / "run" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    assert_one_line(samrec(*train_arguments("--resume", epochs=1)), "whole safetensors file")


def _epochs(folder):
    history = folder / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.exists() else 0


def test_resuming_where_nothing_was_begun_says_so(samrec):
    code, _, err = samrec(*train_arguments("--resume", epochs=1))
    assert (code, err) == (0, "no run in run: starting one\n")


def test_a_file_in_place_of_the_run_folder_is_one_line(samrec, tmp_path):
    (tmp_path / "run").write_text("mine")
    assert_one_line(samrec(*train_arguments()), "expected a folder, got a file: run")
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epochs", "0"), "epochs: expected 1 or more, got 0"),
        (("--dropout", "1.5"), "dropout: expected 0.9999 or less"),
        (("--data-fraction", "2"), "data_fraction: expected 1.0 or less, got 2.0"),
        (("--learning-rate", "0"), "learning_rate: expected more than 0.0, got 0.0"),
        (("--rho", "inf"), "rho: expected a finite number, got inf"),
        (("--optimizer", "lion"), "optimizer: expected 'adam', 'adamw' or 'sgd', got 'lion'"),
        (("--method", "cl4srec", "--cl-crop", "2"), "contrast.crop: expected 1.0 or less, got 2.0"),
    ],
)
def test_what_an_option_may_be_is_said_in_our_words(arguments, words, samrec):
    assert_one_line(samrec(*train_arguments(*arguments)), words)


def test_help_shows_the_choices_that_the_configuration_has(samrec):
    code, text, _ = samrec("train", "--help")
    assert code == 0
    for name, field in RunConfig.model_fields.items():
        if get_origin(field.annotation) is Literal:
            assert "|".join(get_args(field.annotation)) in text, name


def test_a_run_that_cannot_be_written_to_is_evaluated_all_the_same(samrec, monkeypatch):
    samrec(*train_arguments(epochs=1))

    opened = Path.open

    def refused(self, *arguments, **keywords):
        if self.suffix != ".aside":
            return opened(self, *arguments, **keywords)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "open", refused)
    code, out, err = samrec("evaluate", "run", "--data", "data.txt")
    assert code == 0
    assert "NDCG@10" in out
    assert err.startswith("not kept: cannot write run/ranks-test-masked.npz: Permission denied")
    assert err.count("\n") == 1


def test_scores_of_a_run_that_has_not_ended_say_so(samrec, tmp_path):
    samrec(*train_arguments(epochs=1))
    Run(tmp_path / "run").update(status="running")
    code, out, err = samrec("evaluate", "run", "--json")
    assert (code, json.loads(out)["training"]) == (0, "running")
    assert err.startswith("the training of run had not ended")


def test_a_comparison_wants_the_name_of_a_store(samrec):
    for out in ("k/a.txt", "k/"):
        assert_one_line(samrec("compare", "one", "two", "--out", out, "--dry-run"), "ending in .h5")


@pytest.mark.parametrize("many", [False, True])
def test_gaps_between_ids_are_told(many, samrec, tmp_path):
    largest = 1000 if many else 5
    (tmp_path / "gaps.txt").write_text(f"1 1 2 3\n2 2 3 {largest}\n")
    code, out, err = samrec("data", "describe", "gaps.txt")
    assert code == 0
    assert out.split("items that occur")[1].split()[0] == "4"
    assert ("more than 10 times the 4 items" in err) == many


def test_both_commands_say_their_version(samrec):
    assert samrec("--version") == (0, f"samrec {version('samrec')}\n", "")


# a job that a shell starts in the background hands on to its children that they ignore SIGINT
HEEDING_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "


def test_ctrl_c_leaves_with_130_and_a_run_that_goes_on(samrec, tmp_path):
    epochs = ["--patience", "30", "--rho", "0.05"]
    arguments = list(map(str, train_arguments(*epochs, out="interrupted", epochs=30)))
    process = subprocess.Popen(
        [sys.executable, "-c", HEEDING_CTRL_C + "from samrec.cli.main import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and _epochs(tmp_path / "interrupted") < 2:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip().splitlines()) == (130, "", ["interrupted; go on with --resume"])
    interrupted = Run(tmp_path / "interrupted")
    assert interrupted.record["status"] == "running"
    assert 1 <= interrupted.state().position.epoch < 30
    data = read_s3rec_text(tmp_path / "data.txt")
    resumed = train(interrupted.config, data, interrupted.path, resume=True)
    small_runs.assert_same_runs(resumed, train(interrupted.config, data, tmp_path / "unbroken"))
