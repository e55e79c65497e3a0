"""Figures of studies: what they show is prepared exactly, and both drawers show it, from a store of a few tables."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from landscape.errors import InvalidArgument
from landscape.plots import matplotlib_figures, plotly_figures, prepare
from landscape.plots.prepare_studies import training_of
from landscape.plots.style import Style
from landscape.records import Table
from landscape.store import Store

COARSE = Style(dots_per_inch=60)
KINDS = ("study", "training", "relation")
CELLS = [("plain", 0.0), ("tiny", 0.001), ("small", 0.1), ("large", 10.0)]


def add_values(store, cells=CELLS, *, axis="rho", lines=("",), quantities=("HR@10", "NDCG@10", "λ_max")):
    """Two seeds of every cell and line; the value is seed + 10 * place of the cell + 100 * place of the line."""
    rows = [
        (f"{name}{line}-{seed}", name + line, line, setting, seed, quantity, seed + 10 * k + 100 * m)
        for quantity in quantities
        for m, line in enumerate(lines)
        for k, (name, setting) in enumerate(cells)
        for seed in (1, 2)
    ]
    names = ("run", "cell", "line", "setting", "seed", "quantity", "value")
    columns = {name: np.array([row[k] for row in rows]) for k, name in enumerate(names)}
    columns["value"] = columns["value"].astype(float)
    about = {"axis": axis, "cells": [name + line for line in lines for name, _ in cells], "measures": ["λ_max"]}
    store.add_table("studies", Table("values", columns, about))


def add_relations(store, tau=0.5):
    columns = {"measure": np.array(["λ_max"]), "target": np.array(["NDCG@10"])}
    columns |= {name: np.array([value]) for name, value in (("tau", tau), ("low", -0.25), ("high", 0.75))}
    store.add_table("studies", Table("relations", columns))


def add_history(store, name, method, *, sharpness=None):
    columns = {"epoch": np.arange(1, 4), "loss": np.array([3.0, 2.0, 1.5]), "validation NDCG@10": np.array([1.0, 3, 2])}
    if sharpness is not None:
        columns["sharpness"] = np.array(sharpness)
    store.add_table("histories", Table(name, columns, {"method": method, "best_epoch": 2}))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.h5"
    with Store.write(path) as store:
        add_values(store)
        add_relations(store)
        add_history(store, "a-1", "a")
        add_history(store, "b-1", "b", sharpness=[0.001, 0.01, 1.0])
    return path


def prepared(path, kind, *arguments, **options):
    return getattr(prepare, f"prepare_{kind}")(Store.read(path), *arguments, **options)


def test_settings_far_apart_lie_on_a_log_axis_with_zero_beyond_a_break(study):
    panel = prepared(study, "study", ["HR@10"]).panels[0]
    assert [at for at, _ in panel.x_ticks] == pytest.approx([-5, -3, -1, 1])
    assert [label for _, label in panel.x_ticks] == ["0", "0.001", "0.1", "10"]
    assert panel.x_breaks == (-4,)
    assert panel.x_range[0] < -5
    assert panel.x_range[1] > 1


def test_a_line_is_the_mean_over_seeds_its_band_the_extremes_and_dots_are_the_runs(study):
    line, stub = prepared(study, "study", ["HR@10"]).panels[0].trends
    assert line.x.tolist() == [-3, -1, 1]
    assert line.y.tolist() == [11.5, 21.5, 31.5]
    assert (line.low.tolist(), line.high.tolist()) == ([11, 21, 31], [12, 22, 32])
    assert sorted(map(tuple, line.dots.tolist())) == [
        (x, 10 * k + s) for k, x in enumerate([-5, -3, -1, 1]) for s in (1, 2)
    ]
    assert (stub.y.tolist(), stub.low.tolist(), stub.high.tolist()) == ([1.5, 1.5], [1, 1], [2, 2])
    assert stub.x.mean() == -5
    assert line.group == stub.group


def test_settings_near_each_other_lie_on_a_linear_axis(tmp_path):
    with Store.write(tmp_path / "s.h5") as store:
        add_values(store, [("a", 0.2), ("b", 0.4), ("c", 1.0)], axis="data_fraction", lines=(" x", " y"))
    data = prepared(tmp_path / "s.h5", "study")
    assert data.legend == ((" x", 0), (" y", 1))
    assert [panel.scale.label for panel in data.panels] == ["HR@10", "NDCG@10"]
    first = data.panels[0]
    assert first.x_label == "data fraction"
    assert first.x_ticks == ((0.2, "0.2"), (0.4, "0.4"), (1.0, "1"))
    assert first.x_breaks == ()
    assert [trend.y.tolist() for trend in first.trends] == [[1.5, 11.5, 21.5], [101.5, 111.5, 121.5]]


def test_a_study_without_an_axis_shows_its_cells_side_by_side(tmp_path):
    with Store.write(tmp_path / "s.h5") as store:
        add_values(store, [("a long name of a cell", np.nan), ("another long name", np.nan)], axis=None)
    data = prepared(tmp_path / "s.h5", "study")
    dots, *bars = data.panels[0].trends
    assert [label for _, label in data.panels[0].x_ticks] == ["a long name of a cell", "another long name"]
    assert [bar.y.tolist() for bar in bars] == [[1.5, 1.5], [11.5, 11.5]]
    assert [bar.x.mean() for bar in bars] == [0, 1]
    assert len(dots.dots) == 4
    assert (data.legend, data.rows) == ((), False)


@pytest.mark.parametrize(
    ("names", "quantities", "rows"),
    [
        (("a" * 20, "b" * 20), ("HR@10", "NDCG@10"), False),
        (("a" * 20, "b" * 21), ("HR@10", "NDCG@10"), True),
        (("a" * 20, "b" * 11), ("HR@10", "NDCG@10", "λ_max"), True),  # narrower panels
    ],
)
def test_cells_whose_labels_do_not_fit_side_by_side_are_rows_from_the_top(names, quantities, rows, tmp_path):
    with Store.write(tmp_path / "s.h5") as store:
        add_values(store, [(name, np.nan) for name in names], axis=None)
    data = prepared(tmp_path / "s.h5", "study", quantities)
    assert data.rows is rows
    first, second, *_ = matplotlib_figures.study(data, style=COARSE).axes
    page = plotly_figures.study(data)
    of_cells = "y" if rows else "x"
    dots = next(line for line in first.lines if len(line.get_xdata()) == 4)
    assert sorted(dots.get_xdata()) == ([1, 2, 11, 12] if rows else [0, 0, 1, 1])
    assert [tick.get_text() for tick in getattr(first, f"get_{of_cells}ticklabels")()] == list(names)
    assert tuple(getattr(page.layout, f"{of_cells}axis").ticktext) == names
    if rows:
        assert first.get_ylim()[0] > first.get_ylim()[1]  # the first cell on top
        assert not any(tick.label1.get_visible() for tick in second.yaxis.get_major_ticks())
        assert page.layout.yaxis.range[0] > page.layout.yaxis.range[1]
        assert page.layout.yaxis2.showticklabels is False


def test_a_cell_of_one_run_is_its_dot_alone(tmp_path):
    with Store.write(tmp_path / "s.h5") as store:
        add_values(store, [("a", np.nan), ("b", np.nan)], axis=None)
        table = store.table("studies", "values")
        one = table.columns["seed"] == 1
        columns = {name: column[one] for name, column in table.columns.items()}
        store.add_table("studies", Table("values", columns, table.attributes))
    data = prepared(tmp_path / "s.h5", "study")
    assert [(len(trend.x), len(trend.dots)) for trend in data.panels[0].trends] == [(0, 2)]


def test_a_value_that_is_not_finite_leaves_its_dot_out_and_the_mean_to_the_others(tmp_path):
    with Store.write(tmp_path / "s.h5") as store:
        add_values(store, quantities=("λ_max",))
        table = store.table("studies", "values")
        table.columns["value"][:3] = [np.inf, np.nan, np.nan]  # both seeds of plain, one of tiny
        store.add_table("studies", table)
    line, stub = prepared(tmp_path / "s.h5", "study").panels[0].trends
    assert np.isnan(stub.y).all()
    assert prepared(tmp_path / "s.h5", "study").panels[0].scale.drawn(12.0) == line.y[0]
    assert np.isnan(line.dots[:3, 1]).all()


def test_training_curves_have_a_panel_each_and_a_dot_at_the_weights_kept(study):
    data = prepared(study, "training")
    assert [panel.scale.label for panel in data.panels] == ["loss", "validation NDCG@10", "L(w + ε) − L(w)"]
    assert data.legend == (("a", 0), ("b", 1))
    loss, validation, sharpness = data.panels
    assert [trend.y.tolist() for trend in loss.trends] == [[3, 2, 1.5]] * 2
    assert [trend.dots.tolist() for trend in validation.trends] == [[[2, 3]]] * 2
    assert [trend.label for trend in sharpness.trends] == ["b"]
    assert sharpness.scale.kind == "log"
    assert len(prepared(study, "training", ["a-1"]).panels) == 2


@pytest.mark.parametrize(("last", "numbers"), [(1, "0 1"), (2, "0 1 2"), (4, "0 1 2 3 4"), (9, "0 2 4 6 8")])
def test_epochs_are_numbered_in_whole_numbers(last, numbers):
    table = Table("a-1", {"epoch": np.arange(1, last + 1), "loss": np.arange(last, 0.0, -1)}, {})
    assert [label for _, label in training_of([table]).panels[0].x_ticks] == numbers.split()


@pytest.mark.parametrize(
    ("kept_by", "shown"), [(["HR@10", "HR@10"], "HR@10"), (["HR@10", "MRR"], "NDCG@10"), ([None, None], "NDCG@10")]
)
def test_validation_is_shown_by_the_metric_that_chose_the_weights(kept_by, shown):
    numbers = {f"validation {name}": np.array([1.0, 2.0]) for name in ("HR@10", "MRR", "NDCG@10")}
    columns = {"epoch": np.array([1, 2]), "loss": np.array([2.0, 1.0]), **numbers}
    tables = [Table(f"a-{k}", columns, {} if name is None else {"kept_by": name}) for k, name in enumerate(kept_by)]
    assert [panel.scale.label for panel in training_of(tables).panels] == ["loss", f"validation {shown}"]
    assert training_of(tables, validation="MRR").panels[1].scale.label == "validation MRR"


def test_a_training_of_one_epoch_so_far_is_a_dot():
    table = Table("a-1", {"epoch": np.array([1]), "loss": np.array([3.0])}, {})
    data = training_of([table])
    (trend,) = data.panels[0].trends
    assert (trend.dots.tolist(), trend.texts, data.notes) == ([[1, 3]], ("a-1: epoch 1",), ())
    kept = training_of([Table("a-1", table.columns, {"best_epoch": 1})])
    assert kept.panels[0].trends[0].texts == ("a-1: best epoch 1",)
    assert kept.notes == ("dots: the epoch whose weights were kept",)


def test_a_relation_shows_every_run_in_the_colour_of_its_cell_under_its_tau(study):
    data = prepared(study, "relation")
    panel = data.panels[0]
    assert panel.title == "τ = +0.50 [−0.25, +0.75]"
    assert [label for label, _ in data.legend] == ["plain", "tiny", "small", "large"]
    assert [len(trend.dots) for trend in panel.trends] == [2] * 4
    assert panel.trends[1].dots[:, 1].tolist() == [11, 12]
    assert panel.trends[1].dots[0, 0] == pytest.approx(np.log2(11))  # a measure far spread: log
    assert "log scale: λmax" in data.notes


def test_a_tau_that_is_not_defined_is_said(tmp_path):
    with Store.write(tmp_path / "s.h5") as store:
        add_values(store)
        add_relations(store, tau=np.nan)
    assert prepared(tmp_path / "s.h5", "relation").panels[0].title == "τ not defined"


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [("study", ["HR@7"], "quantity out of HR@10"), ("relation", ["trace"], "measure out of λ_max")],
)
def test_unknown_names_are_refused_with_those_there_are(kind, arguments, message, study):
    with pytest.raises(InvalidArgument, match=message):
        prepared(study, kind, arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_saved_for_paper_and_browser(study, kind, tmp_path):
    data = prepared(study, kind)
    figure = getattr(matplotlib_figures, kind)(data, style=COARSE)
    for ending in (".png", ".pdf", ".svg"):
        assert matplotlib_figures.save(figure, tmp_path / f"figure{ending}").stat().st_size > 2000
    page = plotly_figures.save(getattr(plotly_figures, kind)(data), tmp_path / "figure.html").read_text()
    assert 'script src="http' not in page


@pytest.mark.parametrize("kind", KINDS)
def test_equal_data_gives_equal_bytes(study, kind, tmp_path):
    for name in ("a.png", "b.png"):
        figure = getattr(matplotlib_figures, kind)(prepared(study, kind), style=COARSE)
        matplotlib_figures.save(figure, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_drawn_panels_have_the_ticks_and_ranges_prepared(study):
    data = prepared(study, "study", ["HR@10"])
    axes = matplotlib_figures.study(data, style=COARSE).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "0.001", "0.1", "10"]
    assert axes.get_xlim() == data.panels[0].x_range
    layout = plotly_figures.study(data).layout
    assert list(layout.xaxis.ticktext) == ["0", "0.001", "0.1", "10"]
    assert layout.xaxis.range == data.panels[0].x_range


def test_the_command_draws_studies_without_torch(study, tmp_path):
    import typer

    from landscape.cli.plot import plot

    app = typer.Typer()
    app.command()(plot)
    out = tmp_path / "figure.png"
    arguments = [str(study), "--out", str(out), "--kind", "study", "--name", "NDCG@10", "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert json.loads(result.stdout)["kind"] == "study"
    assert out.read_bytes().startswith(b"\x89PNG")
    code = (
        "import sys\nfrom landscape.plots import prepare, matplotlib_figures, plotly_figures\n"
        "from landscape.store import Store\n"
        f"data = prepare.prepare_study(Store.read({str(study)!r}))\n"
        "matplotlib_figures.study(data), plotly_figures.study(data)\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
