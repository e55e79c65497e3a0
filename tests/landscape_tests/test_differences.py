"""Products by central differences: what they say of their error holds, for vectors of every kind and any step."""

import math

import pytest
import torch
from landscape_tests.known import dense_hessian, quadratic, small_network

from landscape.curvature.differences import ACCEPTED, extrapolated
from landscape.curvature.operators import Hessian

PRECISIONS = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])


def vectors_of(size, count, seed=0):
    return torch.randn(size, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).unbind(1)


def dense_at(objective, seed=0):
    """The dense Hessian in float64, at the objective's own weights of whatever precision."""
    exact = small_network(seed=seed)
    exact.weights.update({name: tensor.double() for name, tensor in objective.weights.items()})
    return dense_hessian(exact)


def errors_of(near, matrix, vectors):
    """For each product its true relative error, and what the operator says after it."""
    for v in vectors:
        exact = matrix @ v
        yield (torch.linalg.vector_norm(near(v) - exact) / torch.linalg.vector_norm(exact)).item(), near.relative_error


@PRECISIONS
@pytest.mark.parametrize("seed", range(4))
def test_the_stated_error_covers_every_product_at_random_vectors_and_at_leading_eigenvectors(dtype, seed):
    small = small_network(dtype=dtype, seed=seed)
    matrix = dense_at(small, seed)
    values, eigenvectors = torch.linalg.eigh(matrix)
    leading = eigenvectors[:, values.abs().argsort(descending=True)[:6]].unbind(1)
    for vectors in (vectors_of(len(matrix), 6), leading):
        near = Hessian(small, method="central-differences")
        assert near.relative_error is None
        stated_before = 0.0
        for true, stated in errors_of(near, matrix, vectors):
            assert true < stated
            assert stated >= stated_before
            stated_before = stated
        assert stated_before < (2e-3 if dtype == torch.float32 else 1e-5)


@pytest.mark.parametrize("step", [1e-4, 1e-2, 1.0, 100.0])
def test_the_stated_error_covers_products_of_steps_far_too_narrow_and_far_too_wide(step):
    small = small_network(dtype=torch.float32)
    matrix = dense_at(small)
    eigenvectors = torch.linalg.eigh(matrix)[1][:, -3:].unbind(1)
    for v in (*vectors_of(len(matrix), 3), *eigenvectors):
        near = Hessian(small, method="central-differences", step=step)
        ((true, stated),) = errors_of(near, matrix, [v])
        assert near.step == step
        assert true < stated


@PRECISIONS
def test_where_one_step_is_over_a_tenth_off_the_product_is_within_a_thousandth(dtype):
    small = small_network(dtype=dtype)
    matrix = dense_at(small)
    v = torch.linalg.eigh(matrix)[1][:, -1]
    near = Hessian(small, method="central-differences", step=0.5)
    exact = matrix @ v
    assert torch.linalg.vector_norm(_one_step(small, v, 0.5) - exact) > 0.1 * torch.linalg.vector_norm(exact)
    assert torch.linalg.vector_norm(near(v) - exact) < near.relative_error * torch.linalg.vector_norm(exact)
    assert near.relative_error < ACCEPTED


def _one_step(objective, v, step):
    from landscape.objective import gradient_at
    from landscape.parameters import moved

    direction = objective.layout.unflatten(v.to(next(iter(objective.weights.values())).dtype))
    ahead, behind = (gradient_at(objective, moved(objective.weights, [(t, direction)]))[1] for t in (step, -step))
    return (ahead - behind) / (2 * step)


@pytest.mark.parametrize("block", ["embedding", "scores.bias", "rows:untouched", "*.weight"])
def test_a_block_says_how_far_off_it_is_too(block):
    from landscape.blocks import mask_of

    small = small_network()
    mask = mask_of(small.layout, block)
    matrix = dense_hessian(small)[mask][:, mask]
    near = Hessian(small, method="central-differences", block=block)
    V = torch.stack(vectors_of(near.size, 3), dim=1)
    off = torch.linalg.vector_norm(near @ V - matrix @ V, dim=0)
    assert (off <= near.relative_error * torch.linalg.vector_norm(matrix @ V, dim=0)).all()
    assert near.relative_error < 1e-6


def test_exact_methods_and_quadratics_have_no_error_to_state():
    known = quadratic()
    v = vectors_of(12, 1)[0]
    exact, near = Hessian(known), Hessian(known, method="central-differences")
    torch.testing.assert_close(near(v), exact(v), rtol=1e-9, atol=1e-9)
    assert near.relative_error < 1e-8
    assert exact.relative_error is None


def test_a_step_is_nearer_along_a_small_tensor_and_the_default_for_one_spread_evenly():
    steps = []

    def slope(h):
        steps.append(h)
        return torch.ones(3)

    extrapolated(slope, 0.9)
    assert steps == pytest.approx([0.9, 0.3])
    small = small_network()
    near = Hessian(small, method="central-differences")
    lengths = {}
    for block in ("embedding", "scores.bias"):
        direction = {
            name: torch.ones_like(w) / w.numel() ** 0.5 for name, w in small.weights.items() if name.startswith(block)
        }
        lengths[block] = near._differences._room(direction)
    assert lengths["scores.bias"] < 0.5 * lengths["embedding"] < 0.5


def test_extrapolation_finds_a_derivative_and_stops_where_rounding_takes_over():
    def slope(h):
        return torch.tensor([(math.sin(1 + h) - math.sin(1 - h)) / (2 * h)], dtype=torch.float64)

    found, error = extrapolated(slope, 1.0)
    assert abs(found.item() / math.cos(1) - 1) < error < ACCEPTED
    noise = iter(torch.randn(9, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    taken = []

    def noisy(h):
        taken.append(h)
        return 1 + next(noise) / h

    found, error = extrapolated(noisy, 100.0)
    off = torch.linalg.vector_norm(found - 1) / torch.linalg.vector_norm(found)
    assert 0.3 * error < off < error
    assert len(taken) == 3


def test_what_is_not_finite_has_no_bound_and_zero_has_no_error():
    found, error = extrapolated(lambda _: torch.full((2,), math.nan), 1.0)
    assert found.isnan().all()
    assert error == math.inf
    wide_overflows = extrapolated(lambda h: torch.full((2,), math.inf if h > 0.9 else 2.0), 1.0)
    assert wide_overflows[0].tolist() == [2, 2]
    assert wide_overflows[1] == 0
    assert extrapolated(lambda _: torch.zeros(2), 1.0)[1] == 0
