"""Curvature matrices the slow and obvious way: dense, in float64, one unit or one output after another."""

import torch
from torch import Tensor

from landscape.objective import Objective


def _flat_weights(objective: Objective) -> Tensor:
    return objective.layout.flatten(objective.weights)


def _params(objective: Objective, flat: Tensor) -> dict[str, Tensor]:
    """Weights from a flat vector of free coordinates, with the frozen rows as they are."""
    params = objective.layout.unflatten(flat)
    for name, rows in objective.layout.frozen_rows.items():
        params[name] = params[name].index_copy(0, rows, objective.weights[name].double()[rows])
    return params


def _targets(objective: Objective) -> float:
    return sum(float(chunk.counts.sum()) for chunk in objective.chunks)


def dense_gauss_newton(objective: Objective) -> Tensor:
    """J^T H_z J, from a dense J and a dense H_z of each chunk."""
    flat = _flat_weights(objective)
    total = torch.zeros(len(flat), len(flat), dtype=torch.float64)
    for chunk in objective.chunks:

        def outputs(point: Tensor, chunk=chunk) -> Tensor:
            return objective.outputs(_params(objective, point), chunk, differentiable_twice=True)

        def loss(z: Tensor, chunk=chunk) -> Tensor:
            return objective.loss(z, chunk).sum()

        z = outputs(flat).detach()
        J = torch.autograd.functional.jacobian(outputs, flat).reshape(z.numel(), -1)
        inner = torch.autograd.functional.hessian(loss, z).reshape(z.numel(), z.numel())
        total += J.T @ inner @ J
    return total / _targets(objective)


def dense_fisher(objective: Objective) -> Tensor:
    """The outer products of each unit's gradient, one unit at a time."""
    flat = _flat_weights(objective)
    total = torch.zeros(len(flat), len(flat), dtype=torch.float64)
    for chunk in objective.chunks:
        for unit in range(len(chunk.counts)):
            leaf = flat.clone().requires_grad_(True)
            z = objective.outputs(_params(objective, leaf), chunk, differentiable_twice=True)
            (g,) = torch.autograd.grad(objective.loss(z, chunk)[unit], leaf)
            total += torch.outer(g, g)
    return total / _targets(objective)
