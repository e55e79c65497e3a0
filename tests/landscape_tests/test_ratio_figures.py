"""Ratio maps, gradient norms and metrics are drawn with what a reader must know: unsettled points, units, holes."""

import numpy as np
import pytest
from landscape_tests.drawn_stores import checkpoint, direction

from landscape.grid import Axis, Grid
from landscape.plots import matplotlib_figures, plotly_figures
from landscape.plots.caption import approximation_note
from landscape.plots.prepare import prepare_contour, prepare_relief
from landscape.records import Provenance, Surface
from landscape.store import Store

GRID = Grid(Axis(-1, 1, 5), Axis(-1, 1, 5))


@pytest.fixture
def store(tmp_path):
    """A ratio map with one point that did not converge, one that is not finite and one not measured yet."""
    a, b = GRID.coordinates.T.reshape(2, *GRID.shape)
    ratio = 0.1 + a**2 + b**2
    converged = np.ones(GRID.shape)
    converged[1, 3] = 0
    status = np.ones(GRID.shape, dtype=np.uint8)
    status[0, 0], status[4, 4] = 0, 2
    ratio[4, 4] = np.nan
    values = {
        "loss": 1 + ratio,
        "ratio": ratio,
        "converged": converged,
        "gradient-norm": np.sqrt(ratio),
        "ndcg@10": ratio,
    }
    with Store.write(tmp_path / "study.h5") as writer:
        writer.add_checkpoint(checkpoint("w"))
        writer.add_surface(
            Surface("map", "w", GRID.alpha.values, GRID.beta.values, status, values, direction(1), direction(2),
                    Provenance("tests:known"))
        )  # fmt: skip
        yield writer


def test_points_that_did_not_converge_are_marked_where_an_eigenvalue_is_shown(store):
    data = prepare_contour(store, ["map"], value="ratio")
    (panel,) = data.panels
    assert panel.unsettled.tolist() == [[-0.5, 0.5]]
    assert panel.holes.tolist() == [[1.0, 1.0]]
    assert any("1 of 25 points not converged (○)" in note for note in data.notes)
    assert "λmin" in data.scale.label
    loss = prepare_contour(store, ["map"], value="loss")
    assert not len(loss.panels[0].unsettled)
    assert not any("not converged" in note for note in loss.notes)


def test_names_of_values_become_words(store):
    assert prepare_contour(store, ["map"], value="gradient-norm").scale.label.startswith("norm of the gradient")


@pytest.mark.parametrize("value", ["ratio", "gradient-norm", "ndcg@10"])
def test_every_value_is_drawn_by_both_drawers(store, value, tmp_path):
    for drawer, ending in ((matplotlib_figures, "png"), (plotly_figures, "html")):
        drawer.save(drawer.contour(prepare_contour(store, ["map"], value=value)), tmp_path / f"c.{ending}")
        drawer.save(drawer.relief(prepare_relief(store, ["map"], value=value)), tmp_path / f"r.{ending}")
        assert (tmp_path / f"c.{ending}").stat().st_size > 1000


def test_a_caption_says_what_was_interpolated_and_what_was_not():
    shared = {"method": "chebyshev", "degrees": [12, 6], "points": 110, "errors": {"loss": 2e-4}, "near_error": 0.005}
    assert approximation_note(shared) == (
        "Chebyshev of degree 12 × 6 from 110 points, error about 0.0002, 0.5 % of the rise near the centre"
    )
    assert approximation_note(shared, "other") == "Chebyshev of degree 12 × 6 from 110 points"
    assert approximation_note({"method": "exact", "why": "NaN"}) == "measured at every point (NaN)"
    assert approximation_note({}) == ""
