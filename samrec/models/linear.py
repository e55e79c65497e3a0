"""Linear layers that are fast on the CPU and can be differentiated any number of times, backward and forward.

Products with the Hessian spend half of their time in matrix products. In float32 on the CPU they are made by oneDNN,
where this PyTorch has it: its own product there is MKL's, which on AMD uses half of a core's vector units (1.5 ms
against .6 ms for 4,096 tokens, 64 to 256). The product A B^T is closed under differentiation: with slope G its
derivatives are G B and G^T A, two such products again.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x @ weight.T + bias, over the last axis of x."""
    if not taken_by_one_dnn(x):
        return torch.nn.functional.linear(x, weight, bias)
    flat = _product(x.reshape(-1, x.shape[-1]), weight)
    return (flat + bias).view(*x.shape[:-1], len(weight))


def taken_by_one_dnn(x: Tensor) -> bool:
    """Whether oneDNN makes the products of this tensor."""
    fast = x.dtype == torch.float32 and x.device.type == "cpu" and ONE_DNN is not None
    return fast and bool(torch.backends.mkldnn.enabled)


ONE_DNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


class _OfTwo(torch.autograd.Function):
    """A function of two tensors whose derivatives need both."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)


class _Product(_OfTwo):
    """A B^T for A of (M, K) and B of (N, K)."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return _multiplied(a, b)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        of_a = _product(slope, b.T) if ctx.needs_input_grad[0] else None
        of_b = _inner(slope, a) if ctx.needs_input_grad[1] else None
        return of_a, of_b

    @staticmethod
    def jvp(ctx: Any, along_a: Tensor | None, along_b: Tensor | None) -> Tensor:
        a, b = ctx.saved_tensors
        return _along(_product, a, b, along_a, along_b)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], a: Tensor, b: Tensor) -> tuple[Tensor, int]:  # noqa: ARG004
        a, b = _batched(in_dims, a, b)
        return a @ b.mT, 0


class _Inner(_OfTwo):
    """A^T B for A of (T, M) and B of (T, N): the slope in a weight. Apart, so that all answers lie row by row."""

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return _multiplied(a.T, b.T) if a.shape[1] <= b.shape[1] else _multiplied(b.T, a.T).T

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        of_a = _product(b, slope) if ctx.needs_input_grad[0] else None
        of_b = _product(a, slope.T) if ctx.needs_input_grad[1] else None
        return of_a, of_b

    @staticmethod
    def jvp(ctx: Any, along_a: Tensor | None, along_b: Tensor | None) -> Tensor:
        a, b = ctx.saved_tensors
        return _along(_inner, a, b, along_a, along_b)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], a: Tensor, b: Tensor) -> tuple[Tensor, int]:  # noqa: ARG004
        a, b = _batched(in_dims, a, b)
        return a.mT @ b, 0


def _multiplied(a: Tensor, b: Tensor) -> Tensor:
    product: Tensor = ONE_DNN(a, b, None, "none", [], "")
    return product


def _product(a: Tensor, b: Tensor) -> Tensor:
    found: Tensor = _Product.apply(a, b)  # type: ignore[no-untyped-call]
    return found


def _inner(a: Tensor, b: Tensor) -> Tensor:
    found: Tensor = _Inner.apply(a, b)  # type: ignore[no-untyped-call]
    return found


def _along(
    product: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor, along_a: Tensor | None, along_b: Tensor | None
) -> Tensor:
    """The tangent of a product of two."""
    parts = [product(along_a, b)] if along_a is not None else []
    parts += [product(a, along_b)] if along_b is not None else []
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _batched(in_dims: tuple[int | None, int | None], *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(x[None] if dim is None else x.movedim(dim, 0) for x, dim in zip(tensors, in_dims, strict=True))
