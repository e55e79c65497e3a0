"""A pool gives what this process gives, tells what went wrong in a worker, and never outlives its parent."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from landscape_tests.known import quadratic

from landscape.errors import InvalidArgument, WorkerDied
from landscape.executors.here import Here, Pool, make_executor
from landscape.grid import Axis, Grid
from landscape.surface.resume import compute_surface
from landscape.targets import load_objective

GRID = Grid(Axis(-1, 1, 5), Axis(-1, 2, 3))


@dataclass
class Halves:
    """Half of each item; exits on 13, refuses odd ones."""

    def open(self):
        def half(item):
            if item == 13:
                os._exit(7)
            if item % 2:
                raise InvalidArgument(f"expected an even number, got {item}")
            return item // 2

        return half


def test_here_answers_in_order():
    assert list(Here().run(Halves(), [4, 2, 8])) == [(4, 2), (2, 1), (8, 4)]


def test_a_pool_measures_the_same_surface_as_this_process(tmp_path):
    objective = load_objective("landscape_tests.known:small_network", seed=3)
    options = {"grid": GRID, "name": "s", "checkpoint_name": "c", "metrics": ["accuracy"]}
    here = compute_surface(tmp_path / "here.h5", objective, **options)
    pool = compute_surface(tmp_path / "pool.h5", objective, executor=Pool(2), **options)
    assert pool.is_finished
    for name, values in here.values.items():
        assert np.array_equal(pool.values[name], values)


def test_an_error_in_a_worker_is_raised_here_with_its_traceback():
    with pytest.raises(InvalidArgument, match="got 3") as caught:
        list(Pool(1).run(Halves(), [4, 3, 8]))
    assert "in half" in "".join(caught.value.__notes__)


def test_a_worker_that_dies_is_reported_with_the_items_it_held():
    with pytest.raises(WorkerDied, match="exit code 7") as ahead:
        list(Pool(1).run(Halves(), [2, 13, 4, 6]))
    with pytest.raises(WorkerDied) as one_by_one:
        list(Pool(1, in_flight=1).run(Halves(), [2, 13, 4, 6]))
    assert (ahead.value.items, one_by_one.value.items) == ((13, 4), (13,))


def test_stopping_early_leaves_no_worker():
    answers = Pool(1).run(Halves(), range(0, 100, 2))
    assert next(answers) == (0, 0)
    answers.close()
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_an_objective_made_in_this_process_is_refused_by_a_pool_in_plain_words(tmp_path):
    with pytest.raises(InvalidArgument, match="loader:where"):
        compute_surface(tmp_path / "s.h5", quadratic(), grid=GRID, name="s", checkpoint_name="c", executor=Pool(2))


def test_one_worker_is_this_process_and_fewer_are_refused():
    assert isinstance(make_executor(None), Here)
    assert isinstance(make_executor(1), Here)
    assert make_executor(3).workers == 3
    for refused in (make_executor, Pool):
        with pytest.raises(InvalidArgument, match="at least 1 worker"):
            refused(0)


ENDLESS = """
import time
from landscape.executors.here import Pool

class Endless:
    def open(self):
        return time.sleep

if __name__ == "__main__":
    for item in Pool(1).run(Endless(), [0] + [1000] * 9):
        print("started", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_workers_leave_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout.readline() == b"started\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        parent.kill()
    deadline = time.monotonic() + 10
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.02)
