"""Sweeps as processes: a pool gives the same runs, one killed repeats nothing, two at once are refused, workers die."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil
import pytest
from samrec_tests import small_runs, small_studies
from samrec_tests.small_studies import arguments

from landscape.errors import WorkerDied
from samrec.experiments.study_folder import held
from samrec.experiments.sweep import answers
from samrec.training.checkpoint import Run
from samrec.training.files import read_tensors


def test_a_pool_gives_the_same_runs(finished, tmp_path):
    pooled, outcomes = small_studies.swept(tmp_path, workers=2)
    assert {outcome.status for outcome in outcomes} == {"finished"}
    for planned in finished[0].runs:
        ours, theirs = Run(finished[0].path / planned.name), Run(pooled.path / planned.name)
        for name in ("best.safetensors", "state.safetensors"):
            small_runs.assert_same_tensors(read_tensors(ours.path / name)[0], read_tensors(theirs.path / name)[0])
        assert small_runs.history(ours) == small_runs.history(theirs)


def killed_half_way(command, folders):
    """Start a sweep, kill it when a run is done and another one under way: the folders of both kinds."""
    code = "from samrec.cli.main import main; main()"
    with subprocess.Popen([sys.executable, "-c", code, *command], stdout=subprocess.DEVNULL) as process:

        def of(status, file):
            return [f for f in folders if small_studies.status(f) == status and (f / file).exists()]

        children = []
        try:
            while process.poll() is None and not (
                of("finished", "evaluation-test-masked.json") and of("running", "state.safetensors")
            ):
                time.sleep(0.005)
            if process.poll() is None:
                children = psutil.Process(process.pid).children(recursive=True)
        finally:
            process.kill()
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        time.sleep(0.02)  # they leave with their parent
    return of("finished", "evaluation-test-masked.json"), of("running", "state.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_and_run_again_it_repeats_nothing_finished_and_ends_in_the_same_bits(tmp_path, samrec):
    for epochs in (30, 120, 480):  # more to do where the last run ended before it could be killed
        command = arguments("--workers", "2", "--base", f"patience={epochs}", epochs=epochs, out=f"study-{epochs}")
        names = [f"{cell}-seed-{seed}" for seed in (1, 2) for cell in ("sasrec", "samrec-rho-0.05")]
        folders = [tmp_path / f"study-{epochs}" / name for name in names]
        done, half = killed_half_way(command, folders)
        if half:
            break
    assert done
    assert half
    assert all(Run(folder).state().position.epoch < epochs for folder in half)
    before = {folder.name: small_studies.stamps(folder) for folder in done}

    status, out, err = samrec(*command, "--workers", "1", "--json")
    assert (status, err) == (0, "")
    assert set(json.loads(out)["trained"]) == set(names) - before.keys()
    assert {folder.name: small_studies.stamps(folder) for folder in done} == before
    for folder in half:
        unbroken = small_runs.trained(tmp_path / "unbroken" / folder.name, **Run(folder).config.model_dump())
        small_runs.assert_same_runs(Run(folder), unbroken)


def test_two_sweeps_in_one_folder_are_one_too_many(tmp_path, samrec):
    with held(tmp_path / "study"):
        code, out, err = samrec(*arguments())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: expected one sweep at a time in study")
    assert str(os.getpid()) in err
    assert not (tmp_path / "study" / "study.json").exists()


@dataclass(frozen=True)
class Fragile:
    """Doubles items; exits on 13."""

    def open(self):
        def double(item: int) -> int:
            if item == 13:
                os._exit(9)
            return 2 * item

        return double


def test_a_worker_that_dies_takes_its_own_item_alone():
    found = dict(answers(Fragile(), [1, 2, 13, 4, 5, 6], 2))
    assert isinstance(found.pop(13), WorkerDied)
    assert found == {1: 2, 2: 4, 4: 8, 5: 10, 6: 12}
