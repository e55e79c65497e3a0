"""The report says what the store holds: the verdict counted by hand, figures that unpack to the store's numbers."""

import base64
import gzip
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from landscape.errors import InvalidArgument, StoreError
from landscape.records import Checkpoint
from landscape.report import write_report
from landscape.report.cards import thinned
from landscape.report.packing import pack_figures, packed
from landscape.report.verdict import verdict
from landscape.store import Store
from tests.landscape_tests.drawn_stores import add_surface, bowl, two_checkpoints
from tests.landscape_tests.reports import seeds_of_two_methods

CLEAR = {"plain": [1.0, 1.1, 1.2], "sam": [0.5, 0.58, 0.72]}  # lower by .5, .52, .48
OPEN = {"plain": [1.0, 1.1, 1.2], "sam": [0.5, 1.6, 1.3]}
WORSE = {"plain": [0.5, 0.58, 0.72], "sam": [1.0, 1.1, 1.2]}


def unpacked(text: str) -> str:
    """What was packed."""
    return gzip.decompress(base64.b64decode(text)).decode()


def test_the_verdict_counts_intervals_that_exclude_zero(tmp_path: Path) -> None:
    path = seeds_of_two_methods(tmp_path / "s.h5", {"sam": CLEAR, "keskar": OPEN, "trace": WORSE})
    with Store.read(path) as store:
        told = {finding.sentence: finding.items for finding in verdict(store)}
    assert "sam is flatter than plain by 1 of 3 measures, over 3 seeds." in told
    assert len(told["It is sharper by 1."]) == 1
    assert len(told["1 do not decide: their intervals hold zero."]) == 1


def test_a_change_is_a_paired_t_interval_in_percent_of_the_baseline(tmp_path: Path) -> None:
    path = seeds_of_two_methods(tmp_path / "s.h5", {"sam": CLEAR})
    differences = np.array(CLEAR["sam"]) - np.array(CLEAR["plain"])
    low, high = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences)) / np.mean(CLEAR["plain"])
    with Store.read(path) as store:
        (item,) = verdict(store)[0].items
    assert item == f"SAM ρ 0.1 (raw) {differences.mean() / 1.1:+.0%} [{low:+.0%}, {high:+.0%}]"


def test_scores_are_told_with_their_interval_and_level(tmp_path: Path) -> None:
    with Store.read(seeds_of_two_methods(tmp_path / "s.h5", {"sam": CLEAR})) as store:
        last = verdict(store)[-1].sentence
    assert last == "NDCG@10 of sam minus plain: +0.0020 [+0.0010, +0.0030] over 3 seeds: a difference at 95 %."


def test_the_baseline_can_be_chosen_and_must_be_there(tmp_path: Path) -> None:
    path = seeds_of_two_methods(tmp_path / "s.h5", {"sam": CLEAR})
    with Store.read(path) as store:
        assert verdict(store, baseline="sam")[1].sentence == "It is sharper by 1."
        with pytest.raises(InvalidArgument, match="plain, sam"):
            verdict(store, baseline="neither")


def test_measures_of_another_split_are_counted_apart(tmp_path: Path) -> None:
    path = seeds_of_two_methods(tmp_path / "s.h5", {"sam": CLEAR})
    with Store.write(path) as store:
        held = store.sharpness("plain-0")
        origin = replace(held.provenance, objective={**held.provenance.objective, "split": "validation"})
        other = tuple(replace(measure, value=99.0) for measure in held.measures)
        store.add_sharpness(replace(held, name="plain-0-validation", measures=other, provenance=origin))
        told = verdict(store)
    assert told[0].sentence == "sam is flatter than plain by 1 of 1 measure, over 3 seeds."


def test_one_pair_of_runs_decides_nothing(tmp_path: Path) -> None:
    path = seeds_of_two_methods(tmp_path / "s.h5", {"sam": CLEAR}, seeds=1)
    with Store.read(path) as store:
        sentences = [finding.sentence for finding in verdict(store)]
    assert any("none of this says that the methods differ" in sentence for sentence in sentences)
    assert not any("flatter" in sentence for sentence in sentences)


def test_one_checkpoint_has_no_verdict(tmp_path: Path) -> None:
    with Store.write(tmp_path / "s.h5") as store:
        add_surface(store, "alone", bowl(2.0))
        assert verdict(store) == ()


def test_figures_unpack_to_the_numbers_of_the_store(tmp_path: Path) -> None:
    """The values of both surfaces, as the page's script would find them, in float32; heights may be logarithms."""
    page = write_report(two_checkpoints(tmp_path / "s.h5")).read_text()
    pack = json.loads(unpacked(_script(page, "figures")))
    values = [
        _numbers(pack, trace["customdata"])
        for figure in pack["figures"]
        for trace in figure["data"]
        if trace["type"] == "contour"
    ]
    with Store.read(tmp_path / "s.h5") as store:
        stored = [store.surface(f"{name}-surface").values["loss"].T for name in ("flat", "sharp")]
    for drawn, held in zip(values, stored, strict=True):
        np.testing.assert_allclose(drawn, held, rtol=1e-6)


def test_equal_arrays_travel_once(tmp_path: Path) -> None:
    """A contour and a relief of the same surface share theirs."""
    page = write_report(two_checkpoints(tmp_path / "s.h5")).read_text()
    arrays = json.loads(unpacked(_script(page, "figures")))["arrays"]
    assert len({(entry["bdata"], entry.get("shape")) for entry in arrays}) == len(arrays)


def test_packing_is_undone_by_unpacking_and_always_the_same() -> None:
    text = "α < β & 'γ'\n" * 100
    assert unpacked(packed(text)) == text
    assert packed(text) == packed(text)


def test_no_figure_carries_what_is_not_a_number_to_json() -> None:
    import plotly.graph_objects as go

    holes = go.Figure(go.Scatter(x=[0.0, float("nan")], y=np.array([1.0, np.inf]), text=["a", "b"]))
    assert "figures" in json.loads(unpacked(pack_figures([holes])))


def test_a_large_surface_is_thinned_to_its_ends_and_centre() -> None:
    from landscape.plots.figure_data import Panel

    axis, nothing = np.linspace(-1, 1, 201), np.zeros((0, 2))
    heights = np.add.outer(axis, axis)
    panel = Panel("t", "s", axis, axis, heights, heights, None, nothing, None, 0.0)
    small = thinned(panel)
    assert small.heights.shape == (101, 101)
    assert {-1.0, 0.0, 1.0} <= set(small.alpha.tolist())
    np.testing.assert_array_equal(small.values, np.add.outer(small.beta, small.alpha))


def test_a_half_finished_store_gives_a_report_that_says_so(tmp_path: Path) -> None:
    with Store.write(tmp_path / "s.h5") as store:
        add_surface(store, "half", bowl(2.0), share=0.4)
    page = write_report(tmp_path / "s.h5").read_text()
    assert "Half finished" in page
    assert "surface half-surface: 176 of 441 points measured" in page


def test_a_folder_is_told_to_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="found a folder"):
        write_report(".")


def test_an_empty_store_gives_a_page(tmp_path: Path) -> None:
    with Store.write(tmp_path / "s.h5"):
        pass
    page = write_report(tmp_path / "s.h5").read_text()
    assert "Nothing to compare" in page
    assert 'id="library"' not in page


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "a & b", '"quoted"', "{{ 7 * 7 }}"])
def test_a_name_is_text_and_nothing_else(tmp_path: Path, name: str) -> None:
    with Store.write(tmp_path / "s.h5") as store:
        add_surface(store, name, bowl(2.0))
        store.add_checkpoint(Checkpoint(name, hash=name, norm=1.0, parameters=1, config={"group": name, name: name}))
    page = write_report(tmp_path / "s.h5", title=name).read_text()
    parser = Elements()
    parser.feed(page)
    assert "img" not in parser.tags
    assert parser.title == name
    assert name in parser.cells
    assert "<img" not in unpacked(_script(page, "figures"))


def test_every_record_is_told_with_its_command(tmp_path: Path) -> None:
    page = write_report(seeds_of_two_methods(tmp_path / "s.h5", {"sam": CLEAR})).read_text()
    assert "landscape sharpness tests:known --store s.h5" in page


def test_the_page_asks_for_nothing_from_a_network(tmp_path: Path) -> None:
    page = write_report(two_checkpoints(tmp_path / "s.h5")).read_text()
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)


def test_twelve_large_surfaces_fit_into_five_megabytes(tmp_path: Path) -> None:
    """3 checkpoints x 4 surfaces x 201 x 201 points of noise on a bowl, which packs worse than any real one."""
    from landscape.grid import Axis

    rng = np.random.default_rng(0)
    axis = Axis(-1, 1, 201)
    with Store.write(tmp_path / "s.h5") as store:
        for checkpoint in range(3):
            for seed in range(4):
                noisy = lambda a, b: a**2 + b**2 + rng.random(a.shape)  # noqa: E731
                add_surface(store, f"c{checkpoint}s{seed}", noisy, alpha=axis, beta=axis, seed=10 * seed + 1)
    assert write_report(tmp_path / "s.h5").stat().st_size < 5_000_000


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"\.html"):
        write_report(two_checkpoints(tmp_path / "s.h5"), tmp_path / "report.pdf")


def test_reporting_imports_no_torch(tmp_path: Path) -> None:
    two_checkpoints(tmp_path / "s.h5")
    code = (
        "import sys; from landscape.report import write_report; write_report('s.h5'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


class Elements(HTMLParser):
    """Tags, the title and the text of cells of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: set[str] = set()
        self.title = ""
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.tags.add(tag)
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open == "title" and data.strip():
            self.title += data
        if self._open == "td":
            self.cells.add(data)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._open = ""


def _script(page: str, name: str) -> str:
    found = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page)
    assert found is not None
    return found[1]


def _numbers(pack: dict, value: dict) -> np.ndarray:
    import base64

    entry = pack["arrays"][value["$array"]]
    shape = [int(length) for length in entry["shape"].split(", ")]
    return np.frombuffer(base64.b64decode(entry["bdata"]), "<f4").reshape(shape)


def test_metrics_stand_in_the_order_of_their_cutoffs(tmp_path: Path) -> None:
    with Store.write(tmp_path / "s.h5") as store:
        metrics = {"HR@5": 0.1, "HR@10": 0.2, "MRR": 0.1}
        store.add_checkpoint(Checkpoint("one", hash="one", norm=1.0, parameters=3, metrics=metrics))
    page = write_report(tmp_path / "s.h5").read_text()
    assert page.index("HR@5") < page.index("HR@10") < page.index("MRR")
