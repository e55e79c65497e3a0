"""The example of one's own model: the README's code runs as it is written."""

from pathlib import Path

from written_blocks import run_story, stories

from landscape.store import Store

ROOT = Path(__file__).parents[1]
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
