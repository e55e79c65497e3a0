"""Trace, diagonal and Frobenius norm against a dense matrix; stated errors hold the truth as often as they say."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from landscape_tests.known import dense_hessian, quadratic, small_network
from landscape_tests.rates import SEEDS, covered, holds_at_the_stated_rate
from landscape_tests.spectra import Dense, symmetric
from scipy import stats

from landscape.blocks import mask_of
from landscape.curvature.coordinates import Rescaled, hessian_in, images, rademacher
from landscape.curvature.trace import hutch_plus_plus, hutchinson, trace_of
from landscape.errors import InvalidArgument, NonFiniteProduct


def every_sign(size):
    """All 2^size vectors of signs, as columns."""
    numbers = np.arange(2**size)
    return torch.from_numpy(((numbers[None, :] >> np.arange(size)[:, None]) & 1) * 2.0 - 1.0)


def test_the_formulas_are_exact_over_all_vectors_of_signs():
    A, Z = symmetric(6), every_sign(6)
    terms = Z * (A @ Z)
    assert terms.mean(dim=1).numpy() == pytest.approx(A.diagonal().numpy(), abs=1e-12)
    assert (A @ Z).square().sum(dim=0).mean().item() == pytest.approx((A**2).sum().item())
    block = torch.tensor([True, True, False, False, True, False])
    assert terms[block].sum(dim=0).mean().item() == pytest.approx(A.diagonal()[block].sum().item())


def test_a_diagonal_matrix_is_known_from_one_probe():
    diagonal = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
    found = hutchinson(Dense(diagonal.diag()), 3, probes=2)
    assert (found.trace.value, found.trace.standard_error) == (2.5, 0.0)
    assert torch.equal(found.diagonal, diagonal)
    assert torch.equal(found.diagonal_error, torch.zeros(3, dtype=torch.float64))


def test_stated_errors_hold_the_truth_at_the_stated_rate_over_two_hundred_seeds():
    A = symmetric(24)
    block = torch.arange(24) < 8
    found = [hutchinson(Dense(A), 24, probes=32, seed=seed, at_once=32, blocks={"b": block}) for seed in range(SEEDS)]
    for name, estimates, truth in (
        ("trace", [one.trace for one in found], A.trace()),
        ("Frobenius norm", [one.frobenius_norm for one in found], A.norm()),
        ("trace of a block", [one.blocks["b"] for one in found], A.diagonal()[block].sum()),
    ):
        values, errors = zip(*((e.value, e.standard_error) for e in estimates), strict=True)
        assert holds_at_the_stated_rate(covered(values, errors, truth.item(), degrees=31)), name
    values, errors = ([getattr(one, part)[3].item() for one in found] for part in ("diagonal", "diagonal_error"))
    assert holds_at_the_stated_rate(covered(values, errors, A[3, 3].item(), degrees=31))


@pytest.mark.parametrize("spread", ["flat", "few"])
def test_hutch_plus_plus_states_its_error_as_honestly_on_either_kind_of_spectrum(spread):
    size = 40
    basis = torch.linalg.qr(symmetric(size))[0]
    values = torch.linspace(-1, 1, size, dtype=torch.float64)
    if spread == "few":
        values = values / 20
        values[:4] = torch.tensor([9.0, -7.0, 5.0, 4.0])
    A = basis @ values.diag() @ basis.T
    found = [hutch_plus_plus(Dense(A), size, products=36, seed=seed, at_once=12) for seed in range(SEEDS)]
    estimates, stated = zip(*((e.value, e.standard_error) for e in found), strict=True)
    assert holds_at_the_stated_rate(covered(estimates, stated, values.sum().item(), degrees=11))
    plain = [hutchinson(Dense(A), size, probes=36, seed=seed, at_once=36).trace for seed in range(20)]
    errors = [np.mean([abs(e.value - values.sum().item()) for e in some]) for some in (found[:20], plain)]
    assert (errors[0] < errors[1] / 5) == (spread == "few")  # it pays where a few eigenvalues make up the norm


def test_hutch_plus_plus_is_exact_for_what_its_sketch_holds():
    basis = torch.linalg.qr(symmetric(30))[0][:, :3]
    A = basis @ torch.tensor([4.0, -2.0, 1.0], dtype=torch.float64).diag() @ basis.T
    found = hutch_plus_plus(Dense(A), 30, products=15)
    assert found.value == pytest.approx(3.0, abs=1e-12)
    assert found.standard_error < 1e-12
    whole = hutch_plus_plus(Dense(symmetric(4)), 4, products=30)
    assert whole.value == pytest.approx(symmetric(4).trace().item(), abs=1e-12)


@given(seed=st.integers(0, 2**63 - 1), at_once=st.integers(1, 5), split=st.integers(1, 5), size=st.integers(2, 9))
def test_probes_do_not_depend_on_how_they_are_cut_into_calls_and_products(seed, at_once, split, size):
    A = symmetric(size)
    whole = hutchinson(Dense(A), size, probes=6, seed=seed)
    parts = [
        hutchinson(Dense(A), size, probes=count, first=first, seed=seed, at_once=at_once)
        for first, count in ((0, split), (split, 6 - split))
    ]
    samples = np.concatenate([part.trace.samples for part in parts])
    assert samples == pytest.approx(whole.trace.samples, rel=1e-12, abs=1e-12)


@given(st.integers(2, 8), st.integers(0, 99), st.integers(2, 7))
def test_the_blocks_of_a_partition_sum_to_the_trace_and_the_diagonal_too(size, seed, probes):
    masks = {str(rest): torch.arange(size) % 2 == rest for rest in (0, 1)}
    found = hutchinson(Dense(symmetric(size, seed)), size, probes=probes, blocks=masks)
    assert sum(part.value for part in found.blocks.values()) == pytest.approx(found.trace.value, abs=1e-10)
    assert found.diagonal.sum().item() == pytest.approx(found.trace.value, abs=1e-10)


def test_products_are_counted_and_made_several_at_once_where_that_can_be():
    operator = Dense(symmetric(9))
    assert hutchinson(operator, 9, probes=7, at_once=3).trace.products == operator.products == 7
    operator = Dense(symmetric(9))
    assert hutch_plus_plus(operator, 9, products=14).products == operator.products == 12
    one_by_one = images(lambda v: operator.matrix @ v, torch.eye(9, dtype=torch.float64))
    assert torch.equal(one_by_one, operator.matrix)


def test_a_block_and_relative_coordinates_are_those_of_the_dense_matrix():
    objective = small_network(batch_size=21)
    H, w = dense_hessian(objective), objective.layout.flatten(objective.weights).abs()
    mask = mask_of(objective.layout, "hidden")
    seen = hessian_in(objective, block="hidden", coordinates="relative")
    dense = (w[:, None] * H * w)[mask][:, mask]
    assert torch.allclose(seen.matmat(torch.eye(25, dtype=torch.float64)), dense, atol=1e-12)
    assert torch.allclose(seen(torch.ones(25, dtype=torch.float64)), dense.sum(dim=1), atol=1e-12)
    with pytest.raises(InvalidArgument, match="scale of 85 coordinates"):
        Rescaled(hessian_in(objective), w[:3])


def test_a_networks_trace_by_block_is_that_of_its_dense_hessian():
    objective = small_network(batch_size=21)
    H = dense_hessian(objective)
    w = objective.layout.flatten(objective.weights)
    record = trace_of(objective, name="n", checkpoint="n", probes=48, at_once=16)
    reach = stats.t.ppf(0.9999, 47)
    for coordinates, dense in (("raw", H), ("relative", w.abs()[:, None] * H * w.abs())):
        value, error = record.estimate("frobenius_norm", coordinates=coordinates)
        assert abs(value - dense.norm().item()) < reach * error
        for block in ("all", "embedding", "hidden", "norm", "scores"):
            mask = torch.ones(len(w), dtype=torch.bool) if block == "all" else mask_of(objective.layout, block)
            value, error = record.estimate("trace", block=block, coordinates=coordinates)
            assert abs(value - dense.diagonal()[mask].sum().item()) < reach * error, (block, coordinates)
    assert record.estimate("trace", block="rows:untouched") == (0.0, 0.0)
    with pytest.raises(KeyError, match="tail"):
        record.estimate("trace", block="tail")


def test_the_relative_trace_stays_where_it_is_when_two_layers_are_rescaled_against_each_other():
    """L = (b . a)^2 with a times c and b by c has the same values, and only the relative trace says so."""

    def traces(c):
        objective = small_network(fit=0, batch_size=21)
        weights = dict(objective.weights)
        weights["embedding.weight"] = weights["embedding.weight"] * c
        weights["hidden.weight"] = weights["hidden.weight"] / c
        objective.weights = weights
        size = objective.layout.size
        raw, relative = (hessian_in(objective, coordinates=frame) for frame in ("raw", "relative"))
        return [images(op, torch.eye(size, dtype=torch.float64)).trace().item() for op in (raw, relative)]

    (raw, relative), (scaled_raw, scaled_relative) = traces(1.0), traces(3.0)
    assert scaled_relative == pytest.approx(relative, rel=1e-9)
    assert abs(scaled_raw / raw - 1) > 0.1


def test_one_block_alone_is_better_known_than_as_part_of_the_whole():
    known = quadratic(size=12)
    whole = trace_of(known, name="q", checkpoint="q", probes=64, relative=False)
    alone = trace_of(known, name="q", checkpoint="q", probes=64, relative=False, block="table")
    truth = known.matrix.diagonal()[:9].sum().item()
    for (value, error), bound in ((whole.estimate("trace", block="table"), 5), (alone.estimate("trace"), 5)):
        assert abs(value - truth) < bound * error
    assert alone.estimate("trace")[1] < whole.estimate("trace", block="table")[1]
    assert set(alone.blocks) == {"all"}


def test_a_single_probe_has_no_error_and_misuse_is_named():
    one = hutchinson(Dense(symmetric(5)), 5, probes=1)
    assert np.isnan(one.trace.standard_error)
    assert torch.isnan(one.diagonal_error).all()
    with pytest.raises(InvalidArgument, match="at least 1 probe"):
        hutchinson(Dense(symmetric(5)), 5, probes=0)
    with pytest.raises(InvalidArgument, match="at least 6 products"):
        hutch_plus_plus(Dense(symmetric(5)), 5, products=5)
    with pytest.raises(InvalidArgument, match="expected masks of 5 coordinates"):
        hutchinson(Dense(symmetric(5)), 5, blocks={"wrong": torch.ones(4, dtype=torch.bool)})
    with pytest.raises(NonFiniteProduct, match="NaN or an infinity"):
        hutchinson(lambda v: v * float("nan"), 5)


def test_probes_are_signs_that_depend_on_seed_and_number():
    first = rademacher(1000, 0, 0)
    assert set(first.tolist()) == {-1.0, 1.0}
    assert torch.equal(first, rademacher(1000, 0, 0))
    others = [rademacher(1000, 0, 1), rademacher(1000, 1, 0), rademacher(1000, 2**63 - 1, 0)]
    assert all(abs(first @ other) < 150 for other in others)  # 4.7 standard deviations of independent signs
