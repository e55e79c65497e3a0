"""The Fisher-Rao norm w . G w, with G the Gauss-Newton matrix of the mean loss (Liang et al. 2019).

Letters: w the checkpoint, z = f(w) the outputs, J their Jacobian, B the Hessian of the loss in the outputs, G = J'BJ.

    w . G w = (1/n) sum over units of (J w) . B (J w)

One derivative of the outputs along w is all it takes, and the loss's own curvature along that. The value does not
change under re-scalings that leave the function alone. For a block it is the form of that block's weights alone. Taken
for losses whose curvature in the outputs is not negative (softmax, logistic), where G is the Fisher matrix.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from landscape.blocks import mask_of
from landscape.objective import LossValue, Objective
from landscape.parameters import Vector
from landscape.records import SharpnessMeasure


def fisher_rao_norm(objective: Objective, *, block: str | None = None) -> SharpnessMeasure:
    """w . G w, in units of the loss, with its standard error over units (a ratio estimator). About three gradients.

    Args:
        objective: the frozen loss.
        block: the only weights in w; all by default.
    """
    w = objective.layout.flatten(objective.weights)
    if block is not None:
        w = w * mask_of(objective.layout, block).to(w.device)
    sums = torch.cat([gauss_newton_forms(objective, chunk, w) for chunk in objective.chunks]).cpu().numpy()
    counts = torch.cat([chunk.counts for chunk in objective.chunks]).double().cpu().numpy()
    found = LossValue(float(sums.sum() / counts.sum()), sums, counts)
    _, error = found.rise_over(LossValue(0.0, 0 * sums, counts))
    setting = {} if block is None else {"block": block}
    return SharpnessMeasure("fisher_rao", setting, found.value, None if error != error else error, 3)


def gauss_newton_forms(objective: Objective, chunk: Any, v: Vector) -> Float[Tensor, " units"]:
    """(J v) . B (J v) of each unit's summed loss, float64: the Gauss-Newton form of a chunk, unit by unit.

    The loss alone says which output belongs to which unit. So each unit's loss gets a factor of 1, and the form's
    derivative in that factor is the unit's own share.
    """
    z, slope = outputs_along(objective, chunk, v)
    z = z.detach().requires_grad_(True)
    with torch.enable_grad():
        losses = objective.loss(z, chunk).double()
        factors = torch.ones_like(losses, requires_grad=True)
        (g,) = torch.autograd.grad((factors * losses).sum(), z, create_graph=True)
        if not g.requires_grad:  # a loss linear in the outputs
            return torch.zeros_like(losses)
        along = (g * slope).double().sum()
        (bent,) = torch.autograd.grad(along, z, create_graph=True, materialize_grads=True)
        form = (bent * slope).double().sum()
        if not form.requires_grad:
            return torch.zeros_like(losses)
        (own,) = torch.autograd.grad(form, factors, materialize_grads=True)
    return own.detach()


def outputs_along(objective: Objective, chunk: Any, v: Vector) -> tuple[Tensor, Tensor]:
    """The outputs z of a chunk and J v, their derivative along v.

    By differentiating the transposed product, which is linear, a second time: it works for whatever has a double
    backward, forward-mode support or not. A forward and two backward passes.
    """
    layout = objective.layout
    direction = layout.unflatten(v)
    leaves = {name: tensor.detach().requires_grad_(True) for name, tensor in objective.weights.items()}
    with torch.enable_grad():
        z = objective.outputs(leaves, chunk, differentiable_twice=True)
        u = torch.zeros_like(z, requires_grad=True)
        g = torch.autograd.grad(z, list(leaves.values()), u, create_graph=True, allow_unused=True)
        along = [
            (part * direction[name].to(part)).sum() for name, part in zip(leaves, g, strict=True) if part is not None
        ]
        (slope,) = torch.autograd.grad(torch.stack(along).sum(), u, materialize_grads=True)
    return z.detach(), slope
