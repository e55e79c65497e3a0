"""The documentation builds without warnings, fetches nothing from the network, and names what the code has."""

import dataclasses
import importlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from written_blocks import DOCS, ROOT, docs_module

import landscape
import samrec
from landscape.records import Direction, Mark, Trajectory
from landscape.store import Store


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
    listed = {name: where for name, where, _ in docs_module("hooks").public_names(package.__name__)}
    assert sorted(listed) == dir(package)
    page = Fetched((site / "reference" / f"{package.__name__}.html").read_text())
    asked = re.findall(r"^::: (\S+)$", (DOCS / "reference" / f"{package.__name__}.md").read_text(), re.MULTILINE)
    extra = [where for where in asked if where.endswith(".from_model")]  # of Objective, whose members are a protocol's
    assert sorted(set(asked) - set(extra)) == sorted(where for name, where in listed.items() if name != "plots")
    assert len(set(asked)) == len(asked)
    assert set(asked) <= page.anchors


def commands_of(package):
    return importlib.import_module(f"{package}.cli.commands").COMMANDS


def test_every_command_has_an_entry(site):
    anchors = Fetched((site / "reference" / "commands.html").read_text()).anchors
    assert {f"landscape-{name}" for name in commands_of("landscape")} <= anchors
    assert {f"samrec-{name}" for name in commands_of("samrec") if name != "data"} | {"samrec-data-prepare"} <= anchors


def test_pictures_are_small_and_every_kind_is_in_the_gallery(site):
    from landscape.cli.plot import Kind

    drawn = {path.stem: path.stat().st_size for path in (site / "gallery").glob("*.png")}
    assert {str(kind) for kind in Kind} <= set(drawn)
    assert max(drawn.values()) < 300_000
    assert sum(drawn.values()) < 2_000_000


def documented():
    """{group: names in its table} of the store's page."""
    parts = re.split(r"^## (\S+)$", (DOCS / "reference" / "store.md").read_text(), flags=re.MULTILINE)[1:]
    return {
        heading.strip("/").replace("/NAME", "").replace("/ID", ""): set(
            re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
        )
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


INSIDE = ("density", "trace", "subsets")  # records of their own, inside of a group of eigenpairs


@pytest.fixture
def full_store(tmp_path):
    """Every record, with every field that may be missing."""
    path = tmp_path / "study.h5"
    with Store.write(path) as store:
        docs_module("gallery").fill(store)
        store.add_checkpoint(dataclasses.replace(store.checkpoint("sharp"), name="full", loss=0.5))
        missing = {"loss": 0.5, "product_error": 1e-4}
        for kind in ("eigenpairs", "sharpness", "density", "trace", "subsets"):
            held = getattr(store, kind)("sharp")
            given = {key: value for key, value in missing.items() if hasattr(held, key)}
            getattr(store, f"add_{kind}")(dataclasses.replace(held, name="full", **given))
        y = Direction("filter", 1, {}, hash="0" * 64, norm=1.0, orthogonal_to="1" * 64, cosine=0.0)
        one, marks = store.surface("sharp"), (Mark("flat", 0.5),)
        full = dataclasses.replace(one, name="full", y=y, marks=marks, group="seeds", approximation={"error": 0.0})
        store.add_surface(full)
        store.add_surface(full, kind="nodes")
        two, numbers = np.zeros((2, 2)), np.zeros(2)
        path_of = ("path", "sharp", ("a", "b"), numbers, ("1", "2"), two, numbers, numbers, numbers, numbers)
        store.add_trajectory(Trajectory(*path_of, one.x, y, one.provenance))
    return path


def test_the_stores_page_names_exactly_what_a_store_holds(full_store):
    page = documented()
    with h5py.File(full_store) as file:
        assert set(file.attrs) == page.pop("")
        tables = page.pop("Tables")
        assert names_in(file["nodes"]) == page["surfaces"]
        for inside in INSIDE:
            assert names_in({name: group[inside] for name, group in file["curvature"].items() if inside in group}) == (
                page.pop(f"curvature/{inside}")
            )
        for kind in set(file) - {"nodes"}:
            if kind in {"comparisons", "histories", "studies"}:
                for table in file[kind].values():
                    assert {*table.attrs, "row"} == tables
            else:
                assert names_in(file[kind]) - set(INSIDE) == page.pop(kind), kind
    assert not page


def names_in(groups):
    return {key for group in groups.values() for key in (*group, *group.attrs)}
