"""Code in README.md and in the documentation: every block of Python runs, every command line is one that exists."""

import contextlib
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer
from written_blocks import DOCS, ROOT, docs_module, run_story, stories

import samrec
from landscape.store import Store

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
STORIES = [(page, story) for page in PAGES for story in stories(page)]
OURS = re.compile(r"^(?:\.venv/bin/)?(landscape|samrec)\b(.*)$")


def name_of(value):
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else None


def test_every_block_of_python_is_run():
    for page in PAGES:
        blocks = len(re.findall(r"^```python$", page.read_text(), re.MULTILINE))
        run = [block for found in stories(page).values() for block in found if block.language == "python"]
        assert blocks == len(run), page


def write_beauty(folder, users=8, longest=50):  # few users: examples train to the end
    """A file of the name that examples use, of synthetic sequences."""
    drawn = samrec.make_synthetic(users=users, items=200, seed=0).interactions
    rows = [drawn.items[start:end][:longest] for start, end in zip(drawn.offsets[:-1], drawn.offsets[1:], strict=True)]
    lines = [" ".join(map(str, [user, *row])) for user, row in zip(drawn.user_ids, rows, strict=True)]
    (folder / "Beauty.txt").write_text("\n".join(lines) + "\n")


def write_gallery(folder):
    with Store.write(folder / "study.h5") as store:
        docs_module("gallery").fill(store)


def write_run(folder):
    """A run of the name that examples use."""
    write_beauty(folder, users=2048, longest=5)
    with contextlib.chdir(folder):
        config = samrec.make_config(data="Beauty.txt", epochs=1, size=8)
        samrec.train(config, samrec.open_data("Beauty.txt"), "runs/beauty-sas-1", show=False)


GIVEN = {"beauty": write_beauty, "gallery": write_gallery, "operators": write_run}  # what a story finds in its folder


@pytest.mark.parametrize(("page", "story"), [s for s in STORIES if s[1] != "digits"], ids=name_of)
def test_the_code_of_a_page_runs_in_order(page, story, tmp_path):
    if story in GIVEN:
        GIVEN[story](tmp_path)
    run_story(page, story, tmp_path)


def command_lines():
    """(page, line number, words) of each command of ours in a block of bash."""
    for page in PAGES:
        text = page.read_text()
        for block in re.finditer(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            first = text.count("\n", 0, block.start(1)) + 1
            for offset, line in enumerate(block[1].splitlines()):
                for part in line.split("&&"):
                    if OURS.match(part.strip()):
                        yield page, first + offset, words_of(part.strip())


def words_of(line):
    """As bash would split them, with braces expanded."""
    words = []
    for word in shlex.split(line, comments=True):
        braces = re.fullmatch(r"(.*)\{(.*,.*)\}(.*)", word)
        words += [braces[1] + choice + braces[3] for choice in braces[2].split(",")] if braces else [word]
    return [words[0].removeprefix(".venv/bin/"), *words[1:]]


def parse(words):
    """What the command line makes of these words, without running the command."""
    app = importlib.import_module(f"{words[0]}.cli.commands").app
    command, rest, name = typer.main.get_command(app), words[1:], words[0]
    while hasattr(command, "list_commands"):
        known = {option for parameter in command.params for option in parameter.opts}
        if rest and rest[0] in known | {"--help"}:
            return
        name, command, rest = command.resolve_command(typer.Context(command), rest)
    with contextlib.suppress(typer.Exit):  # --help
        command.make_context(name, rest)


@pytest.mark.parametrize(("page", "line", "words"), list(command_lines()), ids=lambda v: name_of(v) or str(v))
def test_a_command_line_is_one_that_the_command_line_takes(page, line, words):
    parse(words)


def test_a_wrong_option_in_a_page_would_be_noticed():
    with pytest.raises(Exception, match="--ki") as caught:
        parse(["landscape", "plot", "study.h5", "--ki", "contour", "--out", "x.pdf"])
    assert hasattr(caught.value, "format_message")
