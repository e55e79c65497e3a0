"""The curvature operators' and solvers' part of the selftest: against dense matrices of a small network, by autograd.

Letters: z the outputs, J their Jacobian in the weights, B a unit's Hessian of the loss in its outputs, g a unit's
gradient. The dense Gauss-Newton matrix is the mean of J'BJ over units, the dense empirical Fisher that of gg'.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from landscape.curvature.coordinates import hessian_in
from landscape.curvature.lanczos import lanczos
from landscape.curvature.lobpcg import lobpcg_ends
from landscape.curvature.operators import EmpiricalFisher, GaussNewton, Hessian
from landscape.selftest.models import dense_hessian, network

Error = tuple[str, float, float]  # what is compared, the error found, its limit


def operators(device: torch.device) -> Iterator[Error]:
    """Products with the Gauss-Newton matrix, the empirical Fisher, blocks and relative coordinates; Lanczos, LOBPCG."""
    objective = network(device, torch.float64)
    layout = objective.layout
    (chunk,) = objective.chunks
    w = layout.flatten(objective.weights)

    def outputs(flat: Tensor) -> Tensor:
        return objective.outputs(layout.unflatten(flat), chunk)

    def losses(flat: Tensor) -> Tensor:
        return objective.loss(outputs(flat), chunk)

    J = torch.autograd.functional.jacobian(outputs, w)  # type: ignore[no-untyped-call]
    g = torch.autograd.functional.jacobian(losses, w)  # type: ignore[no-untyped-call]
    p = outputs(w).detach().softmax(dim=1)
    B = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    dense = dense_hessian(objective)
    matrices = {
        "Gauss-Newton": (GaussNewton(objective), torch.einsum("uci,ucd,udj->ij", J, B, J) / len(p)),
        "empirical Fisher": (EmpiricalFisher(objective), g.T @ g / len(g)),
        "relative Hessian": (hessian_in(objective, coordinates="relative"), w.abs()[:, None] * dense * w.abs()),
    }
    generator = torch.Generator().manual_seed(0)
    V = torch.randn(len(w), 3, generator=generator, dtype=torch.float64).to(device)
    for name, (operator, matrix) in matrices.items():
        yield f"{name} product against the dense one", (operator @ V[:, 0] - matrix @ V[:, 0]).abs().max().item(), 1e-11
        yield f"{name}, three vectors at once", (operator @ V - matrix @ V).abs().max().item(), 1e-11
    first = next(iter(layout.sizes.values()))
    name = next(iter(layout.shapes))
    off = Hessian(objective, block=name) @ V[:first, 0] - dense[:first, :first] @ V[:first, 0]
    yield "Hessian of a block against the dense one's block", off.abs().max().item(), 1e-11
    values = torch.linalg.eigvalsh(dense)
    for solver, find in (("Lanczos", lanczos), ("LOBPCG", lobpcg_ends)):
        pairs = find(Hessian(objective), len(w), tolerance=1e-5, max_products=2000, device=device)
        ends = {"lambda_max": values[-1].item(), "lambda_min": values[0].item()}
        settled = all(pairs[label].converged for label in ends)
        off_ends = max(abs(pairs[label].value / value - 1) for label, value in ends.items())
        yield f"both ends by {solver} against dense eigh", off_ends if settled else float("nan"), 1e-6
