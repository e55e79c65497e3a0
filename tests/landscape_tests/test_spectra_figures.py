"""What figures of whole spectra show: exact places, labels and notes; the drawers are tried in `test_figures`."""

import dataclasses
import math

import numpy as np
import pytest
from landscape_tests.drawn_stores import BLOCKS, add_spectra, checkpoint, two_checkpoints

from landscape.errors import InvalidArgument
from landscape.estimates import smoothed
from landscape.plots.prepare import prepare_density, prepare_mass, prepare_subsets, prepare_trace
from landscape.store import Store


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Store.read(two_checkpoints(tmp_path_factory.mktemp("study") / "study.h5"))


def test_a_density_is_drawn_as_the_mean_over_probes_on_a_log_axis_with_a_band(study):
    data = prepare_density(study)
    panel = data.panels[0]
    record = study.density("sharp")
    line = next(trend for trend in panel.trends if trend.label == "sharp" and len(trend.x))
    width = 0.01 * (0.439 + 0.503)  # from the outermost of all nodes and eigenvalues
    curves = smoothed(record.nodes, record.weights, line.x, width=width)
    shown = np.isfinite(line.y)
    assert 2 ** line.y[shown] == pytest.approx(np.maximum(curves.mean(0)[shown], 2**panel.scale.low))
    assert 2 ** line.high[shown] == pytest.approx(np.maximum(curves.max(0)[shown], 2**panel.scale.low))
    assert panel.scale.kind == "log"
    assert f"Gaussian kernel of standard deviation {width:.2g}" in data.notes[0]
    assert "bands: lowest and highest of 3 probes" in data.notes


def test_both_models_stand_on_one_scale_with_their_signed_ends(study):
    data = prepare_density(study)
    assert [label for label, _ in data.legend] == ["flat: λmin −0.201, λmax 0.176", "sharp: λmin −0.503, λmax 0.439"]
    dots = [trend.dots[:, 0].tolist() for trend in data.panels[0].trends if len(trend.dots)]
    assert dots == [[pytest.approx(-0.2012), pytest.approx(0.1756)], [pytest.approx(-0.503), pytest.approx(0.439)]]
    assert [panel.x_label for panel in data.panels] == ["eigenvalue", "eigenvalue × ‖w‖²"]
    raw, scaled = data.panels
    assert scaled.x_range[1] == pytest.approx(1e4 * raw.x_range[1])  # norms of 100


def test_a_single_eigenvalue_stands_at_the_height_it_would_have(study):
    panel = prepare_density(study, ["sharp"]).panels[0]
    width = 0.01 * (0.439 + 0.503)
    (dots,) = [trend.dots for trend in panel.trends if len(trend.dots)]
    assert 2 ** dots[:, 1] == pytest.approx(1 / (100 * width * math.sqrt(2 * math.pi)))


def test_without_eigenvalues_the_outermost_nodes_are_the_ends_and_it_is_said(tmp_path):
    with Store.write(tmp_path / "study.h5") as store:
        store.add_checkpoint(checkpoint("alone"))
        add_spectra(store, "alone")
        data = prepare_density(store)
    assert data.legend[0][0] == "alone: λmin −0.5, λmax 0.43"
    assert "as far out as the probes saw them" in data.notes[-1]


def test_raw_and_relative_densities_are_not_drawn_on_one_axis(tmp_path):
    with Store.write(tmp_path / "study.h5") as store:
        store.add_checkpoint(checkpoint("one"))
        add_spectra(store, "one")
        raw = store.density("one")
        settings = {**raw.settings, "coordinates": "relative"}
        store.add_density(dataclasses.replace(raw, name="one-relative", settings=settings))
        assert len(prepare_density(store).panels) == 2
        (panel,) = prepare_density(store, ["one-relative"]).panels
        with pytest.raises(InvalidArgument, match="raw and relative"):
            prepare_density(store, ["one", "one-relative"])
    assert panel.x_label == "eigenvalue, relative to |w|"


def test_mass_stands_beside_the_blocks_share_from_the_largest_eigenvalue_to_the_smallest(study):
    data = prepare_mass(study)
    assert [panel.title for panel in data.panels] == ["λmax", "λ2", "λmin"]
    panel = data.panels[0]
    assert [label for _, label in panel.categories] == ["table", "attention", "head items"]  # untouched: no mass at all
    flat, sharp, share = panel.marks
    assert 2**sharp.value == pytest.approx([0.9, 0.1, 0.6])
    assert 2**share.value == pytest.approx([0.8, 0.2, 0.3])
    assert (share.label, share.solid.any()) == ("share of the weights", False)
    assert sharp.texts[2] == "sharp, rows:head: 0.6, 2 times its share of the weights"
    assert flat.position[0] != sharp.position[0]
    assert not data.panels[1].marks[0].solid.any()  # lambda_2 has not converged
    assert "smaller masses are drawn at the end of the axis" in data.notes
    assert 2 ** data.panels[2].marks[0].value[2] == pytest.approx(1e-4)


def test_traces_have_a_row_a_block_and_their_intervals(study):
    data = prepare_trace(study, ["sharp"])
    raw, relative = data.panels
    assert [label for _, label in raw.categories] == [
        "all weights",
        "table",
        "attention",
        "head items",
        "untouched rows",
    ]
    (marks,) = raw.marks
    assert marks.value == pytest.approx([-3, -2, -1, 0, 1])
    assert marks.high - marks.value == pytest.approx(1.959964 * 0.5 / math.sqrt(3))
    assert relative.marks[0].value == pytest.approx([2, 3, 4, 5, 6])
    assert len(BLOCKS) == 4


def test_subsets_show_mean_range_and_every_draw(study):
    data = prepare_subsets(study, ["sharp"])
    upper, lower, scaled, _ = data.panels
    (trend,) = upper.trends
    assert trend.x.tolist() == [8, 9]
    assert trend.y == pytest.approx([0.55, 0.46])
    assert trend.low == pytest.approx([0.5, 0.45])
    assert trend.dots[:, 1] == pytest.approx([0.5, 0.6, 0.45, 0.47])
    assert lower.trends[0].y == pytest.approx([-0.575, -0.51])
    assert "not converged" in lower.trends[0].texts[1]
    assert scaled.trends[0].y == pytest.approx([5500, 4600])
    assert upper.x_ticks == ((8.0, "256"), (9.0, "512"))
    assert "1 of 8 ends not converged" in data.notes


@pytest.mark.parametrize("prepare", [prepare_density, prepare_mass, prepare_subsets, prepare_trace])
def test_an_empty_store_is_refused_in_one_line(prepare, tmp_path):
    with Store.write(tmp_path / "study.h5") as store, pytest.raises(InvalidArgument, match="found none"):
        prepare(store)
