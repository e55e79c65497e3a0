import pytest
import torch
from landscape_tests.known import dense_hessian, quadratic, small_network

from landscape.curvature.operators import Hessian
from landscape.errors import NonFiniteLoss
from landscape.objective import ModelObjective, gradient_at
from landscape.parameters import moved
from landscape.sharpness.worst_case import sam_sharpness


def vector(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_product_with_a_quadratic_is_its_matrix():
    known = quadratic()
    v = vector(12)
    torch.testing.assert_close(Hessian(known)(v), known.matrix @ v, rtol=1e-12, atol=1e-12)


def test_every_column_of_a_networks_product_is_the_dense_hessians():
    small = small_network(batch_size=21)
    product = Hessian(small)
    columns = torch.stack([product(e) for e in torch.eye(small.layout.size, dtype=torch.float64)])
    dense = dense_hessian(small)
    assert dense.abs().max() > 0.01
    torch.testing.assert_close(columns, dense, rtol=0, atol=1e-11)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_product_does_not_depend_on_the_batch_size(batch_size):
    whole, cut = small_network(batch_size=21), small_network(batch_size=batch_size)
    v = vector(whole.layout.size)
    torch.testing.assert_close(Hessian(cut)(v), Hessian(whole)(v), rtol=1e-12, atol=1e-13)


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
