"""The principal plane of a path is the dense SVD's, a path in a plane is found exactly, what lies outside is told."""

import dataclasses
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from landscape_tests.known import quadratic, small_network

from landscape.directions import redraw
from landscape.directions.between import as_source
from landscape.errors import InvalidArgument, StoreMismatch
from landscape.objective import loss_at
from landscape.parameters import moved
from landscape.trajectory import gram_of, plane_of, trajectory_of

SECOND, THIRD = "landscape_tests.known:second_network", "landscape_tests.known:third_network"


def network_path():
    """Every third step of one training, the origin being its end."""
    return [small_network(fit=steps).weights for steps in range(0, 30, 3)]


def differences(objective, path):
    """The dense matrix of differences, a row a checkpoint."""
    flat = objective.layout.flatten
    return np.stack([(flat(weights) - flat(objective.weights)).numpy() for weights in path])


def directions_of(trajectory, objective):
    """x and y as flat vectors."""
    x = redraw(trajectory.x, objective.layout, objective.weights)
    y = redraw(trajectory.y, objective.layout, objective.weights, orthogonal_to=x)
    return objective.layout.flatten(x).numpy(), objective.layout.flatten(y).numpy()


@pytest.mark.parametrize("held", [1, 3, 20])
def test_directions_shares_and_coordinates_are_those_of_the_dense_svd(held):
    objective, path = small_network(), network_path()
    left, singular, right = np.linalg.svd(differences(objective, path), full_matrices=False)
    found = trajectory_of(objective, path, name="path", held=held)
    for k, direction in enumerate(directions_of(found, objective)):
        assert abs(direction @ right[k]) == pytest.approx(1, abs=1e-12)
        assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-14)
        expected = left[:, k] * singular[k] * np.sign(direction @ right[k])
        np.testing.assert_allclose(found.coordinates[:, k], expected, rtol=0, atol=2e-7)  # float32 was kept
        assert found.coordinates[0, k] >= 0
    np.testing.assert_allclose(found.explained, singular**2 / (singular**2).sum(), rtol=0, atol=1e-14)
    assert abs(found.y.cosine) < 1e-10


def test_distances_residuals_and_losses_are_those_of_the_checkpoints_themselves():
    objective, path = small_network(), network_path()
    found = trajectory_of(objective, path, name="path", epochs=range(0, 30, 3))
    rows = differences(objective, path)
    plane = np.stack(directions_of(found, objective))
    outside = rows - (rows @ plane.T) @ plane
    np.testing.assert_allclose(found.distances, np.linalg.norm(rows, axis=1), rtol=1e-13)
    np.testing.assert_allclose(found.residuals, np.linalg.norm(outside, axis=1), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.outside, found.residuals / found.distances)
    assert found.losses.tolist() == [loss_at(objective, weights).value for weights in path]
    assert found.epochs.tolist() == list(range(0, 30, 3))
    assert (found.residuals**2).sum() / (found.distances**2).sum() == pytest.approx(1 - found.explained[:2].sum())


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(3, 9), st.integers(1, 4))
def test_a_path_in_a_plane_has_its_coordinates_and_nothing_outside(seed, points, held):
    known = quadratic()
    generator = np.random.default_rng(seed)
    basis = np.linalg.qr(generator.standard_normal((12, 2)))[0].T
    places = generator.standard_normal((points, 2))
    path = [moved(known.weights, [(1.0, known.layout.unflatten(torch.from_numpy(place @ basis)))]) for place in places]
    path.append(known.weights)  # the path ends in the origin
    found = trajectory_of(known, path, name="path", held=held)
    assert found.outside.max() < 1e-6  # directions kept in float32
    assert found.explained[:2].sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(found.coordinates[:-1], axis=1), np.linalg.norm(places, axis=1), rtol=1e-6
    )
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.testing.assert_allclose(
        np.linalg.norm(found.coordinates[:-1, None] - found.coordinates[None, :-1], axis=2), apart, rtol=0, atol=1e-6
    )
    assert (found.distances[-1], found.residuals[-1], found.outside[-1]) == (0, 0, 0)


def test_a_path_of_targets_keeps_a_recipe_and_is_exact():
    objective = small_network(seed=4)
    found = trajectory_of(objective, [SECOND, THIRD], name="path")
    assert found.x.vector is None
    assert found.outside.max() < 1e-14  # three points always lie in a plane
    x, y = directions_of(found, objective)
    flat = objective.layout.flatten
    for (alpha, beta), seed in zip(found.coordinates, (1, 2), strict=True):
        here = flat(objective.weights).numpy() + alpha * x + beta * y
        np.testing.assert_allclose(here, flat(small_network(seed=seed).weights).numpy(), rtol=0, atol=1e-13)
    for change in (
        {"policy": {**found.x.policy, "hashes": ["0" * 64, found.x.policy["hashes"][1]]}},
        {"policy": {**found.x.policy, "coefficients": [0.1, 0.2]}},
    ):
        with pytest.raises(StoreMismatch):
            redraw(dataclasses.replace(found.x, **change), objective.layout, objective.weights)


def test_no_more_than_the_checkpoints_held_and_one_are_read_at_once():
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((11, 5)))
    made = []
    most = 0

    def read(source):
        nonlocal most
        row = rows[int(source.name)].clone()
        made.append(weakref.ref(row))
        most = max(most, sum(one() is not None for one in made))
        return row

    gram = gram_of([as_source({}, str(k)) for k in range(11)], read, held=3)
    np.testing.assert_allclose(gram, (rows @ rows.T).numpy(), rtol=0, atol=1e-14)
    assert len(made) == 11 + 8 + 5 + 2
    assert most <= 3 + 2  # the block, the one just done with, and the one that takes its place


def test_a_random_walk_seen_from_its_end_explains_nine_tenths_too():
    size, steps = 4000, 200
    walk = np.cumsum(np.random.default_rng(0).standard_normal((steps, size)), axis=0)
    values = np.linalg.eigvalsh(walk @ walk.T)[::-1]
    expected = [8 / np.pi**2, 8 / (9 * np.pi**2)]
    np.testing.assert_allclose(values[:2] / values.sum(), expected, rtol=0.05)


def test_paths_without_a_plane_are_refused():
    known = quadratic()
    there = {name: weight + 1 for name, weight in known.weights.items()}
    farther = {name: weight + 2 for name, weight in known.weights.items()}
    for path, why in (
        ([there], "at least 2"),
        ([known.weights, known.weights], "leaves the origin"),
        ([there, farther], "spans a plane"),
        ([there, known.weights], "spans a plane"),
    ):
        with pytest.raises(InvalidArgument, match=why):
            trajectory_of(known, path, name="path")
    with pytest.raises(InvalidArgument, match="an epoch for each"):
        trajectory_of(known, [there, farther], name="path", epochs=[1])


def test_the_plane_of_a_path_is_what_is_measured():
    found = trajectory_of(small_network(), network_path(), name="path")
    plane = plane_of(found)
    assert (plane.x, plane.y, plane.marks) == (found.x, found.y, ())
