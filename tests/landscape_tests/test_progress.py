"""One bar a terminal: none inside another's block, none after silence, and the next one again afterwards."""

import subprocess
import sys

import pytest

import landscape.progress as module
from landscape.progress import progress, silence


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr(module, "_is_watched", lambda: True)
    monkeypatch.setattr(module, "_in_use", False)


def is_shown(advance):
    return advance is not module._nothing


def test_a_bar_inside_of_another_is_not_shown_and_the_next_one_is(watched):
    with progress("outer", 2) as outer:
        with progress("inner", 3) as inner:
            inner(1, loss="0.5")
        outer()
    with progress("next", None) as following:
        pass
    assert [is_shown(bar) for bar in (outer, inner, following)] == [True, False, True]


def test_a_bar_whose_block_failed_makes_room(watched):
    with pytest.raises(ZeroDivisionError), progress("failing", 1):
        _ = 1 / 0
    with progress("next", 1) as following:
        assert is_shown(following)


def test_a_silenced_process_shows_none(watched):
    silence()
    with progress("worker", 1) as bar:
        assert not is_shown(bar)


def test_a_pipe_sees_nothing_at_all():
    code = "from landscape.progress import progress\nwith progress('bar', 2) as advance: advance(2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
