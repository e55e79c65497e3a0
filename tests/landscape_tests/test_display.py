"""What a notebook and a prompt show of records: their numbers, every name escaped, no colours, no torch."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from written_blocks import ROOT, docs_module

import landscape as ls
from landscape.display import MOST_ROWS, Display, SortableTable
from landscape.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "made.h5"
    with Store.write(path) as opened:
        docs_module("gallery").fill(opened)
    return Store.read(path)


RECORDS = {
    "surface": lambda store: store.surface("sharp"),
    "line": lambda store: store.surface("sharp-line"),
    "eigenpairs": lambda store: store.eigenpairs("sharp"),
    "density": lambda store: store.density("sharp"),
    "trace": lambda store: store.trace("sharp"),
    "subsets": lambda store: store.subsets("flat"),
    "sharpness": lambda store: store.sharpness("sharp"),
    "checkpoint": lambda store: store.checkpoint("sharp"),
    "table": lambda store: store.table("studies", "values"),
    "store": lambda store: store,
    "report": ls.report_of,
}


class Cells(HTMLParser):
    """The text of a table's cells, and that every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, _):
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


@pytest.mark.parametrize("kind", RECORDS)
def test_every_record_shows_itself_small_and_in_the_readers_own_colours(store, kind):
    record = RECORDS[kind](store)
    html = record._repr_html_()
    assert Cells(html).cells or kind == "checkpoint"
    assert len(html) < 8_000
    assert not re.search(r"color|background|<style|<script|class=", html)
    assert "\n" not in repr(record)
    assert len(repr(record)) < 200
    assert repr(record).startswith(f"<{type(record).__name__.removesuffix('Report') or 'Report'}")


def test_the_numbers_are_those_of_the_record(store):
    pairs = store.eigenpairs("sharp")
    cells = Cells(pairs._repr_html_()).cells
    assert cells[:4] == ["", "value", "residual", "settled"]
    assert cells[4:8] == ["λmax", f"{pairs.values[0]:.4g}", f"{pairs.residuals[0]:.4g}", "yes"]
    surface = store.surface("half")
    assert "measured 288 of 961" in surface._repr_html_()
    assert f"{surface.values['loss'][surface.status == 1].max():.4g}" in Cells(surface._repr_html_()).cells
    assert "Not finished: half." in store._repr_html_()


def test_names_cannot_bring_markup(store):
    evil = "<img src=x onerror=alert(1)>"
    table = SortableTable(evil, (evil,), ((evil,), (1.5,)))
    html = Display(evil, evil, {evil: evil}, (table,), (evil,)).html
    assert "<img" not in html
    assert html.count("&lt;img") == 8


def test_a_long_table_is_cut_and_says_so():
    rows = tuple((number, None) for number in range(MOST_ROWS + 5))
    html = Display("Table", "long", tables=(SortableTable("", ("n", "nothing"), rows),)).html
    assert html.count("<tr>") == 1 + MOST_ROWS
    assert "and 5 more rows" in html


def test_showing_a_record_takes_no_torch(tmp_path):
    code = (
        "import sys, numpy as np\nfrom landscape.records import Eigenpairs, Provenance\n"
        "one = np.ones(1)\n"
        "told = ('lambda_max',), one, one, one > 0, one.astype(int), 0.1, Provenance('t')\n"
        "pairs = Eigenpairs('a', 'b', 'lanczos', *told)\n"
        "assert 'λmax' in pairs._repr_html_() and repr(pairs)\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_draw_is_prepare_and_a_drawer_in_one(store):
    figure = ls.draw(store, "contour", ["sharp", "flat"], style="dark")
    assert figure.get_facecolor()[:3] != (1, 1, 1)
    assert len(ls.draw(store.path, "contour", "sharp").axes) == 2  # the panel and its colour bar
    assert [trace.type for trace in ls.draw(store, "relief", ["sharp", "flat"], interactive=True).data].count(
        "surface"
    ) == 2
    assert ls.draw(store, "scores").axes
    assert ls.draw(store, "study", ["NDCG@10"]).axes
    with pytest.raises(ls.LandscapeError, match="expected a kind of figure out of change, contour, curve"):
        ls.draw(store, "pie")
