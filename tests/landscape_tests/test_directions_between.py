"""Checkpoints lie where the picture says, recipes give the same direction again, and other weights are refused."""

import dataclasses

import pytest
import torch
from landscape_tests.known import quadratic, small_network

from landscape.directions import redraw
from landscape.directions.between import Source, line_between, place_of, plane_through
from landscape.errors import InvalidArgument, StoreMismatch
from landscape.objective import loss_at
from landscape.parameters import moved

SECOND, THIRD = "landscape_tests.known:second_network", "landscape_tests.known:third_network"
OTHERS = [(SECOND, THIRD), (small_network(seed=1).weights, small_network(seed=2).weights)]


def drawn(plane, objective):
    """The directions of a plane, drawn again."""
    x = redraw(plane.x, objective.layout, objective.weights)
    return x, None if plane.y is None else redraw(plane.y, objective.layout, objective.weights, orthogonal_to=x)


def test_the_other_checkpoint_is_at_one():
    objective, other = small_network(), small_network(seed=1)
    line = line_between(objective, SECOND, origin="first", name="second")
    x, _ = drawn(line, objective)
    there = moved(objective.weights, [(1.0, x)])
    for name, weight in other.weights.items():
        free = slice(1, None) if name == "embedding.weight" else slice(None)
        assert torch.allclose(there[name][free], weight[free], rtol=0, atol=1e-15)
    ends = [(mark.name, mark.alpha, mark.loss) for mark in line.marks]
    losses = [loss_at(objective, weights).value for weights in (objective.weights, other.weights)]
    assert ends == [("first", 0.0, losses[0]), ("second", 1.0, losses[1])]


def test_all_three_checkpoints_lie_at_their_coordinates_in_a_plane_of_equal_scales():
    objective = small_network()
    plane = plane_through(objective, SECOND, THIRD, names=("second", "third"))
    x, y = drawn(plane, objective)
    flat = objective.layout.flatten
    assert float(flat(y).norm()) == pytest.approx(float(flat(x).norm()), rel=1e-13)
    assert abs(plane.y.cosine) < 1e-14
    for mark, seed in zip(plane.marks, (0, 1, 2), strict=True):
        wanted = flat(small_network(seed=seed).weights)
        here = flat(moved(objective.weights, [(mark.alpha, x), (mark.beta, y)]))
        assert torch.allclose(here, wanted, rtol=0, atol=1e-13)
        assert mark.outside < 1e-14
        assert mark.loss == loss_at(objective, small_network(seed=seed).weights).value
    assert (plane.marks[1].alpha, abs(plane.marks[1].beta)) == pytest.approx((1, 0), abs=1e-14)


def test_places_are_the_least_squares_solution_for_directions_that_are_not_orthogonal():
    generator = torch.Generator().manual_seed(0)
    m, x, z = (torch.randn(40, generator=generator, dtype=torch.float64) for _ in range(3))
    y = 0.9 * x + 0.1 * z
    (alpha, beta), outside = place_of(m, x, y)
    solution = torch.linalg.lstsq(torch.stack([x, y], dim=1), m[:, None]).solution.squeeze(1)
    rest = m - torch.stack([x, y], dim=1) @ solution
    assert (alpha, beta) == pytest.approx(tuple(solution.tolist()), rel=1e-11)
    assert outside == pytest.approx(float(rest.norm() / m.norm()), rel=1e-12)
    assert place_of(torch.zeros(40, dtype=torch.float64), x, y) == ((0.0, 0.0), 0.0)


@pytest.mark.parametrize("others", OTHERS, ids=["targets", "tensors"])
def test_a_redraw_has_the_same_bits_and_keeps_a_vector_only_without_a_recipe(others):
    objective = small_network()
    plane = plane_through(objective, *others)
    first, second = drawn(plane, objective), drawn(plane, objective)
    for one, other in zip(first, second, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert (plane.x.vector is None) == isinstance(others[0], str)
    assert plane.y.orthogonal_to == plane.x.hash


@pytest.mark.parametrize("others", OTHERS, ids=["targets", "tensors"])
def test_a_redraw_is_refused_when_anything_differs(others):
    objective = small_network()
    line = line_between(objective, others[0])
    policy = line.x.policy
    changes = [{"hash": "0" * 64}, {"orthogonal_to": None, "norm": line.x.norm * 2}]
    if line.x.vector is None:
        changes += [
            {"policy": {**policy, "hashes": ["0" * 64]}},
            {"policy": {**policy, "coefficients": [1.001]}, "norm": line.x.norm * 1.001},
            {"policy": {**policy, "checkpoints": [THIRD]}},
        ]
    else:
        changes.append({"vector": line.x.vector + 1e-3})
    for change in changes:
        with pytest.raises(StoreMismatch):
            redraw(dataclasses.replace(line.x, **change), objective.layout, objective.weights)
    if line.x.vector is None:
        with pytest.raises(StoreMismatch):
            redraw(line.x, objective.layout, small_network(seed=3).weights)


def test_what_spans_no_line_or_plane_is_refused():
    objective, other = small_network(), small_network(seed=1).weights
    halfway = {name: (weight + other[name]) / 2 for name, weight in objective.weights.items()}
    with pytest.raises(InvalidArgument, match="same weights"):
        line_between(objective, Source("twin", None, objective.weights))
    with pytest.raises(InvalidArgument, match="span a plane"):
        plane_through(objective, other, halfway)
    with pytest.raises(InvalidArgument, match=r"wide has not the shapes.*scores\.bias"):
        line_between(objective, other | {"scores.bias": torch.zeros(4)}, name="wide")
    with pytest.raises(InvalidArgument, match="got also extra"):
        line_between(objective, other | {"extra": torch.zeros(4)})
    with pytest.raises(InvalidArgument, match="finite weights in"):
        line_between(objective, other | {"scores.bias": torch.full((3,), torch.nan)})


def test_the_loss_on_a_line_of_a_quadratic_is_the_parabola_through_both_ends():
    known = quadratic()
    end = {name: weight + 1 for name, weight in known.weights.items()}
    line = line_between(known, end)
    x, _ = drawn(line, known)
    flat = known.layout.flatten
    for alpha in (-0.5, 0.25, 1.0, 2.0):
        here = loss_at(known, moved(known.weights, [(alpha, x)])).value
        assert here == pytest.approx(known.value(flat(known.weights) + alpha), rel=1e-6)
