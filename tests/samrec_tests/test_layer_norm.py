"""LayerNorm for second derivatives: the same as PyTorch's, by every kind of differentiation."""

import torch
import torch.nn.functional as F

from samrec.models.layer_norm import layer_norm


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ours(x, weight, bias):
    return layer_norm(x, weight, bias, 1e-12)


def theirs(x, weight, bias):
    return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-12)


TENSORS = [drawn(3, 5, 8, seed=0), drawn(8, seed=1), drawn(8, seed=2)]
ALONG = [drawn(3, 5, 8, seed=3), drawn(8, seed=4), drawn(8, seed=5)]


def test_values_and_both_derivatives_are_those_of_torch():
    found = []
    for layer in (ours, theirs):
        leaves = [x.clone().requires_grad_(True) for x in TENSORS]
        y = layer(*leaves)
        g = torch.autograd.grad((y.sigmoid() ** 2).sum(), leaves, create_graph=True)
        found.append([y, *g, *torch.autograd.grad(g, leaves, ALONG)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


def test_gradients_of_gradients_pass_the_numerical_check():
    leaves = [
        x[:1, :2].clone().requires_grad_(True) if x.ndim == 3 else x.clone().requires_grad_(True) for x in TENSORS
    ]
    assert torch.autograd.gradgradcheck(ours, leaves)


def test_forward_derivatives_are_those_of_torch():
    tangents = []
    for layer in (ours, theirs):
        with torch.autograd.forward_ad.dual_level():
            duals = [torch.autograd.forward_ad.make_dual(x, t) for x, t in zip(TENSORS, ALONG, strict=True)]
            tangents.append(torch.autograd.forward_ad.unpack_dual(layer(*duals)).tangent)
    torch.testing.assert_close(*tangents, rtol=1e-11, atol=1e-12)
