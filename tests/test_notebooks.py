"""Every notebook is kept without outputs, runs from top to bottom in an empty folder, and shows what it speaks of."""

import re
from pathlib import Path

import nbformat
import notebooks_run
import pytest
from nbconvert import HTMLExporter

from landscape.plots import prepare

NAMES = sorted(path.stem for path in notebooks_run.NOTEBOOKS.glob("*.ipynb"))
PAGE = Path(__file__).parents[1] / "docs" / "notebooks.md"
KINDS = [name.removeprefix("prepare_") for name in prepare.__all__]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    return notebooks_run.runner(tmp_path_factory)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_kept_without_outputs(name):
    notebooks_run.assert_without_outputs(notebooks_run.NOTEBOOKS / f"{name}.ipynb")


def test_the_page_of_notebooks_lists_each_of_them():
    assert sorted(re.findall(r"^\| `(\w+)\.ipynb` \|", PAGE.read_text(), re.MULTILINE)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_warns_and_every_figure_is_shown(notebook, name):
    for cell in notebook(name).cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.text
            assert "Warning" not in str(output.get("text") or output["data"].get("text/plain"))
        drawn = cell.cell_type == "code" and re.search(r"ls\.draw\(|\.plot\.|plt\.subplots", cell.source)
        if drawn:
            kinds = {kind: data for output in cell.outputs for kind, data in output.get("data", {}).items()}
            assert "application/vnd.plotly.v1+json" in kinds or len(kinds["image/png"]) > 5_000, cell.source


def test_the_first_model_shows_run_scores_differences_and_verdict(notebook):
    first = notebook("first_model")
    assert "seed 1" in notebooks_run.outputs_after(first, "samrec_run = samrec.train")["text/html"]
    compared = notebooks_run.outputs_after(first, "samrec.compare_runs")["text/html"]
    assert all(title in compared for title in ("Test scores", "Differences", "Curvature and sharpness"))
    report = notebooks_run.outputs_after(first, "ls.report_of")["text/html"]
    assert "Verdict" in report or "differ" in report or "flatter" in report


def test_a_stated_error_holds(notebook):
    told = notebooks_run.outputs_after(notebook("surfaces"), "compute_chebyshev_surface")["stream"]
    stated, found = map(float, re.findall(r"[\d.]+e[+-]\d+", told))
    assert 0 < found <= stated


def test_both_ends_have_a_sign_and_settle(notebook):
    pairs = notebooks_run.outputs_after(notebook("spectra"), "ls.eigenpairs_of")["text/html"]
    assert "λmax" in pairs
    assert "λmin" in pairs
    assert ">no<" not in pairs


def test_raw_measures_move_and_invariant_ones_stay(notebook):
    scale = notebook("sharpness_and_scale")
    change = float(notebooks_run.outputs_after(scale, "functional_call")["stream"].split()[-1])
    assert change < 1e-10
    told = notebooks_run.outputs_after(scale, "ls.rescaling_report")["stream"]
    moved, asked = map(int, re.findall(r"(\d+) of (\d+) moved", told)[0])
    assert 0 < moved < asked
    assert "as claimed: True" in told


def test_the_sweep_trains_measures_and_tells_every_setting(notebook):
    study = notebooks_run.outputs_after(notebook("rho_sweep"), "samrec.run_study")["text/html"]
    assert "finished 8" in study
    assert "λmax" in study


def test_a_store_is_read_without_torch_and_without_our_code(notebook):
    assert notebooks_run.outputs_after(notebook("reading_the_store"), "sys.modules")["text/plain"] == "(False, False)"


def test_ones_own_model_tells_both_kinds_of_batch_norm_apart(notebook):
    text = notebooks_run.outputs_after(notebook("your_own_model"), "by_batch")["stream"]
    running, batch = (float(line.split()[-1]) for line in text.splitlines())
    assert running != batch


def test_a_figure_to_be_turned_survives_conversion_without_network(notebook):
    offline = HTMLExporter(require_js_url="", mathjax_url="", jquery_url="", mermaid_js_url="")
    page, _ = offline.from_notebook_node(notebook("first_model"))
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=\"https?:", page)
    figure = notebooks_run.outputs_after(notebook("first_model"), "interactive=True")["application/vnd.plotly.v1+json"]
    heights = [trace["z"]["bdata"] for trace in figure["data"] if trace["type"] == "surface"]
    assert len(heights) == 2
    assert all(values.replace("/", "\\u002f") in page for values in heights)  # as plotly escapes it in a script
    assert "Plotly.newPlot(" in page
    assert "plotly.js v" in page  # the library, not a link to it


BAR = """\
import sys, time
from landscape.progress import progress
bar = progress("points of a surface", 4)
advance = bar.__enter__()
advance(2)
time.sleep(0.3)
advance(1, loss="0.5")
"""


def test_a_bar_shows_below_its_cell_and_goes(tmp_path):
    begun = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BAR)])
    (shown,) = notebooks_run.run(begun, tmp_path).cells[0].outputs
    assert "points of a surface" in shown.data["text/html"]
    assert "3/4" in shown.data["text/html"]
    assert "loss 0.5" in shown.data["text/html"]
    ended = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(BAR + "_ = bar.__exit__(None, None, None)")])
    (gone,) = notebooks_run.run(ended, tmp_path).cells[0].outputs
    assert gone.data == {"text/plain": "", "text/html": ""}
