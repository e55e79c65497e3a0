import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from samrec.config import make_config
from samrec.data.synthetic import make_synthetic
from samrec.errors import RunError
from samrec.training.checkpoint import Run
from samrec.training.files import read_tensors
from samrec.training.trainer import Trainer, train

SMALL = {"size": 16, "batch_size": 64, "epochs": 4, "patience": 4, "data": "synthetic"}
TIMES = {"training_seconds", "seconds"}


@pytest.fixture(scope="module")
def interactions():
    return make_synthetic(users=150, items=200, seed=3).interactions


def without_times(run):
    return [{key: value for key, value in entry.items() if key not in TIMES} for entry in run.history()]


def assert_same_run(a, b):
    for name in ("best.safetensors", "state.safetensors"):
        left, right = (read_tensors(run.path / name)[0] for run in (a, b))
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left), name
    assert without_times(a) == without_times(b)


def test_sam_with_rho_zero_is_adam_bit_for_bit(tmp_path, interactions):
    adam = train(make_config(**SMALL), interactions, tmp_path / "adam", show=False)
    sam = train(make_config(**SMALL, sam=True), interactions, tmp_path / "sam", show=False)

    weights, others = adam.state().weights, sam.state().weights
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert [entry["loss"] for entry in adam.history()] == [entry["loss"] for entry in sam.history()]
    assert [entry["sharpness"] for entry in sam.history()] == [0.0] * 4
    assert sam.record["cost"]["gradients"] == 2 * adam.record["cost"]["gradients"]


def test_sam_with_fresh_dropout_is_not_adam_even_at_rho_zero(tmp_path, interactions):
    adam = train(make_config(**SMALL), interactions, tmp_path / "adam", show=False)
    sam = train(make_config(**SMALL, sam=True, sam_dropout="fresh"), interactions, tmp_path / "sam", show=False)

    name = "item_embedding.weight"
    assert not torch.equal(adam.state().weights[name], sam.state().weights[name])


def test_training_learns_and_says_what_stopped_it(tmp_path, interactions):
    run = train(make_config(**SMALL), interactions, tmp_path / "run", show=False)

    losses = [entry["loss"] for entry in run.history()]
    assert losses[-1] < losses[0]
    assert (run.record["status"], run.record["stopped"]) == ("finished", "cap")


@pytest.mark.parametrize("rho", [0.0, 0.1])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path, interactions, rho):
    config = make_config(**SMALL, rho=rho)
    whole = train(config, interactions, tmp_path / "whole", show=False)

    def stop_after_two(run):
        trainer = Trainer(run, interactions, show=False)
        trainer.epoch()
        trainer.epoch()
        with (run.path / "history.jsonl").open("a") as file:
            file.write('{"epoch": 3, "lo')  # what a kill may leave behind
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, interactions, tmp_path / "broken", show=False, on_start=stop_after_two)
    assert Run(tmp_path / "broken").state().position.epoch == 2
    resumed = train(config, interactions, tmp_path / "broken", resume=True, show=False)

    assert_same_run(whole, resumed)


TRAIN = """
import sys, torch
torch.set_num_threads(1)
from samrec.config import make_config
from samrec.data.synthetic import make_synthetic
from samrec.training.trainer import train
config = make_config(
    size=16, batch_size=64, epochs=12, patience=12, data="synthetic", rho=0.1, sam_period=int(sys.argv[2])
)
train(config, make_synthetic(users=150, items=200, seed=3).interactions, sys.argv[1], resume=True, show=False)
"""


@pytest.mark.parametrize("period", [1, 2], ids=["SAM", "LookSAM"])
def test_a_run_killed_at_random_moments_and_resumed_equals_the_unbroken_one(period, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(folder):
        return subprocess.Popen([sys.executable, "-c", TRAIN, str(folder), str(period)], env=environment)

    assert start(tmp_path / "whole").wait() == 0
    generator = random.Random(0)
    kills = 0
    for _ in range(3):
        process = start(tmp_path / "killed")
        before = _epochs(tmp_path / "killed")
        while process.poll() is None and _epochs(tmp_path / "killed") < before + 2:
            time.sleep(0.002)
        time.sleep(generator.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 3
    assert start(tmp_path / "killed").wait() == 0

    assert_same_run(Run(tmp_path / "whole"), Run(tmp_path / "killed"))


def _epochs(folder):
    path = folder / "history.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_run_is_not_overwritten_nor_mixed(tmp_path, interactions):
    train(make_config(**SMALL), interactions, tmp_path / "run", show=False)

    with pytest.raises(RunError, match="expected no run in"):
        train(make_config(**SMALL), interactions, tmp_path / "run", show=False)
    with pytest.raises(RunError, match="seed 0 there, 1 asked"):
        train(make_config(**SMALL, seed=1), interactions, tmp_path / "run", resume=True, show=False)
    other = make_synthetic(users=150, items=200, seed=4).interactions
    with pytest.raises(RunError, match="expected the data"):
        train(make_config(**SMALL), other, tmp_path / "run", resume=True, show=False)


def test_a_full_disk_keeps_the_state_of_the_epoch_before(tmp_path, interactions, monkeypatch):
    def stop_after_one(run):
        trainer = Trainer(run, interactions, show=False)
        trainer.epoch()
        monkeypatch.setattr(os, "fsync", full)
        trainer.epoch()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left on device"):
        train(make_config(**SMALL), interactions, tmp_path / "run", show=False, on_start=stop_after_one)

    run = Run(tmp_path / "run")
    assert run.state().position.epoch == 1
    assert not list((tmp_path / "run").glob("*.aside"))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "running"
