"""The commands as functions: run in this process, seen from outside."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from samrec.cli.main import main

Outcome = tuple[int, str, str]


def samrec_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """`samrec` with these arguments in this folder: exit code, stdout, stderr."""
    monkeypatch.chdir(folder)

    def command(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["samrec", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return command
