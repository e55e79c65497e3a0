"""Surfaces extended, refined or merged end as if measured at once; spans find themselves; ratio maps keep evidence."""

import json
import sys

import numpy as np
import pytest
import torch
from landscape_tests.known import dense_hessian, quadratic, small_network

from landscape.cli.main import main
from landscape.errors import InvalidArgument, StoreError, StoreMismatch
from landscape.grid import Axis, Grid
from landscape.merge import merge_stores
from landscape.objective import gradient_at, loss_at
from landscape.parameters import moved
from landscape.records import Status
from landscape.store import Store
from landscape.surface import batched
from landscape.surface.evaluate import SurfacePoint
from landscape.surface.from_nodes import compute_chebyshev_surface
from landscape.surface.ratio_map import compute_ratio_map, unconverged
from landscape.surface.resume import compute_surface, surface_task
from landscape.surface.span import doubling_span, grid_for

ASKED = {"name": "s", "checkpoint_name": "c"}


def measured(path, objective, grid, **options):
    path.parent.mkdir(exist_ok=True)
    return compute_surface(path, objective, grid=grid, **ASKED | options)


def same(one, other):
    assert np.array_equal(one.alpha, other.alpha)
    assert np.array_equal(one.status, other.status)
    for name, values in one.values.items():
        assert np.array_equal(values, other.values[name], equal_nan=True), name


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (Grid(Axis(-1, 1, 11)), Grid(Axis(-2, 1.4, 18))),
        (Grid(Axis(-0.3, 0.6, 4), Axis(0, 1, 3)), Grid(Axis(-0.3, 0.6, 10), Axis(-0.5, 1, 7))),
        (Grid(Axis(-1, 1, 7), Axis(-1, 1, 3)), Grid(Axis(-1, 1, 13), Axis(-1, 1, 5))),
    ],
    ids=["extended", "both", "refined by thirds"],
)
def test_a_grown_surface_is_the_whole_one_bit_for_bit_and_measures_only_what_is_new(tmp_path, monkeypatch, first, then):
    objective = small_network(dtype=torch.float32)
    measured(tmp_path / "a.h5", objective, first)
    points = []
    original = SurfacePoint.__call__
    monkeypatch.setattr(SurfacePoint, "__call__", lambda self, point: points.append(point) or original(self, point))
    grown = measured(tmp_path / "a.h5", objective, then, extend=True)
    assert len(points) == then.size - first.size
    same(grown, measured(tmp_path / "b.h5", objective, then))


def test_a_grown_surface_that_was_interrupted_goes_on(tmp_path, monkeypatch):
    objective = quadratic()
    measured(tmp_path / "a.h5", objective, Grid(Axis(-1, 1, 5)))
    original, points = SurfacePoint.__call__, []

    def interrupted(self, point):
        if len(points) == 3:
            raise KeyboardInterrupt
        points.append(point)
        return original(self, point)

    monkeypatch.setattr(SurfacePoint, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path / "a.h5", objective, Grid(Axis(-1, 1, 17)), extend=True)
    monkeypatch.setattr(SurfacePoint, "__call__", original)
    with Store.read(tmp_path / "a.h5") as store:
        assert (store.surface("s").status == Status.DONE).sum() == 5 + 3
    for extend in (True, False):
        same(
            measured(tmp_path / "a.h5", objective, Grid(Axis(-1, 1, 17)), extend=extend),
            measured(tmp_path / "b.h5", objective, Grid(Axis(-1, 1, 17))),
        )


def test_axes_that_lose_points_and_other_directions_are_refused(tmp_path):
    measured(tmp_path / "a.h5", quadratic(), Grid(Axis(-1, 1, 5)))
    with pytest.raises(StoreMismatch, match="contains the 5 points"):
        measured(tmp_path / "a.h5", quadratic(), Grid(Axis(-1, 1, 7)), extend=True)
    with pytest.raises(StoreMismatch, match="direction x"):
        measured(tmp_path / "a.h5", quadratic(), Grid(Axis(-1, 1, 9)), extend=True, seed=4)
    with pytest.raises(StoreMismatch):
        measured(tmp_path / "a.h5", quadratic(), Grid(Axis(-1, 1, 9)))
    with Store.read(tmp_path / "a.h5") as store:
        assert store.surface("s").shape == (5,)


def test_the_gradients_norm_is_that_of_moved_weights(tmp_path):
    objective = small_network()
    surface = measured(tmp_path / "a.h5", objective, Grid(Axis(-1, 1, 3)), metrics=["gradient-norm", "accuracy"])
    for alpha, found in zip(surface.alpha, surface.values["gradient-norm"], strict=True):
        point = surface_task(objective, Grid(Axis(-1, 1, 3))).open()
        params = moved(objective.weights, [(alpha, point.directions[0] | still(objective, point.directions[0]))])
        assert found == pytest.approx(float(torch.linalg.vector_norm(gradient_at(objective, params)[1])), rel=1e-12)
    assert set(surface.centre) == {"loss", "accuracy"}


def still(objective, step):
    return {name: torch.zeros_like(weight) for name, weight in objective.weights.items() if name not in step}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_taken_together_are_those_taken_alone_to_rounding(tmp_path, dtype):
    objective, grid = small_network(dtype=dtype), Grid(Axis(-1, 1, 5), Axis(-2, 1, 3))
    alone = measured(tmp_path / "a.h5", objective, grid)
    together = measured(tmp_path / "b.h5", objective, grid, batch=4)
    for name, values in alone.values.items():
        np.testing.assert_allclose(
            together.values[name], values, rtol=0, atol=3e-6 if dtype is torch.float32 else 1e-13
        )
    same(measured(tmp_path / "b.h5", objective, grid, batch="auto"), together)
    with pytest.raises(InvalidArgument, match="no metrics with batches"):
        measured(tmp_path / "c.h5", objective, grid, batch=4, metrics=["accuracy"])


@pytest.mark.parametrize(("alone", "together", "chosen"), [(1.0, 0.2, True), (1.0, 0.95, False), (1.0, 3.0, False)])
def test_a_batch_is_taken_only_where_it_is_clearly_faster(monkeypatch, alone, together, chosen):
    clock = [0.0]
    original, batched_points = SurfacePoint.__call__, batched.measure_together

    def spend(seconds, run):
        def timed(*arguments):
            clock[0] += seconds * (len(arguments[1]) if run is batched_points else 1)
            return run(*arguments)

        return timed

    monkeypatch.setattr(batched.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(SurfacePoint, "__call__", spend(alone, original))
    monkeypatch.setattr(batched, "measure_together", spend(together, batched_points))
    grid = Grid(Axis(-1, 1, 20))
    point = surface_task(small_network(), grid).open()
    assert (batched.faster_batch(point, [tuple(place) for place in grid.coordinates.tolist()]) > 1) is chosen


def parts(tmp_path, objective, grid):
    """The same surface in two stores, each with some of its points."""
    whole = measured(tmp_path / "whole.h5", objective, grid)
    paths = []
    for number in (0, 1):
        path = tmp_path / f"part-{number}.h5"
        with Store.read(tmp_path / "whole.h5") as reader, Store.write(path) as store:
            store.add_checkpoint(reader.checkpoint("c"))
            held = reader.surface("s")
            chosen = (np.arange(grid.size).reshape(grid.shape) % 3 > 0) == bool(number)
            chosen.reshape(-1)[0] = True  # one point in both
            store.add_surface(
                type(held)(
                    **{f: getattr(held, f) for f in held.__slots__ if f != "status"}, status=held.status * chosen
                )
            )
        paths.append(path)
    return whole, paths


def test_parts_of_a_surface_merge_into_the_whole(tmp_path):
    objective = small_network()
    whole, paths = parts(tmp_path, objective, Grid(Axis(-1, 1, 5), Axis(0, 1, 4)))
    counts = merge_stores(paths, tmp_path / "c.h5")
    assert (counts["records"], counts["shared"], counts["points"]) == (2, 2, 13)
    with Store.read(tmp_path / "c.h5") as store:
        same(store.surface("s"), whole)
        assert store.checkpoint("c").hash
    grown = measured(tmp_path / "c.h5", objective, Grid(Axis(-1, 1, 9), Axis(0, 1, 4)), extend=True)
    assert grown.is_finished


def test_disjoint_records_merge_with_their_nodes_and_open_again(tmp_path):
    grid = Grid(Axis(-1, 1, 21))
    compute_chebyshev_surface(tmp_path / "a.h5", quadratic(), grid=grid, name="few", checkpoint_name="one")
    compute_surface(tmp_path / "b.h5", quadratic(seed=1), grid=grid, name="all", checkpoint_name="two")
    merge_stores([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "c.h5")
    with Store.read(tmp_path / "c.h5") as store, Store.read(tmp_path / "a.h5") as first:
        assert store.names("surfaces") == ["all", "few"]
        assert store.names("checkpoints") == ["one", "two"]
        same(store.surface("few"), first.surface("few"))
        same(store.nodes("few"), first.nodes("few"))
    before = (tmp_path / "c.h5").stat().st_mtime_ns
    compute_surface(tmp_path / "c.h5", quadratic(seed=1), grid=grid, name="all", checkpoint_name="two")
    assert (tmp_path / "c.h5").stat().st_mtime_ns >= before


def test_contradictions_are_refused_and_nothing_is_written(tmp_path):
    _, (first, second) = parts(tmp_path, small_network(), Grid(Axis(-1, 1, 5), Axis(0, 1, 4)))
    with Store.write(second) as store:
        values = {name: np.array([column.flat[0] + 1]) for name, column in store.surface("s").values.items()}
        store.write_points("s", [0], values)
    with pytest.raises(StoreMismatch, match=r"expected loss .* at \(-1, 0\) of surfaces/s, got"):
        merge_stores([first, second], tmp_path / "c.h5")
    measured(tmp_path / "other.h5", small_network(seed=3), Grid(Axis(-1, 1, 5)))
    with pytest.raises(StoreMismatch, match="expected the weights"):
        merge_stores([first, tmp_path / "other.h5"], tmp_path / "c.h5")
    with pytest.raises(InvalidArgument, match="two or more different stores"):
        merge_stores([first, first], tmp_path / "c.h5")
    with pytest.raises(StoreError, match="expected no file"):
        merge_stores([first, second], first)
    assert not list(tmp_path.glob("c.h5*"))
    assert not list(tmp_path.glob(".c.h5*"))


def test_a_span_ends_where_a_parabola_has_doubled():
    for curvature in (1e-3, 0.02, 1.0, 37.0):
        span, asked = doubling_span(lambda s, c=curvature: 1 + c * s * s, 1.0)
        assert span == pytest.approx(curvature**-0.5, rel=0.07)
        assert asked < 15


@pytest.mark.parametrize(("slope", "offset", "centre"), [(0, 1.0, 1.0), (0, 9.0, 1.0), (1, 0.0, 0.0)])
def test_a_loss_that_never_or_always_doubles_has_no_span(slope, offset, centre):
    with pytest.raises(InvalidArgument, match="expected a"):
        doubling_span(lambda s: slope * s + offset, centre)


def test_an_automatic_grid_is_symmetric_and_doubles_the_loss_at_one_end():
    objective = small_network()
    grid, notes = grid_for("auto:5", "-1:1:3", objective)
    assert grid.alpha.start == -grid.alpha.stop
    assert (grid.alpha.points, grid.beta) == (5, Axis(-1, 1, 3))
    assert len(notes) == 1
    point = surface_task(objective, grid).open()
    worse = max(point((sign * grid.alpha.stop, 0.0))["loss"] for sign in (-1, 1))
    assert worse == pytest.approx(2 * loss_at(objective, objective.weights).value, rel=0.1)
    assert grid_for("auto:5", "-1:1:3", objective)[0] == grid


@pytest.mark.parametrize("text", ["auto:x", "auto:1", "automatic"])
def test_a_malformed_automatic_axis_is_refused(text):
    with pytest.raises(InvalidArgument, match="expected"):
        grid_for(text, None, small_network())


def test_the_ratio_map_is_that_of_dense_hessians_and_resumes(tmp_path, monkeypatch):
    objective, grid = small_network(), Grid(Axis(-0.5, 0.5, 3), Axis(-0.5, 0.75, 2))
    point = surface_task(objective, grid).open()
    found = compute_ratio_map(tmp_path / "a.h5", objective, grid=grid, tolerance=1e-4, **ASKED)
    for index in np.ndindex(grid.shape):
        there = small_network()
        place = (found.alpha[index[0]], found.beta[index[1]])
        there.weights = {name: tensor.clone() for name, tensor in point.weights_at(place).items()}
        values = torch.linalg.eigvalsh(dense_hessian(there))
        assert found.values["lambda_max"][index] == pytest.approx(values[-1].item(), rel=1e-5)
        assert found.values["lambda_min"][index] == pytest.approx(values[0].item(), rel=1e-5)
        assert found.values["ratio"][index] == pytest.approx(abs(values[0] / values[-1]).item(), rel=1e-5)
        assert found.values["loss"][index] == loss_at(there, there.weights).value
    assert unconverged(found) == []
    with pytest.raises(StoreMismatch, match="objective"):
        compute_ratio_map(tmp_path / "a.h5", objective, grid=grid, tolerance=1e-2, **ASKED)
    again = compute_ratio_map(tmp_path / "a.h5", objective, grid=grid, tolerance=1e-4, **ASKED)
    same(again, found)


def test_points_of_a_ratio_map_that_did_not_converge_are_named(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.h5"
    arguments = ["small_network", "--store", str(path), "--x=-1:1:3", "--y=-1:1:2", "--max-products", "3", "--json"]
    arguments[0] = f"landscape_tests.known:{arguments[0]}"
    monkeypatch.setattr(sys, "argv", ["landscape", "ratio-map", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 3
    (row,) = json.loads(capsys.readouterr().out)["maps"]
    assert row["unconverged"]
    with Store.read(path) as store:
        surface = store.surface("small_network-ratio")
    assert [list(place) for place in unconverged(surface)] == row["unconverged"]
    assert (surface.status == Status.DONE).all()


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["landscape", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code, *capsys.readouterr()


def test_the_commands_interpolate_find_spans_refine_and_merge(tmp_path, monkeypatch, capsys):
    first, second, out = (str(tmp_path / f"{name}.h5") for name in "abc")
    surface = ["surface", "landscape_tests.known:small_network", "--json", "--store"]
    code, told, _ = command(
        monkeypatch, capsys, *surface, first, "--x", "auto:31", "--y", "auto:21", "--chebyshev", "--tolerance", "0.02"
    )
    answer = json.loads(told)
    assert (code, len(answer["notes"])) == (0, 2)
    (summary,) = answer["surfaces"]
    assert (summary["name"], summary["points"]) == ("small_network-2d-chebyshev", 31 * 21)
    assert summary["approximation"]["method"] == "chebyshev"
    for axis in (["--x=-1:1:3"], ["--x=-1:1:5", "--refine"]):
        assert command(monkeypatch, capsys, *surface, second, *axis)[0] == 0
    assert command(monkeypatch, capsys, "merge", first, second, "--out", out)[0] == 0
    with Store.read(out) as store:
        assert store.names("surfaces") == ["small_network-1d", "small_network-2d-chebyshev"]
    for refused in (
        ["--tolerance", "0.1"],
        ["--chebyshev", "--extend"],
        ["--batch", "0"],
        ["--chebyshev", "--metric", "x"],
    ):
        code, _, said = command(monkeypatch, capsys, *surface, out, "--x=-1:1:5", *refused)
        assert (code, said.count("\n")) == (2, 1)


def test_a_refused_ratio_map_leaves_nothing_behind(tmp_path):
    axis = Axis(-0.5, 0.5, 2)
    with pytest.raises(InvalidArgument, match="tolerance"):
        compute_ratio_map(tmp_path / "a.h5", small_network(), grid=Grid(axis, axis), tolerance=-1.0, **ASKED)
    assert not (tmp_path / "a.h5").exists()
