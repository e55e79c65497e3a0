"""Nodes and weights of Lanczos quadrature against dense eigenvalues, probe by probe."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from landscape_tests.known import dense_hessian, small_network
from landscape_tests.rates import SEEDS, covered, holds_at_the_stated_rate
from landscape_tests.spectra import Dense, symmetric
from landscape_tests.stores import PROVENANCE

from landscape.curvature.coordinates import hessian_in, rademacher
from landscape.curvature.density import density_of, spectral_density
from landscape.errors import InvalidArgument, NonFiniteProduct
from landscape.estimates import moments, root_and_error, smoothed
from landscape.spectra import Density


def seen_by(A, probe, seed=0):
    """Eigenvalues of a dense matrix and the share of a probe on each eigenvector."""
    values, vectors = torch.linalg.eigh(A)
    z = rademacher(len(A), seed, probe)
    return values.numpy(), ((vectors.T @ z) ** 2 / len(A)).numpy()


@given(size=st.integers(3, 30), steps=st.integers(2, 12), seed=st.integers(0, 50), scale=st.sampled_from([1.0, 1e-6]))
def test_weights_carry_the_probes_own_moments(size, steps, seed, scale):
    A = scale * symmetric(size, seed)
    found = spectral_density(Dense(A), size, probes=2, steps=steps, seed=seed)
    assert found.weights.sum(axis=1) == pytest.approx(1, abs=1e-12)
    for probe in range(2):
        z = rademacher(size, seed, probe)
        truth = [(z @ A @ z / size).item(), ((A @ z) @ (A @ z) / size).item()]
        kept = found.nodes[probe : probe + 1], found.weights[probe : probe + 1]
        assert moments(*kept, 1)[0] / scale == pytest.approx(truth[0] / scale, abs=1e-10)
        if min(steps, size) > 1:
            assert moments(*kept, 2)[0] / scale**2 == pytest.approx(truth[1] / scale**2, abs=1e-10)


def test_a_networks_density_carries_its_hessians_moments():
    objective = small_network(batch_size=21)
    H = hessian_in(objective)
    record = density_of(objective, name="n", checkpoint="n", probes=3, steps=20, at_once=2)
    for probe in range(3):
        z = rademacher(H.size, 0, probe)
        image = H(z)
        kept = record.nodes[probe : probe + 1], record.weights[probe : probe + 1]
        assert moments(*kept, 1)[0] == pytest.approx((z @ image / H.size).item(), abs=1e-10)
        assert moments(*kept, 2)[0] == pytest.approx((image @ image / H.size).item(), abs=1e-10)
    dense = torch.linalg.eigvalsh(dense_hessian(objective)).numpy()
    for sign, true in ((1, dense[-1]), (-1, dense[0])):
        node, residual = record.end(sign)
        assert abs(node - true) <= residual + 1e-9
        assert sign * node <= sign * true + 1e-9
    assert record.products == 60


def test_all_steps_give_the_dense_spectrum_as_the_probe_sees_it():
    A = symmetric(25)
    found = spectral_density(Dense(A), 25, probes=2, steps=100, at_once=2)
    for probe in range(2):
        values, shares = seen_by(A, probe)
        assert found.nodes[probe] == pytest.approx(values, abs=1e-10)
        assert found.weights[probe] == pytest.approx(shares, abs=1e-10)


def test_equal_eigenvalues_are_one_node_and_the_probe_ends_early():
    A = torch.tensor([2.0, 2.0, -1.0, -1.0, 0.0, 0.0], dtype=torch.float64).diag()
    found = spectral_density(Dense(A), 6, probes=1, steps=6)
    assert found.products == 3
    assert found.nodes[0, :3] == pytest.approx([-1, 0, 2], abs=1e-12)
    assert found.weights[0, :3] == pytest.approx(1 / 3, abs=1e-12)
    assert np.isnan(found.nodes[0, 3:]).all()
    assert (found.weights[0, 3:] == 0).all()
    nothing = spectral_density(Dense(torch.zeros(4, 4, dtype=torch.float64)), 4, probes=1, steps=3)
    assert (nothing.nodes[0, 0], nothing.weights[0, 0], nothing.products) == (0.0, 1.0, 1)


def test_no_ghosts_of_the_largest_eigenvalue_appear():
    values = torch.cat([torch.linspace(-1, 1, 198, dtype=torch.float64), torch.tensor([50.0, 20.0])])
    found = spectral_density(Dense(values.diag()), 200, probes=1, steps=150)
    assert (found.nodes[0] > 10).sum() == 2
    assert found.weights[0, -2:] == pytest.approx(1 / 200, abs=1e-12)


def test_polynomials_up_to_degree_2k_minus_1_are_integrated_exactly():
    A = symmetric(40) / 10
    found = spectral_density(Dense(A), 40, probes=1, steps=5)
    values, shares = seen_by(A, 0)
    errors = [abs(moments(found.nodes, found.weights, d)[0] - (shares * values**d).sum()) for d in range(12)]
    assert max(errors[:10]) < 1e-12
    assert errors[10] > 1e-9


def test_the_norm_from_the_density_holds_the_truth_at_the_stated_rate():
    A = symmetric(20)
    found = [spectral_density(Dense(A), 20, probes=16, steps=3, seed=seed, at_once=16) for seed in range(SEEDS)]
    values, errors = zip(*(root_and_error(20 * moments(one.nodes, one.weights, 2)) for one in found), strict=True)
    assert holds_at_the_stated_rate(covered(values, errors, A.norm().item(), degrees=15))


@given(st.integers(1, 4), st.integers(2, 8), st.floats(0.01, 2.0), st.integers(0, 9))
def test_the_smoothed_density_integrates_to_one_and_keeps_the_mean(probes, steps, width, seed):
    found = spectral_density(Dense(symmetric(12, seed)), 12, probes=probes, steps=steps, seed=seed)
    low, high = np.nanmin(found.nodes) - 8 * width, np.nanmax(found.nodes) + 8 * width
    grid = np.linspace(low, high, int((high - low) / width * 4) + 2)
    curves = smoothed(found.nodes, found.weights, grid, width=width)
    assert np.trapezoid(curves, grid, axis=1) == pytest.approx(1, abs=1e-9)
    mean = np.trapezoid(curves * grid, grid, axis=1)
    assert mean == pytest.approx(moments(found.nodes, found.weights, 1), abs=1e-8 * max(1, abs(low), abs(high)))


def test_a_matrix_with_both_signs_shows_how_much_of_it_is_negative():
    A = symmetric(20)
    found = spectral_density(Dense(A), 20, probes=40, steps=20)
    record = Density("d", "c", found.nodes, found.weights, found.residuals, 20, 800, PROVENANCE)
    dense = torch.linalg.eigvalsh(A).numpy()
    share, error = record.negative
    assert abs(share - -dense[dense < 0].sum() / np.abs(dense).sum()) < 3 * error < 0.2
    assert record.end(-1)[0] == pytest.approx(dense[0])


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_density_that_was_cut_off_goes_on_and_ends_in_the_same_bits(at_once):
    objective, kept = small_network(batch_size=21), []
    shared = {"name": "n", "checkpoint": "n", "steps": 5, "at_once": at_once}
    whole = density_of(objective, probes=4, **shared)
    first = density_of(objective, probes=2, **shared)
    record = density_of(objective, probes=4, held=first, keep=kept.append, **shared)
    assert np.array_equal(record.nodes, whole.nodes)
    assert np.array_equal(record.weights, whole.weights)
    assert [part.probes for part in kept] == ([3, 4] if at_once == 1 else [4])
    assert record.products == whole.products == 20


def test_misuse_and_products_that_are_no_numbers_are_named():
    with pytest.raises(InvalidArgument, match="at least 2 Lanczos steps"):
        spectral_density(Dense(symmetric(4)), 4, steps=1)
    with pytest.raises(InvalidArgument, match="at least 1 probe"):
        spectral_density(Dense(symmetric(4)), 4, probes=0)
    with pytest.raises(NonFiniteProduct):
        spectral_density(lambda v: v / 0, 4)
