"""A store survives full disks and kills at any moment: no finished point is lost, and it can be read meanwhile."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from landscape_tests import killed_writer, stores

from landscape.errors import StoreError
from landscape.records import Status
from landscape.store import Store

TESTS = Path(__file__).parents[1]


@pytest.fixture
def study(path):
    """A store with a checkpoint and an empty surface of 5 x 3."""
    with Store.write(path) as store:
        store.add_checkpoint(stores.checkpoint())
        store.add_surface(stores.empty_surface())
        yield store


# Full disks


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_while_writing_points_keeps_those_before(study, monkeypatch):
    study.write_points("plane", [0, 1], stores.values_at([0, 1]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", no_space)
        with pytest.raises(StoreError, match="No space left"):
            study.write_points("plane", [2], stores.values_at([2]))
    assert study.surface("plane").status.reshape(-1)[:3].tolist() == [1, 1, 0]
    study.write_points("plane", [2], stores.values_at([2]))
    assert study.surface("plane").status.reshape(-1)[:3].tolist() == [1, 1, 1]


def test_a_write_cut_short_by_the_system_is_carried_on(study, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: write(file, data[:3], offset))
    study.write_points("plane", range(15), stores.values_at(range(15)))
    np.testing.assert_array_equal(
        study.surface("plane").values["loss"].reshape(-1), stores.values_at(range(15))["loss"]
    )


def test_a_full_disk_while_adding_a_group_leaves_the_store_as_it_was(study, path):
    before = path.read_bytes()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(StoreError, match="what it held is kept"):
            study.add_checkpoint(stores.checkpoint("second", "w1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["study.h5", "study.h5.lock"]
    study.add_checkpoint(stores.checkpoint("second", "w1"))


def test_a_store_that_cannot_be_created_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StoreError, match="No space left"):
        Store.write(tmp_path / "new.h5")
    assert list(tmp_path.iterdir()) == []


# Kills


@pytest.fixture
def writers(path):
    """Start a writer of this store each time it is called; it answers with the lines that the writer says."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    command = [sys.executable, "-m", "landscape_tests.killed_writer", path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen(command, env=environment, **pipes) as server:

        def start():
            server.stdin.write("go\n")
            return (line.split() for line in server.stdout)

        yield start
        server.stdin.close()


def finished_by(writer, kill_after, delay):
    """The points a writer says it has finished, when it is killed so many lines later, and how it ended."""
    word, pid = next(writer)
    assert word == "pid"
    finished = set()
    for number, words in enumerate(writer):
        if words[0] == "ended":
            return finished, int(words[1])
        finished |= set(map(int, words))
        if number == kill_after:
            time.sleep(delay)
            os.kill(int(pid), signal.SIGKILL)
    raise AssertionError("the writers' own process died")


def test_a_writer_killed_twenty_times_loses_no_finished_point(writers, path):
    generator = random.Random(4)
    size = killed_writer.GRID.size
    finished = set()
    for kill in range(20):
        told, status = finished_by(writers(), generator.randrange(12), generator.uniform(0, 0.002))
        finished |= told
        assert status == signal.SIGKILL

        surface = Store.read(path).surface("plane")

        done = np.flatnonzero(surface.status)
        assert finished <= set(done.tolist()), f"kill {kill}"
        finished |= set(done.tolist())  # a point may be finished and its writer killed before it could say so
        for name, expected in stores.values_at(done).items():
            np.testing.assert_array_equal(surface.values[name].reshape(-1)[done], expected)
    assert 0 < len(finished) < size, "the kills were meant to come in the middle"

    told, status = finished_by(writers(), None, None)

    surface = Store.read(path).surface("plane")
    assert status == 0
    assert finished | told == set(range(size))
    assert (surface.status == Status.DONE).all()
    for name, expected in stores.values_at(range(size)).items():
        assert surface.values[name].tobytes() == expected.tobytes()


def test_a_reader_is_never_refused_while_a_writer_is_at_work(writers, path):
    writer = writers()
    next(writer)
    seen = []
    while not seen or seen[-1] < killed_writer.GRID.size:
        surface = Store.read(path).surface("plane")
        done = np.flatnonzero(surface.status)
        for name, expected in stores.values_at(done).items():
            np.testing.assert_array_equal(surface.values[name].reshape(-1)[done], expected)
        seen.append(len(done))
    assert seen == sorted(seen)
    assert len(set(seen)) > 3, "the reader was meant to look while points were being written"
    assert next(words for words in writer if words[0] == "ended") == ["ended", "0"]


def test_a_kill_while_a_group_is_added_leaves_a_store_that_opens(study, path):
    study.close()
    code = (
        "import os, sys\n"
        "from landscape.store import Store\n"
        "from landscape_tests import stores\n"
        "store = Store.write(sys.argv[1])\n"
        "os.fsync = lambda file: os.kill(os.getpid(), 9)\n"
        "store.add_checkpoint(stores.checkpoint('second', 'w1'))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, path], check=False, env={**os.environ, "PYTHONPATH": str(TESTS)}
    )
    assert killed.returncode == -signal.SIGKILL
    assert path.with_name(".study.h5.aside").exists()
    assert Store.read(path).names("checkpoints") == ["base"]
    with Store.write(path) as store:
        store.add_checkpoint(stores.checkpoint("second", "w1"))
    assert [p.name for p in path.parent.iterdir()] == ["study.h5"]
    assert Store.read(path).names("checkpoints") == ["base", "second"]
