import numpy as np
import pytest
import torch
from landscape_tests.known import dense_hessian, quadratic, small_network
from landscape_tests.spectra import Spectrum

from landscape.curvature.ends import eigenpairs_of
from landscape.curvature.operators import Hessian
from landscape.curvature.power import leading_eigenpair, power_iteration
from landscape.errors import InvalidArgument, NonFiniteProduct

SCALES = [1.0, -1.0, 1e-6, -1e-6]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "values",
    [
        [1, -0.97],
        [0.439, 0.41, 0.38, -0.503, -0.47],
        [2.0, -2.0],
        [2.0, 1.9, -2.0, -1.9],
    ],
    ids=str,
)
def test_both_ends_are_found_and_named_by_sign(values, scale, seed):
    operator = Spectrum(values, scale=scale)
    largest, smallest = operator.ends

    found = power_iteration(operator, operator.size, seed=seed, tolerance=1e-3)

    assert list(found) == ["lambda_max", "lambda_min"]
    assert all(pair.converged for pair in found.values())
    for pair, value in ((found["lambda_max"], largest), (found["lambda_min"], smallest)):
        assert pair.value == pytest.approx(value, rel=1e-3)
        assert pair.residual <= 1e-3 * abs(pair.value)
        assert torch.linalg.vector_norm(operator(pair.vector) - pair.value * pair.vector).item() == pytest.approx(
            pair.residual, rel=1e-6
        )


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("values", [[1, 0.98, 0.96], [1, 0.5, -0.02], [1, 0.98, 0.96, -0.02]], ids=str)
def test_an_end_much_smaller_than_the_other_is_found_beside_flat_directions(values, scale):
    operator = Spectrum(values, scale=scale, bulk=0)
    found = power_iteration(operator, operator.size, max_products=2000)
    assert all(pair.converged for pair in found.values())
    ends = [pair.value for pair in found.values()]
    assert ends == pytest.approx(list(operator.ends), rel=1e-3, abs=1e-6 * abs(scale))


def test_an_end_inside_a_dense_bulk_is_said_to_be_unsettled():
    operator = Spectrum([1, 0.98, 0.96])
    found = power_iteration(operator, operator.size)
    assert found["lambda_max"].converged
    pair = found["lambda_min"]
    assert (pair.converged, pair.products) == (False, 300)
    assert operator.ends[1] <= pair.value < 0
    assert (operator.values - pair.value).abs().min() <= pair.residual


@pytest.mark.parametrize("scale", SCALES)
def test_three_close_eigenvalues_and_nothing_else_keep_their_ends(scale):
    diagonal = scale * torch.tensor([1, 0.98, 0.96], dtype=torch.float64)
    found = power_iteration(lambda v: diagonal * v, 3, tolerance=1e-5, max_products=2000)
    assert [pair.value for pair in found.values()] == pytest.approx(
        [diagonal.max().item(), diagonal.min().item()], rel=1e-8
    )
    assert all(pair.converged for pair in found.values())


def test_two_ends_that_plain_power_iteration_cannot_tell_apart_cost_few_products():
    diagonal = torch.zeros(300, dtype=torch.float64)
    diagonal[:2] = torch.tensor([0.5, -0.5])

    plain = leading_eigenpair(lambda v: diagonal * v, torch.ones_like(diagonal), max_products=500)
    found = power_iteration(lambda v: diagonal * v, 300)

    assert not plain.converged
    assert all(pair.converged and pair.products < 40 for pair in found.values())


def test_every_product_is_counted():
    operator = Spectrum([1, -0.97, 0.9])
    found = power_iteration(operator, operator.size, top=3)
    assert sum(pair.products for pair in found.values()) == operator.products


def test_further_pairs_are_found_by_deflation():
    operator = Spectrum([1, 0.98, 0.96, -1.2], scale=1e-6)
    found = power_iteration(operator, operator.size, top=3, tolerance=1e-4, max_products=2000)
    assert list(found) == ["lambda_max", "lambda_2", "lambda_3", "lambda_min"]
    values = [pair.value for pair in found.values()]
    assert values == pytest.approx([1e-6, 0.98e-6, 0.96e-6, -1.2e-6], rel=1e-5)
    vectors = torch.stack([pair.vector for pair in list(found.values())[:3]])
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-10)
    for pair in found.values():  # the residual is the undeflated operator's
        assert pair.converged
        residual = torch.linalg.vector_norm(operator(pair.vector) - pair.value * pair.vector).item()
        assert residual == pytest.approx(pair.residual, rel=1e-5)


@pytest.mark.parametrize("seed", [0, 2])
def test_both_ends_are_the_dense_hessians(seed):
    small = small_network(seed=seed, batch_size=21)
    values = torch.linalg.eigvalsh(dense_hessian(small))
    found = power_iteration(Hessian(small), small.layout.size, tolerance=1e-3, max_products=1500, seed=seed)
    assert all(pair.converged for pair in found.values())
    assert [pair.value for pair in found.values()] == pytest.approx([values[-1].item(), values[0].item()], rel=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("batch_size", [1, 7, 9])
def test_eigenvalues_do_not_depend_on_batches_or_scale(scale, sign, batch_size):
    generator = torch.Generator().manual_seed(1)
    half = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    matrix = sign * (half + half.T + 2 * torch.eye(12)) * scale
    values = torch.linalg.eigvalsh(matrix)
    objective = quadratic(matrix, batch_size=batch_size)

    record = eigenpairs_of(objective, name="q", checkpoint="q", method="power", tolerance=1e-5, max_products=5000)

    assert record.labels == ("lambda_max", "lambda_min")
    assert record.converged.all()
    np.testing.assert_allclose(record.values, [values[-1].item(), values[0].item()], rtol=1e-8)
    assert (record.residuals <= 1e-5 * abs(record.values)).all()
    assert (record.products > 0).all()


def test_a_convex_loss_with_flat_directions_has_a_lambda_min_of_zero():
    diagonal = torch.zeros(50, dtype=torch.float64)
    diagonal[:3] = torch.tensor([3.0, 2.0, 1.0])
    found = power_iteration(lambda v: diagonal * v, 50)
    assert found["lambda_max"].value == pytest.approx(3, rel=1e-5)
    assert found["lambda_min"].converged
    assert abs(found["lambda_min"].value) < 3e-6


@pytest.mark.parametrize("diagonal", [[5.0, 4.0, 3.0], [-5.0, -4.0, -3.0], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0]], ids=str)
def test_spectra_of_one_sign_keep_their_ends_apart(diagonal):
    operator = torch.tensor(diagonal, dtype=torch.float64)
    found = power_iteration(lambda v: operator * v, 3)
    assert found["lambda_max"].value == pytest.approx(max(diagonal), rel=1e-5)
    assert found["lambda_min"].value == pytest.approx(min(diagonal), rel=1e-5)
    assert all(pair.converged for pair in found.values())


@pytest.mark.parametrize("max_products", [1, 2, 5])
def test_running_out_of_products_is_said_and_the_residual_still_tells_the_truth(max_products):
    operator = Spectrum([1, -0.97, 0.95])
    found = power_iteration(operator, operator.size, max_products=max_products)
    for pair in found.values():
        assert (pair.converged, pair.products) == (False, max_products)
        assert (operator.values - pair.value).abs().min() <= pair.residual


def test_the_same_seed_gives_the_same_pairs():
    operator = Spectrum([1, -0.97])
    first, second = (power_iteration(operator, operator.size, seed=4)["lambda_min"] for _ in range(2))
    assert first.value == second.value
    assert torch.equal(first.vector, second.vector)


@pytest.mark.parametrize("seed", range(3))
def test_the_leading_pair_is_the_dense_hessians_largest_in_size(seed):
    small = small_network(seed=seed, batch_size=21)
    values, vectors = torch.linalg.eigh(dense_hessian(small))
    largest = values.abs().argmax()
    start = torch.randn(small.layout.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    pair = leading_eigenpair(Hessian(small), start, tolerance=1e-6, max_products=2000)

    assert pair.converged
    assert pair.value == pytest.approx(values[largest].item(), rel=1e-9)
    assert abs(pair.vector @ vectors[:, largest]).item() == pytest.approx(1, abs=1e-6)


def test_equal_and_opposite_values_are_reported_as_unsettled():
    diagonal = torch.tensor([2.0, -2.0], dtype=torch.float64)
    pair = leading_eigenpair(lambda v: diagonal * v, torch.ones_like(diagonal), max_products=50)
    assert (pair.converged, pair.products) == (False, 50)


@pytest.mark.parametrize(
    "options",
    [{"max_products": 0}, {"tolerance": 0.0}, {"tolerance": float("nan")}],
    ids=str,
)
def test_options_outside_their_range_are_refused(options):
    with pytest.raises(InvalidArgument, match="expected"):
        leading_eigenpair(lambda v: v, torch.ones(3, dtype=torch.float64), **options)


@pytest.mark.parametrize("start", [[0.0, 0.0], [1.0, float("nan")], [float("inf"), 0.0]], ids=str)
def test_a_start_that_points_nowhere_is_refused(start):
    with pytest.raises(InvalidArgument, match="start"):
        leading_eigenpair(lambda v: v, torch.tensor(start, dtype=torch.float64))


@pytest.mark.parametrize("top", [0, 3])
def test_more_pairs_than_there_are_coordinates_are_refused(top):
    with pytest.raises(InvalidArgument, match="top"):
        power_iteration(lambda v: v, 3, top=top)


def test_a_product_that_is_not_finite_is_an_error():
    with pytest.raises(NonFiniteProduct, match="product 1"):
        power_iteration(lambda v: v * float("nan"), 3)
