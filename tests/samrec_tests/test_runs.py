"""Run folders: resumed from anywhere, torn histories, full disks, what does not fit, and divergence that is kept."""

import errno
import itertools
import os

import pytest
import torch
from samrec_tests import small_runs
from samrec_tests.shared import interactions_of, real_file

from samrec.data.s3rec_text import read_s3rec_text
from samrec.errors import CheckpointError, ConfigError, DataError, Diverged, RunError
from samrec.training.checkpoint import Run, create_run
from samrec.training.files import read_tensors, write_tensors
from samrec.training.run_folder import Position
from samrec.training.stopping import reason_to_stop
from samrec.training.trainer import Trainer, train

SAM = {"rho": 0.05, "dropout": 0.2, "epochs": 6}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nothing interrupted."""
    return small_runs.trained(tmp_path_factory.mktemp("unbroken") / "run", **SAM)


def started(path, epochs):
    """A run stopped after some epochs without a word."""
    trainer = small_runs.trainer(path, **SAM)
    for _ in range(epochs):
        trainer.epoch()
    return trainer.run


def test_a_run_leaves_its_record_its_history_and_weights_and_nothing_else(unbroken):
    assert small_runs.leftovers(unbroken.path) == []
    assert [entry["gradients"] for entry in unbroken.history()] == [6, 12, 18, 24, 30, 36]  # three steps, two each
    for entry in unbroken.history():
        assert sum(entry["shares"].values()) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (Position(epoch=9, best_epoch=7), None),
        (Position(epoch=9, best_epoch=6), "patience"),
        (Position(epoch=10, best_epoch=10), "cap"),
    ],
)
def test_a_run_stops_by_patience_or_at_its_cap(position, reason):
    assert reason_to_stop(position, epochs=10, patience=3) == reason


def test_a_run_that_gets_no_better_is_recorded_as_stopped_by_patience(tmp_path):
    run = small_runs.trained(tmp_path / "run", learning_rate=1e-12, patience=2, epochs=50)
    assert run.record["stopped"] == "patience"
    assert (run.record["best"]["epoch"], run.record["cost"]["epochs"]) == (1, 3)


@pytest.mark.parametrize("epochs", [0, 1, 5, 6])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(epochs, unbroken, tmp_path):
    path = started(tmp_path / "run", epochs).path
    (path / ".state.safetensors.1.aside").write_bytes(b"cut off by a kill")
    small_runs.assert_same_runs(small_runs.trained(path, resume=True, **SAM), unbroken)
    assert small_runs.leftovers(path) == []


@pytest.mark.parametrize("torn", ['{"epoch": 3, "loss": 1.3', '{"epoch": 3, "loss": 1.0}\n', '{"epoch": 3}\n{"epo'])
def test_history_beyond_the_last_finished_epoch_is_cut_off(torn, unbroken, tmp_path):
    run = started(tmp_path / "run", 2)
    with (run.path / "history.jsonl").open("a") as file:
        file.write(torn)
    small_runs.assert_same_runs(small_runs.trained(run.path, resume=True, **SAM), unbroken)


def test_every_epoch_thins_another_network(tmp_path):
    trainer = small_runs.trainer(tmp_path / "run", **SAM)
    seeds = []
    for _ in range(2):
        trainer.epoch()
        seeds.append(trainer.dropout_generator.initial_seed())
    assert seeds[0] != seeds[1]


@pytest.mark.parametrize(
    ("call", "spared"), [("fsync", 0), ("fsync", 1), ("fsync", 2), ("fsync", 3), ("replace", 0), ("replace", 1)]
)
def test_a_full_disk_leaves_the_old_state_and_can_be_resumed(call, spared, unbroken, tmp_path, monkeypatch):
    trainer = small_runs.trainer(tmp_path / "run", **SAM)
    trainer.epoch()
    before = read_tensors(tmp_path / "run" / "state.safetensors")
    trainer.position = Position(epoch=1, best_epoch=1, best_score=-1.0)  # the best weights are written next, too
    calls, real = itertools.count(), getattr(os, call)

    def full(*arguments, **keywords):
        if next(calls) >= spared:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(RunError, match="No space left"):
            trainer.epoch()
    after = read_tensors(tmp_path / "run" / "state.safetensors")
    small_runs.assert_same_tensors(after[0], before[0])
    assert after[1] == before[1]
    assert small_runs.leftovers(tmp_path / "run") == []
    small_runs.assert_same_runs(small_runs.trained(tmp_path / "run", resume=True, **SAM), unbroken)


def test_a_run_is_neither_written_over_nor_resumed_as_another(unbroken):
    with pytest.raises(RunError, match="expected no run"):
        small_runs.trained(unbroken.path, **SAM)
    with pytest.raises(RunError, match=r"rho 0\.05 there, 0\.1 asked"):
        small_runs.trained(unbroken.path, resume=True, **{**SAM, "rho": 0.1})
    with pytest.raises(RunError, match="was trained on"):
        train(small_runs.config(**SAM), small_runs.data(seed=1), unbroken.path, resume=True)


def test_data_without_anything_to_train_on_is_said(tmp_path):
    with pytest.raises(DataError, match="four or more"):
        train(small_runs.config(), interactions_of([[1, 2, 3], [3, 2, 1]]), tmp_path / "run")


@pytest.mark.parametrize(
    "changes", [{"stop_metric": "NDCG@7"}, {"heads": 3}, {"rho": -1.0}, {"epochs": 0}, {"dropout": 0.999999}]
)
def test_a_configuration_that_cannot_be_is_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        small_runs.config(**changes)


def misshapen(tensors, name):
    tensors[name] = tensors[name][..., :-1].contiguous()


def poisoned(tensors, name):
    tensors[name].view(-1)[0] = torch.nan


def missing(tensors, name):
    del tensors[name]


WEIGHT, MOMENT = "weights/blocks.0.query.weight", "moments/blocks.0.query.weight/exp_avg"


@pytest.mark.parametrize(
    ("spoil", "name", "message"),
    [
        (misshapen, WEIGHT, "of shape"),
        (poisoned, WEIGHT, "NaN"),
        (missing, WEIGHT, "got none"),
        (misshapen, MOMENT, "exp_avg"),
        (missing, MOMENT, "exp_avg"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_name(spoil, name, message, tmp_path):
    run = started(tmp_path / "run", 1)
    tensors, metadata = read_tensors(run.path / "state.safetensors")
    spoil(tensors, name)
    write_tensors(run.path / "state.safetensors", tensors, metadata)
    with pytest.raises(CheckpointError, match=message) as refusal:
        Trainer(run, small_runs.data())
    assert "blocks.0.query.weight" in str(refusal.value)


@pytest.mark.parametrize("group", ["all", "body"])
def test_a_gradient_that_is_not_finite_names_its_step_and_keeps_the_weights_before_it(group, tmp_path):
    calls = itertools.count(1)
    weights = []

    def spoil(tensors):
        call = next(calls)  # three a step: the count of targets, the first pass, the second
        if call == 4:
            weights.append({name: tensor.clone() for name, tensor in trainer.model.state_dict().items()})
        if call == 6:
            tensors[1].view(-1)[5] = torch.inf

    trainer = small_runs.trainer(tmp_path / "run", spoil, rho=0.05, sam_group=group)
    with pytest.raises(Diverged, match="epoch 1: step 2: expected a finite gradient"):
        trainer.fit()
    small_runs.assert_same_tensors(trainer.model.state_dict(), weights[0])
    record = Run(tmp_path / "run").record
    assert (record["status"], record["stopped"]) == ("diverged", "diverged")


@pytest.mark.parametrize(
    ("changes", "where"), [({"rho": 1e6}, "at the perturbed weights"), ({"learning_rate": 30.0}, "a loss below")]
)
def test_a_run_that_learns_less_than_nothing_has_diverged(changes, where, tmp_path):
    with pytest.raises(Diverged, match=where):
        small_runs.trained(tmp_path / "run", **changes)
    record = Run(tmp_path / "run").record
    assert record["status"] == "diverged"
    assert where in record["message"]


@pytest.mark.parametrize("rho", [0.01, 1.0])
def test_no_radius_that_people_use_counts_as_divergence(rho, tmp_path):
    assert small_runs.trained(tmp_path / "run", rho=rho, epochs=3).record["status"] == "finished"


def test_rho_a_million_diverges_on_real_data(tmp_path):
    whole = read_s3rec_text(real_file("Beauty.txt"))
    data = interactions_of([whole.sequence(user).tolist() for user in range(2560)], whole.item_count)
    config = small_runs.config(rho=1e6, size=64, layers=2, max_length=50, batch_size=256, epochs=1)
    with pytest.raises(Diverged, match="at the perturbed weights"):
        Trainer(create_run(tmp_path / "run", config, data), data).fit()
