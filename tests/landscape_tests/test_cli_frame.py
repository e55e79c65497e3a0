"""The command line tells misuse (2), an unsettled run (3), an interruption (130) and a bug (1) apart."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from landscape_tests import stores

from landscape.cli.running import _trouble, plain
from landscape.progress import progress
from landscape.store import Store

APP = """
import typer
from landscape.cli.running import Command, emit, lazy_app, run
from landscape.errors import InvalidArgument, LandscapeError

def fine(name: str, as_json: bool = typer.Option(False, "--json")) -> None:
    "Say a name."
    emit(as_json, {"name": name, "loss": float("nan"), "rise": float("-inf")}, f"name {name}")

def misused() -> None:
    raise InvalidArgument("expected something,\\n got nothing")

def unsettled() -> None:
    raise typer.Exit(3)

def bug() -> None:
    raise ZeroDivisionError("ours")

def waiting() -> None:
    import signal
    import time
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job hands on that it is ignored
    print("ready", flush=True)
    time.sleep(60)

def hidden() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise ImportError("a module in C failed")

def resumable() -> None:
    raise KeyboardInterrupt

nested = typer.Typer()
nested.command("fine")(fine)
nested.callback()(lambda: None)

names = ("fine", "misused", "unsettled", "bug", "waiting", "hidden", "nested")
commands = {name: Command(f"app:{name}", f"Line of {name}.") for name in names}
commands["missing"] = Command("no_such_module:missing", "Not there yet.")
commands["resumable"] = Command("app:resumable", "Goes on.", "the same command goes on")
app = lazy_app("An app.", commands)
if __name__ == "__main__":
    run(app, (LandscapeError,), commands)
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "app.py").write_text(textwrap.dedent(APP))

    def run(*arguments):
        return subprocess.run(
            [sys.executable, tmp_path / "app.py", *arguments], capture_output=True, text=True, check=False
        )

    run.path = tmp_path / "app.py"
    return run


def inspected(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "landscape.cli.main", "inspect", *arguments], capture_output=True, text=True, check=False
    )


def test_a_command_that_works_exits_0(command):
    done = command("fine", "Ada")
    assert (done.returncode, done.stdout, done.stderr) == (0, "name Ada\n", "")


def test_json_prints_one_document_and_spells_out_what_is_not_finite(command):
    done = command("fine", "Ada", "--json")
    assert json.loads(done.stdout) == {"name": "Ada", "loss": "nan", "rise": "-inf"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["misused"], "error: expected something, got nothing"),
        (["fine"], "error: Missing argument"),
        (["fine", "Ada", "--jsno"], "error: No such option"),
        (["fina"], "did you mean fine?"),
        (["nested", "fine"], "error: Missing argument"),
    ],
)
def test_misuse_is_one_line_and_exit_2(command, arguments, said):
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_that_did_not_settle_exits_3(command):
    assert command("unsettled").returncode == 3


def test_a_bug_exits_1_with_its_traceback(command):
    done = command("bug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: ours" in done.stderr


def test_an_interruption_exits_130(command):
    waiting = subprocess.Popen(
        [sys.executable, command.path, "waiting"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert waiting.stdout.readline() == "ready\n"
    os.kill(waiting.pid, signal.SIGINT)
    _, stderr = waiting.communicate(timeout=20)
    assert (waiting.returncode, stderr.strip()) == (130, "interrupted")


@pytest.mark.parametrize("package", ["samrec", "landscape"])
def test_an_interruption_of_the_imports_exits_130(package, tmp_path):
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")  # as Ctrl-C in the first tenths of a second
    code = f"from {package}.cli.main import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_an_interruption_behind_another_error_exits_130(command):
    assert command("hidden").returncode == 130


def test_a_command_says_how_it_goes_on(command):
    done = command("resumable")
    assert (done.returncode, done.stderr) == (130, "interrupted; the same command goes on\n")


def test_listing_the_commands_imports_none_of_them(command):
    for arguments in (["--help"], []):
        done = command(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Line of fine." in done.stdout
        assert "Not there yet." in done.stdout


def test_commands_nest(command):
    assert command("nested", "fine", "Ada").stdout == "name Ada\n"


def test_inspect_lists_a_half_finished_store(tmp_path):
    path = tmp_path / "study.h5"
    with Store.write(path) as store:
        store.add_checkpoint(stores.checkpoint())
        store.add_surface(stores.empty_surface())
        store.write_points("plane", [0, 7], stores.values_at([0, 7]))
        store.add_eigenpairs(stores.eigenpairs())
        store.add_sharpness(stores.sharpness())

    found = json.loads(inspected(path, "--json").stdout)

    assert [found[kind][0]["loss"] for kind in ("surfaces", "curvature", "sharpness")] == [0.25] * 3
    assert (found["surfaces"][0]["measured"], found["surfaces"][0]["of"]) == (2, 15)
    assert found["surfaces"][0]["lowest_loss"] == stores.values_at([7])["loss"][0]
    assert (found["curvature"][0]["lambda_min"], found["curvature"][0]["converged"]) == (-0.5, False)
    assert found["sharpness"][0]["measures"] == ["average_case", "sam"]
    text = inspected(path)
    assert (text.returncode, text.stderr) == (0, "")
    for word in ("plane", "lambda_max", "5 x 3", "average_case"):
        assert word in text.stdout


def test_inspect_of_no_store_is_one_line(tmp_path):
    done = inspected(tmp_path / "nothing.h5")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_records_and_arrays_become_plain_json():
    values = plain(
        {"a": np.array([1.0, np.inf]), "b": (np.int64(3), None), "c": stores.checkpoint(), 1: np.bool_(True)}
    )
    assert values["a"] == [1.0, "inf"]
    assert values["b"] == [3, None]
    assert values["c"]["metrics"] == {"ndcg@10": 0.5}
    assert values["1"] is True


def test_progress_is_silent_where_nobody_watches(capsys):
    with progress("points", 3) as advance:
        advance()
        advance(2, loss="0.5")
    assert capsys.readouterr() == ("", "")


def test_progress_is_shown_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress("points", 3) as advance:
        advance(3, loss="0.5")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "points" in shown.err
    assert "loss 0.5" in shown.err


def test_a_file_that_is_not_there_is_one_line_whoever_opened_it():
    assert _trouble(FileNotFoundError("No such file or directory: w.safetensors")) == (
        "cannot read or write a file: No such file or directory: w.safetensors"
    )
    assert _trouble(FileNotFoundError(2, "No such file or directory", "w.pt")) == (
        "cannot read or write w.pt: No such file or directory"
    )
    assert _trouble(OSError("ours")) is None
