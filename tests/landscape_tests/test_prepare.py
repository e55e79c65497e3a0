"""Prepared figure data is exactly what the store holds, and says what is missing from it."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from landscape_tests.drawn_stores import SETTINGS, add_numbers, add_scores, add_surface, bowl, two_checkpoints

from landscape.errors import InvalidArgument
from landscape.grid import Axis
from landscape.plots import prepare
from landscape.plots.scale import scale_of, short
from landscape.records import SharpnessMeasure, SharpnessReport
from landscape.store import Store


@pytest.fixture
def store(tmp_path):
    with Store.write(tmp_path / "study.h5") as store:
        yield store


def test_an_off_centre_surface_of_5_by_3_points_keeps_every_value_in_its_place(store):
    add_surface(store, "plane", lambda a, b: 50 + 10 * a + b, alpha=Axis(0, 4, 5), beta=Axis(1, 5, 3))
    (panel,) = prepare.prepare_contour(store).panels
    assert panel.values.tolist() == [[50 + 10 * a + b for a in range(5)] for b in (1, 3, 5)]
    assert np.array_equal(panel.heights, panel.values)
    assert (panel.alpha.tolist(), panel.beta.tolist()) == ([0, 1, 2, 3, 4], [1, 3, 5])
    assert panel.centre is None


def test_two_checkpoints_share_one_scale_that_holds_both(store):
    add_surface(store, "low", lambda a, b: 1 + a + 0 * b, loss=1.0)
    add_surface(store, "high", lambda a, b: 8 + a + 0 * b, loss=8.0)
    data = prepare.prepare_contour(store, ["low-surface", "high-surface"])
    assert (data.scale.kind, data.scale.low, data.scale.high) == ("linear", 0.0, 9.0)
    assert [panel.title for panel in data.panels] == ["low", "high"]
    assert [panel.subtitle for panel in data.panels] == ["loss at centre 1", "loss at centre 8"]
    assert [panel.centre_height for panel in data.panels] == [1.0, 8.0]


def test_holes_are_listed_and_never_filled(store):
    values = np.array([[0.5, 1.0, 1.5], [1.0, np.nan, 2.0], [1.0, 2.0, np.inf]])
    add_surface(
        store,
        "holes",
        lambda a, b: values[(a + 1).astype(int), (b + 1).astype(int)],
        alpha=Axis(-1, 1, 3),
        beta=Axis(-1, 1, 3),
    )
    data = prepare.prepare_relief(store)
    (panel,) = data.panels
    assert panel.holes.tolist() == [[0, 0], [1, 1]]
    assert np.array_equal(np.isnan(panel.heights), ~np.isfinite(values).T)
    assert "holes: 2 of 9 points not finite: a gap" in data.notes


def test_a_half_finished_plane_is_linear_between_the_points_measured(store):
    add_surface(store, "plane", lambda a, b: 3 + a + 0.5 * b, share=0.3)
    data = prepare.prepare_contour(store)
    (panel,) = data.panels
    expected = 3 + panel.alpha[None, :] + 0.5 * panel.beta[:, None]
    assert np.allclose(panel.heights, expected, rtol=0, atol=1e-12)
    assert np.isfinite(panel.values).sum() == len(panel.measured) == 132
    assert "plane: 132 of 441 points measured so far (dots), linear in between" in data.notes


def test_a_hole_in_a_half_finished_surface_spreads_to_its_neighbours_not_over_them(store):
    add_surface(store, "half", lambda a, b: np.where((a == 0) & (b == 0), np.nan, 1 + a), share=0.3)
    (panel,) = prepare.prepare_contour(store).panels
    assert np.isnan(panel.heights[10, 10])
    assert np.isfinite(panel.heights[panel.heights.shape[0] - 1]).all()


@pytest.mark.parametrize("points", [0, 1, 2, 5])
def test_a_surface_hardly_begun_is_drawable(store, points):
    add_surface(store, "new", bowl(2.0), share=points / 441)
    (panel,) = prepare.prepare_contour(store).panels
    assert len(panel.measured) == points


def test_a_curve_has_the_band_of_its_paired_standard_error(store):
    add_surface(
        store,
        "line",
        lambda a: 2 + a,
        alpha=Axis(-1, 1, 3),
        beta=None,
        extra={"standard_error": lambda a: 0.1 * np.abs(a)},
    )
    (line,) = prepare.prepare_curve(store).lines
    assert line.y.tolist() == [1, 2, 3]
    assert line.low == pytest.approx([1 - 0.1959964, 2, 3 - 0.1959964], abs=1e-12)
    assert line.high == pytest.approx([1 + 0.1959964, 2, 3 + 0.1959964], abs=1e-12)


def test_a_curve_of_a_surface_in_2d_is_its_cut_nearest_to_beta_0(store):
    add_surface(store, "plane", lambda a, b: 1 + a + 10 * b, alpha=Axis(0, 2, 3), beta=Axis(-0.1, 0.9, 3))
    data = prepare.prepare_curve(store)
    assert data.lines[0].values == pytest.approx([0, 1, 2], abs=1e-12)
    assert "plane: cut at beta = −0.1" in data.notes


def test_a_metric_is_drawn_by_its_name_with_its_own_centre(store):
    add_surface(store, "model", bowl(2.0), extra={"ndcg@10": lambda a, b: 0.04 - 0.01 * (a**2 + b**2)})
    data = prepare.prepare_contour(store, value="ndcg@10")
    assert data.panels[0].subtitle == "ndcg@10 at centre 0.04"
    assert data.panels[0].centre_height == 0.04
    with pytest.raises(InvalidArgument, match=r"expected one of the values .*loss, ndcg@10.* got 'hr@10'"):
        prepare.prepare_contour(store, value="hr@10")


def test_the_first_stores_have_the_centre_of_their_own_point_or_of_the_checkpoint(store):
    add_surface(store, "on", lambda a, b: 1 + a**2 + b**2)
    add_surface(store, "off", lambda a, b: 1 + a**2 + b**2, alpha=Axis(1, 2, 3))
    store.close()
    with h5py.File(store.path, "r+") as file:
        for name in ("on", "off"):
            del file[f"surfaces/{name}-surface"].attrs["centre"]
            file[f"checkpoints/{name}"].attrs["loss"] = 7.0
    data = prepare.prepare_contour(Store.read(store.path), ["on-surface", "off-surface"])
    assert [panel.subtitle for panel in data.panels] == ["loss at centre 1", "loss at centre 7"]


def test_a_line_is_no_plane(store):
    add_surface(store, "line", lambda a: a + 2, beta=None)
    with pytest.raises(InvalidArgument, match="line-surface over alpha alone"):
        prepare.prepare_contour(store, ["line-surface"])
    with pytest.raises(InvalidArgument, match="found none"):
        prepare.prepare_contour(store)


def test_directions_of_different_seeds_are_called_unpaired(store):
    add_surface(store, "one", bowl(1.0), seed=1)
    add_surface(store, "two", bowl(1.0), seed=7)
    assert any("not paired" in note for note in prepare.prepare_contour(store).notes)
    assert not any("not paired" in note for note in prepare.prepare_contour(store, ["one-surface"]).notes)


def test_the_spectrum_keeps_residuals_and_a_companion_times_the_norm_squared(store):
    add_surface(store, "model", bowl(1.0))
    add_numbers(store, "model")
    raw, companion = prepare.prepare_spectrum(store).panels
    assert raw.marks[0].value.tolist() == [0.439, 0.31, -0.503]
    assert raw.marks[0].high - raw.marks[0].value == pytest.approx([0.004, 0.02, 0.01], abs=1e-12)
    assert raw.marks[0].solid.tolist() == [True, False, True]
    assert raw.marks[0].texts == ("model: λmax 0.439", "model: λ2 0.31", "model: λmin −0.503")
    assert raw.marks[0].printed == ("0.439", "", "−0.503")
    assert companion.marks[0].value == pytest.approx([4390, 3100, -5030], rel=1e-12)


def test_sharpness_is_grouped_by_measure_and_setting(store):
    add_surface(store, "model", bowl(1.0))
    add_numbers(store, "model")
    data = prepare.prepare_sharpness(store)
    assert [panel.title for panel in data.panels] == ["SAM", "SAM, adaptive", "average case", "λmax × ‖w‖²"]
    sam, _, average, curvature = data.panels
    assert [label for _, label in sam.categories] == ["0.01", "0.1", "1"]
    assert sam.scale.kind == "log"
    assert 2 ** sam.marks[0].value == pytest.approx([5e-5, 0.05 * 0.1**1.5, 0.05], rel=1e-12)
    assert average.marks[0].high - average.marks[0].value == pytest.approx(1.959964 * 0.2 * np.array([0.01, 0.02]))
    assert curvature.marks[0].high - curvature.marks[0].value == pytest.approx([12.0])
    assert "SAM, adaptive: lower bound" in data.notes


def test_a_note_on_several_measures_is_said_once(store):
    add_surface(store, "model", bowl(1.0))
    measures = [SharpnessMeasure("sam", {"rho": 0.1, "scale": scale}, 1.0, None, 1, "a bound") for scale in "ab"]
    store.add_sharpness(SharpnessReport("model", "model", tuple(measures), SETTINGS))
    assert prepare.prepare_sharpness(store).notes == ("SAM: a bound",)


def test_a_note_on_some_of_a_measure_names_them(store):
    add_surface(store, "model", bowl(1.0))
    measures = [
        SharpnessMeasure("sam", {"rho": 0.1, "scale": scale}, 1.0, None, 1, note)
        for scale, note in (("a", "a bound"), ("b", "a bound"), ("c", ""))
    ]
    drop = SharpnessMeasure("worst_case_drop", {"rho": 0.1, "p": "inf", "metric": "hr@10"}, 1.0, None, 1, "a bound")
    store.add_sharpness(SharpnessReport("model", "model", (*measures, drop), SETTINGS))
    data = prepare.prepare_sharpness(store)
    assert data.notes == ("SAM, a, SAM, b and worst case (ranking): a bound",)
    assert data.panels[-1].title == "worst case, ℓ∞, hr@10"


def test_scores_have_a_panel_a_family_and_their_intervals(store):
    add_scores(store, ("a", "b"))
    data = prepare.prepare_scores(store, "scores")
    assert [panel.scale.label for panel in data.panels] == ["HR", "NDCG", "MRR"]
    assert data.panels[0].marks[1].value == pytest.approx([0.045, 0.05])
    assert data.panels[0].marks[1].low == pytest.approx([0.045 - 0.001959964, 0.05 - 0.001959964])
    assert data.notes == ("bars: 95 % intervals over users",)


def test_scores_can_be_of_some_checkpoints_in_an_order_of_ones_own(store):
    add_scores(store, ("a", "b", "c"))
    assert prepare.prepare_scores(store, "scores", ["c", "a"]).labels == ("c", "a")
    assert prepare.prepare_scores(store, "scores").labels == ("a", "b", "c")
    with pytest.raises(InvalidArgument, match="expected checkpoints out of a, b, c, got d"):
        prepare.prepare_scores(store, "scores", ["a", "d"])


def test_checkpoints_of_one_group_share_a_colour_and_differ_in_marker(store):
    for name, group in (("a1", "a"), ("b1", "b"), ("a2", "a")):
        add_surface(store, name, bowl(1.0))
        add_numbers(store, name)
        store.add_checkpoint(replace(store.checkpoint(name), config={"group": group}))
    looks = {marks.label: (marks.group, marks.member) for marks in prepare.prepare_spectrum(store).panels[0].marks}
    assert looks == {"a1": (0, 0), "a2": (0, 1), "b1": (1, 0)}
    marks = prepare.prepare_sharpness(store, ["b1-sharpness", "a2-sharpness"]).panels[0].marks
    assert [(one.group, one.member) for one in marks] == [(0, 0), (1, 1)]


def test_fewer_ticks_keep_zero_and_equal_steps():
    scale = scale_of("eigenvalue", [-3500.0, 4100.0], allow_log=False)
    assert len(scale.ticks) > 6
    sparse = scale.with_fewer_ticks(6)
    assert 3 <= len(sparse.ticks) <= 6
    assert 0.0 in sparse.ticks
    assert len(set(np.diff(sparse.ticks))) == 1
    assert (
        dict(zip(sparse.ticks, sparse.tick_labels, strict=True)).items()
        <= dict(zip(scale.ticks, scale.tick_labels, strict=True)).items()
    )
    assert (sparse.low, sparse.high, sparse.levels) == (scale.low, scale.high, scale.levels)


def test_a_range_in_the_seventh_digit_is_drawn_as_a_difference():
    values = 0.771234 + 1e-6 * np.linspace(0, 2, 9)
    scale = scale_of("loss", values)
    assert scale.label == "loss − 0.771234  [10⁻⁶]"
    assert scale.drawn(values) == pytest.approx(values - 0.771234, abs=1e-15)
    assert (scale.tick_labels[0], scale.tick_labels[-1]) == ("0.0", "2.0")


def test_positive_values_far_apart_get_a_log_scale_with_true_labels():
    scale = scale_of("loss", [0.5, 3.0, 40.0])
    assert scale.kind == "log"
    assert [2.0**tick for tick in scale.ticks] == pytest.approx(
        [float(label) for label in scale.tick_labels], rel=1e-12
    )
    assert scale.levels[0] <= np.log2(0.5)
    assert scale.levels[-1] >= np.log2(40.0)


@pytest.mark.parametrize(("low", "high"), [(0.1151, 5.252), (0.01, 0.16), (0.3, 5.0), (0.3, 300), (1e-3, 10), (1, 1e5)])
def test_a_log_scale_has_bands_enough_to_see_a_shape(low, high):
    scale = scale_of("loss", np.geomspace(low, high, 9))
    assert scale.kind == "log"
    assert 8 <= len(scale.levels) - 1 <= 26
    assert len(scale.ticks) >= 3


@pytest.mark.parametrize(
    ("asked", "high", "kind"), [("log", 0.5, "log"), ("linear", 50, "linear"), ("auto", 50, "log")]
)
def test_a_scale_is_what_was_asked_for(asked, high, kind):
    scale = scale_of("loss", np.linspace(0.2, high, 50), asked=asked)
    assert (scale.kind, scale.clipped_above) == (kind, 0)
    assert scale.drawn(0.2) == pytest.approx(np.log2(0.2) if kind == "log" else 0.2)


@pytest.mark.parametrize("values", [[0.0, 1.0], [-1.0, 2.0], [1.0, 1.9]])
def test_a_log_scale_of_what_has_none_is_refused(values):
    with pytest.raises(InvalidArgument, match="expected values above 0, the highest at least twice the lowest"):
        scale_of("loss", values, asked="log")
    with pytest.raises(InvalidArgument, match="expected a scale out of auto, linear, log, got 'cubic'"):
        scale_of("loss", values, asked="cubic")


def test_values_beyond_the_scale_are_counted_and_drawn_at_its_end():
    scale = scale_of("loss", [1.0, 1.5, 2.0, 2.5, 1e12])
    assert scale.clipped_above == 1
    assert scale.drawn([1e12, 2.0]).tolist() == [scale.high, 1.0]
    assert scale.tick_labels[-1].startswith("≥")
    assert any(note.startswith("1 value above") for note in scale.notes)


def test_an_outlier_among_values_of_both_signs_does_not_flatten_the_rest():
    scale = scale_of("value", np.append(np.linspace(-1, 1, 99), 1e6))
    assert (scale.low, scale.kind, scale.clipped_above > 0) == (-1.0, "linear", True)
    assert scale.high < 2


@pytest.mark.parametrize(
    "values", [[], [np.nan], [0.5] * 4, [0.0, 0.0], [1e-300, 1e300], [-1e300, 1e300], [1e-12, 3e-12], [1e8, 1e8 + 1]]
)
def test_every_range_has_a_scale_with_rising_levels(values):
    scale = scale_of("loss", values)
    assert (np.diff(scale.levels) > 0).all()
    assert np.isfinite(scale.levels).all()
    assert len(scale.ticks) == len(scale.tick_labels)
    drawn = scale.drawn(values)
    assert ((drawn >= scale.low) & (drawn <= scale.high) | np.isnan(drawn)).all()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.77123, "0.7712"), (-0.503, "−0.503"), (1e-5, "10⁻⁵"), (3.25e7, "3.25×10⁷"), (np.nan, "not finite")],
)
def test_numbers_are_written_as_people_write_them(value, text):
    assert short(value) == text


def test_preparing_does_not_need_the_writer_to_be_done(tmp_path):
    path = two_checkpoints(tmp_path / "study.h5")
    with Store.write(path), Store.read(path) as reader:
        assert len(prepare.prepare_contour(reader).panels) == 2
