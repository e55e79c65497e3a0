"""The sharpness measures' part of the selftest: each on a convex quadratic of which all is known in closed form.

The loss is L(w) = 1/2 mean over units of (w - x).A(w - x) with A positive and diagonal and eight parameters, few enough
that the largest value in a box can be found among all corners.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from landscape.objective import ModelObjective, loss_at
from landscape.sharpness.average_case import smoothed_loss
from landscape.sharpness.fisher_rao import fisher_rao_norm
from landscape.sharpness.flatness import pac_bayes_flatness
from landscape.sharpness.keskar import keskar_sharpness
from landscape.sharpness.llc import local_learning_coefficient
from landscape.sharpness.m_sharpness import m_sharpness
from landscape.sharpness.metric_sharpness import average_metric_drop, sam_metric_drop
from landscape.sharpness.relative_flatness import relative_flatness
from landscape.sharpness.worst_case import worst_case_sharpness

Error = tuple[str, float, float]  # what is compared, the error found, its limit

CURVATURES = torch.tensor([3.0, 2.0, 1.5, 1.0, 0.8, 0.5, 0.3, 0.1], dtype=torch.float64)


class _Shifted(nn.Module):
    """Outputs w - x: a table of three rows of two, and a bias of two."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.table, self.bias = nn.Parameter(w[:6].reshape(3, 2)), nn.Parameter(w[6:])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.table.reshape(-1), self.bias]) - x


def _convex(device: torch.device, *, at_minimum: bool = False) -> tuple[ModelObjective, Tensor, Tensor]:
    """The objective, its weights and the units' x; the metric "height" is each unit's first output."""
    generator = torch.Generator().manual_seed(0)
    w, x = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((8,), (6, 8)))
    x = (w + 0 * x) if at_minimum else x
    a = CURVATURES.to(device)
    batches = [(part.to(device), part.to(device)) for part in torch.split(x, 4)]

    def height(z: Tensor, _: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        return dict.fromkeys(names, z[:, 0])

    loss = lambda z, _: 0.5 * (a * z * z).sum(dim=1)  # noqa: E731
    return ModelObjective(_Shifted(w.clone()).to(device), batches, loss, metrics=height), w, x


def _on_a_ball(g: np.ndarray, rho: float) -> float:
    """max of g.u + u.Au/2 over ||u|| <= rho: on the edge, at the root of the secular equation."""
    a = CURVATURES.numpy()
    shift = brentq(lambda s: np.linalg.norm(g / (s - a)) - rho, a[0] + 1e-9, a[0] + np.linalg.norm(g) / rho + 1)
    u = g / (shift - a)
    return float(g @ u + (a * u) @ u / 2)


def worst_cases(device: torch.device) -> Iterator[Error]:
    """The worst case in both norms, m-sharpness, Keskar, and a metric's drop."""
    objective, w, x = _convex(device)
    a, g = CURVATURES, CURVATURES * (w - x.mean(dim=0))
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=8)), dtype=torch.float64)

    def highest(half: Tensor) -> float:
        moves = corners * half
        return (moves @ g + (a * moves * moves).sum(dim=1) / 2).max().item()

    (ball,) = worst_case_sharpness(objective, [0.5], steps=60)
    yield "worst case in a ball against the secular equation", abs(ball.value / _on_a_ball(g.numpy(), 0.5) - 1), 1e-6
    (relative,) = worst_case_sharpness(objective, [0.5], p="inf", scale="relative", steps=40, restarts=6)
    yield "worst case in a box against its corners", abs(relative.value / highest(0.5 * w.abs()) - 1), 1e-9
    keskar, centre = keskar_sharpness(objective, 0.05), loss_at(objective, objective.weights).value
    yield (
        "Keskar's sharpness against the box's corners",
        abs(keskar.value * (1 + centre) / (100 * highest(0.05 * (w.abs() + 1))) - 1),
        1e-9,
    )
    slopes = a * (w - x)
    rises = 0.3 * slopes.norm(dim=1) + 0.045 * ((a * slopes * slopes).sum(dim=1) / (slopes * slopes).sum(dim=1))
    (single,) = m_sharpness(objective, [0.3], m=1, batches=None)
    yield "m-sharpness of single units", abs(single.value / rises.mean().item() - 1), 1e-10
    (drop,) = sam_metric_drop(objective, ["height"], [0.5])
    yield "drop of a linear metric along SAM's step", abs(drop.value + 0.5 * (g[0] / g.norm()).item()), 1e-12
    (none,) = average_metric_drop(objective, ["height"], [0.5], pairs=2)
    yield "drop of a linear metric under paired noise", abs(none.value), 1e-12


def flatness(device: torch.device) -> Iterator[Error]:
    """PAC-Bayes flatness, LPF, Fisher-Rao, relative flatness and the LLC; those with errors in units of them."""
    objective, w, _ = _convex(device)
    a = CURVATURES
    for scale, stretch in (("absolute", torch.ones(8)), ("relative", w.abs())):
        bears, _ = pac_bayes_flatness(objective, 0.1, scale=scale, pairs=60)  # type: ignore[arg-type]
        off = abs(bears.value - (stretch**2 * a).sum().item() / 0.2)
        yield f"PAC-Bayes flatness ({scale}), in standard errors", off / (bears.standard_error or math.nan), 4.0
    (lpf,) = smoothed_loss(objective, [0.1], pairs=60)
    truth = loss_at(objective, objective.weights).value + 0.005 * a.sum().item()
    yield "Gaussian-smoothed loss, in standard errors", abs(lpf.value - truth) / (lpf.standard_error or math.nan), 4.0
    yield "Fisher-Rao norm", abs(fisher_rao_norm(objective).value / (a * w * w).sum().item() - 1), 1e-12
    table = relative_flatness(objective, "table", probes=60)
    truth = (w[:6].reshape(3, 2).square().sum(dim=1) * a[:6].reshape(3, 2).sum(dim=1)).sum().item()
    yield "relative flatness, in standard errors", abs(table.value - truth) / (table.standard_error or math.nan), 4.0
    lowest, _, _ = _convex(device, at_minimum=True)
    n, gamma, step = 6.0, 1.0, 0.02
    pull = n / math.log(n) * a + gamma
    truth = (0.5 * (pull - gamma) / (pull * (1 - step * pull / 4))).sum().item()
    found = local_learning_coefficient(lowest, epsilon=step, gamma=gamma, chains=6, draws=150, burn_in=100)
    yield "LLC at a minimum, in standard errors", abs(found.value - truth) / (found.standard_error or math.nan), 6.0
