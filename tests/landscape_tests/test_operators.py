import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from landscape_tests.dense import dense_fisher, dense_gauss_newton
from landscape_tests.known import Cube, dense_hessian, quadratic, small_network
from scipy.sparse.linalg import eigsh

from landscape.blocks import mask_of, tensors_of_blocks
from landscape.curvature.operators import EmpiricalFisher, GaussNewton, Hessian
from landscape.errors import InvalidArgument, NonFiniteLoss
from landscape.objective import ModelObjective, gradient_at
from landscape.parameters import moved
from landscape.sharpness.sam_step import sam_sharpness

EXACT = ("double-backward", "forward-over-reverse")
OPERATORS = {
    "Hessian, double backward": (
        lambda objective, **given: Hessian(objective, method=EXACT[0], **given),
        dense_hessian,
    ),
    "Hessian, forward over reverse": (
        lambda objective, **given: Hessian(objective, method=EXACT[1], **given),
        dense_hessian,
    ),
    "Gauss-Newton": (GaussNewton, dense_gauss_newton),
    "empirical Fisher": (EmpiricalFisher, dense_fisher),
}
every_operator = pytest.mark.parametrize(("make", "dense"), OPERATORS.values(), ids=OPERATORS)


def vector(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def identity(size):
    return torch.eye(size, dtype=torch.float64)


@every_operator
def test_every_operator_is_its_dense_matrix(make, dense):
    small = small_network(batch_size=21)
    operator, matrix = make(small), dense(small)
    assert matrix.abs().max() > 0.01
    torch.testing.assert_close(operator.matmat(identity(operator.size)), matrix, rtol=0, atol=1e-12)


@every_operator
@pytest.mark.parametrize("batch_size", [1, 7, 21])
def test_products_do_not_depend_on_the_batch_size_nor_on_how_many_are_made_at_once(make, dense, batch_size):
    operator, matrix = make(small_network(batch_size=batch_size)), dense(small_network(batch_size=21))
    V = torch.stack([vector(operator.size, 1), torch.zeros(operator.size), 1e6 * vector(operator.size, 2)], dim=1)
    torch.testing.assert_close(operator @ V, matrix @ V, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(operator(V[:, 0]), matrix @ V[:, 0], rtol=1e-11, atol=1e-12)


@every_operator
def test_every_operator_is_symmetric(make, dense):
    operator = make(small_network())
    u, v = vector(operator.size, 1), vector(operator.size, 2)
    assert torch.dot(u, operator(v)).item() == pytest.approx(torch.dot(v, operator(u)).item(), rel=1e-10)


@every_operator
@pytest.mark.parametrize("block", ["embedding", "scores.bias", "rows:untouched", "*.weight"])
def test_a_block_is_the_submatrix_of_its_coordinates(make, dense, block):
    small = small_network()
    mask = mask_of(small.layout, block)
    operator = make(small, block=block)
    assert operator.size == mask.sum()
    expected = dense(small)[mask][:, mask]
    torch.testing.assert_close(operator @ identity(operator.size), expected, rtol=0, atol=1e-12)


def test_blocks_of_the_layout_cover_every_coordinate_once():
    small = small_network()
    sizes = [Hessian(small, block=block).size for block in tensors_of_blocks(small.layout)]
    assert sum(sizes) == small.layout.size


def test_gauss_newton_is_not_negative_where_the_hessian_is():
    small = small_network(fit=0)
    assert torch.linalg.eigvalsh(Hessian(small) @ identity(small.layout.size))[0] < -1e-3
    for make in (GaussNewton, EmpiricalFisher):
        operator = make(small)
        assert torch.linalg.eigvalsh(operator @ identity(operator.size))[0] > -1e-14


def test_gauss_newton_takes_models_without_forward_derivatives(monkeypatch):
    def refused(*_):
        raise NotImplementedError("Trying to use forward AD with an operation that does not support it")

    small = small_network()
    expected = GaussNewton(small) @ vector(small.layout.size)
    monkeypatch.setattr("landscape.curvature.derivatives._pushed", refused)
    torch.testing.assert_close(GaussNewton(small) @ vector(small.layout.size), expected, rtol=1e-12, atol=1e-14)


class Doubled(torch.autograd.Function):
    """2 x, whose backward pass cannot be differentiated backwards but lets a tangent through."""

    @staticmethod
    def forward(ctx, x):  # noqa: ARG004
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):  # noqa: ARG004
        return 2 * slope

    @staticmethod
    def jvp(ctx, tangent):  # noqa: ARG004
        return 2 * tangent


@pytest.mark.parametrize(
    ("operation", "method"), [(Doubled, "forward-over-reverse"), (Cube, "central-differences")], ids=["doubled", "cube"]
)
def test_where_there_is_no_second_backward_pass_another_way_is_taken_and_right(operation, method):
    class Model(torch.nn.Linear):
        def forward(self, x):
            return operation.apply(super().forward(x))

    class Plain(torch.nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return 2 * y if operation is Doubled else y**3

    def objective_of(kind):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            data = (torch.randn(6, 3, dtype=torch.float64), torch.zeros(6))
            return ModelObjective(kind(3, 1, dtype=torch.float64), [data], lambda z, _: z.squeeze(1) ** 2)

    operator = Hessian(objective_of(Model))
    assert operator.method == method
    v = vector(operator.size)
    torch.testing.assert_close(operator(v), dense_hessian(objective_of(Plain)) @ v, rtol=1e-6, atol=1e-8)
    assert Hessian(small_network()).method == "double-backward"


def test_scipy_takes_the_operator_as_its_own():
    small = small_network()
    operator = Hessian(small).to_scipy()
    values = torch.linalg.eigvalsh(dense_hessian(small))
    start = np.ones(operator.shape[0])
    found = eigsh(operator, k=2, which="LA", return_eigenvectors=False, v0=start)
    np.testing.assert_allclose(np.sort(found), values[-2:].numpy(), rtol=1e-10)
    V = np.random.default_rng(0).standard_normal((operator.shape[0], 3))
    np.testing.assert_allclose(operator @ V, np.stack([operator @ v for v in V.T], axis=1), rtol=1e-12, atol=1e-14)


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 14), units=st.integers(1, 9), batch_size=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_hessian_of_any_quadratic_is_its_matrix(size, units, batch_size, seed):
    known = quadratic(size=size, units=units, batch_size=batch_size, seed=seed)
    for method in EXACT:
        product = Hessian(known, method=method).matmat(identity(size))
        torch.testing.assert_close(product, known.matrix, rtol=1e-11, atol=1e-11)


def test_vectors_of_another_length_and_unknown_methods_are_refused():
    operator = Hessian(quadratic())
    for wrong in (torch.ones(5), torch.ones(5, 2)):
        with pytest.raises(InvalidArgument, match=r"expected vectors of shape \(12"):
            operator @ wrong
    with pytest.raises(InvalidArgument, match="expected a method out of auto"):
        Hessian(quadratic(), method="backward")
    with pytest.raises(InvalidArgument, match="positive step"):
        Hessian(quadratic(), method="central-differences", step=0.0)


def test_the_product_is_the_slope_of_the_gradient():
    small = small_network()
    v, step = vector(small.layout.size), 1e-5
    direction = small.layout.unflatten(v)
    ahead, behind = (gradient_at(small, moved(small.weights, [(t, direction)]))[1] for t in (step, -step))
    torch.testing.assert_close(Hessian(small)(v), (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-7)


def test_the_product_is_symmetric_and_linear():
    small = small_network()
    product, size = Hessian(small), small.layout.size
    u, v = vector(size, 1), vector(size, 2)
    assert torch.dot(u, product(v)).item() == pytest.approx(torch.dot(v, product(u)).item(), rel=1e-11)
    torch.testing.assert_close(product(2 * u - v), 2 * product(u) - product(v), rtol=1e-10, atol=1e-13)


def test_a_model_with_attention_has_a_product():
    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.project = torch.nn.Linear(4, 12, dtype=torch.float64)

        def forward(self, x):
            q, k, v = self.project(x).unsqueeze(1).chunk(3, dim=-1)
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).sum((1, 2))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        data = (torch.randn(6, 5, 4, dtype=torch.float64), torch.randint(0, 4, (6,)))
        objective = ModelObjective(
            Attention(), [data], lambda z, t: torch.nn.functional.cross_entropy(z, t, reduction="none")
        )
    product, dense = Hessian(objective), dense_hessian(objective)
    v = vector(objective.layout.size)
    torch.testing.assert_close(product(v), dense @ v, rtol=0, atol=1e-12)


def test_a_product_elsewhere_is_taken_elsewhere_and_leaves_the_weights_alone():
    small = small_network()
    before = {name: tensor.clone() for name, tensor in small.weights.items()}
    elsewhere = {name: tensor + 0.1 for name, tensor in small.weights.items()}
    v = vector(small.layout.size)
    assert not torch.allclose(Hessian(small, elsewhere)(v), Hessian(small)(v), atol=1e-3)
    assert all(torch.equal(before[name], tensor) and tensor.grad is None for name, tensor in small.weights.items())


@pytest.mark.parametrize("length", [1e-30, 1e-6, 1e30])
def test_the_length_of_the_vector_costs_no_accuracy_in_single_precision(length):
    small = small_network(dtype=torch.float32)
    v = vector(small.layout.size)
    product = Hessian(small)
    torch.testing.assert_close(product(length * v) / length, product(v), rtol=1e-12, atol=0)


def test_single_precision_agrees_with_double():
    double = small_network(fit=0)
    single = small_network(fit=0, dtype=torch.float32)
    rounded = {name: tensor.double() for name, tensor in single.weights.items()}
    v = vector(double.layout.size)
    exact = Hessian(double, rounded)(v)
    assert torch.linalg.vector_norm(Hessian(single)(v) - exact) < 1e-5 * torch.linalg.vector_norm(exact)


def test_zero_goes_to_zero_and_a_linear_loss_has_no_curvature():
    small = small_network()
    assert not Hessian(small)(torch.zeros(small.layout.size, dtype=torch.float64)).any()
    linear = ModelObjective(
        torch.nn.Linear(2, 1, dtype=torch.float64),
        [(torch.ones(3, 2, dtype=torch.float64), torch.ones(3))],
        lambda z, _: z.squeeze(1),
    )
    assert not Hessian(linear)(torch.ones(3, dtype=torch.float64)).any()


def test_a_checkpoint_full_of_nan_is_refused_by_sharpness():
    small = small_network()
    small.weights["scores.bias"].fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="finite"):
        sam_sharpness(small, [0.1])
