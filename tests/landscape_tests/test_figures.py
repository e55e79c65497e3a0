"""Every figure can be drawn and saved in every format, from any store, without touching anybody's settings."""

import json
import subprocess
import sys

import matplotlib
import numpy as np
import plotly.io
import pytest
from landscape_tests.drawn_stores import add_numbers, add_surface, bowl, two_checkpoints
from typer.testing import CliRunner

from landscape.errors import InvalidArgument, StoreError
from landscape.grid import Axis
from landscape.plots import matplotlib_figures, plotly_figures, prepare
from landscape.plots.style import Style, style_named
from landscape.store import Store

COARSE = Style(dots_per_inch=60)
KINDS = ("curve", "contour", "relief", "spectrum", "sharpness", "scores", "density", "mass", "trace", "subsets")
SIGNATURES = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return two_checkpoints(tmp_path_factory.mktemp("study") / "study.h5")


def prepared(path, kind):
    with Store.read(path) as store:
        return getattr(prepare, f"prepare_{kind}")(store)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_saved_for_paper_and_browser(study, kind, tmp_path):
    data = prepared(study, kind)
    figure = getattr(matplotlib_figures, kind)(data, style=COARSE)
    for ending, signature in SIGNATURES.items():
        path = matplotlib_figures.save(figure, tmp_path / f"figure{ending}")
        assert path.read_bytes().startswith(signature)
    page = plotly_figures.save(getattr(plotly_figures, kind)(data), tmp_path / "figure.html").read_text()
    assert "flat" in page
    assert 'script src="http' not in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.html", "figure.pdf", "figure.png", "figure.svg"]


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg"])
def test_equal_data_gives_equal_bytes_whatever_the_callers_style(study, ending, tmp_path):
    data = prepared(study, "contour")
    matplotlib_figures.save(matplotlib_figures.contour(data, style=COARSE), tmp_path / f"a{ending}")
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "axes.facecolor": "pink", "savefig.bbox": "tight"}):
        matplotlib_figures.save(matplotlib_figures.contour(data, style=COARSE), tmp_path / f"b{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_no_global_style_is_changed(study, kind, tmp_path):
    before, template = dict(matplotlib.rcParams), plotly.io.templates.default
    data = prepared(study, kind)
    matplotlib_figures.save(getattr(matplotlib_figures, kind)(data, style=COARSE), tmp_path / "figure.png")
    getattr(plotly_figures, kind)(data)
    assert dict(matplotlib.rcParams) == before
    assert plotly.io.templates.default == template


SURFACES = {
    "holes": (lambda a, b: np.where(a + b > 0.5, np.nan, bowl(2.0)(a, b)), 1.0),
    "all holes": (lambda a, b: np.full_like(a + b, np.nan), 1.0),
    "half finished": (bowl(2.0), 0.4),
    "hardly begun": (bowl(2.0), 0.01),
    "not begun": (bowl(2.0), 0.0),
    "constant": (lambda a, b: 0.5 + 0 * (a + b), 1.0),
    "tiny range": (lambda a, b: 0.77 + 1e-9 * (a**2 + b**2), 1.0),
    "huge range": (lambda a, b: np.exp(300 * (a**2 + b**2)), 1.0),
    "both signs, huge": (lambda a, b: -1 + 1e9 * np.maximum(a + b, 0) ** 9, 1.0),
}


@pytest.mark.parametrize("kind", ["curve", "contour", "relief"])
@pytest.mark.parametrize("case", SURFACES)
def test_awkward_surfaces_are_drawn_without_a_warning(case, kind, tmp_path):
    function, share = SURFACES[case]
    with Store.write(tmp_path / "study.h5") as store:
        add_surface(store, "awkward", function, alpha=Axis(-1, 1, 9), beta=Axis(-0.5, 1, 7), share=share)
        data = getattr(prepare, f"prepare_{kind}")(store)
    matplotlib_figures.save(getattr(matplotlib_figures, kind)(data, style=COARSE), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 2000
    assert "awkward" in getattr(plotly_figures, kind)(data).to_json()


def test_panels_share_one_colour_bar_with_the_values_name(study):
    figure = matplotlib_figures.contour(prepared(study, "contour"))
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert len(figure.axes) == 3
    assert labels.count("loss") == 1
    assert [axes.get_title().strip() for axes in figure.axes[:2]] == ["flat", "sharp"]


@pytest.mark.parametrize(("end", "numbered"), [(1.0, False), (2.0, True)])
def test_planes_of_other_axes_have_their_own_numbers(tmp_path, end, numbered):
    with Store.write(tmp_path / "s.h5") as store:
        add_surface(store, "a", bowl(2.0), alpha=Axis(-1, 1, 9), beta=Axis(-1, 1, 9))
        add_surface(store, "b", bowl(2.0), alpha=Axis(-1, 1, 9), beta=Axis(-1, end, 9))
        figure = matplotlib_figures.contour(prepare.prepare_contour(store), style=COARSE)
    figure.draw_without_rendering()
    beside = figure.axes[1].yaxis
    assert any(tick.label1.get_visible() for tick in beside.get_major_ticks()) is numbered
    assert bool(beside.get_label().get_text()) is numbered


def test_titles_of_a_contour_lie_inside_the_figure(tmp_path):
    with Store.write(tmp_path / "s.h5") as store:
        add_surface(store, "a name", bowl(2.0))
        for scale in ("linear", "log"):
            figure = matplotlib_figures.contour(prepare.prepare_contour(store, scale=scale))
            figure.draw_without_rendering()
            top = figure.axes[0].title.get_window_extent(figure.canvas.get_renderer()).y1
            assert top < figure.bbox.y1


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("style", ["paper", "talk"])
def test_no_name_of_the_legend_is_cut_off(columns, style, tmp_path):
    names = [f"samrec-rho-0.1-seed-{seed}" for seed in range(1, 7)]
    with Store.write(tmp_path / "six.h5") as store:
        for name in names:
            add_surface(store, name, bowl(2.0))
            add_numbers(store, name)
        data = prepare.prepare_sharpness(store)
    figure = matplotlib_figures.sharpness(data, style=style_named(style, columns=columns))
    matplotlib_figures.save(figure, tmp_path / "six.png")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    assert legend.get_window_extent().width <= figure.bbox.width


def test_another_ending_is_refused_in_one_line(study, tmp_path):
    data = prepared(study, "curve")
    with pytest.raises(InvalidArgument, match=r"\.png, \.pdf or \.svg, got 'figure\.gif'"):
        matplotlib_figures.save(matplotlib_figures.curve(data), tmp_path / "figure.gif")
    with pytest.raises(InvalidArgument, match=r"\.html, got 'figure\.png'"):
        plotly_figures.save(plotly_figures.curve(data), tmp_path / "figure.png")


def test_a_folder_that_is_not_there_is_not_made(study, tmp_path):
    with pytest.raises(StoreError, match=r"expected a folder .*no to write figure\.png in, found none"):
        matplotlib_figures.save(matplotlib_figures.curve(prepared(study, "curve")), tmp_path / "no" / "figure.png")
    assert list(tmp_path.iterdir()) == []


def test_plots_and_store_load_no_torch_and_no_pyplot():
    code = (
        "import sys, landscape.store, landscape.plots.prepare, landscape.plots.matplotlib_figures, "
        "landscape.plots.plotly_figures, landscape.cli.plot\n"
        "print('torch' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("arguments", "kind"), [([], "contour"), (["--kind", "relief", "--surface", "flat-surface"], "relief")]
)
def test_the_command_writes_the_figure_and_says_which(study, arguments, kind, tmp_path):
    import typer

    from landscape.cli.plot import plot

    app = typer.Typer()
    app.command()(plot)
    out = tmp_path / "figure.png"
    result = CliRunner().invoke(app, [str(study), "--out", str(out), "--json", *arguments], catch_exceptions=False)
    assert json.loads(result.stdout)["kind"] == kind
    assert out.read_bytes().startswith(b"\x89PNG")
