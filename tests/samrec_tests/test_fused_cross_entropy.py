"""The cross-entropy in chunks against the plain one: value, gradient, memory, and what it refuses."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from samrec.models.fused_cross_entropy import FEWEST_TOKENS, fused_cross_entropy
from samrec.models.losses import cross_entropy

TOKENS, SIZE, ITEMS = 23, 5, 40


def inputs(dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    states = scale * torch.randn(TOKENS, SIZE, generator=generator, dtype=dtype)
    table = scale * torch.randn(ITEMS + 2, SIZE, generator=generator, dtype=dtype)
    targets = torch.randint(1, ITEMS + 1, (TOKENS,), generator=generator)
    return states.requires_grad_(), table.requires_grad_(), targets


def plain(states, table, targets):
    return cross_entropy(states @ table[1 : ITEMS + 1].T, targets).sum()


def fused(states, table, targets, tokens=None):
    return fused_cross_entropy(states, table, targets, first=1, last=ITEMS, tokens=tokens)


def with_gradients(loss, states, table):
    return loss.detach(), *torch.autograd.grad(loss, [states, table])


@pytest.mark.parametrize("tokens", [1, 2, 7, 22, 23, 24, 1000, None])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_value_and_gradients_are_the_plain_losss_whatever_the_chunk(tokens, scale):
    states, table, targets = inputs(scale=scale)
    expected = with_gradients(plain(states, table, targets), states, table)
    found = with_gradients(fused(states, table, targets, tokens), states, table)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12 * float(other.abs().max()))


def test_in_float32_it_is_the_plain_loss_but_for_rounding():
    states, table, targets = inputs(torch.float32)
    exact = with_gradients(plain(*(x.double() for x in (states, table)), targets), states, table)
    found = with_gradients(fused(states, table, targets, 7), states, table)
    for one, other in zip(found, exact, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-5, atol=1e-5)


def test_without_onednn_it_is_the_same(monkeypatch):
    states, table, targets = inputs(torch.float32)
    ours = with_gradients(fused(states, table, targets, 7), states, table)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    for one, other in zip(with_gradients(fused(states, table, targets, 7), states, table), ours, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_its_gradient_is_that_of_finite_differences():
    states, table, targets = inputs()
    assert torch.autograd.gradcheck(lambda s, t: fused(s, t, targets, 7), (states, table))


def test_a_slope_from_further_on_scales_the_gradient():
    states, table, targets = inputs()
    once = with_gradients(fused(states, table, targets), states, table)
    scaled = with_gradients(fused(states, table, targets).square() / 2, states, table)
    for one, other in zip(scaled[1:], once[1:], strict=True):
        torch.testing.assert_close(one, once[0] * other)


def test_rows_outside_the_scored_ones_have_no_part_in_it():
    states, table, targets = inputs()
    *_, slope = with_gradients(fused(states, table, targets), states, table)
    assert not slope[[0, ITEMS + 1]].any()
    assert slope[1 : ITEMS + 1].all()


def test_a_second_derivative_is_refused_in_words():
    states, table, targets = inputs()
    with pytest.raises(RuntimeError, match="has no second derivative"):
        torch.autograd.grad(fused(states, table, targets), states, create_graph=True)


def test_forward_mode_and_functional_transforms_are_refused():
    states, table, targets = (x.detach() for x in inputs())
    with pytest.raises(RuntimeError):
        torch.func.jvp(lambda s: fused(s, table, targets), (states,), (states,))
    with pytest.raises(RuntimeError):
        torch.func.grad(lambda s: fused(s, table, targets))(states)


def test_it_does_nothing_for_gradients_nobody_wants():
    states, table, targets = inputs()
    with torch.no_grad():
        loss = fused(states, table, targets)
    assert loss.item() == pytest.approx(plain(states, table, targets).item(), rel=1e-12)
    assert not loss.requires_grad


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_tensor_is_larger_than_a_chunk_of_scores(dtype):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2000, 4, generator=generator, dtype=dtype).requires_grad_()
    table = torch.randn(3002, 4, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(1, 3001, (2000,), generator=generator)
    with Largest() as seen:
        loss = fused_cross_entropy(states, table, targets, first=1, last=3000, tokens=FEWEST_TOKENS)
        torch.autograd.grad(loss, [states, table])
    assert seen.elements == FEWEST_TOKENS * 3000
    with Largest() as seen:
        cross_entropy(states @ table[1:-1].T, targets).sum().backward()
    assert seen.elements == 2000 * 3000
