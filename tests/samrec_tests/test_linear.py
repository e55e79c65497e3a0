"""Linear layers for second derivatives: the same as PyTorch's, by every kind of differentiation."""

import pytest
import torch
import torch.nn.functional as F

from samrec.models.linear import linear


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=[(7, 5), (64, 256), (256, 64)], ids=str)
def case(request):
    inputs, outputs = request.param
    return drawn(3, 11, inputs), drawn(outputs, inputs, seed=1), drawn(outputs, seed=2)


def second_order(layer, tensors, tangents):
    """The value, the gradient of a curved loss, and its derivative along `tangents`."""
    leaves = [x.clone().requires_grad_(True) for x in tensors]
    y = layer(*leaves)
    g = torch.autograd.grad((y.sigmoid() ** 2).sum(), leaves, create_graph=True)
    return [y, *g, *torch.autograd.grad(g, leaves, tangents)]


def test_values_and_both_derivatives_are_those_of_torch(case):
    tangents = [torch.randn(x.shape, generator=torch.Generator().manual_seed(3)) for x in case]
    double = second_order(F.linear, [x.double() for x in case], [x.double() for x in tangents])
    for found, expected in zip(second_order(linear, case, tangents), double, strict=True):
        assert found.shape == expected.shape
        assert (found - expected).norm() < 1e-5 * expected.norm()


def test_forward_derivatives_and_vmap_are_those_of_torch(case):
    x, weight, bias = case
    along = [torch.randn(one.shape, generator=torch.Generator().manual_seed(3)) for one in case]
    for found, expected in zip(
        torch.func.jvp(linear, case, tuple(along)), torch.func.jvp(F.linear, case, tuple(along)), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weights = torch.stack([weight, 2 * weight])
    found = torch.vmap(linear, in_dims=(None, 0, None))(x, weights, bias)
    torch.testing.assert_close(found, torch.stack([F.linear(x, one, bias) for one in weights]), rtol=1e-4, atol=1e-4)


def test_double_precision_is_torchs_own_bit_for_bit(case):
    double = [x.double() for x in case]
    assert torch.equal(linear(*double), F.linear(*double))
