"""Directions along eigenvectors are the dense Hessian's, whole or of a block, and are drawn again from what is kept."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from landscape_tests.known import dense_hessian, quadratic, small_network

from landscape.blocks import mask_of
from landscape.directions import eigenvectors, redraw
from landscape.directions.eigenvectors import default_reach, held_plane, parse_which, plane_of_eigenvectors
from landscape.errors import InvalidArgument, StoreMismatch
from landscape.parameters import content_hash

EXACT = {"tolerance": 1e-6, "max_products": 20_000}
CLOSE = {"tolerance": 1e-4, "max_products": 2_000}  # a network's products are dearer


@pytest.fixture(scope="module")
def known():
    """Eigenvalues with room between them, both ends deep."""
    values = torch.tensor([5.0, 3, 2, 0.5, 0.3, 0.1, 0, -0.1, -0.4, -1, -2.5, -4])
    half = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    return quadratic(half @ torch.diag(values.double()) @ half.T)


@pytest.mark.parametrize(
    ("which", "index"), [("top-1", -1), ("top-3", -3), ("bottom-1", 0), ("bottom", 0), ("bottom-2", 1)]
)
def test_the_kth_from_either_end_is_the_dense_one(known, which, index):
    values, vectors = torch.linalg.eigh(known.matrix)
    plane = plane_of_eigenvectors(known, [which], **EXACT)
    x = known.layout.flatten(redraw(plane.x, known.layout, known.weights))
    assert abs(float(x @ vectors[:, index])) == pytest.approx(1, abs=1e-9)
    assert float(x.norm()) == pytest.approx(1, abs=1e-15)
    assert plane.x.policy["value"] == pytest.approx(float(values[index]), abs=1e-9)
    assert plane.x.policy["converged"]


def test_two_of_a_network_are_orthogonal_and_point_along_its_ends():
    objective = small_network()
    values, vectors = torch.linalg.eigh(dense_hessian(objective))
    plane = plane_of_eigenvectors(objective, ["top-1", "bottom-1"], **CLOSE)
    x = redraw(plane.x, objective.layout, objective.weights)
    y = redraw(plane.y, objective.layout, objective.weights, orthogonal_to=x)
    x, y = objective.layout.flatten(x), objective.layout.flatten(y)
    assert abs(float(x @ y)) < 1e-14
    assert abs(plane.y.cosine) < 1e-14
    assert abs(float(x @ vectors[:, -1])) == pytest.approx(1, abs=1e-5)
    assert abs(float(y @ vectors[:, 0])) == pytest.approx(1, abs=1e-5)
    assert plane.y.policy["value"] == pytest.approx(float(values[0]), rel=1e-6)


def test_of_a_block_it_is_that_of_the_blocks_own_part_of_the_hessian():
    objective = small_network()
    inside = mask_of(objective.layout, "hidden")
    values, vectors = torch.linalg.eigh(dense_hessian(objective)[inside][:, inside])
    plane = plane_of_eigenvectors(objective, ["top-1"], block="hidden", **CLOSE)
    x = objective.layout.flatten(redraw(plane.x, objective.layout, objective.weights))
    assert not x[~inside].any()
    assert abs(float(x[inside] @ vectors[:, -1])) == pytest.approx(1, abs=1e-5)
    assert plane.x.policy["value"] == pytest.approx(float(values[-1]), rel=1e-6)


def test_a_vector_too_large_to_keep_is_solved_for_again_and_is_the_same(monkeypatch, known):
    objective = known
    kept = plane_of_eigenvectors(objective, ["top-1", "bottom-1"])
    monkeypatch.setattr(eigenvectors, "LARGEST_KEPT", objective.layout.size - 1)
    plane = plane_of_eigenvectors(objective, ["top-1", "bottom-1"])
    assert plane.x.vector is None
    assert (plane.x, plane.y) == (kept.x, kept.y)
    options = {"objective": objective}
    x = redraw(plane.x, objective.layout, objective.weights, **options)
    y = redraw(plane.y, objective.layout, objective.weights, orthogonal_to=x, **options)
    from_vector = redraw(kept.x, objective.layout, objective.weights)
    assert content_hash(x) == content_hash(from_vector)
    again = redraw(kept.y, objective.layout, objective.weights, orthogonal_to=from_vector)
    assert content_hash(y) == content_hash(again)
    with pytest.raises(InvalidArgument, match="whose Hessian"):
        redraw(plane.x, objective.layout, objective.weights)
    for change in ({"seed": 1}, {"policy": {**plane.x.policy, "max_products": 3}}):
        with pytest.raises(StoreMismatch):
            redraw(dataclasses.replace(plane.x, **change), objective.layout, objective.weights, **options)
    other = copy.copy(known)
    other.facts = {"loss": "another"}
    with pytest.raises(InvalidArgument, match="other settings"):
        redraw(plane.x, objective.layout, objective.weights, objective=other)


def test_a_vector_that_was_changed_is_refused(known):
    objective = known
    record = plane_of_eigenvectors(objective).x
    changed = np.array(record.vector)
    changed[3] += 1e-3
    for vector in (changed, changed[:-1]):
        with pytest.raises((StoreMismatch, InvalidArgument), match="direction"):
            redraw(dataclasses.replace(record, vector=vector), objective.layout, objective.weights)


def test_what_is_held_is_found_only_for_the_same_loss_and_settings(known):
    objective = known
    plane = plane_of_eigenvectors(objective, ["top-1", "bottom-1"])
    held = [plane.y, plane.x]
    assert held_plane(held, objective, ["top-1", "bottom-1"]) == plane
    assert held_plane(held, objective, ["top-1"]) is None
    assert held_plane(held, objective, ["top-1", "bottom-1"], seed=1) is None
    assert held_plane(held, objective, ["top-1", "bottom-1"], block="table") is None
    assert held_plane(held, quadratic(known.matrix, seed=1), ["top-1", "bottom-1"]) is None
    assert held_plane(held[:1], objective, ["top-1", "bottom-1"]) is None


def test_one_that_did_not_settle_says_so(known):
    plane = plane_of_eigenvectors(known, max_products=2)
    assert not plane.x.policy["converged"]
    assert plane.x.policy["residual"] > 0


def test_the_reach_is_where_the_parabola_has_moved_the_loss_by_itself(known):
    record = plane_of_eigenvectors(known).x
    reach = default_reach(record, 0.5)
    assert record.policy["value"] * reach**2 / 2 == pytest.approx(0.5, rel=0.1)
    assert default_reach(record, 0.0) == 1.0


@pytest.mark.parametrize(
    "which", [["first"], ["top-0"], ["top-x"], ["top-1", "top-1"], ["top", "top-1"], [], ["top-1"] * 3]
)
def test_what_is_no_eigenvector_is_refused(which):
    with pytest.raises(InvalidArgument, match="expected"):
        plane_of_eigenvectors(quadratic(), which)
    assert parse_which("bottom") == ("bottom", 1)


def test_a_number_beyond_the_coordinates_is_refused():
    with pytest.raises(InvalidArgument, match="below number 12"):
        plane_of_eigenvectors(quadratic(), ["bottom-12"])
