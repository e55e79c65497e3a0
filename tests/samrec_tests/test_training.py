"""Training as processes meet it: killed at any moment and resumed, started twice, resumed where it may not be."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from samrec_tests import small_runs
from samrec_tests.shared import interactions_of

from landscape.errors import StoreLocked
from samrec.data.synthetic import make_synthetic
from samrec.errors import DataError, RunError
from samrec.training.checkpoint import Run
from samrec.training.files import held_for_writing
from samrec.training.trainer import train


def test_training_learns_and_says_what_stopped_it(tmp_path):
    run = small_runs.trained(tmp_path / "run")
    losses = [entry["loss"] for entry in run.history()]
    assert losses[-1] < losses[0]
    assert (run.record["status"], run.record["stopped"]) == ("finished", "cap")


def test_a_folder_at_work_is_refused_to_a_second_training(tmp_path):
    run = small_runs.trained(tmp_path / "run", epochs=1)
    before = run.history()
    with held_for_writing(run.path), pytest.raises(StoreLocked, match=f"{run.path} is being written by process"):
        small_runs.trained(run.path, resume=True, epochs=1)
    assert small_runs.trained(run.path, resume=True, epochs=1).history() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]  # the lock is gone


def test_a_run_that_was_imported_is_never_trained_over(tmp_path):
    run = small_runs.trained(tmp_path / "run")
    run.update(status="imported")
    weights = (run.path / "best.safetensors").read_bytes()
    with pytest.raises(RunError, match=r"trained in .*, got one that was imported"):
        small_runs.trained(run.path, resume=True)
    assert (run.path / "best.safetensors").read_bytes() == weights


def test_going_on_with_other_threads_is_warned_of(tmp_path):
    run = small_runs.trainer(tmp_path / "run").run
    run.update(threads=torch.get_num_threads() + 1)
    with pytest.warns(UserWarning, match=f"begun with {torch.get_num_threads() + 1} threads"):
        small_runs.trained(run.path, resume=True)


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

    generator = random.Random(0)
    kills = 0
    for _ in range(3):
        command = [sys.executable, "-c", TRAIN, str(tmp_path / "killed"), str(period)]
        process = subprocess.Popen(command, env=environment)
        before = _epochs(tmp_path / "killed")
        while process.poll() is None and _epochs(tmp_path / "killed") < before + 2:
            time.sleep(0.002)
        time.sleep(generator.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 3
    killed = Run(tmp_path / "killed")
    assert 6 <= killed.state().position.epoch < 12
    data = make_synthetic(users=150, items=200, seed=3).interactions
    train(killed.config, data, tmp_path / "killed", resume=True)
    train(killed.config, data, tmp_path / "whole")

    small_runs.assert_same_runs(Run(tmp_path / "whole"), Run(tmp_path / "killed"))


def _epochs(folder):
    path = folder / "history.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_data_that_leave_no_negative_leave_no_run_behind(tmp_path):
    data = interactions_of([[1, 2, 1, 2, 1], [2, 1, 2, 1, 2]])
    for _ in range(2):
        with pytest.raises(DataError, match="has had all 2 items"):
            train(small_runs.config(), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
