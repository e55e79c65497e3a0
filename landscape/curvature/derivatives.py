"""Derivatives of derivatives of one function of named tensors, along several directions at once.

Letters: f the function, g its gradient, v a direction, J the derivative of a function with many values.

Directions and answers are named tensors with the columns in front: (columns, *shape). Every function here calls `f`
with the moving tensors alone; what stands still is the caller's closure.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from landscape.objective import Objective, summed_gradient
from landscape.parameters import Params

Named = Mapping[str, Tensor]
make_dual: Any = forward_ad.make_dual
unpack_dual: Any = forward_ad.unpack_dual
# What torch raises where an operation has no derivative of the kind that was asked for.
NO_DERIVATIVE = (
    "derivative for",
    "is not implemented",
    "does not support",
    "not differentiable",
    "Trying to use",
    "differentiate twice",
    "You must implement",
)


def double_backward(f: Callable[[Named], Tensor], moving: Named, directions: Named) -> dict[str, Tensor]:
    """Hv as the gradient of g.v: g's graph is built once and walked once for each column.

    About three gradients for one column and two for each further one; memory: the graph of g.
    """
    inputs = list(moving.values())
    columns = len(next(iter(directions.values())))
    with torch.enable_grad():
        g = torch.autograd.grad(f(moving), inputs, create_graph=True, allow_unused=True)
    kept = [
        (part, directions[name])
        for name, part in zip(moving, g, strict=True)
        if part is not None and part.requires_grad
    ]
    if not kept:  # linear in every tensor: no second derivative
        return {name: torch.zeros_like(directions[name]) for name in moving}
    parts = [part for part, _ in kept]
    found = []
    for column in range(columns):
        along = [direction[column] for _, direction in kept]
        found.append(
            torch.autograd.grad(
                parts, inputs, along, retain_graph=column + 1 < columns, allow_unused=True, materialize_grads=True
            )
        )
    return _stacked(moving, found)


def forward_over_reverse(f: Callable[[Named], Tensor], moving: Named, directions: Named) -> dict[str, Tensor]:
    """Hv as the tangent of g along v: each column is one gradient with tangents in every tensor of it.

    No graph of the gradient is kept. Every operation of `f` needs a forward derivative, and so has its backward pass.
    """
    inputs = list(moving.values())
    found = []
    for column in range(len(next(iter(directions.values())))):
        with forward_ad.dual_level(), torch.enable_grad():
            duals = {name: make_dual(tensor, directions[name][column]) for name, tensor in moving.items()}
            g = torch.autograd.grad(f(duals), inputs, allow_unused=True)
            tangents = [None if part is None else unpack_dual(part).tangent for part in g]
        found.append([torch.zeros_like(x) if t is None else t for x, t in zip(inputs, tangents, strict=True)])
    return _stacked(moving, found)


def push_and_pull(
    f: Callable[[Named], Tensor],
    between: Callable[[Tensor, list[Tensor]], list[Tensor]],
    moving: Named,
    directions: Named,
) -> dict[str, Tensor]:
    """J^T M J v for a function of many values: a tangent forward, `between` (z and tangents -> M tangents), and back.

    Forward derivatives where `f` has them; otherwise Jv is the derivative in u of J^T u, twice backward.
    """
    inputs = list(moving.values())
    with torch.enable_grad():
        z = f(moving)
    try:
        tangents = _pushed(f, moving, directions)
    except (RuntimeError, NotImplementedError) as error:
        if not _lacks_a_derivative(error):
            raise
        tangents = _pushed_backward(z, inputs, [directions[name] for name in moving])
    slopes = between(z, tangents)
    found = [
        torch.autograd.grad(z, inputs, slope, retain_graph=True, allow_unused=True, materialize_grads=True)
        for slope in slopes
    ]
    return _stacked(moving, found)


def gradient_of(objective: Objective, params: Params, names: Sequence[str]) -> dict[str, Tensor]:
    """The gradient of the summed loss in some of the tensors, in float64, by the kernels for one derivative alone."""
    totals = {name: torch.zeros(params[name].shape, dtype=torch.float64, device=params[name].device) for name in names}
    for chunk in objective.chunks:
        for name, part in summed_gradient(objective, params, chunk, names)[1].items():
            totals[name] += part
    return totals


def supports_double_backward(loss: Callable[[Any], tuple[Tensor, list[Tensor]]], chunk: Any) -> bool:
    """Whether the gradient's graph can be walked backwards: tried on one chunk, every node of it.

    `torch.autograd.grad` would pass by a node marked as differentiable once, whose part of the answer is then missing.
    """
    with torch.enable_grad():
        summed, inputs = loss(chunk)
        g = torch.autograd.grad(summed, inputs, create_graph=True, allow_unused=True)
        parts = [part for part in g if part is not None and part.requires_grad]
        if not parts:
            return True
        try:
            torch.autograd.backward(parts, [torch.zeros_like(part) for part in parts])
        except (RuntimeError, NotImplementedError) as error:
            if _lacks_a_derivative(error):
                return False
            raise
    return True


def agrees_with_differences(f: Callable[[Named], Tensor], moving: Named, directions: Named) -> bool:
    """Whether forward over reverse is there and near a difference of gradients: an operation may drop its tangent."""
    try:
        found = forward_over_reverse(f, moving, directions)
    except (RuntimeError, NotImplementedError) as error:
        if _lacks_a_derivative(error):
            return False
        raise
    sizes = [sum(one.double().square().sum().item() for one in named.values()) for named in (moving, directions)]
    precision = max(torch.finfo(one.dtype).eps for one in moving.values())
    step = precision ** (1 / 3) * ((sizes[0] or 1.0) / sizes[1]) ** 0.5
    slopes = []
    for sign in (1, -1):
        there = {name: one.detach().add(directions[name][0], alpha=sign * step) for name, one in moving.items()}
        leaves = [one.requires_grad_(True) for one in there.values()]
        with torch.enable_grad():
            slopes.append(torch.autograd.grad(f(there), leaves, allow_unused=True, materialize_grads=True))
    exact = torch.cat([one.reshape(-1).double() for one in found.values()])
    near = torch.cat([(a.double() - b.double()).reshape(-1) / (2 * step) for a, b in zip(*slopes, strict=True)])
    return bool(torch.linalg.vector_norm(exact - near) <= 0.05 * torch.linalg.vector_norm(near))


def _pushed(f: Callable[[Named], Tensor], moving: Named, directions: Named) -> list[Tensor]:
    found = []
    for column in range(len(next(iter(directions.values())))):
        with forward_ad.dual_level(), torch.no_grad():
            duals = {name: make_dual(tensor.detach(), directions[name][column]) for name, tensor in moving.items()}
            primal, tangent = unpack_dual(f(duals))
            found.append(torch.zeros_like(primal) if tangent is None else tangent)
    return found


def _pushed_backward(z: Tensor, inputs: list[Tensor], directions: list[Tensor]) -> list[Tensor]:
    with torch.enable_grad():
        u = torch.zeros_like(z, requires_grad=True)
        pulled = torch.autograd.grad(z, inputs, u, create_graph=True, allow_unused=True)
    kept = [
        (part, along) for part, along in zip(pulled, directions, strict=True) if part is not None and part.requires_grad
    ]
    parts = [part for part, _ in kept]
    return [
        torch.autograd.grad(parts, u, [along[column] for _, along in kept], retain_graph=True)[0]
        for column in range(len(directions[0]))
    ]


def _lacks_a_derivative(error: Exception) -> bool:
    return any(words in str(error) for words in NO_DERIVATIVE)


def _stacked(moving: Named, found: Sequence[Sequence[Tensor]]) -> dict[str, Tensor]:
    if len(found) == 1:
        return {name: part[None] for name, part in zip(moving, found[0], strict=True)}
    return {name: torch.stack(parts) for name, parts in zip(moving, zip(*found, strict=True), strict=True)}
