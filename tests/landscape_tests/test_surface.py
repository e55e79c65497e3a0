"""A surface is the loss where it says, nothing moves but the copy, and a killed one ends as if it had not been."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from landscape_tests.known import Network, quadratic, small_network

from landscape.cli.main import main
from landscape.directions import draw_plane
from landscape.errors import InvalidArgument, NonFiniteLoss, NotFrozen, StoreMismatch
from landscape.executors.here import Here
from landscape.grid import Axis, Grid
from landscape.objective import ModelObjective, loss_at
from landscape.parameters import content_hash, moved
from landscape.records import Status
from landscape.store import Store
from landscape.surface.resume import compute_surface, surface_task

PLANES = {
    "square": Grid(Axis(-1, 1, 3), Axis(-1, 1, 3)),
    "5 x 3": Grid(Axis(-1, 1, 5), Axis(-1, 1, 3)),
    "off-centre": Grid(Axis(0.25, 2, 4), Axis(-3, -0.5, 3)),
    "line": Grid(Axis(-0.5, 1, 7)),
}
TESTS = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def measured(path, objective, grid, **options):
    path.mkdir(exist_ok=True)
    return compute_surface(path / "study.h5", objective, grid=grid, **{"name": "s", "checkpoint_name": "c"} | options)


@pytest.mark.parametrize("kind", ["filter", "raw"])
@pytest.mark.parametrize("grid", PLANES.values(), ids=PLANES)
def test_the_surface_of_a_quadratic_is_exact_at_every_point(tmp_path, kind, grid):
    known = quadratic()
    surface = measured(tmp_path, known, grid, kind=kind, seed=2)
    flat = known.layout.flatten
    (x, _), (y, _) = draw_plane(known.layout, known.weights, kind=kind, seed=2)
    for index in np.ndindex(surface.shape):
        alpha, beta = surface.alpha[index[0]], 0 if surface.beta is None else surface.beta[index[1]]
        here = flat(known.weights) + alpha * flat(x) + beta * flat(y)
        assert surface.values["loss"][index] == pytest.approx(known.value(here), rel=1e-12, abs=1e-12)
    assert surface.is_finished
    assert (surface.status == Status.DONE).all()


def test_rise_and_paired_error_are_those_of_moved_weights(tmp_path):
    objective = small_network()
    surface = measured(tmp_path, objective, PLANES["5 x 3"], metrics=["accuracy"])
    (x, _), (y, _) = draw_plane(objective.layout, objective.weights)
    centre = loss_at(objective, objective.weights)
    for (i, j), loss in np.ndenumerate(surface.values["loss"]):
        params = moved(objective.weights, [(surface.alpha[i], x), (surface.beta[j], y)])
        value = loss_at(objective, params)
        accuracy = float(objective.metrics(params, ["accuracy"])["accuracy"].mean())
        found = [surface.values[name][i, j] for name in ("rise", "standard_error", "accuracy")]
        assert loss == value.value
        assert found == [*value.rise_over(centre), accuracy]
    at_centre = {name: values[2, 1] for name, values in surface.values.items()}
    assert at_centre["loss"] == centre.value
    assert (at_centre["rise"], at_centre["standard_error"]) == (0, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_weights_are_bit_identical_afterwards(tmp_path, dtype):
    objective = small_network(dtype=dtype)
    model = {name: weight.detach().clone() for name, weight in objective.model.named_parameters()}
    before = content_hash(objective.weights)
    measured(tmp_path, objective, PLANES["off-centre"])
    assert content_hash(objective.weights) == before
    assert content_hash(dict(objective.model.named_parameters())) == content_hash(model)


def test_the_surface_does_not_depend_on_the_batch_size(tmp_path):
    first = measured(tmp_path, small_network(batch_size=20), PLANES["square"], metrics=["accuracy"])
    for batch_size in (1, 7):
        other = measured(tmp_path / str(batch_size), small_network(batch_size=batch_size), PLANES["square"],
                         metrics=["accuracy"])  # fmt: skip
        for name, values in first.values.items():
            np.testing.assert_allclose(other.values[name], values, rtol=0, atol=1e-12)


def test_nan_is_kept_raw_and_the_rest_of_the_surface_goes_on(tmp_path):
    class Bounded(ModelObjective):
        def loss(self, z, chunk):
            return super().loss(z, chunk).sub(10).neg().log().neg()  # no number where it passes 10

    base = small_network()
    objective = Bounded(Network().double(), base.chunks, base._loss, metrics=base._metrics)
    objective.weights = base.weights
    surface = measured(tmp_path, objective, Grid(Axis(-30, 30, 5)), metrics=["accuracy"])
    nan = np.isnan(surface.values["loss"])
    assert nan.any()
    assert not nan.all()
    assert (surface.status == np.where(nan, Status.NON_FINITE, Status.DONE)).all()
    assert (np.isnan(surface.values["accuracy"]) == nan).all()
    assert surface.is_finished


def test_an_infinite_loss_is_kept_too(tmp_path):
    known = quadratic(torch.eye(6))
    surface = measured(tmp_path, known, Grid(Axis(0, 1e200, 3)))
    assert np.isinf(surface.values["loss"]).tolist() == [False, True, True]
    assert surface.status.tolist() == [Status.DONE, Status.NON_FINITE, Status.NON_FINITE]


def test_a_single_unit_has_a_surface_without_errors(tmp_path):
    surface = measured(tmp_path, quadratic(units=1), PLANES["line"])
    assert np.isnan(surface.values["standard_error"]).all()
    assert (surface.status == Status.DONE).all()


def test_a_zero_row_a_padding_row_and_untouched_rows_stay_where_they_are():
    objective = small_network(zero_row=1)
    point = surface_task(objective, PLANES["square"], untouched="zero").open()
    params = point.weights_at((0.7, -2.0))
    assert torch.equal(params["embedding.weight"][[0, 8]], objective.weights["embedding.weight"][[0, 8]])
    assert not torch.equal(params["embedding.weight"][1], objective.weights["embedding.weight"][1])
    assert not params["hidden.weight"][1].any()
    assert params["hidden.bias"] is objective.weights["hidden.bias"]


def test_random_or_non_finite_objectives_are_refused_and_leave_no_store(tmp_path):
    broken = small_network()
    broken.weights["scores.bias"][0] = math.inf
    with pytest.raises(NotFrozen):
        measured(tmp_path, small_network(dropout=0.5), PLANES["line"])
    with pytest.raises((NonFiniteLoss, InvalidArgument)):
        measured(tmp_path, broken, PLANES["line"])
    assert not list(tmp_path.iterdir())


def test_metrics_named_twice_or_like_the_loss_are_refused(tmp_path):
    for metrics in (["loss"], ["accuracy", "accuracy"]):
        with pytest.raises(InvalidArgument, match="metrics once each"):
            measured(tmp_path, small_network(), PLANES["line"], metrics=metrics)


class Interrupted:
    """Here, until Ctrl-C after some points."""

    def __init__(self, points):
        self.points = points

    def run(self, task, items):
        for number, result in enumerate(Here().run(task, items)):
            if number == self.points:
                raise KeyboardInterrupt
            yield result


def test_what_was_measured_before_ctrl_c_is_in_the_store_and_not_measured_again(tmp_path):
    class Counted(ModelObjective):
        evaluations = 0

        def outputs(self, params, chunk, **options):
            type(self).evaluations += chunk is self.chunks[0]
            return super().outputs(params, chunk, **options)

    base = small_network()
    objective = Counted(base.model, base.chunks, base._loss)
    grid = PLANES["5 x 3"]
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, objective, grid, executor=Interrupted(6))
    with Store.read(tmp_path / "study.h5") as store:
        half = store.surface("s")
    assert (half.status == Status.DONE).sum() == 6
    assert set(np.flatnonzero(half.status)) == set(grid.coarse_to_fine()[:6])

    Counted.evaluations = 0
    surface = measured(tmp_path, objective, grid)
    assert Counted.evaluations == 2 + 1 + grid.size - 6  # asked twice, the centre, the missing points
    unbroken = measured(tmp_path / "other", objective, grid)
    for name, values in surface.values.items():
        assert np.array_equal(values, unbroken.values[name])

    Counted.evaluations = 0
    measured(tmp_path, objective, grid)
    assert Counted.evaluations == 2


def test_another_checkpoint_grid_or_seed_under_the_same_name_is_refused(tmp_path):
    measured(tmp_path, small_network(), PLANES["line"])
    with pytest.raises(StoreMismatch):
        measured(tmp_path, small_network(seed=1), PLANES["line"])
    with pytest.raises(StoreMismatch):
        measured(tmp_path, small_network(), PLANES["square"])
    with pytest.raises(StoreMismatch, match="direction"):
        measured(tmp_path, small_network(), PLANES["line"], seed=9)


KILLED = """
import os, random, signal, sys, time
from landscape.grid import Axis, Grid
from landscape.store import Store
from landscape.surface.resume import compute_surface
from landscape_tests.known import slow_quadratic

def compute():
    compute_surface(sys.argv[1], slow_quadratic(seconds=0.004), grid=Grid(Axis(-1, 1, 25), Axis(-2, 1, 24)), name="s",
                    checkpoint_name="c", seed=3)

def finished():
    if not os.path.exists(sys.argv[1]):
        return set()
    with Store.read(sys.argv[1]) as store:
        return set(store.surface("s").status.ravel().nonzero()[0]) if "s" in store.names("surfaces") else set()

random.seed(5)
kills, left, advanced = 0, set(), 0
for attempt in range(20):
    child = os.fork()
    if not child:
        compute()
        os._exit(0)
    while attempt % 2 and not finished() - left:  # every other one comes among the points, however busy the machine
        time.sleep(0.02)
    time.sleep(random.uniform(0.01, 0.1))
    seen = finished()  # readable while the writer is at work
    os.kill(child, signal.SIGKILL)
    kills += os.waitpid(child, 0)[1] == signal.SIGKILL
    before, left = left, finished()
    assert before <= seen <= left, "a finished point was lost"
    advanced += before < left
print(kills, advanced)
compute()
"""


def test_a_surface_killed_at_twenty_moments_ends_identical(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "study.h5")],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    kills, among_points = map(int, run.stdout.split())
    assert kills == 20
    assert among_points >= 10
    unbroken = measured(tmp_path / "other", quadratic(), Grid(Axis(-1, 1, 25), Axis(-2, 1, 24)), seed=3)
    with Store.read(tmp_path / "study.h5") as store:
        surface = store.surface("s")
    assert surface.is_finished
    for name, values in unbroken.values.items():
        assert np.array_equal(surface.values[name], values)


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `landscape surface` here and gives its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["landscape", "surface", "landscape_tests.known:quadratic", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capsys.readouterr()

    return run


def test_the_command_says_what_it_would_cost_and_writes_nothing(tmp_path, command):
    path = tmp_path / "study.h5"
    code, out, err = command("--store", str(path), "--x=-1:1:5", "--y=-2:1:3", "--workers", "2", "--dry-run", "--json")
    assert (code, err) == (0, "")
    (cost,) = json.loads(out)["dry_run"]
    assert cost["points"] == 15
    assert cost["seconds"] == pytest.approx(15 * cost["seconds_a_point"] / 2)
    assert cost["memory_mib"] > 0
    assert not path.exists()


def test_the_command_measures_as_python_does(tmp_path, command):
    path = tmp_path / "study.h5"
    code, out, err = command("--store", str(path), "--x=-1:1:5", "--y=-2:1:3", "--metric", "height", "--json")
    assert (code, err) == (0, "")
    (summary,) = json.loads(out)["surfaces"]
    assert (summary["name"], summary["points"], summary["finished"]) == ("quadratic-2d", 15, True)
    with Store.read(path) as store:
        surface = store.surface("quadratic-2d")
    expected = measured(tmp_path / "other", quadratic(), Grid(Axis(-1, 1, 5), Axis(-2, 1, 3)), metrics=["height"])
    for name, values in expected.values.items():
        assert np.array_equal(surface.values[name], values)
    assert surface.provenance.target == "landscape_tests.known:quadratic"
    assert "surface landscape_tests.known:quadratic" in surface.provenance.command


def test_the_command_is_refused_in_one_line_while_another_writes(tmp_path, command):
    path = tmp_path / "study.h5"
    with Store.write(path):
        code, out, err = command("--store", str(path), "--x=-1:1:3")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"is being written by process {os.getpid()}" in err


def test_a_surface_fills_a_store_that_is_open_and_leaves_it_open(tmp_path):
    with Store.write(tmp_path / "study.h5") as store:
        surface = compute_surface(store, quadratic(), grid=PLANES["line"], name="s", checkpoint_name="c")
        assert surface.is_finished
        store.remove("surfaces", "s")


def test_the_values_at_the_checkpoint_are_kept_off_the_grid_too(tmp_path):
    objective = small_network()
    surface = measured(tmp_path, objective, PLANES["off-centre"], metrics=["accuracy"])
    accuracy = objective.metrics(objective.weights, ["accuracy"])["accuracy"].mean().item()
    assert surface.centre == {"loss": loss_at(objective, objective.weights).value, "accuracy": accuracy}


def test_the_command_refuses_an_unknown_direction_in_one_line(tmp_path, command):
    answer = command("--store", str(tmp_path / "study.h5"), "--directions", "filtre")
    assert answer == (
        2,
        "",
        "error: expected kind to be one of filter, layer, raw, eigenvector, between, through, pca, got 'filtre'\n",
    )
