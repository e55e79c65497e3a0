"""The sharpness measures' part of the selftest: every measure there is, on quadratics of which all is known.

The loss is L(w) = 1/2 mean over units of (w - x).A(w - x) in eight parameters, few enough that the largest value in a
box can be found among all corners. A is diagonal and positive, or dense with eigenvalues of both signs for spectra. A
check names the measure it holds against its closed form, taken from what was measured itself, so that it can be seen
which of `landscape.sharpness.names.KINDS` have one.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from landscape.objective import ModelObjective, loss_at
from landscape.records import SharpnessMeasure
from landscape.sharpness.average_case import average_case_sharpness, smoothed_loss
from landscape.sharpness.fisher_rao import fisher_rao_norm
from landscape.sharpness.flatness import pac_bayes_flatness
from landscape.sharpness.llc import local_learning_coefficient
from landscape.sharpness.m_sharpness import m_sharpness
from landscape.sharpness.metric_sharpness import average_metric_drop, sam_metric_drop
from landscape.sharpness.metric_worst_case import keskar_metric_drop, worst_case_metric_drop
from landscape.sharpness.names import measure_name
from landscape.sharpness.relative_flatness import relative_flatness
from landscape.sharpness.sam_step import sam_sharpness
from landscape.sharpness.settings import SCALES
from landscape.sharpness.spectra_measured import measured_ends, measured_traces

Found = tuple[str, float, float, str]  # what is compared, the error found, its limit, the measure

CURVATURES = torch.tensor([3.0, 2.0, 1.5, 1.0, 0.8, 0.5, 0.3, 0.1], dtype=torch.float64)
BOTH_SIGNS = torch.tensor([3.0, 2.0, 1.5, 1.0, 0.8, 0.5, -0.3, -2.5], dtype=torch.float64)


class _Shifted(nn.Module):
    """Outputs w - x: a table of three rows of two, and a bias of two."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.table, self.bias = nn.Parameter(w[:6].reshape(3, 2)), nn.Parameter(w[6:])

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.table.reshape(-1), self.bias]) - x


def _bowl(
    device: torch.device, A: Tensor | None = None, *, at_minimum: bool = False
) -> tuple[ModelObjective, Tensor, Tensor]:
    """The objective, its weights and the units' x; its metrics are each unit's first output and that squared."""
    generator = torch.Generator().manual_seed(0)
    w, x = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((8,), (6, 8)))
    x = (w + 0 * x) if at_minimum else x
    matrix = (torch.diag(CURVATURES) if A is None else A).to(device)
    batches = [(part.to(device), part.to(device)) for part in torch.split(x, 4)]

    def metrics(z: Tensor, _: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        return {name: z[:, 0] if name == "height" else z[:, 0] ** 2 for name in names}

    loss = lambda z, _: 0.5 * ((z @ matrix) * z).sum(dim=1)  # noqa: E731
    head = {"head": {"table": torch.tensor([0])}}
    model = _Shifted(w.clone()).to(device)
    return ModelObjective(model, batches, loss, metrics=metrics, row_groups=head), w, x


def _exact(measure: SharpnessMeasure, truth: float, against: str, limit: float = 1e-9) -> Found:
    """A number beside the truth: the relative error, the absolute one where the truth is 0."""
    return _name(measure, against), abs(measure.value - truth) / (abs(truth) or 1.0), limit, measure.measure


def _likely(measure: SharpnessMeasure, truth: float, limit: float = 4.5) -> Found:
    """A number beside the truth, in units of its own standard error."""
    off = abs(measure.value - truth) / (measure.standard_error or math.nan)
    return _name(measure, "in standard errors"), off, limit, measure.measure


def _name(measure: SharpnessMeasure, against: str) -> str:
    return f"{measure_name(measure)}: {against}"


def _on_a_ball(g: Tensor, a: Tensor, rho: float) -> Tensor:
    """Where g.u + u.diag(a)u/2 is largest in ||u|| <= rho: on the edge, at the root of the secular equation."""
    top = a.max().item()
    shift = brentq(lambda s: (g / (s - a)).norm().item() - rho, top + 1e-9, top + g.norm().item() / rho + 1)
    u: Tensor = g / (shift - a)
    return u


def _in_a_box(g: Tensor, half: Tensor) -> Tensor:
    """The corner of the box in which the quadratic is largest."""
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=8)), dtype=torch.float64) * half
    return corners[(corners @ g + (CURVATURES * corners**2).sum(dim=1) / 2).argmax()]


def _rise(g: Tensor, d: Tensor) -> float:
    return float(g @ d + (CURVATURES * d) @ d / 2)


def steps_and_searches(device: torch.device) -> Iterator[Found]:
    """SAM's step, the worst case in both norms, Keskar, m-sharpness; for each the drop of a linear metric there."""
    objective, w, x = _bowl(device)
    a, g = CURVATURES, CURVATURES * (w - x.mean(dim=0))
    for scale in SCALES:
        T = torch.ones(8, dtype=torch.float64) if scale == "absolute" else w.abs()
        d = 0.5 * T**2 * g / (T * g).norm()
        yield _exact(sam_sharpness(objective, [0.5], scale=scale)[0], _rise(g, d), "closed form")
        (drop,) = sam_metric_drop(objective, ["height"], [0.5], scale=scale)
        yield _exact(drop, -d[0].item(), "closed form")
        d = T * _on_a_ball(T * g, T**2 * a, 0.5)
        ball, drop = worst_case_metric_drop(objective, ["height"], [0.5], scale=scale, steps=80)
        yield _exact(ball, _rise(g, d), "the secular equation", 1e-6)
        yield _exact(drop, -d[0].item(), "the secular equation", 1e-2)
        d = _in_a_box(g, 0.5 * T)
        box, drop = worst_case_metric_drop(objective, ["height"], [0.5], p="inf", scale=scale, steps=40, restarts=6)
        yield _exact(box, _rise(g, d), "all corners of the box")
        yield _exact(drop, -d[0].item(), "all corners of the box")
        own = a * (w - x)  # a unit's gradient: every batch of one has its own worst case
        balls = [T * _on_a_ball(T * one, T**2 * a, 0.3) for one in own]
        steps = [0.3 * T**2 * one / (T * one).norm() for one in own]
        for form, moves, limit in (("step", steps, 1e-9), ("ascent", balls, 1e-5)):
            truth = sum(_rise(one, move) for one, move in zip(own, moves, strict=True)) / len(own)
            (single,) = m_sharpness(objective, [0.3], m=1, batches=None, form=form, scale=scale, steps=60)  # type: ignore[arg-type]
            yield _exact(single, truth, f"every unit's own, {scale}", limit)
    d = _in_a_box(g, 0.05 * (w.abs() + 1))
    keskar, drop = keskar_metric_drop(objective, ["height"], 0.05)
    yield _exact(
        keskar, 100 * _rise(g, d) / (1 + loss_at(objective, objective.weights).value), "all corners of the box"
    )
    yield _exact(drop, -d[0].item(), "all corners of the box")


def under_noise(device: torch.device) -> Iterator[Found]:
    """The average case, LPF, PAC-Bayes both ways, and the drops of a linear and of a squared metric."""
    objective, w, _ = _bowl(device)
    centre = loss_at(objective, objective.weights).value
    for scale in SCALES:
        T = torch.ones(8, dtype=torch.float64) if scale == "absolute" else w.abs()
        trace = (T**2 * CURVATURES).sum().item()
        yield _likely(average_case_sharpness(objective, [0.1], scale=scale, pairs=60)[0], 0.005 * trace)
        yield _likely(smoothed_loss(objective, [0.1], scale=scale, pairs=60)[0], centre + 0.005 * trace)
        flatness, sigma = pac_bayes_flatness(objective, 0.1, scale=scale, pairs=60)
        yield _likely(flatness, trace / 0.2)
        yield _likely(sigma, (0.2 / trace) ** 0.5)
        linear, squared = average_metric_drop(objective, ["height", "square"], [0.5], scale=scale, pairs=60)
        yield _exact(linear, 0.0, "cancels in pairs", 1e-12)
        yield _likely(squared, -0.25 * T[0].item() ** 2)


def spectra(device: torch.device) -> Iterator[Found]:
    """Both ends, lambda_max ||w||^2, lambda_1 / lambda_5, trace and Frobenius norm, raw and relative, of a dense A."""
    generator = torch.Generator().manual_seed(1)
    Q, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64))
    A = Q @ torch.diag(BOTH_SIGNS) @ Q.T
    objective, w, _ = _bowl(device, A)
    truths = {"lambda_max": 3.0, "lambda_min": -2.5, "lambda_max_norm_squared": 3 * float(w @ w), "lambda_ratio": 3.75}
    for measure in measured_ends(objective, block=None, tolerance=1e-6, max_products=500, seed=0):
        yield _exact(measure, math.nan if measure.note else truths[measure.measure], "known eigenvalues", 1e-8)
    relative = w.abs()[:, None] * A * w.abs()
    for measure in measured_traces(objective, block=None, probes=64, seed=0):
        matrix = A if measure.setting["scale"] == "absolute" else relative
        yield _likely(measure, (matrix.trace() if measure.measure == "trace" else matrix.norm()).item())


def of_the_weights(device: torch.device) -> Iterator[Found]:
    """Fisher-Rao and relative flatness, whole and of a part, and the LLC at a minimum."""
    objective, w, _ = _bowl(device)
    a = CURVATURES
    yield _exact(fisher_rao_norm(objective), (a * w * w).sum().item(), "closed form")
    yield _exact(fisher_rao_norm(objective, block="bias"), (a * w * w)[6:].sum().item(), "closed form")
    rows = w[:6].reshape(3, 2).square().sum(dim=1) * a[:6].reshape(3, 2).sum(dim=1)
    yield _likely(relative_flatness(objective, probes=60), rows.sum().item())
    yield _likely(relative_flatness(objective, block="rows:head", probes=60), rows[0].item())
    lowest, _, _ = _bowl(device, at_minimum=True)
    n, gamma, step = 6.0, 1.0, 0.02
    pull = n / math.log(n) * a + gamma
    truth = (0.5 * (pull - gamma) / (pull * (1 - step * pull / 4))).sum().item()
    found = local_learning_coefficient(lowest, epsilon=step, gamma=gamma, chains=6, draws=150, burn_in=100)
    yield _likely(found, truth, 6.0)


KNOWN_FORMS = (steps_and_searches, under_noise, spectra, of_the_weights)
