"""Surfaces over random grids and random small models against a loop over the points, in plain PyTorch and float64."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landscape_tests.models import seeded
from torch import nn

import landscape as ls
from landscape.directions import redraw
from landscape.errors import InvalidArgument, LandscapeError
from landscape.executors.here import Here
from landscape.grid import Axis, Grid
from landscape.records import Direction, Status
from landscape.store import Store
from landscape.surface.evaluate import SurfacePoint
from landscape.surface.resume import compute_surface

PROPERTIES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "norm": lambda: nn.LayerNorm(3)}


class Words(nn.Module):
    """Word ids -> scores: an embedding with a padding row, a hidden layer of three and a head tied to nothing."""

    def __init__(self, activation):
        super().__init__()
        self.embedding = nn.Embedding(6, 2, padding_idx=0)
        self.rest = plain_layers(activation)

    def forward(self, ids):
        return self.rest(self.embedding(ids).mean(dim=1))


def cases():
    """What `built` takes; shape checks draw at random, which strategies must not."""
    sizes = {"units": st.integers(2, 9), "size": st.integers(1, 9)}
    kinds = {"activation": st.sampled_from(sorted(ACTIVATIONS)), "words": st.booleans()}
    return st.builds(partial, st.just(built), seed=st.integers(0, 999), **sizes, **kinds)


def built(*, seed, activation, words, units, size):
    """A model, its data in batches of any size, and the mean loss written out."""
    generator = torch.Generator().manual_seed(seed)
    if words:
        model = seeded(Words, activation, seed=seed).double()
        x = torch.randint(0, 6, (units, 3), generator=generator)
    else:
        model = seeded(plain_layers, activation, seed=seed).double()
        x = torch.randn(units, 2, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 4, (units,), generator=generator)
    batches = list(zip(x.split(size), y.split(size), strict=True))

    def loss_of(moved):
        with torch.no_grad():
            return nn.functional.cross_entropy(moved(x), y).item()

    return model.eval(), batches, loss_of


def plain_layers(activation):
    return nn.Sequential(nn.Linear(2, 3), ACTIVATIONS[activation](), nn.Linear(3, 4))


@st.composite
def axes(draw):
    """From a smaller to a larger number, the origin inside, outside or at an end."""
    start = draw(st.floats(-3, 2).map(lambda value: round(value, 3)))
    length = draw(st.floats(0.01, 3).map(lambda value: round(value, 3)))
    return Axis(start, start + length, draw(st.integers(2, 6)))


def grids():
    """Lines, squares, and planes with more points one way than the other, down to two rows."""
    return st.builds(Grid, axes(), st.none() | axes())


class AsTheyBecomeReady:
    """An executor that answers in an order of its own."""

    def __init__(self, seed):
        self.seed = seed

    def run(self, task, items):
        order = np.random.default_rng(self.seed).permutation(len(items))
        yield from Here().run(task, [items[k] for k in order])


def losses_by_a_loop(model, loss_of, surface, directions):
    """The loss at each point: a copy of the model whose every parameter is moved by hand."""
    found = np.empty(surface.shape)
    for index in np.ndindex(surface.shape):
        moved = copy.deepcopy(model)
        steps = [surface.alpha[index[0]], *([] if surface.beta is None else [surface.beta[index[1]]])]
        with torch.no_grad():
            for name, parameter in moved.named_parameters():
                for step, direction in zip(steps, directions, strict=True):
                    if name in direction:
                        parameter += step * direction[name]
        found[index] = loss_of(moved)
    return found


def drawn_again(surface, objective):
    x = redraw(surface.x, objective.layout, objective.weights)
    if surface.y is None:
        return [x]
    return [x, redraw(surface.y, objective.layout, objective.weights, orthogonal_to=x)]


@PROPERTIES
@given(
    case=cases(),
    grid=grids(),
    kind=st.sampled_from(["filter", "layer", "raw"]),
    seed=st.integers(0, 99),
    order=st.none() | st.integers(0, 99),
    batch=st.sampled_from([1, 1, 3]),
)
def test_every_point_is_the_loss_of_moved_weights_and_nothing_else_moves(
    tmp_path, case, grid, kind, seed, order, batch
):
    model, batches, loss_of = case()
    objective = ls.Objective.from_model(model, nn.CrossEntropyLoss(), batches)
    before = {name: tensor.clone() for name, tensor in objective.weights.items()}
    own = copy.deepcopy(model.state_dict())
    (tmp_path / "s.h5").unlink(missing_ok=True)
    executor = None if order is None else AsTheyBecomeReady(order)
    place = {"name": "s", "checkpoint_name": "c", "executor": executor, "batch": batch}
    surface = compute_surface(tmp_path / "s.h5", objective, grid=grid, kind=kind, seed=seed, **place)
    assert (surface.status == Status.DONE).all()
    assert surface.shape == grid.shape
    truth = losses_by_a_loop(model, loss_of, surface, drawn_again(surface, objective))
    np.testing.assert_allclose(surface.values["loss"], truth, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(surface.values["rise"], truth - loss_of(model), rtol=1e-8, atol=1e-11)
    assert all(torch.equal(before[name], tensor) for name, tensor in objective.weights.items())
    assert all(torch.equal(own[name], tensor) for name, tensor in model.state_dict().items())


@st.composite
def grown_axes(draw):
    """An axis of an exact step, and one that contains it: longer to either side, finer, or both."""
    step, first = draw(st.sampled_from([0.1, 0.25, 0.5])), draw(st.integers(-6, 3))
    points, before, after, finer = (draw(st.integers(*ends)) for ends in ((2, 4), (0, 2), (0, 2), (1, 3)))
    last = first + points - 1
    start, stop, *long = (round(k * step, 6) for k in (first, last, first - before, last + after))
    return Axis(start, stop, points), Axis(*long, (points - 1 + before + after) * finer + 1)


@PROPERTIES
@given(case=cases(), x=grown_axes(), y=st.none() | grown_axes(), order=st.none() | st.integers(0, 99))
def test_growing_never_touches_a_finished_point_and_ends_as_if_measured_at_once(tmp_path, case, x, y, order):
    model, batches, _ = case()
    objective = ls.Objective.from_model(model, nn.CrossEntropyLoss(), batches)
    small, large = (Grid(x[k], None if y is None else y[k]) for k in (0, 1))
    for name in ("a.h5", "b.h5"):
        (tmp_path / name).unlink(missing_ok=True)
    place = {"name": "s", "checkpoint_name": "c", "executor": None if order is None else AsTheyBecomeReady(order)}
    first = compute_surface(tmp_path / "a.h5", objective, grid=small, **place)
    points, original = [], SurfacePoint.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SurfacePoint, "__call__", lambda self, point: points.append(point) or original(self, point))
        grown = compute_surface(tmp_path / "a.h5", objective, grid=large, extend=True, **place)
    assert len(points) == large.size - small.size
    whole = compute_surface(tmp_path / "b.h5", objective, grid=large, **place)
    kept = np.ix_(*(
        [int(np.abs(new - value).argmin()) for value in old]
        for old, new in ((first.alpha, grown.alpha), (first.beta, grown.beta))
        if old is not None
    ))  # fmt: skip
    for name, values in grown.values.items():
        assert np.array_equal(values, whole.values[name]), name
        assert np.array_equal(values[kept], first.values[name]), name


@given(start=st.floats(-5, 5), step=st.floats(0, 5), points=st.integers(-2, 9))
def test_descending_repeated_and_single_values_are_refused_and_all_others_are_in_order(start, step, points):
    for stop in (start - step, start):
        with pytest.raises(InvalidArgument, match="from a smaller to a larger"):
            Axis(start, stop, max(points, 2))
    stop = start + step
    if stop > start and points >= 2 and (stop - start) / (points - 1) > 1e-12:
        assert (np.diff(Axis(start, stop, points).values) > 0).all()
    elif stop > start and points < 2:
        with pytest.raises(InvalidArgument, match="at least 2 points"):
            Axis(start, stop, points)


@PROPERTIES
@given(case=cases(), axis=grown_axes(), shift=st.sampled_from([0.03, -0.07]))
def test_a_grid_without_the_finished_points_is_refused_and_leaves_them(tmp_path, case, axis, shift):
    model, batches, _ = case()
    objective = ls.Objective.from_model(model, nn.CrossEntropyLoss(), batches)
    (tmp_path / "s.h5").unlink(missing_ok=True)
    small, large = axis
    place = {"name": "s", "checkpoint_name": "c"}
    first = compute_surface(tmp_path / "s.h5", objective, grid=Grid(small), **place)
    other = Axis(large.start + shift, large.stop + shift, large.points)
    with pytest.raises(LandscapeError, match="contains the"):
        compute_surface(tmp_path / "s.h5", objective, grid=Grid(other), extend=True, **place)
    kept = Store.read(tmp_path / "s.h5").surface("s")
    assert isinstance(kept.x, Direction)
    assert all(np.array_equal(values, kept.values[name]) for name, values in first.values.items())
