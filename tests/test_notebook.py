"""The notebook of the demo's store is kept without outputs, and runs from top to bottom in an empty folder."""

import notebooks_run
import pytest

NOTEBOOK = notebooks_run.NOTEBOOKS / "demo.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    return notebooks_run.executed(NOTEBOOK, tmp_path_factory.mktemp("notebook"))


def outputs_after(notebook, word):
    """The kinds of output of the code cell that holds this word."""
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code" and word in cell.source)
    return {kind: data for output in cell.outputs for kind, data in output.get("data", {}).items()}


def test_it_is_kept_without_outputs():
    notebooks_run.assert_without_outputs(NOTEBOOK)


def test_no_cell_warns_or_writes_to_stderr(executed):
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.text
            assert "Warning" not in str(output.get("text") or output["data"].get("text/plain"))


@pytest.mark.parametrize(
    "word",
    [f"matplotlib_figures.{name}(" for name in ("contour", "spectrum", "sharpness", "curve")] + ["slices.plot"],
)
def test_every_figure_is_shown(executed, word):
    assert len(outputs_after(executed, word)["image/png"]) > 5_000


def test_the_relief_can_be_turned(executed):
    figure = outputs_after(executed, "plotly_figures.relief(")["application/vnd.plotly.v1+json"]
    assert [trace["type"] for trace in figure["data"]].count("surface") == 2


def test_tables_show_scores_differences_and_both_ends_of_the_spectrum(executed):
    scores = outputs_after(executed, "markdown([runs, scores, differences])")["text/markdown"]
    assert "## Test scores" in scores
    assert "| samrec − sasrec | NDCG@10 |" in scores
    geometry = outputs_after(executed, "markdown([geometry])")["text/markdown"]
    assert "λ_max" in geometry
    assert "λ_min" in geometry


def test_xarray_shows_named_axes_and_one_slice_of_both_runs(executed):
    assert "(alpha: 9, beta: 9)" in outputs_after(executed, "xarray.open_dataset")["text/plain"]
    assert "<th>sasrec</th>" in outputs_after(executed, "slices.to_pandas()")["text/html"]
