"""Whole runs of SAM's family: resumed bit for bit, their cost counted, their names told apart, their misuse refused."""

import json

import pytest
import torch
from samrec_tests import small_runs

from samrec.errors import CheckpointError, ConfigError
from samrec.experiments.members import open_members
from samrec.optim.schedule import Schedule
from samrec.training.cost import estimate_cost
from samrec.training.files import read_tensors, write_json, write_tensors
from samrec.training.step import Step
from samrec.training.trainer import Trainer

LOOK = {"rho": 0.1, "sam_period": 2}  # an epoch has three steps: every other one begins between two climbs
VARIANTS = {
    "SASRec (AdamW, decay 0.01)": {"optimizer": "adamw", "weight_decay": 0.01},
    "SASRec (SGD, momentum 0.9, decay 0.01)": {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.01,
    },
    "SASRec (SGD)": {"optimizer": "sgd", "learning_rate": 0.1},
    "SASRec (L2 0.0001)": {"l2": 1e-4},
    "SAMRec (rho 0.1)": {"rho": 0.1},
    "SAMRec (rho 0.1, L2 0.0001)": {"rho": 0.1, "l2": 1e-4},
    "SAMRec (rho 0.1, fresh dropout)": {"rho": 0.1, "sam_dropout": "fresh"},
    "SAMRec (rho 0.1, body only)": {"rho": 0.1, "sam_group": "body"},
    "ASAM (rho 1, embeddings only)": {"rho": 1.0, "asam": True, "sam_group": "embeddings"},
    "ASAM (rho 1, eta 0.1)": {"rho": 1.0, "asam": True, "asam_eta": 0.1},
    "LookSAM (rho 0.1, k 2)": LOOK,
    "LookSAM (rho 0.1, k 4, alpha 0.3)": {"rho": 0.1, "sam_period": 4, "sam_alpha": 0.3},
    "LookASAM (rho 1, k 2, SGD, momentum 0.9)": {
        "rho": 1.0,
        "asam": True,
        "sam_period": 2,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
    },
    "SAMRec (rho 0.1, plain steps between, k 2)": {**LOOK, "sam_between": "plain"},
    "m-SAM (rho 0.1, m 5)": {"rho": 0.1, "sam_users": 5},
    "m-LookSAM (rho 0.1, k 2, m 5)": {**LOOK, "sam_users": 5},
    "SAMRec (rho 0.1, linear over 2 epochs)": {"rho": 0.1, "rho_schedule": "linear", "rho_epochs": 2},
    "SAMRec (rho 0.1, cosine over 4 epochs)": {"rho": 0.1, "rho_schedule": "cosine"},
    "SAMRec (rho 0.1, step over 1 epochs, factor 0.1)": {
        "rho": 0.1,
        "rho_schedule": "step",
        "rho_epochs": 1,
        "rho_factor": 0.1,
    },
}


@pytest.mark.parametrize(("name", "changes"), VARIANTS.items(), ids=VARIANTS)
def test_a_variant_is_called_by_what_sets_it_apart(name, changes):
    assert small_runs.config(**changes).name == name


UNNAMED = {"micro-batches": {**LOOK, "micro_batch": 7}, "CL4SRec": {**LOOK, "method": "cl4srec"}}


@pytest.mark.parametrize("changes", [*VARIANTS.values(), *UNNAMED.values()], ids=[*VARIANTS, *UNNAMED])
def test_a_run_stopped_between_epochs_and_resumed_is_the_unbroken_one_bit_for_bit(changes, tmp_path):
    unbroken = small_runs.trained(tmp_path / "unbroken", **changes)
    trainer = small_runs.trainer(tmp_path / "broken", **changes)
    trainer.epoch()
    for stopped in range(2, 4):  # every epoch in a trainer of its own
        trainer = Trainer(trainer.run, small_runs.data())
        assert trainer.position.epoch == stopped - 1
        trainer.epoch()
    small_runs.assert_same_runs(small_runs.trained(tmp_path / "broken", resume=True, **changes), unbroken)


@pytest.mark.parametrize(
    ("changes", "gradients", "parts"),
    [
        ({}, 15, 1),
        ({"rho": 0.1}, 30, 1),
        ({"rho": 1.0, "asam": True}, 30, 1),
        ({"rho": 0.1, "sam_period": 5}, 18, 1),  # 1.2 a step
        ({"rho": 0.1, "sam_period": 5, "sam_between": "plain"}, 18, 1),
        ({"rho": 0.1, "sam_period": 4}, 19, 1),
        ({"rho": 0.1, "sam_users": 5}, 30, 4),
        ({"rho": 0.1, "sam_period": 5, "micro_batch": 10}, 18, 2),
    ],
)
def test_the_gradients_of_a_run_are_the_backward_passes_it_took(changes, gradients, parts, tmp_path, monkeypatch):
    calls = []
    backward = torch.autograd.backward
    monkeypatch.setattr(torch.autograd, "backward", lambda loss: (calls.append(1), backward(loss)))
    run = small_runs.trained(tmp_path / "run", epochs=5, patience=5, **changes)  # fifteen steps on whole batches
    assert run.record["cost"]["gradients"] == gradients
    assert len(calls) == gradients * parts
    cost = estimate_cost(run.config, small_runs.data(), device=torch.device("cpu"))
    assert cost["gradients_to_the_cap"] == gradients


@pytest.mark.parametrize("changes", [{}, {"rho": 0.1}, {"micro_batch": 10}])
def test_a_dry_run_takes_the_runs_own_first_steps_and_touches_nobodys_random_state(changes, tmp_path, monkeypatch):
    losses = []
    take = Step.take
    monkeypatch.setattr(Step, "take", lambda step, *parts: losses.append(take(step, *parts)) or losses[-1])
    run = small_runs.trained(tmp_path / "run", epochs=1, seed=9, **changes)
    taken, losses[:] = losses[:2], []
    torch.random.manual_seed(5)
    before = torch.random.get_rng_state()
    estimate_cost(run.config, small_runs.data(), device=torch.device("cpu"))
    assert losses == taken
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_log_speaks_of_the_steps_that_climbed(tmp_path):
    sam = small_runs.trained(tmp_path / "sam", epochs=1, rho=0.1)
    rare = small_runs.trained(tmp_path / "rare", epochs=2, rho=0.1, sam_period=4)
    never = small_runs.trained(tmp_path / "never", epochs=2, rho=0.1, sam_period=100)
    assert rare.history()[0]["sharpness"] > 0.5 * sam.history()[0]["sharpness"]  # no mean over steps without one
    assert sum(rare.history()[0]["shares"].values()) == pytest.approx(1, rel=1e-6)
    assert [entry["sharpness"] is None for entry in never.history()] == [False, True]
    assert never.history()[1]["shares"] == {}


def test_a_schedule_is_told_epoch_by_epoch(tmp_path):
    run = small_runs.trained(tmp_path / "run", rho=0.1, rho_schedule="cosine")
    schedule = Schedule("cosine", 4, 3)
    assert [entry["rho"] for entry in run.history()] == [0.1 * schedule(step) for step in (2, 5, 8, 11)]


def test_an_l2_term_is_not_in_the_loss_of_the_history_and_shrinks_the_weights(tmp_path):
    plain = small_runs.trained(tmp_path / "plain", epochs=3)
    penalised = small_runs.trained(tmp_path / "penalised", epochs=3, l2=10.0)
    assert penalised.history()[-1]["weight_norm"] < plain.history()[-1]["weight_norm"]
    assert penalised.history()[0]["loss"] < 1.1 * plain.history()[0]["loss"]  # the term itself is over a hundred
    assert penalised.record["status"] == "finished"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sam/steps", "SAM's steps"),
        ("sam/direction/input_norm.weight", "directions of LookSAM"),
        ("moments/input_norm.weight/momentum_buffer", "sgd's momentum_buffer of input_norm.weight"),
    ],
)
def test_a_state_without_what_the_variant_keeps_is_refused_by_name(name, message, tmp_path):
    changes = {**LOOK, "optimizer": "sgd", "momentum": 0.9}
    trainer = small_runs.trainer(tmp_path / "run", **changes)
    trainer.epoch()
    path = tmp_path / "run" / "state.safetensors"
    tensors, metadata = read_tensors(path)
    del tensors[name]
    write_tensors(path, tensors, metadata)
    with pytest.raises(CheckpointError, match=message) as refusal:
        Trainer(trainer.run, small_runs.data())
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sam_period": 5}, "sam_period 5 has no effect: expected it only with SAM"),
        ({"sam_group": "body"}, "sam_group body has no effect"),
        ({"sam_dropout": "fresh"}, "sam_dropout fresh has no effect"),
        ({"sam_users": 5}, "sam_users 5 has no effect"),
        ({"asam": True}, "asam True has no effect"),
        ({"rho": 0.1, "asam_eta": 0.1}, "asam_eta 0.1 has no effect: expected it only with asam"),
        ({"rho": 0.1, "sam_between": "plain"}, "sam_between plain has no effect: expected it only with sam_period"),
        ({"rho": 0.1, "sam_alpha": 0.5}, "sam_alpha 0.5 has no effect"),
        ({**LOOK, "sam_between": "plain", "sam_alpha": 0.5}, "sam_alpha 0.5 has no effect"),
        ({"sam": True, "rho_schedule": "cosine"}, "rho_schedule cosine has no effect: expected it only with a rho"),
        ({"rho": 0.1, "rho_epochs": 3}, "rho_epochs 3 has no effect"),
        ({"rho": 0.1, "rho_schedule": "cosine", "rho_factor": 0.1}, "rho_factor 0.1 has no effect"),
        ({"rho": 0.1, "rho_schedule": "linear"}, "rho_schedule linear needs rho_epochs"),
        ({"momentum": 0.9}, "momentum 0.9 has no effect: expected it only with optimizer sgd"),
        ({"weight_decay": 0.1}, "weight_decay 0.1 has no effect: .* adamw or sgd; adam takes l2"),
        ({"micro_batch": 21}, "micro_batch must be at most batch_size, got 21 and 20"),
        ({"rho": 0.1, "sam_users": 5, "micro_batch": 5}, "micro_batch 5 has no effect"),
        ({"micro_batch": 0}, "micro_batch: expected 1 or more, got 0"),
        ({"method": "cl4srec", "micro_batch": 5}, "contrasts the views of the whole batch: .* got 5"),
        ({"method": "cl4srec", "rho": 0.1, "sam_users": 5}, "contrasts the views of the whole batch: .* got 5"),
        ({"optimizer": "lion"}, "optimizer: .*'adam', 'adamw' or 'sgd', got 'lion'"),
        ({"l2": -1.0}, "l2"),
        ({"rho": 0.1, "sam_period": 0}, "sam_period"),
    ],
)
def test_options_that_do_nothing_or_cannot_be_are_refused_in_a_line(changes, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        small_runs.config(**changes)
    assert "\n" not in str(refusal.value)
    assert "synthetic" not in str(refusal.value)  # not the whole configuration


def test_a_run_from_before_an_option_is_compared_as_one_of_its_method(tmp_path):
    folders = [small_runs.trained(tmp_path / str(seed), epochs=1, seed=seed).path for seed in (1, 2)]
    record = json.loads((folders[0] / "run.json").read_text())
    for name in ("optimizer", "l2", "sam_period"):
        del record["config"][name]
    record["fingerprints"]["training_without_seed"] = "of fewer options"
    write_json(folders[0] / "run.json", record)
    assert {member.method for member in open_members(folders)} == {"SASRec"}
