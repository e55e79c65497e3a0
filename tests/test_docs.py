"""The documentation: it builds without warnings and needs no network, names every public name, and its code runs."""

import dataclasses
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import h5py
import pytest
import typer
from written_blocks import run_story, stories

import landscape
import samrec
from landscape.records import Direction
from landscape.store import Store

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
STORIES = [(page, story) for page in PAGES for story in stories(page)]
PROMPTED = re.compile(r"^(?:\.venv/bin/)?(landscape|samrec)\b(.*)$")


def name_of(value):
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else None


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    told = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return folder


class Fetched(HTMLParser):
    """What a browser fetches by itself to show a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.anchors = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.anchors.add(told.get("id"))
        if tag in {"script", "img", "iframe", "source", "video", "audio", "embed"}:
            self.found.append(told.get("src"))
        if tag == "link" and told.get("rel") not in {"canonical", "next", "prev"}:
            self.found.append(told.get("href"))


def test_pages_fetch_nothing_from_the_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        fetched = [place for place in Fetched(page.read_text()).found if place]
        assert fetched
        assert not [place for place in fetched if re.match(r"(https?:)?//", place)], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_pages_find_what_they_fetch(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # shown under any address
            continue
        for place in filter(None, Fetched(page.read_text()).found):
            if not place.startswith("data:"):
                assert (page.parent / place.partition("?")[0].partition("#")[0]).exists(), (page, place)


@pytest.mark.parametrize("package", [landscape, samrec], ids=lambda package: package.__name__)
def test_every_public_name_has_an_entry_and_only_those(site, package):
    listed = {name: where for name, where, _ in loaded("hooks").public_names(package.__name__)}
    assert sorted(listed) == dir(package)
    page = Fetched((site / "reference" / f"{package.__name__}.html").read_text())
    asked = re.findall(r"^::: (\S+)$", (DOCS / "reference" / f"{package.__name__}.md").read_text(), re.MULTILINE)
    assert sorted(asked) == sorted(where for name, where in listed.items() if name != "plots")
    assert set(asked) <= page.anchors


def test_every_command_has_an_entry(site):
    from landscape.cli.commands import COMMANDS as of_landscape
    from samrec.cli.commands import COMMANDS as of_samrec

    anchors = Fetched((site / "reference" / "commands.html").read_text()).anchors
    assert {f"landscape-{name}" for name in of_landscape} <= anchors
    assert {f"samrec-{name}" for name in of_samrec if name != "data"} | {"samrec-data-prepare"} <= anchors


def test_pictures_are_small_and_every_kind_is_in_the_gallery(site):
    from landscape.cli.plot import Kind

    drawn = {path.stem: path.stat().st_size for path in (site / "gallery").glob("*.png")}
    assert {str(kind) for kind in Kind} <= set(drawn)
    assert max(drawn.values()) < 300_000
    assert sum(drawn.values()) < 2_000_000


@pytest.mark.parametrize("package", [landscape, samrec], ids=lambda package: package.__name__)
def test_a_package_lists_exactly_its_public_names(package):
    code = f"import {package.__name__} as p, rlcompleter; c = rlcompleter.Completer({{'p': p}}); i = 0\n"
    code += "while (t := c.complete('p.', i)): print(t.removeprefix('p.').partition('(')[0], end=' '); i += 1"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == dir(package) == sorted(package.__all__)


def test_every_block_of_python_is_run():
    for page in PAGES:
        blocks = len(re.findall(r"^```python$", page.read_text(), re.MULTILINE))
        run = [block for found in stories(page).values() for block in found if block.language == "python"]
        assert blocks == len(run), page


def write_beauty(folder):
    """A file of the name that examples use, of synthetic sequences."""
    drawn = samrec.make_synthetic(users=60, items=200, seed=0).interactions
    rows = [drawn.items[start:end] for start, end in zip(drawn.offsets[:-1], drawn.offsets[1:], strict=True)]
    lines = [" ".join(map(str, [user, *row])) for user, row in zip(drawn.user_ids, rows, strict=True)]
    (folder / "Beauty.txt").write_text("\n".join(lines) + "\n")


def write_gallery(folder):
    with Store.write(folder / "study.h5") as store:
        loaded("gallery").fill(store)


GIVEN = {"beauty": write_beauty, "gallery": write_gallery}  # what a story finds in its folder


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
                    if PROMPTED.match(part.strip()):
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
    try:
        command.make_context(name, rest)
    except typer.Exit as left:  # --help
        assert left.exit_code == 0


@pytest.mark.parametrize(("page", "line", "words"), list(command_lines()), ids=lambda v: name_of(v) or str(v))
def test_a_command_line_is_one_that_the_command_line_takes(page, line, words):
    parse(words)


def test_a_wrong_option_in_a_page_would_be_noticed():
    with pytest.raises(Exception, match="--ki") as caught:
        parse(["landscape", "plot", "study.h5", "--ki", "contour", "--out", "x.pdf"])
    assert hasattr(caught.value, "format_message")


def documented():
    """{group: names in its table} of the store's page."""
    parts = re.split(r"^## (\S+)$", (DOCS / "reference" / "store.md").read_text(), flags=re.MULTILINE)[1:]
    return {
        heading.strip("/").partition("/")[0]: set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.fixture
def full_store(tmp_path):
    """Every record, with every field that may be missing."""
    write_gallery(tmp_path)
    path = tmp_path / "study.h5"
    with Store.write(path) as store:
        store.add_checkpoint(dataclasses.replace(store.checkpoint("sharp"), name="full", loss=0.5))
        store.add_eigenpairs(dataclasses.replace(store.eigenpairs("sharp"), name="full", loss=0.5))
        store.add_sharpness(dataclasses.replace(store.sharpness("sharp"), name="full", loss=0.5))
        y = Direction("filter", 1, {}, hash="0" * 64, norm=1.0, orthogonal_to="1" * 64, cosine=0.0)
        store.add_surface(dataclasses.replace(store.surface("sharp"), name="full", y=y))
    return path


def test_the_stores_page_names_exactly_what_a_store_holds(full_store):
    page = documented()
    with h5py.File(full_store) as file:
        assert set(file.attrs) == page.pop("")
        tables = page.pop("Tables")
        for kind in file:
            held = {key for group in file[kind].values() for key in (*group, *group.attrs)}
            if kind in {"comparisons", "histories", "studies"}:
                for table in file[kind].values():
                    assert {*table.attrs, "row"} == tables
            else:
                assert held == page.pop(kind), kind
    assert not page


SCRIPT = """\
import landscape as ls
import samrec

data = samrec.make_synthetic(users=50, seed=0).interactions
config = samrec.make_config(data="synthetic", rho=0.1, seed=1)
run: samrec.Run = samrec.train(config, data, "runs/sam")
objective = ls.load_objective(f"samrec:{run.path}")
axis = ls.Axis(-1, 1, 11)
surface = ls.compute_surface("s.h5", objective, grid=ls.Grid(axis), name="line", checkpoint_name="sam")
pairs = ls.eigenpairs_of(objective, name="sam", checkpoint="sam")
figure = ls.plots.matplotlib_figures.curve(ls.plots.prepare.prepare_curve(ls.Store.read("s.h5")))
ls.plots.matplotlib_figures.save(figure, "line.pdf")
largest: float = float(pairs.values[0]) + float(surface.centre["loss"])
"""


def test_a_users_script_is_typed(tmp_path):
    """By mypy --strict as pyproject.toml asks for it, whose cache is warm after the project's own check."""
    (tmp_path / "good.py").write_text(SCRIPT)
    (tmp_path / "bad.py").write_text(SCRIPT + 'ls.Axis("-1", 1, 11)\nsurface.losses\nls.surfce\n')
    told = os.environ | {"MYPYPATH": str(ROOT)}  # an editable install is no path to mypy
    places = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    command = [sys.executable, "-m", "mypy", *places, "good.py", "bad.py"]
    done = subprocess.run(command, cwd=tmp_path, env=told, capture_output=True, text=True, check=False)
    wrong = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [line.partition(":")[0] for line in wrong] == ["bad.py"] * 3, done.stdout + done.stderr
