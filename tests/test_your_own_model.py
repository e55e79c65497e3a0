"""The example of one's own model: the README's code runs as it is written, and so does the notebook."""

from pathlib import Path

import notebooks_run
import pytest
from written_blocks import run_story, stories

from landscape.store import Store

ROOT = Path(__file__).parents[1]
NOTEBOOK = notebooks_run.NOTEBOOKS / "your_own_model.ipynb"
README = ROOT / "README.md"


def test_the_readme_leads_from_a_checkpoint_to_surface_spectrum_sharpness_and_figure(tmp_path):
    names = run_story(README, "digits", tmp_path)
    scores = names["model"].eval()(names["x"])
    assert (scores.argmax(1) == names["y"]).float().mean() > 0.9
    store = Store.read(tmp_path / "digits.h5")
    surface = store.surface("cnn-2d")
    assert surface.is_finished
    assert surface.provenance.objective["batch_norm"] == "running statistics"
    assert surface.centre["loss"] == surface.values["loss"][10, 10]
    assert store.eigenpairs("cnn").labels[0] == "lambda_max"
    assert {"sam", "lambda_max_norm_squared"} <= {measure.measure for measure in store.sharpness("cnn").measures}
    assert (tmp_path / "digits.pdf").read_bytes().startswith(b"%PDF")


def test_the_lines_that_measure_are_ten():
    measuring = next(block for block in stories(README)["digits"] if "compute_surface" in block.code)
    assert len([line for line in measuring.code.splitlines() if line and "import" not in line]) <= 10


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    return notebooks_run.executed(NOTEBOOK, tmp_path_factory.mktemp("own"))


def test_the_notebook_is_kept_without_outputs():
    notebooks_run.assert_without_outputs(NOTEBOOK)


def test_no_cell_of_the_notebook_warns(executed):
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            assert output.get("name") != "stderr", output.text


def test_every_figure_of_the_notebook_is_shown(executed):
    drawn = [cell for cell in executed.cells if cell.cell_type == "code" and "_figures." in cell.source]
    assert len(drawn) == 5
    for cell in drawn:
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        assert kinds & {"image/png", "application/vnd.plotly.v1+json"}


def test_the_notebook_tells_both_kinds_of_batch_norm_apart(executed):
    text = next(cell.outputs[0].text for cell in executed.cells if "by_batch" in cell.source)
    running, batch = (float(line.split()[-1]) for line in text.splitlines())
    assert running != batch
