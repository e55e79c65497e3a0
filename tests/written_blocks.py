"""Code written in Markdown, run as a reader would: in order, in one empty folder.

A fenced block takes part if the line before it is one of

    <!-- runs: NAME -->             a block of python, or of bash whose lines are commands of landscape and samrec
    <!-- file: NAME: digits.py -->  the block is written into that file

where NAME is the story that the block belongs to: blocks of one story share a folder and their Python names.
"""

import contextlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MARKED = re.compile(
    r"^<!-- (?P<role>runs|file): (?P<story>[\w-]+)(?:: (?P<file>\S+))? -->\n```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    file: str | None
    line: int  # of the Markdown file, where the code begins


def stories(document: Path) -> dict[str, list[Block]]:
    """The marked blocks of a document, by story, in order."""
    text = document.read_text(encoding="utf-8")
    found: dict[str, list[Block]] = {}
    for match in MARKED.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        block = Block(match["language"], match["code"], match["file"], line)
        if (match["role"] == "file") != (block.file is not None):
            raise ValueError(f"{document.name}, line {line}: a file needs a name, and only a file has one")
        found.setdefault(match["story"], []).append(block)
    marks = len(re.findall(r"^<!-- (?:runs|file):", text, re.MULTILINE))
    if marks != sum(map(len, found.values())):
        raise ValueError(f"{document.name}: {marks} marks, {sum(map(len, found.values()))} blocks behind them")
    return found


def run_story(document: Path, story: str, folder: Path) -> dict[str, object]:
    """Run the blocks of one story in a folder; the Python names they leave. Errors point into the document."""
    names: dict[str, object] = {"__name__": story}
    with working_in(folder):
        for block in stories(document)[story]:
            if block.file is not None:
                (folder / block.file).write_text(block.code, encoding="utf-8")
            elif block.language == "python":
                exec(compile("\n" * block.line + block.code, str(document), "exec"), names)
            else:
                for command in block.code.replace("\\\n", " ").splitlines():
                    run_command(command, f"{document.name}, line {block.line}")
    return names


def run_command(text: str, place: str) -> None:
    """A command line of one of ours, in this process; it must leave with 0, or with 3: a result that did not settle."""
    words = shlex.split(text, comments=True)
    if not words:
        return
    if words[0] == "landscape":
        from landscape.cli.commands import app
    elif words[0] == "samrec":
        from samrec.cli.commands import app
    else:
        raise ValueError(f"{place}: cannot run {words[0]} here")
    result = CliRunner().invoke(app, words[1:])
    if result.exit_code not in (0, 3):
        raise AssertionError(f"{place}: {text!r} left with {result.exit_code}\n{result.output}") from result.exception


def docs_module(name: str) -> ModuleType:
    """A module of the documentation's folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """This folder as the current one, importable; what was imported from it is forgotten after."""
    with contextlib.chdir(folder):
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
                    del sys.modules[name]
