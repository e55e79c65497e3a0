from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from landscape_tests.known import dense_hessian, quadratic, small_network
from landscape_tests.spectra import Spectrum

from landscape.curvature.basis import BasisPlan, plan_basis
from landscape.curvature.ends import eigenpairs_of, eigenvectors_of, find_ends
from landscape.curvature.lanczos import lanczos
from landscape.curvature.lobpcg import lobpcg_ends
from landscape.curvature.operators import Hessian
from landscape.curvature.power import power_iteration
from landscape.errors import InvalidArgument, NonFiniteProduct

SCALES = [1.0, -1.0, 1e-6, -1e-6]


def assert_true(operator, found, *, tolerance=1e-3, orthogonal=1e-9):
    """Every pair has unit length, is orthogonal to the others, and has the residual it says."""
    vectors = torch.stack([pair.vector for pair in found.values()])
    torch.testing.assert_close(
        vectors @ vectors.T, torch.eye(len(vectors), dtype=torch.float64), rtol=0, atol=orthogonal
    )
    scale = operator.values.abs().max().item()
    for pair in found.values():
        residual = torch.linalg.vector_norm(operator(pair.vector) - pair.value * pair.vector).item()
        assert residual == pytest.approx(pair.residual, rel=1e-6, abs=1e-13 * scale)
        assert pair.converged == (pair.residual <= tolerance * max(abs(pair.value), tolerance * scale))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "values", [[1, -0.97], [1, 0.98, 0.96], [0.439, 0.41, 0.38, -0.503, -0.47], [2.0, 1.9, -2.0, -1.9]], ids=str
)
def test_both_ends_are_found_and_named_by_sign(values, scale):
    operator = Spectrum(values, scale=scale)
    found = lanczos(operator, operator.size, top=2, bottom=2)
    assert list(found) == ["lambda_max", "lambda_2", "lambda_min_2", "lambda_min"]
    expected = np.sort(operator.values.numpy())
    np.testing.assert_allclose(
        [pair.value for pair in found.values()], expected[[-1, -2, 1, 0]], rtol=1e-3, atol=1e-6 * abs(scale)
    )
    assert all(pair.converged for pair in found.values())
    assert {pair.products for pair in found.values()} == {operator.products}
    assert_true(operator, found)


@pytest.mark.parametrize("seed", range(5))
def test_it_never_takes_more_products_than_power_iteration(seed):
    operator = Spectrum([1, 0.98, -0.97])
    found = lanczos(operator, operator.size, seed=seed)
    spent, operator.products = operator.products, 0
    power_iteration(operator, operator.size, seed=seed)
    assert all(pair.converged for pair in found.values())
    assert spent < operator.products / 3


def test_a_tolerance_near_rounding_is_reached():
    operator = Spectrum([1, -0.97])
    found = lanczos(operator, operator.size, tolerance=1e-10)
    assert [pair.value for pair in found.values()] == pytest.approx([1, -0.97], rel=1e-12)
    assert_true(operator, found, tolerance=1e-10)


@pytest.mark.parametrize("basis", [11, 14, 20])
def test_a_small_basis_is_restarted_and_ends_in_the_same_pairs(basis):
    operator = Spectrum([1, 0.98, 0.96, -1.2, -1.1], bulk=0.6)
    found = lanczos(operator, operator.size, top=3, bottom=2, basis=basis, tolerance=1e-6, max_products=2000)
    assert operator.products > basis
    assert [pair.value for pair in found.values()] == pytest.approx([1, 0.98, 0.96, -1.1, -1.2], rel=1e-10)
    assert_true(operator, found, tolerance=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_copies_of_a_multiple_eigenvalue_are_found_where_the_spectrum_has_few_values(scale):
    values = [3.0, 3.0, 3.0, 2.0, -1.0, -1.0] + [0.5] * 30
    operator = Spectrum(values, scale=scale, size=len(values))
    found = lanczos(operator, operator.size, top=5, bottom=3)
    expected = np.sort(operator.values.numpy())
    np.testing.assert_allclose(
        [pair.value for pair in found.values()], expected[[-1, -2, -3, -4, -5, 2, 1, 0]], rtol=1e-9
    )
    assert_true(operator, found)


def test_copies_inside_a_dense_bulk_want_confirming():
    operator = Spectrum([1, 1, 0.5, -1])
    alone = lanczos(operator, operator.size, top=2)
    confirmed = lanczos(operator, operator.size, top=2, confirm=True)
    assert alone["lambda_2"].value == pytest.approx(0.5)  # an eigenpair, but not the second
    assert confirmed["lambda_2"].value == pytest.approx(1)
    assert_true(operator, confirmed)


def test_copies_are_found_from_as_many_starts():
    operator = Spectrum([1, 1, 0.5, -1])
    start = torch.randn(operator.size, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = lanczos(operator, operator.size, top=2, start=start)
    assert found["lambda_2"].value == pytest.approx(1, rel=1e-6)
    assert_true(operator, found)


def test_a_start_inside_an_invariant_subspace_does_not_end_the_search():
    diagonal = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, -6.0], dtype=torch.float64)
    start = torch.eye(6, dtype=torch.float64)[:, 4]
    found = lanczos(lambda v: diagonal * v, 6, top=2, start=start)
    assert [pair.value for pair in found.values()] == pytest.approx([5, 4, -6])


@pytest.mark.parametrize("diagonal", [[2.0, 2.0, 2.0], [0.0, 0.0, 0.0], [-5.0, -4.0, -3.0], [1.0]], ids=str)
def test_tiny_and_degenerate_operators_have_their_ends(diagonal):
    operator = torch.tensor(diagonal, dtype=torch.float64)
    bottom = int(len(diagonal) > 1)
    found = lanczos(lambda v: operator * v, len(diagonal), bottom=bottom)
    ends = [max(diagonal), min(diagonal)][: 1 + bottom]
    assert [pair.value for pair in found.values()] == pytest.approx(ends, abs=1e-15)
    assert all(pair.converged for pair in found.values())


def test_a_warm_start_from_a_near_operator_saves_products():
    first, second = Spectrum([1, 0.98, 0.96, -1.2], bulk=0.7), Spectrum([1, 0.98, 0.96, -1.2], bulk=0.7)
    half = torch.randn(200, 200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    nearby = 1e-5 * (half + half.T)
    vectors = torch.stack([pair.vector for pair in lanczos(first, 200, top=3).values()], dim=1)

    def product(v):
        return second(v) + nearby @ v

    cold = lanczos(product, 200, top=3)
    spent = second.products
    for start in (vectors, vectors.sum(dim=1)):
        second.products = 0
        warm = lanczos(product, 200, top=3, start=start)
        assert all(pair.converged for pair in warm.values())
        assert [pair.value for pair in warm.values()] == pytest.approx([pair.value for pair in cold.values()], rel=1e-3)
        assert second.products < spent / 2


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(2, 24),
    seed=st.integers(0, 10_000),
    top=st.integers(0, 4),
    bottom=st.integers(0, 4),
    scale=st.sampled_from([1.0, 1e-9, 1e9]),
    rank=st.integers(0, 24),
)
def test_the_pairs_of_random_matrices_are_those_of_a_dense_solver(size, seed, top, bottom, scale, rank):
    if not 1 <= top + bottom <= size:
        return
    half = torch.randn(size, min(rank, size), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    signs = torch.sign(torch.randn(half.shape[1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    matrix = scale * (half * signs) @ half.T
    values = torch.linalg.eigvalsh(matrix).numpy()
    found = lanczos(lambda v: matrix @ v, size, top=top, bottom=bottom, tolerance=1e-7, seed=seed, confirm=True)
    expected = [*values[::-1][:top], *values[:bottom][::-1]]
    largest = np.abs(values).max()
    np.testing.assert_allclose([pair.value for pair in found.values()], expected, rtol=1e-6, atol=1e-9 * largest)
    assert all(pair.converged for pair in found.values())


def test_running_out_of_products_is_said_and_the_residual_still_tells_the_truth():
    operator = Spectrum([1, -0.97, 0.95])
    for most in (1, 2, 4):
        operator.products = 0
        found = lanczos(operator, operator.size, top=2, max_products=most, tolerance=1e-9)
        assert operator.products == most
        assert not any(pair.converged for pair in found.values())
        for pair in found.values():
            if np.isfinite(pair.value):
                assert (operator.values - pair.value).abs().min() <= pair.residual


def test_single_precision_of_the_basis_is_enough_for_the_default_tolerance():
    operator = Spectrum([1, -0.97])
    found = lanczos(lambda v: operator(v.double()), operator.size, dtype=torch.float32)
    assert [pair.value for pair in found.values()] == pytest.approx([1, -0.97], rel=1e-5)
    assert all(pair.converged for pair in found.values())


@pytest.mark.parametrize("block", [None, "hidden"])
def test_all_methods_find_the_ends_of_a_networks_dense_hessian(block):
    small = small_network(seed=2, batch_size=21)
    operator = Hessian(small, block=block)
    values = torch.linalg.eigvalsh(operator @ torch.eye(operator.size, dtype=torch.float64))
    if block is None:
        torch.testing.assert_close(values, torch.linalg.eigvalsh(dense_hessian(small)), rtol=0, atol=1e-12)
    for method in ("lanczos", "power", "lobpcg"):
        found = find_ends(operator, method=method, tolerance=1e-4, max_products=800)
        assert all(pair.converged for pair in found.values()), method
        ends = [values[-1].item(), values[0].item()]
        assert [pair.value for pair in found.values()] == pytest.approx(ends, rel=1e-6), method


def test_lobpcg_leaves_a_random_start_whose_residual_is_smaller_than_those_on_the_way():
    diagonal = torch.zeros(20_000, dtype=torch.float64)
    diagonal[:80] = torch.cat([torch.linspace(0.3, 0.6, 40), torch.linspace(-0.4, -0.2, 40)])
    diagonal[:2] = torch.tensor([0.8, -0.5])
    found = lobpcg_ends(lambda v: diagonal * v, len(diagonal), max_products=150)
    assert all(pair.converged for pair in found.values())
    assert [pair.value for pair in found.values()] == pytest.approx([0.8, -0.5], rel=1e-5)


def test_lobpcg_counts_its_products_and_keeps_a_relative_tolerance():
    operator = Spectrum([1, 0.9, -0.97], scale=1e-6)
    found = lobpcg_ends(operator, operator.size, top=2, max_products=400)
    assert [pair.value for pair in found.values()] == pytest.approx([1e-6, 0.9e-6, -0.97e-6], rel=1e-5)
    assert found["lambda_max"].products + found["lambda_min"].products == operator.products
    assert_true(operator, found, orthogonal=1e-5)
    few = lobpcg_ends(operator, operator.size, tolerance=1e-9, max_products=12)
    assert not any(pair.converged for pair in few.values())


@pytest.mark.parametrize("batch_size", [1, 7, 9])
@pytest.mark.parametrize("scale", [1.0, -1e-6])
def test_the_record_does_not_depend_on_batches_or_scale(batch_size, scale):
    matrix = scale * quadratic(size=12, seed=3).matrix
    values = torch.linalg.eigvalsh(matrix).numpy()
    record = eigenpairs_of(
        quadratic(matrix, batch_size=batch_size), name="q", checkpoint="q", top=2, bottom=2, tolerance=1e-6
    )
    assert (record.method, record.labels) == ("lanczos", ("lambda_max", "lambda_2", "lambda_min_2", "lambda_min"))
    np.testing.assert_allclose(record.values, values[[-1, -2, 1, 0]], rtol=1e-9)
    assert record.settings == {"top": 2, "bottom": 2, "tolerance": 1e-6, "seed": 0, "max_products": 300}
    assert (record.products <= 12).all()


def test_the_record_of_a_warm_start_in_a_block_says_so():
    small = small_network()
    start = eigenvectors_of(small, top=2, block="hidden")
    record = eigenpairs_of(small, name="a", checkpoint="a", top=2, block="hidden", start=start)
    assert record.settings["block"] == "hidden"
    assert record.settings["warm_start"]
    assert (record.products <= 6).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top": 0, "bottom": 0}, "1 to 3 pairs"),
        ({"top": 3, "bottom": 1}, "1 to 3 pairs"),
        ({"tolerance": 0.0}, "relative tolerance"),
        ({"max_products": 0}, "at least 1 product"),
        ({"start": torch.zeros(3)}, "other than zero"),
        ({"start": torch.ones(4)}, "start of shape"),
        ({"basis": 2}, "basis of at least 3"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(options, said):
    with pytest.raises(InvalidArgument, match=said):
        lanczos(lambda v: v, 3, **options)


def test_methods_refuse_what_they_do_not_do():
    small = small_network()
    for options, said in (
        ({"method": "qr"}, "lanczos, power, lobpcg"),
        ({"method": "power", "bottom": 2}, "take lanczos"),
        ({"method": "lobpcg", "confirm": True}, "lanczos for confirm"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            find_ends(Hessian(small), **options)


def test_a_product_that_is_not_finite_is_an_error():
    for solver in (lanczos, lobpcg_ends):
        with pytest.raises(NonFiniteProduct, match="product 1"):
            solver(lambda v: v * float("nan"), 30)


def test_a_large_models_basis_is_in_float32_and_within_two_gibibytes():
    for size, pairs in ((20_000_000, 2), (100_000_000, 1), (100_000_000, 2)):
        plan = plan_basis(size, pairs, tolerance=1e-3)
        assert plan.dtype == torch.float32
        assert 4 * size * plan.vectors <= 2**31
        assert plan.facts == {"basis": plan.vectors, "basis_dtype": "float32"}
    assert plan_basis(878_000, 6, tolerance=1e-3) == BasisPlan(81, torch.float64)
    assert plan_basis(878_000, 6, tolerance=1e-3).facts == {}
    assert plan_basis(100_000_000, 1, tolerance=1e-7).dtype == torch.float64


@pytest.mark.parametrize(("top", "bottom"), [(1, 0), (0, 1), (1, 1), (3, 0), (2, 2)])
def test_the_fewest_vectors_in_float32_give_the_same_pairs_to_their_residuals(top, bottom):
    small = small_network(seed=2, batch_size=21)
    operator = Hessian(small)
    values, vectors = torch.linalg.eigh(dense_hessian(small))
    found = lanczos(
        operator, operator.size, top=top, bottom=bottom, basis=top + bottom + 3, dtype=torch.float32, max_products=2000
    )
    wanted = [*range(len(values) - 1, len(values) - 1 - top, -1), *range(bottom - 1, -1, -1)]
    for place, pair in zip(wanted, found.values(), strict=True):
        assert pair.converged
        image = dense_hessian(small) @ pair.vector
        assert torch.linalg.vector_norm(image - pair.value * pair.vector) <= 1.01 * pair.residual + 1e-5 * values[-1]
        assert abs(pair.value - values[place]) <= pair.residual
        gap = (values - values[place]).abs().sort().values[1]
        assert 1 - abs(pair.vector @ vectors[:, place]) <= (pair.residual / (gap - pair.residual)) ** 2


def test_a_large_models_record_says_what_was_kept(monkeypatch):
    small = small_network(seed=2, batch_size=21)
    usual = eigenpairs_of(small, name="a", checkpoint="a")
    monkeypatch.setattr("landscape.curvature.ends.plan_basis", partial(plan_basis, memory=4 * 6 * Hessian(small).size))
    frugal = eigenpairs_of(small, name="a", checkpoint="a")
    assert (frugal.settings["basis"], frugal.settings["basis_dtype"]) == (6, "float32")
    assert "basis" not in usual.settings
    np.testing.assert_allclose(frugal.values, usual.values, rtol=2e-3)
    assert frugal.converged.all()


def test_products_of_one_vector_are_columns_of_products_of_many():
    small = small_network(seed=2, batch_size=21)
    operator = Hessian(small)
    V = torch.randn(operator.size, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    V[:, 1] = 0
    for column in range(3):
        torch.testing.assert_close(operator(V[:, column]), (operator @ V)[:, column], rtol=1e-12, atol=1e-15)
        single = operator(V[:, column].float())
        torch.testing.assert_close(single, operator(V[:, column].float().double()), rtol=1e-5, atol=1e-6)
