"""Surfaces along every kind of direction are right at each point, in this process, in a pool, and when gone on with."""

import json
import pickle

import numpy as np
import pytest
import torch
from landscape_tests.known import quadratic, small_network
from typer.testing import CliRunner

from landscape.barrier import barrier_of
from landscape.cli.commands import app
from landscape.cli.planes import Wanted, square_around
from landscape.directions import redraw
from landscape.directions.between import line_between, plane_through
from landscape.directions.eigenvectors import plane_of_eigenvectors
from landscape.errors import InvalidArgument, StoreMismatch
from landscape.executors.here import Pool
from landscape.grid import Axis, Grid
from landscape.objective import loss_at
from landscape.parameters import content_hash
from landscape.records import Status
from landscape.store import Store
from landscape.surface.resume import compute_surface, surface_task
from landscape.targets import load_objective
from landscape.trajectory import plane_of, trajectory_of

FIRST, SECOND, THIRD = (f"landscape_tests.known:{name}_network" for name in ("partial", "second", "third"))
OFF_CENTRE = Grid(Axis(0.25, 2, 4), Axis(-3, -0.5, 3))
LINE = Grid(Axis(-0.5, 1.25, 8))


def elsewhere(known, seed):
    """Other weights of a quadratic's layout."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(w.shape, generator=generator, dtype=torch.float64) for name, w in known.weights.items()}


KINDS = {
    "layer": lambda _: None,
    "between": lambda known: line_between(known, elsewhere(known, 1)),
    "through": lambda known: plane_through(known, elsewhere(known, 1), elsewhere(known, 2)),
    "eigenvector": lambda known: plane_of_eigenvectors(known, ["top-1", "bottom-2"]),
    "pca": lambda known: plane_of(trajectory_of(known, [elsewhere(known, k) for k in range(5)], name="p")),
}


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize("grid", [OFF_CENTRE, LINE], ids=["plane", "line"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_surface_of_a_quadratic_is_exact_along_every_kind_and_nothing_moves(path, kind, grid):
    known = quadratic()
    before = content_hash(known.weights)
    plane = KINDS[kind](known)
    options = {"kind": "layer", "seed": 2} if plane is None else {"plane": plane, "seed": 2}
    surface = compute_surface(path, known, grid=grid, name="s", checkpoint_name="c", **options)
    x = redraw(surface.x, known.layout, known.weights)
    y = None if surface.y is None else redraw(surface.y, known.layout, known.weights, orthogonal_to=x)
    flat = known.layout.flatten
    for index in np.ndindex(surface.shape):
        here = flat(known.weights) + surface.alpha[index[0]] * flat(x)
        here = here if y is None else here + surface.beta[index[1]] * flat(y)
        assert surface.values["loss"][index] == pytest.approx(known.value(here), rel=1e-12, abs=1e-12)
    assert surface.x.kind == kind
    assert y is None or abs(surface.y.cosine) < 1e-10
    assert content_hash(known.weights) == before
    assert (surface.status == Status.DONE).all()
    again = compute_surface(path, known, grid=grid, name="s", checkpoint_name="c", **options)  # nothing is left to do
    assert (again.x, again.y, again.marks) == (surface.x, surface.y, surface.marks)


PLANES_OF_TARGETS = {
    "between": lambda objective: line_between(objective, SECOND),
    "pca": lambda objective: plane_of(trajectory_of(objective, [SECOND, THIRD], name="p")),
    "eigenvector": lambda objective: plane_of_eigenvectors(objective, ["top-1", "bottom-1"], max_products=40),
}


@pytest.mark.parametrize("kind", PLANES_OF_TARGETS)
def test_a_task_sent_elsewhere_measures_the_same(kind):
    objective = load_objective(FIRST, split="train", seed=0)
    task = surface_task(objective, OFF_CENTRE, plane=PLANES_OF_TARGETS[kind](objective))
    assert pickle.loads(pickle.dumps(task)).open()((0.3, -0.7)) == task.open()((0.3, -0.7))


def test_workers_give_the_same_numbers(tmp_path):
    objective = load_objective(FIRST, split="train", seed=0)
    plane = PLANES_OF_TARGETS["pca"](objective)
    options = {"grid": Grid(Axis(-1, 1, 3), Axis(0, 2, 2)), "name": "s", "checkpoint_name": "c", "plane": plane}
    here, there = (
        compute_surface(tmp_path / f"{k}.h5", objective, executor=where, **options)
        for k, where in enumerate((None, Pool(2)))
    )
    for name, values in here.values.items():
        assert np.array_equal(values, there.values[name])


def test_another_direction_or_checkpoint_under_the_same_name_is_refused(path):
    known = quadratic()
    compute_surface(
        path, known, grid=LINE, name="s", checkpoint_name="c", plane=line_between(known, elsewhere(known, 1))
    )
    for other in (line_between(known, elsewhere(known, 2)), plane_of_eigenvectors(known)):
        with pytest.raises(StoreMismatch, match="direction x"):
            compute_surface(path, known, grid=LINE, name="s", checkpoint_name="c", plane=other)


def test_the_command_marks_both_ends_and_gives_the_barrier(path):
    result = run("surface", FIRST, "--store", path, "--directions", "between", "--to", SECOND, "--json")
    assert result.exit_code == 0, result.output
    (summary,) = json.loads(result.stdout)["surfaces"]
    surface = Store.read(path).surface("partial_network-between-1d")
    assert (surface.alpha[0], surface.alpha[-1]) == pytest.approx((-0.25, 1.25))
    assert [mark.name for mark in surface.marks] == ["partial_network", "second_network"]
    objective, other = small_network(), small_network(seed=1)
    ends = [loss_at(objective, weights).value for weights in (objective.weights, other.weights)]
    assert summary["barrier"]["ends"] == ends
    inside = (surface.alpha > 0) & (surface.alpha < 1)
    alpha, loss = surface.alpha[inside], surface.values["loss"][inside]
    alpha, loss = np.append(alpha, [0, 1]), np.append(loss, ends)
    straight = loss - (ends[0] + alpha * (ends[1] - ends[0]))
    assert summary["barrier"]["over_larger_end"] == pytest.approx(loss.max() - max(ends))
    assert summary["barrier"]["over_straight_line"] == pytest.approx(straight.max(), abs=1e-15)
    assert summary["barrier"]["at_straight_line"] == alpha[straight.argmax()]


def test_a_hill_has_the_barriers_of_its_definition(path):
    known = quadratic(-torch.eye(12), at_minimum=True)  # the top at the origin
    ends = [{name: weight + step for name, weight in known.weights.items()} for step in (-1.0, 2.0)]
    known.weights = ends[0]
    surface = compute_surface(path, known, grid=Grid(Axis(-1, 2, 10)), name="s", checkpoint_name="c",
                              plane=line_between(known, ends[1]))  # fmt: skip
    barrier = barrier_of(surface)  # L = .25 - 6 (3 a - 1)^2, measured at a = 1/3 and 2/3
    assert barrier.ends == pytest.approx((-5.75, -23.75), rel=1e-6)
    assert (barrier.over_larger_end, barrier.at_larger_end) == pytest.approx((6, 1 / 3), rel=1e-6)
    assert (barrier.over_straight_line, barrier.points) == (pytest.approx(12, rel=1e-6), 2)


def test_a_valley_has_no_barrier_and_a_hole_an_infinite_one(path):
    known = quadratic(torch.eye(12), at_minimum=True)
    there = {name: weight + 1 for name, weight in known.weights.items()}
    surface = compute_surface(path, known, grid=LINE, name="s", checkpoint_name="c", plane=line_between(known, there))
    barrier = barrier_of(surface)
    assert (barrier.over_larger_end, barrier.over_straight_line) == (0, 0)
    surface.values["loss"][4] = np.nan
    assert barrier_of(surface).over_larger_end == np.inf
    surface.status[:] = Status.PENDING
    assert barrier_of(surface) is None


def test_the_command_draws_the_plane_through_three_with_all_of_them_inside(path):
    result = run("surface", FIRST, "--store", path, "--directions", "through", "--to", SECOND, "--and", THIRD,
                 "--points", 5)  # fmt: skip
    assert result.exit_code == 0, result.output
    surface = Store.read(path).surface("partial_network-through-2d")
    assert surface.shape == (5, 5)
    assert np.ptp(surface.alpha) == pytest.approx(np.ptp(surface.beta), rel=0.05)
    for mark in surface.marks:
        assert surface.alpha[0] < mark.alpha < surface.alpha[-1]
        assert surface.beta[0] < mark.beta < surface.beta[-1]
        assert mark.outside < 1e-12


def test_eigenvectors_in_the_store_are_not_solved_for_again(path, monkeypatch):
    arguments = ("surface", FIRST, "--store", path, "--directions", "eigenvector", "--y", "auto", "--points", 3)
    assert run(*arguments).exit_code == 0
    before = Store.read(path).surface("partial_network-eigenvector-2d")
    monkeypatch.setattr("landscape.directions.eigenvectors.lanczos", None)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    surface = Store.read(path).surface("partial_network-eigenvector-2d")
    assert (surface.x, surface.y, surface.provenance) == (before.x, before.y, before.provenance)
    assert (surface.x.policy["end"], surface.y.policy["end"]) == ("top", "bottom")
    reach = (2 * surface.centre["loss"] / surface.x.policy["value"]) ** 0.5
    assert surface.alpha[-1] == pytest.approx(reach, rel=0.06)


def test_seeds_give_lines_that_belong_together(path):
    assert run("surface", FIRST, "--store", path, "--seeds", "0,3", "--x=-1:1:5", "--block", "hidden").exit_code == 0
    with Store.read(path) as store:
        lines = [store.surface(f"partial_network-hidden-1d-seed-{seed}") for seed in (0, 3)]
    assert {line.group for line in lines} == {"partial_network-hidden-1d"}
    assert [line.x.seed for line in lines] == [0, 3]
    alone = compute_surface(path.with_name("alone.h5"), small_network(), grid=Grid(Axis(-1, 1, 5)), name="s",
                            checkpoint_name="c", seed=3, block="hidden")  # fmt: skip
    assert np.array_equal(alone.values["loss"], lines[1].values["loss"])


def test_a_trajectory_is_kept_drawn_and_gone_on_with(path):
    arguments = ("trajectory", SECOND, THIRD, FIRST, "--store", path, "--points", 3, "--json")
    first = run(*arguments)
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)["trajectory"]
    with Store.read(path) as store:
        kept, surface = store.trajectory("partial_network"), store.surface("partial_network-path")
    assert [row["label"] for row in told["checkpoints"]] == list(kept.labels)
    assert kept.labels[-1] == "partial_network"
    assert kept.distances[-1] == 0
    assert (surface.x, surface.y) == (kept.x, kept.y)
    assert surface.alpha[0] < kept.coordinates[:, 0].min()
    assert surface.alpha[-1] > kept.coordinates[:, 0].max()
    assert json.loads(run(*arguments).stdout)["trajectory"] == told
    with Store.read(path) as store:
        assert store.trajectory("partial_network").provenance == kept.provenance
        assert store.surface("partial_network-path").provenance == surface.provenance
    assert "trajectories" in run("inspect", path).stdout
    assert run("remove", path, "trajectories/partial_network").exit_code == 0
    assert Store.read(path).names("trajectories") == []


def test_a_trajectory_comes_back_from_the_store_as_it_went_in(path):
    objective = small_network()
    found = trajectory_of(objective, [small_network(seed=k).weights for k in (1, 2, 3)], name="t", checkpoint="c")
    with Store.write(path) as store:
        from landscape.describe import checkpoint_record

        store.add_checkpoint(checkpoint_record(objective, "c"))
        store.add_trajectory(found)
        kept = store.trajectory("t")
        assert np.array_equal(kept.x.vector, found.x.vector)
        store.add_trajectory(found)  # the same again is no other
        other = trajectory_of(quadratic(), [elsewhere(quadratic(), k) for k in (1, 2)], name="t", checkpoint="c")
        with pytest.raises(StoreMismatch):
            store.add_trajectory(other)
    for field in ("labels", "hashes", "x", "y", "checkpoint", "provenance"):
        assert getattr(kept, field) == getattr(found, field)
    for field in ("epochs", "coordinates", "distances", "residuals", "losses", "explained"):
        assert np.array_equal(getattr(kept, field), getattr(found, field))


def test_a_dry_run_costs_little_and_writes_nothing(path):
    more = ("--store", path, "--dry-run", "--json")
    one = json.loads(run("surface", FIRST, "--directions", "eigenvector", "--points", 9, *more).stdout)
    assert one["dry_run"][0]["points"] == 9
    lines = json.loads(run("surface", FIRST, "--seeds", "0,1,2", "--points", 9, *more).stdout)
    assert lines["dry_run"][0]["points"] == 27
    path_cost = json.loads(run("trajectory", SECOND, THIRD, FIRST, "--points", 3, *more).stdout)
    assert path_cost["dry_run"][0] | {"checkpoints": 3, "points": 9} == path_cost["dry_run"][0]
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--directions", "between"], "--to TARGET"),
        (["--directions", "through", "--to", SECOND], "--and TARGET"),
        (["--to", SECOND], "--to with between or through"),
        (["--directions", "between", "--to", SECOND, "--and", THIRD], "--and with through"),
        (["--eigenvectors", "top-1"], "with eigenvector directions"),
        (["--directions", "pca", "--block", "hidden"], "--block with"),
        (["--seeds", "0,0"], "different seeds"),
        (["--seeds", "0,1", "--y=-1:1:3"], "--seeds for lines"),
        (["--points", "1"], "at least 2 points"),
        (["--directions", "eigenvector", "--y", "auto", "--eigenvectors", "top-1"], "two eigenvectors"),
        (["--directions", "eigenvector", "--eigenvectors", "upper"], "top-K or bottom-K"),
        (["--directions", "pca"], "name them one by one"),
        (["--directions", "between", "--to", FIRST], "got the same weights"),
        (["--directions", "between", "--to", "landscape_tests.known:quadratic"], "shapes of the origin"),
        (["--block", "tail"], "expected a block"),
    ],
)
def test_misuse_is_one_line_and_leaves_no_store(path, options, why):
    result = run("surface", FIRST, "--store", path, *options)
    assert result.exit_code != 0
    assert why in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not path.exists()


def test_default_axes_are_squares_with_room():
    (left, right), (low, high) = square_around([(0, 0), (1, 0), (0.4, 3)])
    assert (right - left) == pytest.approx(high - low, rel=0.02)
    assert (low, high) == pytest.approx((-0.75, 3.75))
    assert (left + right) / 2 == pytest.approx(0.5, abs=0.02)
    with pytest.raises(InvalidArgument):
        Wanted(kind="filter", x="1:0:3")
