"""Run folders that somebody or something changed: one line that names the file, and no run taken for another."""

import json
import shutil

import pytest
import torch
from samrec_tests import small_pretraining, small_runs

from samrec.errors import CheckpointError, Diverged, RunError
from samrec.training.checkpoint import Run
from samrec.training.files import read_tensors, write_json, write_tensors
from samrec.training.pretrain import PreTrainer
from samrec.training.pretrain_run import PretrainRun
from samrec.training.trainer import Trainer

MOMENT = "moments/item_embedding.weight/exp_avg"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    small_runs.trained(place / "run", epochs=1)
    small_pretraining.pretrained(place / "pretraining", epochs=1)
    return place


@pytest.fixture
def finished(originals, tmp_path):
    """A finished run of one epoch, to be spoilt."""
    return Run(shutil.copytree(originals / "run", tmp_path / "run"))


@pytest.fixture
def pretraining(originals, tmp_path):
    """The same of pre-training."""
    return PretrainRun(shutil.copytree(originals / "pretraining", tmp_path / "pretraining"))


def resumed(run):
    if isinstance(run, PretrainRun):
        return small_pretraining.pretrained(run.path, resume=True, epochs=1)
    return small_runs.trained(run.path, resume=True, epochs=1)


def rewritten(run, change):
    """The state with changed tensors."""
    path = run.path / "state.safetensors"
    tensors, metadata = read_tensors(path)
    change(tensors)
    write_tensors(path, tensors, metadata)


WHOLE = {"epoch": 1, "best_epoch": 1, "best_score": 0.1, "gradients": 3, "seconds": 0.5}


@pytest.mark.parametrize(
    ("position", "word"),
    [
        ("{", "JSON"),
        ("[1]", "JSON object"),
        (json.dumps({"epoch": 1}), "best_epoch: expected a value, got none"),
        (json.dumps({**WHOLE, "epochs": 1}), "epochs: expected no field of this name"),
        (json.dumps({**WHOLE, "epoch": "1"}), "epoch: expected a whole number, got '1'"),
        (json.dumps({**WHOLE, "epoch": -1}), "epoch: expected 0 or more, got -1"),
    ],
)
def test_a_position_that_is_none_is_refused(position, word, finished):
    path = finished.path / "state.safetensors"
    write_tensors(path, read_tensors(path)[0], {"position": position})
    with pytest.raises(CheckpointError, match=word) as refusal:
        finished.state()
    assert "state.safetensors" in str(refusal.value)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('{"epoch": 1, "validation": 3}', "validation: expected a mapping, got 3"),
        ('{"epoch": 1}', "validation: expected a value, got none"),
        ('{"epoch": 2, "validation": {}}', "expected epoch 1 in line 1"),
        ('{"epoch": 1, "validation": {}, "loss": "low"}', "loss: expected a number, got 'low'"),
        ("3", "JSON object"),
    ],
)
def test_a_line_of_history_of_other_types_is_refused_by_its_number(line, word, finished):
    (finished.path / "history.jsonl").write_text(line + "\n")
    with pytest.raises(RunError, match=word) as refusal:
        resumed(finished)
    assert "line 1 of" in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"best": None}, "expected best of a finished run, got none"),
        ({"cost": None}, "expected cost of a finished run, got none"),
        ({"cost": {"epochs": "1"}}, "cost.epochs: expected a whole number, got '1'"),
        ({"fingerprints": {}}, "fingerprints.data: expected a value, got none"),
        ({"status": "over"}, "status: expected 'running', 'finished', 'diverged' or 'imported', got 'over'"),
        ({"item_count": "200"}, "item_count: expected a whole number"),
    ],
)
def test_a_record_without_what_a_run_says_is_refused(changes, word, finished):
    write_json(finished.path / "run.json", {**finished.record, **changes})
    with pytest.raises(RunError, match=word) as refusal:
        Run(finished.path)
    assert "run.json" in str(refusal.value)


@pytest.mark.parametrize("kind", ["finished", "pretraining"])
def test_a_configuration_that_is_none_is_refused_by_its_file(kind, request):
    run = request.getfixturevalue(kind)
    write_json(run.path / "run.json", {**run.record, "config": {**run.record["config"], "size": "big"}})
    with pytest.raises(RunError, match=r"run\.json: size: expected a whole number, got 'big'"):
        _ = type(run)(run.path).config


def nan(moment):
    moment.view(-1)[3] = torch.nan


def negative(moment):
    moment.view(-1)[3] = -1


@pytest.mark.parametrize("kind", ["finished", "pretraining"])
@pytest.mark.parametrize(
    ("key", "spoil", "word"),
    [("exp_avg", nan, "finite"), ("exp_avg_sq", negative, "numbers of 0 or more"), ("step", nan, "finite")],
)
def test_moments_that_cannot_be_are_refused_and_the_run_has_not_diverged(kind, key, spoil, word, request):
    run = request.getfixturevalue(kind)
    run.update(status="running")

    def change(tensors):
        moment = tensors[f"moments/item_embedding.weight/{key}"]
        spoil(moment) if moment.ndim else moment.fill_(torch.nan)

    rewritten(run, change)
    with pytest.raises(CheckpointError, match=word) as refusal:
        resumed(run)
    assert f"{key} of item_embedding.weight" in str(refusal.value)
    assert type(run)(run.path).record["status"] == "running"


@pytest.mark.parametrize(("kind", "trainer"), [("finished", Trainer), ("pretraining", PreTrainer)])
def test_a_number_in_place_of_a_moment_is_refused(kind, trainer, request):
    run = request.getfixturevalue(kind)
    rewritten(run, lambda tensors: tensors.update({MOMENT: torch.tensor(0.5)}))
    with pytest.raises(CheckpointError, match=r"exp_avg of item_embedding\.weight .* of shape"):
        trainer(run, small_runs.data())


@pytest.mark.parametrize("kind", ["finished", "pretraining"])
@pytest.mark.parametrize("status", ["running", "finished"])
def test_a_run_whose_state_was_lost_does_not_start_over(kind, status, request):
    run = request.getfixturevalue(kind)
    run.update(status=status)
    (run.path / "state.safetensors").unlink()
    with pytest.raises(RunError, match=r"state\.safetensors beside"):
        resumed(run)


def test_a_folder_whose_record_was_lost_is_not_trained_over(finished):
    (finished.path / "run.json").unlink()
    with pytest.raises(RunError, match=r"state\.safetensors of one whose run\.json is missing"):
        resumed(finished)


@pytest.mark.parametrize("name", ["state.safetensors", "best.safetensors", "history.jsonl"])
def test_a_finished_run_that_is_broken_does_not_answer_as_if_all_were_well(name, finished):
    resumed(finished)
    path = finished.path / name
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises((RunError, CheckpointError), match=r"epochs of the finished run|whole safetensors"):
        resumed(finished)


def test_a_diverged_run_keeps_what_its_last_epoch_took(tmp_path):
    with pytest.raises(Diverged):
        small_runs.trained(tmp_path / "run", learning_rate=30.0)
    record = Run(tmp_path / "run").record
    assert (record["failed_epoch"]["epoch"], record["failed_epoch"]["steps"]) == (1, 3)
    assert record["failed_epoch"]["loss"] > 2
    assert (record["cost"]["epochs"], record["cost"]["gradients"]) == (0, 3)
    assert record["cost"]["seconds"] > 0


def test_a_diverged_pre_training_keeps_what_its_last_epoch_took(tmp_path):
    with pytest.raises(Diverged):
        small_pretraining.pretrained(tmp_path / "run", rho=1e6)
    record = PretrainRun(tmp_path / "run").record
    failed = record["failed_epoch"]
    assert failed["epoch"] == 1
    assert failed["steps"] > 0
    assert failed["sharpness"] > 100
    assert record["cost"]["gradients"] == 2 * failed["steps"]
