"""Exact products Hv with the Hessian of a frozen objective, without ever forming it.

Letters: H the Hessian over the free coordinates, v a vector over them, g the gradient.

Double backward (Pearlmutter 1994): g with its graph, then the gradient of g.v. It costs about three gradients in time
and the graph of one chunk in memory. Each chunk's product is summed in float64 and the sum divided once by the number
of targets, so the result does not depend on how the data is cut into chunks.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from landscape.objective import Objective
from landscape.parameters import Params, Vector

Product = Callable[[Vector], Vector]


def hessian_product(objective: Objective, params: Params | None = None) -> Product:
    """The map v -> Hv at `params`, or at the objective's own weights.

    Vectors are flat and float64 over the free coordinates, in the layout's order; inside, the weights' own precision is
    used. Any length of v is safe: it is scaled to one before the product and back after it.

    Args:
        objective: its `outputs` is called with `differentiable_twice=True`.
        params: named tensors of the objective's layout. Not changed, and not kept in step with later changes.
    """
    layout = objective.layout
    weights = objective.weights if params is None else params
    leaves = {name: tensor.detach().clone().requires_grad_(True) for name, tensor in weights.items()}
    total_count = sum(chunk.counts.double().sum().item() for chunk in objective.chunks)
    names = list(layout.shapes)

    def product(v: Vector) -> Vector:
        length = torch.linalg.vector_norm(v)
        total = torch.zeros(layout.size, dtype=torch.float64, device=v.device)
        if length == 0:
            return total
        unit = layout.unflatten(v / length)
        direction = [unit[name].to(leaves[name]) for name in names]
        for chunk in objective.chunks:
            total += layout.flatten(dict(zip(names, summed_product(chunk, direction), strict=True))).to(v.device)
        total *= length / total_count
        return total

    def summed_product(chunk: Any, direction: list[Tensor]) -> tuple[Tensor, ...]:
        inputs = [leaves[name] for name in names]
        with torch.enable_grad():
            summed = objective.loss(objective.outputs(leaves, chunk, differentiable_twice=True), chunk).double().sum()
            g = torch.autograd.grad(summed, inputs, create_graph=True, allow_unused=True)
            slopes = [
                (part * along).sum().double()
                for part, along in zip(g, direction, strict=True)
                if part is not None and part.requires_grad
            ]
            if not slopes:  # linear in every weight: no second derivative
                return tuple(torch.zeros_like(tensor) for tensor in inputs)
            return torch.autograd.grad(torch.stack(slopes).sum(), inputs, allow_unused=True, materialize_grads=True)

    return product
