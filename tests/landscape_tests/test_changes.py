"""The figure of changes shows the verdict's numbers: paired t-intervals in percent, solid where they exclude zero."""

import json
from dataclasses import replace

import numpy as np
import pytest
from landscape_tests.drawn_stores import SETTINGS
from landscape_tests.reports import seeds_of_two_methods
from scipy import stats
from typer.testing import CliRunner

from landscape.changes import baseline_of, changes_of, groups_of
from landscape.errors import InvalidArgument
from landscape.plots import matplotlib_figures, plotly_figures
from landscape.plots.prepare import prepare_change, prepare_sharpness, prepare_sharpness_table
from landscape.plots.style import style_named
from landscape.records import Checkpoint, SharpnessMeasure, SharpnessReport
from landscape.store import Store

CLEAR = {"plain": [1.0, 1.1, 1.2], "sam": [0.5, 0.58, 0.72]}
NARROW = ("average_case", "m_sharpness", "keskar", "lpf", "pac_bayes", "trace", "frobenius", "worst_case")
OPEN = {"plain": [1.0, 1.1, 1.2], "sam": [0.5, 1.6, 1.3]}


@pytest.fixture
def path(tmp_path):
    return seeds_of_two_methods(tmp_path / "s.h5", {"sam": CLEAR, "fisher_rao": OPEN})


def test_a_mark_is_the_paired_t_interval_in_percent_of_the_baselines_mean(path):
    with Store.read(path) as store:
        data = prepare_change(store)
    (raw, (panel,)), (invariant, (other,)) = data.columns
    assert (raw, invariant) == ("raw", "scale-invariant")
    differences = np.array(CLEAR["sam"]) - np.array(CLEAR["plain"])
    interval = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    (marks,) = panel.marks
    factor = 100 / np.mean(CLEAR["plain"])
    assert marks.value == pytest.approx([factor * differences.mean()])
    assert (marks.low[0], marks.high[0]) == pytest.approx([factor * end for end in interval])
    assert marks.solid.tolist() == [True]
    assert other.marks[0].solid.tolist() == [False]
    assert panel.categories == ((0.0, "SAM ρ 0.1"),)
    assert panel.scale.low <= marks.low[0]
    assert panel.scale.high >= 0
    assert any("3 pairs of seeds" in note for note in data.notes)
    assert data.notes[0] == "change from plain to sam; left of zero is flatter"


def test_the_baseline_and_groups_can_be_named_and_must_be_there(path):
    with Store.read(path) as store:
        turned = prepare_change(store, ["plain"], baseline="sam")
        assert turned.columns[0][1][0].marks[0].value[0] > 0
        (name, *_) = groups_of(store)["sam"]
        assert name != "sam"
        assert baseline_of(store, name) == "sam"  # a checkpoint stands for its group
        with pytest.raises(InvalidArgument, match="expected groups out of sam, got neither"):
            prepare_change(store, ["neither"])
        with pytest.raises(InvalidArgument, match="expected a baseline out of plain, sam, got 'neither'"):
            prepare_change(store, baseline="neither")


@pytest.mark.parametrize("setting", ["rho", "noise"])
@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"Flat": (0.1, 1), "Plain": (0.0, 2)}, "Plain"),
        ({"Contrast": (0.0, 2), "Plain": (0.0, 1), "Sam": (0.1, 0)}, "Plain"),
        ({"Untold": (None, 1), "Plain": (0.0, 2)}, "Plain"),
        ({"a": (0.2, 2), "b": (0.1, 1)}, "b"),
        ({"a": (None, 2), "b": (None, 1)}, "b"),
        ({"a": (None, None), "b": (None, None)}, "a"),
    ],
    ids=[
        "the one without",
        "of several without the one measured first",
        "what says nothing is not plain",
        "measured first where all have some",
        "measured first",
        "the first",
    ],
)
def test_the_baseline_is_the_plainest_group_not_the_alphabets_first(groups, expected, setting, tmp_path):
    with Store.write(tmp_path / "s.h5") as store:
        for group, (value, day) in groups.items():
            for seed, name in enumerate((f"{group}-1", f"{group}-2")):
                config = {"group": group, "seed": seed} | ({} if value is None else {setting: value})
                store.add_checkpoint(Checkpoint(name, hash=name, norm=1.0, parameters=3, config=config))
                created = "" if day is None else f"2026-01-0{day + 1}T12:00:00+00:00"
                sharp = (SharpnessMeasure("sam", {"rho": 0.1}, 1.0, None, 2),)
                store.add_sharpness(SharpnessReport(name, name, sharp, replace(SETTINGS, created=created)))
        assert baseline_of(store) == expected
        assert prepare_change(store).notes[0].startswith(f"change from {expected} to ")
        first = f"{expected}-1"
        assert prepare_sharpness_table(store).labels[0] == prepare_sharpness(store).labels[0] == first
        named = store.names("sharpness")
        assert prepare_sharpness(store, named).labels == tuple(named)  # as they are named


def test_one_pair_is_drawn_and_decides_nothing(tmp_path):
    with Store.read(seeds_of_two_methods(tmp_path / "s.h5", {"sam": CLEAR}, seeds=1)) as store:
        data = prepare_change(store)
    (marks,) = data.columns[0][1][0].marks
    assert marks.low.tolist() == marks.value.tolist() == marks.high.tolist()
    assert not marks.solid.any()
    assert "one pair of runs has no interval: nothing is decided" in data.notes


def test_drops_of_a_metric_have_an_axis_of_their_own_without_percent(path):
    with Store.write(path) as store:
        for name in store.names("checkpoints"):
            drop = SharpnessMeasure("sam_drop", {"rho": 0.1, "metric": "ndcg@10"}, 0.01 * (name < "q"), 0.001, 2)
            store.add_sharpness(SharpnessReport(f"{name}-drop", name, (drop,), SETTINGS))
        data = prepare_change(store)
    shares, drops = data.columns[0][1]
    assert (shares.scale.label, drops.scale.label.partition("  [")[0]) == (
        "change in % of the baseline",
        "change of the drop",
    )
    assert drops.marks[0].value == pytest.approx([-0.01])


def test_values_that_are_not_finite_take_no_part(tmp_path):
    broken = {**CLEAR, "sam": [np.inf, 0.58, 0.72]}
    with Store.read(seeds_of_two_methods(tmp_path / "s.h5", {"sam": broken})) as store:
        assert {change.pairs for change in changes_of(store, "plain", "sam")} == {2}


def test_nothing_to_compare_is_refused_in_one_line(tmp_path):
    with (
        Store.write(tmp_path / "s.h5") as store,
        pytest.raises(InvalidArgument, match="expected sharpness measures of two groups"),
    ):
        prepare_change(store)


@pytest.mark.parametrize("columns", [1, 2])
def test_both_drawers_draw_panels_below_each_other_with_room_for_their_numbers(path, columns, tmp_path):
    with Store.read(path) as store:
        data = prepare_change(store)
    style = style_named("paper", columns=columns)
    figure = matplotlib_figures.change(data, style=style)
    matplotlib_figures.save(figure, tmp_path / "change.png")
    places = [axes.get_position() for axes in figure.axes]
    assert len({round(place.x0, 2) for place in places}) == 1
    assert min(place.width for place in places) > (0.3, 0.4)[columns - 1]
    assert "SAM ρ 0.1" in plotly_figures.change(data, style=style).to_json().encode().decode("unicode_escape")


def test_the_command_draws_it(path, tmp_path):
    from landscape.cli.commands import app

    out = tmp_path / "change.pdf"
    arguments = ["plot", str(path), "--kind", "change", "--baseline", "sam", "--out", str(out), "--json"]
    told = json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)
    assert told["notes"][0].startswith("change from sam to plain")
    assert out.read_bytes().startswith(b"%PDF")


def test_an_interval_beyond_the_axis_ends_in_an_arrow(tmp_path):
    wide = {"plain": [1.0, 1.1, 1.2], "sam": [0.1, 9.0, 0.3]}
    path = seeds_of_two_methods(tmp_path / "s.h5", {"sam": wide} | dict.fromkeys(NARROW, CLEAR))
    with Store.read(path) as store:
        data = prepare_change(store)
    (panel,) = data.columns[0][1]
    (marks,) = panel.marks
    below, above = marks.cut(panel.scale)
    assert (below.tolist(), above.tolist()) == ([True] + [False] * len(NARROW),) * 2
    assert data.notes[-1] == "arrows: 2 ends of intervals lie beyond the axis"
    heads = [line for line in matplotlib_figures.change(data).axes[0].lines if line.get_marker() in "<>"]
    assert [line.get_xdata().tolist() for line in heads] == [[panel.scale.low], [panel.scale.high]]
    drawn = {trace.marker.symbol: trace.x for trace in plotly_figures.change(data).data if trace.hoverinfo == "skip"}
    assert drawn == {"triangle-left": (panel.scale.low,), "triangle-right": (panel.scale.high,)}
