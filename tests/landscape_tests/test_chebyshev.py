"""Few points give the surface to within the error that is stated, and what is not smooth is measured point by point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from landscape_tests.known import quadratic
from numpy.polynomial import chebyshev as series

from landscape.errors import InvalidArgument, StoreMismatch
from landscape.grid import Axis, Grid
from landscape.plots.prepare import prepare_contour, prepare_curve
from landscape.records import Status
from landscape.store import Store
from landscape.surface.chebyshev import Nodes, fit, interpolant
from landscape.surface.evaluate import SurfacePoint
from landscape.surface.from_nodes import compute_chebyshev_surface
from landscape.surface.resume import compute_surface

OFF_CENTRE = Grid(Axis(-0.5, 2, 31), Axis(-1, 0.25, 21))
CENTRED = Grid(Axis(-1, 1, 31), Axis(-2, 2, 21))


def few(path, objective, grid, **options):
    path.mkdir(exist_ok=True)
    asked = {"name": "s", "checkpoint_name": "c"} | options
    return compute_chebyshev_surface(path / "study.h5", objective, grid=grid, **asked)


def exact(path, objective, grid, **options):
    path.mkdir(exist_ok=True)
    return compute_surface(path / "exact.h5", objective, grid=grid, name="s", checkpoint_name="c", **options)


def sampled(nodes, function):
    """A `sample` of a plain function, and the places it was asked for."""
    asked = []

    def sample(places):
        asked.extend(map(tuple, places.tolist()))
        axes = [axis[places[:, number]] for number, axis in enumerate(nodes.axes)]
        return {"loss": function(*axes)}

    return sample, asked


@pytest.mark.parametrize("spans", [((-1.0, 1.0),), ((-0.5, 2.0), (1.0, 3.0))], ids=["line", "off-centre plane"])
def test_nodes_of_a_degree_are_nodes_of_twice_the_degree_and_reach_both_ends(spans):
    nodes = Nodes(spans)
    for axis, (start, stop) in zip(nodes.axes, spans, strict=True):
        assert (axis[0], axis[-1]) == (start, stop)
        assert (np.diff(axis) > 0).all()
    lower, higher = (set(map(tuple, nodes.places([n] * len(spans)).tolist())) for n in (6, 12))
    held_out = set(map(tuple, nodes.held_out([6] * len(spans)).tolist()))
    assert lower < higher
    assert held_out <= higher - lower


def test_the_middle_of_a_centred_span_is_exactly_the_origin():
    assert Nodes(((-0.3, 0.3),)).axes[0][Nodes(((-0.3, 0.3),)).finest // 2] == 0.0


def test_coefficients_are_those_of_numpy():
    nodes = Nodes(((-1.0, 1.0), (-1.0, 1.0)))
    values = np.random.default_rng(0).standard_normal((7, 13))
    found = interpolant(nodes, (6, 12), values.reshape(-1))
    t = [np.cos(np.pi * np.arange(n, -1, -1) / n) for n in (6, 12)]
    by_fit = series.chebfit(t[1], series.chebfit(t[0], values, 6).T, 12).T
    np.testing.assert_allclose(found.coefficients, by_fit, atol=1e-12)


def test_slopes_at_the_origin_are_met_and_the_nodes_are_kept():
    nodes = Nodes(((-2.0, 2.0), (-1.0, 1.0)))
    values = np.random.default_rng(1).standard_normal(49)
    found = interpolant(nodes, (6, 6), values, (0.7, -0.3))
    np.testing.assert_allclose(found.at(nodes.places((6, 6))), values, atol=1e-12)
    h = 1e-5
    ends = np.array([-h, h])
    along_x, along_y = found.on(ends, np.zeros(1)).ravel(), found.on(np.zeros(1), ends).ravel()
    assert (along_x[1] - along_x[0]) / (2 * h) == pytest.approx(0.7, abs=1e-6)
    assert (along_y[1] - along_y[0]) / (2 * h) == pytest.approx(-0.3, abs=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-2, 2), min_size=6, max_size=6),
    st.floats(-1.5, 0.5),
    st.floats(0.5, 2),
    st.floats(0.3, 1.5),
    st.sampled_from([1e-2, 1e-3, 1e-4]),
)
def test_the_stated_error_covers_the_true_one_of_smooth_functions(numbers, start, length, frequency, tolerance):
    a, b, c, d, e, f = numbers

    def function(x, y):
        return 3 + a * x + b * y**2 + c * np.sin(frequency * x + d * y) + e * np.exp(-((x - f) ** 2) - y**2 / 2)

    spans = ((start, start + length), (-1.0, 1.0))
    nodes = Nodes(spans)
    sample, _ = sampled(nodes, function)
    found = fit(sample, nodes, tolerance=tolerance, most=10_000)
    assert not found.why_not
    x, y = (np.linspace(*span, 41) for span in spans)
    truth = function(x[:, None], y[None, :])
    true_error = np.abs(found.interpolants["loss"].on(x, y) - truth).max()
    assert true_error <= found.errors["loss"] + 1e-13
    assert found.errors["loss"] <= 1.2 * tolerance * np.ptp(truth) + 1e-10


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: np.abs(x - 0.137) + y**2,
        lambda x, y: np.where(x + y > 0.3, 1.0, 0.0),
        lambda x, y: y + 0.1 * np.random.default_rng(0).standard_normal(len(x)),
        lambda x, y: np.where(x > 0.9, np.inf, y),
        lambda x, y: np.where(y > 0.9, np.nan, x),
    ],
    ids=["kink", "step", "noise", "infinity", "nan"],
)
def test_what_is_not_smooth_is_given_up_with_a_reason(function):
    nodes = Nodes(((-1.0, 1.0), (-1.0, 1.0)))
    found = fit(sampled(nodes, function)[0], nodes, tolerance=1e-3, most=2601)
    assert not found.interpolants
    assert "not" in found.why_not or "NaN" in found.why_not or "no fewer" in found.why_not


def test_only_the_axis_that_needs_it_gets_a_higher_degree():
    nodes = Nodes(((-1.0, 1.0), (-1.0, 1.0)))
    sample, asked = sampled(nodes, lambda x, y: np.sin(6 * x) + 0.1 * y)
    found = fit(sample, nodes, tolerance=1e-3, most=2601)
    assert found.degrees[0] > found.degrees[1] == 6
    assert found.points == len(nodes.places(found.degrees)) + found.held_out
    assert found.points <= len(set(asked))


def test_a_constant_is_known_at_once():
    nodes = Nodes(((-1.0, 1.0),))
    found = fit(sampled(nodes, np.ones_like)[0], nodes, tolerance=1e-3, most=51, twice=1.0)
    assert (found.why_not, found.degrees) == ("", (6,))


@pytest.mark.parametrize("grid", [OFF_CENTRE, CENTRED], ids=["off-centre", "centred"])
def test_the_surface_of_a_quadratic_is_within_its_stated_error(tmp_path, grid):
    known = quadratic()
    surface = few(tmp_path, known, grid, tolerance=2e-4)
    truth = exact(tmp_path, known, grid)
    assert surface.approximation["method"] == "chebyshev"
    assert surface.approximation["points"] < grid.size / 2
    for name in ("loss", "rise", "standard_error"):
        off = np.abs(surface.values[name] - truth.values[name]).max()
        assert off <= surface.approximation["errors"][name] <= 5e-3 * np.ptp(truth.values[name])
    assert (surface.status == Status.DONE).all()


def test_the_gradients_norm_is_interpolated_and_ranking_metrics_are_refused(tmp_path):
    known = quadratic()
    surface = few(tmp_path, known, CENTRED, metrics=["gradient-norm"])
    truth = exact(tmp_path, known, CENTRED, metrics=["gradient-norm"])
    off = np.abs(surface.values["gradient-norm"] - truth.values["gradient-norm"]).max()
    assert off <= surface.approximation["errors"]["gradient-norm"]
    with pytest.raises(InvalidArgument, match="only smooth values"):
        few(tmp_path, known, CENTRED, metrics=["height"])


def test_a_killed_run_goes_on_without_measuring_a_node_twice(tmp_path, monkeypatch):
    known = quadratic()
    points = []
    original = SurfacePoint.__call__

    def counted(self, point):
        if len(points) == 30:
            raise KeyboardInterrupt
        points.append(point)
        return original(self, point)

    monkeypatch.setattr(SurfacePoint, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        few(tmp_path, known, CENTRED)
    with Store.read(tmp_path / "study.h5") as store:
        assert store.names("surfaces") == []
        assert (store.nodes("s").status == Status.DONE).sum() == 30
    points.append(None)
    resumed = few(tmp_path, known, CENTRED)
    measured = [point for point in points if point is not None]
    assert len(measured) == len(set(measured))
    unbroken_points = len(points)
    whole = few(tmp_path / "whole", known, CENTRED)
    assert len(points) - unbroken_points == len(measured)
    for name, values in whole.values.items():
        assert np.array_equal(resumed.values[name], values)
    assert resumed.approximation == whole.approximation

    before = len(points)
    other_grid = few(tmp_path, known, Grid(Axis(-1, 1, 11), Axis(-2, 2, 101)))
    assert len(points) == before
    assert other_grid.shape == (11, 101)


def test_a_surface_that_is_not_smooth_is_measured_and_says_so(tmp_path):
    class Kinked(type(quadratic())):
        def loss(self, z, chunk):
            return chunk.counts * (1 + (z[0] - 0.1).abs() + (z[-1] + 0.2).abs())

    base = quadratic()
    known = Kinked(base.matrix, base.minimum, base.constant, base.layout, base.weights, base.chunks)
    grid = Grid(Axis(-1, 1, 21), Axis(-1, 1, 21))
    options = {"one_dimensional": "random", "kind": "raw"}
    surface = few(tmp_path, known, grid, **options)
    assert surface.approximation["method"] == "exact"
    assert surface.approximation["why"]
    truth = exact(tmp_path, known, grid, **options)
    for name, values in truth.values.items():
        assert np.array_equal(surface.values[name], values)
    with Store.read(tmp_path / "study.h5") as store:
        assert any("measured at every point" in note for note in prepare_contour(store, ["s"]).notes)


def test_an_exact_surface_is_not_replaced_by_an_interpolated_one(tmp_path):
    known = quadratic()
    compute_surface(tmp_path / "study.h5", known, grid=CENTRED, name="s", checkpoint_name="c")
    with pytest.raises(StoreMismatch, match="way of measuring"):
        few(tmp_path, known, CENTRED)


def test_removing_a_surface_removes_its_nodes(tmp_path):
    few(tmp_path, quadratic(), CENTRED)
    with Store.write(tmp_path / "study.h5") as store:
        store.remove("surfaces", "s")
        assert store.names("nodes") == []


def test_captions_say_how_many_points_and_how_far_off(tmp_path):
    few(tmp_path, quadratic(), CENTRED)
    with Store.read(tmp_path / "study.h5") as store:
        for data in (prepare_contour(store, ["s"]), prepare_curve(store, ["s"])):
            assert any("Chebyshev of degree" in note and "error about" in note for note in data.notes)


def test_a_single_unit_has_no_standard_error_and_a_line_is_fine(tmp_path):
    surface = few(tmp_path, quadratic(units=1), Grid(Axis(-1, 1, 51)))
    assert np.isnan(surface.values["standard_error"]).all()
    assert surface.approximation["points"] < 51
    assert "standard_error" not in surface.approximation["interpolated"]


def test_a_tolerance_out_of_range_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="tolerance between 0 and 1"):
        few(tmp_path, quadratic(), CENTRED, tolerance=0.0)


def test_few_points_are_the_same_in_a_pool(tmp_path):
    from landscape.executors.here import Pool
    from landscape.targets import load_objective

    grid = Grid(Axis(-1, 1, 31))
    here = few(tmp_path, load_objective("landscape_tests.known:quadratic"), grid)
    there = few(tmp_path / "pool", load_objective("landscape_tests.known:quadratic"), grid, executor=Pool(1))
    for name, values in here.values.items():
        assert np.array_equal(there.values[name], values)
