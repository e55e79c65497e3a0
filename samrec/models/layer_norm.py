"""LayerNorm with its second derivative by hand: PyTorch's own takes some twenty-five passes over the states.

Letters: n the normalised x, r the inverse of its deviation, D entries, s and g slopes in n, J the derivative of n in x,
r (1 - 1 1^T / D - n n^T / D), which is symmetric. With A = s.n / D, B = g.n / D and p = g . J s,

    derivative of g . J s in x  =  -r (n p / D + B J s + A J g)
"""

from typing import Any

import torch
from torch import Tensor


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """(x - mean) / deviation * weight + bias over the last axis, differentiable twice, backward and forward."""
    normed: Tensor = _Normed.apply(x, eps)[0]  # type: ignore[no-untyped-call]
    return torch.addcmul(bias, normed, weight)


class _Normed(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        return torch.native_layer_norm(x, [x.shape[-1]], None, None, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(inputs[0], *output)
        ctx.save_for_forward(inputs[0], *output)

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Any) -> tuple[Tensor, None]:
        x, normed, mean, inverse = ctx.saved_tensors
        return _sloped(slope, x, normed.detach(), mean, inverse), None

    @staticmethod
    def jvp(ctx: Any, along: Tensor, _: Any) -> tuple[Tensor, None, None]:
        x, normed, mean, inverse = ctx.saved_tensors
        tangent = _sloped(along, x, normed.detach(), mean, inverse)
        return tangent, None, None


class _Sloped(torch.autograd.Function):
    """J s."""

    generate_vmap_rule = True

    @staticmethod
    def forward(slope: Tensor, x: Tensor, normed: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:  # noqa: ARG004
        return through(slope, x, mean, inverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        slope, x, normed, mean, inverse, image = ctx.saved_tensors
        own = through(g, x, mean, inverse)
        return own, bent(slope, image, g, own, normed, inverse), None, None, None

    @staticmethod
    def jvp(ctx: Any, along_slope: Tensor | None, along_x: Tensor | None, *_: Any) -> Tensor:
        slope, x, normed, mean, inverse, image = ctx.saved_tensors
        parts = [] if along_slope is None else [through(along_slope, x, mean, inverse)]
        if along_x is not None:  # symmetric in g and the tangent
            parts.append(bent(slope, image, along_x, through(along_x, x, mean, inverse), normed, inverse))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _sloped(slope: Tensor, x: Tensor, normed: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    found: Tensor = _Sloped.apply(slope, x, normed, mean, inverse)  # type: ignore[no-untyped-call]
    return found


def through(slope: Tensor, x: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """J s."""
    back: Any = torch.ops.aten.native_layer_norm_backward
    found: Tensor = back(slope.contiguous(), x, [x.shape[-1]], mean, inverse, None, None, [True, False, False])[0]
    return found


def bent(slope: Tensor, image: Tensor, g: Tensor, own: Tensor, normed: Tensor, inverse: Tensor) -> Tensor:
    """The derivative of g . J s in x, given J s and J g."""
    entries = normed.shape[-1]
    a, b, p = (
        (one * other).sum(-1, keepdim=True) / -entries for one, other in ((slope, normed), (g, normed), (g, image))
    )
    return torch.addcmul(normed * (p * inverse), image, b * inverse).addcmul_(own, a * inverse)
