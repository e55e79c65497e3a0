"""Surfaces, spectra and sharpness that are known exactly, measured again on this machine and device.

Two objectives carry all checks: a quadratic in float64, of which everything is known in closed form, and a small
network with curvature of both signs, compared with differences of its gradient and its dense Hessian. Each check holds
one number against its limit.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.curvature.coordinates import rademacher
from landscape.curvature.density import spectral_density
from landscape.curvature.lanczos import lanczos
from landscape.curvature.mass import mass_of
from landscape.curvature.operators import Hessian
from landscape.curvature.power import power_iteration
from landscape.curvature.trace import hutch_plus_plus, hutchinson
from landscape.directions import draw_plane, redraw
from landscape.directions.between import plane_through
from landscape.directions.eigenvectors import plane_of_eigenvectors
from landscape.estimates import moments, smoothed
from landscape.grid import Axis, Grid
from landscape.objective import ModelObjective, gradient_at, loss_at
from landscape.parameters import Vector, content_hash, moved
from landscape.selftest.models import any_model, bowl_measures, dense_hessian, files, network
from landscape.selftest.operators import operators
from landscape.selftest.sharpness import KNOWN_FORMS
from landscape.sharpness.average_case import average_case_sharpness
from landscape.sharpness.sam_step import sam_sharpness
from landscape.store import Store
from landscape.surface.from_nodes import compute_chebyshev_surface
from landscape.surface.ratio_map import compute_ratio_map, unconverged
from landscape.surface.resume import compute_surface
from landscape.trajectory import trajectory_of

Error = tuple[str, float, float]  # what is compared, the error found, its limit


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison with a known answer."""

    name: str
    error: float  # what was found beside the known answer; NaN if the check itself failed
    limit: float
    note: str = ""  # the exception, where there was one
    measure: str = ""  # of the sharpness measures, which one it holds against its closed form

    @property
    def passed(self) -> bool:
        """Whether the error is within its limit."""
        return self.error <= self.limit


def run_selftest(device: torch.device | str = "cpu") -> list[Check]:
    """Run every check, whatever happens in the ones before; a few seconds."""
    checks: list[Check] = []
    own = (_surface, _directions, _few_points, _ratio_map, _quadratic_curvature, _spectra, _network_curvature)
    for group in (*own, _estimates, operators, _sharpness, any_model, bowl_measures, files, *KNOWN_FORMS):
        try:
            for name, error, limit, *measure in group(torch.device(device)):
                checks.append(Check(name, error, limit, measure="".join(measure)))
        except Exception as problem:  # a selftest reports what broke and goes on
            name = group.__name__.strip("_").replace("_", " ")
            checks.append(Check(name, float("nan"), 0.0, f"{type(problem).__name__}: {problem}"))
    return checks


def _directions(device: torch.device) -> Iterator[Error]:
    """Checkpoints at their coordinates, PCA against a dense SVD, an eigenvector against a dense one."""
    objective, A, _ = _quadratic(device)
    generator = torch.Generator().manual_seed(1)
    flat = objective.layout.flatten
    w = flat(objective.weights).cpu()
    rows = torch.randn(6, len(w), generator=generator, dtype=torch.float64).to(torch.float32).double()
    path = [moved(objective.weights, [(1.0, objective.layout.unflatten(row.to(device)))]) for row in rows]
    plane = plane_through(objective, path[0], path[1])
    assert plane.y is not None
    x = redraw(plane.x, objective.layout, objective.weights)
    y = redraw(plane.y, objective.layout, objective.weights, orthogonal_to=x)
    off = max(
        float((mark.alpha * flat(x) + mark.beta * flat(y) - row).norm() / row.norm())
        for mark, row in zip(plane.marks[1:], rows, strict=False)
    )
    yield "three checkpoints at their coordinates", off, 1e-6
    left, singular, _ = np.linalg.svd(rows.numpy(), full_matrices=False)
    found = trajectory_of(objective, path, name="path", held=2)
    dense = np.abs(left[:, :2] * singular[:2])
    yield "path by PCA against a dense SVD", float(np.abs(np.abs(found.coordinates) - dense).max()), 1e-5
    along = plane_of_eigenvectors(objective, ["bottom-1"], tolerance=1e-5, max_products=3000).x
    v = flat(redraw(along, objective.layout, objective.weights))
    off = 1 - abs(float(v @ torch.linalg.eigh(A.cpu())[1][:, 0]))
    yield "eigenvector of a quadratic against dense eigh", off, 1e-8


class _Bowl(nn.Module):
    """Outputs w - x for each row x of the input, so that the loss 1/2 z.Az of them is a quadratic in w."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(4, 3, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(3, generator=generator, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.table.reshape(-1), self.bias]) - x


def _quadratic(
    device: torch.device, *, batch_size: int = 4
) -> tuple[ModelObjective, Tensor, Callable[[Vector], float]]:
    """An objective, its Hessian A, and its loss in closed form at a flat point: 1/2 mean of (w - x).A(w - x)."""
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(15, 15, generator=generator, dtype=torch.float64)
    A, x = (half + half.T) / 2, torch.randn(9, 15, generator=generator, dtype=torch.float64)
    on_device = A.to(device)
    batches = [(part.to(device), part.to(device)) for part in torch.split(x, batch_size)]
    objective = ModelObjective(
        _Bowl(generator).to(device), batches, lambda z, _: 0.5 * ((z @ on_device) * z).sum(dim=1)
    )
    return objective, A, lambda flat: (0.5 * (((flat - x) @ A) * (flat - x)).sum(dim=1).mean()).item()


def _surface(device: torch.device) -> Iterator[Error]:
    objective, _, truth = _quadratic(device)
    before = content_hash(objective.weights)
    grid = Grid(Axis(-0.5, 1.5, 5), Axis(0.25, 2.0, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "selftest.h5"
        measured = compute_surface(path, objective, name="plane", grid=grid, kind="filter", seed=1, checkpoint_name="w")
        with Store.read(path) as store:
            read = store.surface("plane").values["loss"]
    (x, _), (y, record) = draw_plane(objective.layout, objective.weights, kind="filter", seed=1)
    w, x_flat, y_flat = (objective.layout.flatten(one).cpu() for one in (objective.weights, x, y))
    points = [w + alpha * x_flat + beta * y_flat for alpha, beta in grid.coordinates.tolist()]
    expected = np.array([truth(point) for point in points]).reshape(grid.shape)
    cosine = abs(x_flat @ y_flat / (x_flat.norm() * y_flat.norm())).item()
    yield "surface of a quadratic, 5 x 3 and off-centre", float(np.abs(measured.values["loss"] - expected).max()), 1e-12
    yield "surface read back from the store", float(np.abs(read - measured.values["loss"]).max()), 0.0
    yield (
        "cosine of the two directions",
        max(cosine, abs(float("nan") if record.cosine is None else record.cosine)),
        1e-10,
    )
    yield "weights changed by measuring", float(content_hash(objective.weights) != before), 0.0


def _few_points(device: torch.device) -> Iterator[Error]:
    objective, _, _ = _quadratic(device)
    grid = Grid(Axis(-1.0, 1.0, 31), Axis(-0.5, 1.0, 21))
    asked: dict[str, Any] = {"grid": grid, "checkpoint_name": "w", "seed": 1}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "selftest.h5"
        few = compute_chebyshev_surface(path, objective, name="few", **asked)
        exact = compute_surface(path, objective, name="exact", **asked)
    off = float(np.abs(few.values["loss"] - exact.values["loss"]).max())
    stated = few.approximation.get("errors", {}).get("loss", float("nan"))
    yield "Chebyshev surface: true error / stated", off / stated, 1.0
    yield "Chebyshev surface: stated error / range", stated / float(np.ptp(exact.values["loss"])), 1e-3


def _ratio_map(device: torch.device) -> Iterator[Error]:
    objective, A, _ = _quadratic(device)
    values = torch.linalg.eigvalsh(A)
    grid = Grid(Axis(-1.0, 1.0, 2), Axis(0.0, 1.0, 2))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "selftest.h5"
        found = compute_ratio_map(path, objective, grid=grid, tolerance=1e-5, name="map", checkpoint_name="w")
    off = np.abs(found.values["ratio"] / abs(float(values[0] / values[-1])) - 1).max()
    yield "ratio map of a quadratic", float("nan") if unconverged(found) else float(off), 1e-6


def _quadratic_curvature(device: torch.device) -> Iterator[Error]:
    for batch_size in (1, 9):
        objective, A, _ = _quadratic(device, batch_size=batch_size)
        product = Hessian(objective)
        columns = torch.stack([product(e.to(device)).cpu() for e in torch.eye(15, dtype=torch.float64)])
        yield f"Hessian of a quadratic, batches of {batch_size}", (columns - A).abs().max().item(), 1e-12


def _spectra(device: torch.device) -> Iterator[Error]:
    for values in ([1.0, -0.97], [0.97, -1.0], [1.0, -1.0], [1.0, 0.98, 0.96]):
        for scale in (1.0, 1e-6):
            diagonal = torch.zeros(100 if min(values) < 0 else 3, dtype=torch.float64, device=device)
            diagonal[: len(values)] = scale * torch.tensor(values, dtype=torch.float64, device=device)
            settings: dict[str, Any] = {"tolerance": 1e-4, "max_products": 2000, "device": device}
            pairs = power_iteration(partial(torch.mul, diagonal), len(diagonal), **settings)
            ends = [pairs["lambda_max"].value, pairs["lambda_min"].value]
            error = max(abs(ends[0] / scale - max(values)), abs(ends[1] / scale - min(values)))
            unsettled = not all(pair.converged for pair in pairs.values())
            shown = ", ".join(f"{value:g}" for value in values)
            yield f"both ends of {{{shown}}} x {scale:g}", float("nan") if unsettled else error, 1e-6


def _network_curvature(device: torch.device) -> Iterator[Error]:
    objective = network(device, torch.float64)
    product, size = Hessian(objective), objective.layout.size
    dense = dense_hessian(objective)
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, size, generator=generator, dtype=torch.float64).to(device)
    exact = product(v)
    yield "symmetry of a network's products", abs((u @ exact - v @ product(u)) / (u @ exact)).item(), 1e-10
    difference = torch.linalg.vector_norm(exact - _slope_of_the_gradient(objective, v)) / torch.linalg.vector_norm(
        exact
    )
    yield "product against differences of the gradient", difference.item(), 1e-7
    yield "asymmetry of the dense Hessian", (dense - dense.T).abs().max().item(), 1e-11
    yield "product against the dense Hessian", (exact - dense @ v).abs().max().item(), 1e-11
    single = Hessian(network(device, torch.float32))(v)
    distance = torch.linalg.vector_norm(single - exact) / torch.linalg.vector_norm(exact)
    yield "product in single precision", distance.item(), 1e-4
    values = torch.linalg.eigvalsh(dense)
    pairs = power_iteration(product, size, tolerance=1e-4, max_products=3000, device=device)
    for label, value in (("lambda_max", values[-1].item()), ("lambda_min", values[0].item())):
        off = abs(pairs[label].value / value - 1) if pairs[label].converged else float("nan")
        yield f"{label} of a network against dense eigh", off, 1e-5


def _estimates(device: torch.device) -> Iterator[Error]:
    objective = network(device, torch.float64)
    dense = dense_hessian(objective).cpu()
    H, size = Hessian(objective), objective.layout.size
    found = hutchinson(H, size, probes=64, device=device)
    for name, estimate, value in (
        ("trace by Hutchinson", found.trace, dense.trace()),
        ("Frobenius norm", found.frobenius_norm, dense.norm()),
        ("trace by Hutch++", hutch_plus_plus(H, size, products=45, device=device), dense.trace()),
    ):
        yield f"{name}, in standard errors", abs(estimate.value - value.item()) / estimate.standard_error, 4.5
    off = (found.diagonal.cpu() - dense.diagonal()).abs() / found.diagonal_error.cpu()
    yield "diagonal, root mean square in standard errors", off.square().mean().sqrt().item(), 2.0
    quadrature = spectral_density(H, size, probes=2, steps=12, device=device)
    z = [rademacher(size, 0, probe) for probe in range(2)]
    for power, name in ((1, "mean"), (2, "mean square")):
        truth = np.array([(one @ torch.linalg.matrix_power(dense, power) @ one / size).item() for one in z])
        seen = moments(quadrature.nodes, quadrature.weights, power)
        yield f"spectral density: {name} of each probe", float(np.abs(seen - truth).max()), 1e-10
    grid = np.linspace(float(np.nanmin(quadrature.nodes)) - 1, float(np.nanmax(quadrature.nodes)) + 1, 4000)
    areas = np.trapezoid(smoothed(quadrature.nodes, quadrature.weights, grid, width=0.1), grid, axis=1)
    yield "area under the spectral density", float(np.abs(areas - 1).max()), 1e-9
    vectors = torch.linalg.eigh(dense)[1]
    pairs = lanczos(H, size, tolerance=1e-6, device=device)
    mass = mass_of(objective.layout, [pairs["lambda_max"].vector, pairs["lambda_min"].vector])
    parts = [torch.split(vectors[:, end] ** 2, mass.sizes.tolist()) for end in (-1, 0)]
    truth = np.array([[part.sum().item() for part in both] for both in parts])
    yield "mass of both ends' eigenvectors by block", float(np.abs(mass.masses - truth).max()), 1e-5


def _slope_of_the_gradient(objective: ModelObjective, v: Vector, step: float = 1e-5) -> Vector:
    """Hv by central differences of first derivatives alone, to about 1e-9."""
    direction = objective.layout.unflatten(v)
    ahead, behind = (gradient_at(objective, moved(objective.weights, [(t, direction)]))[1] for t in (step, -step))
    return (ahead - behind) / (2 * step)


def _sharpness(device: torch.device) -> Iterator[Error]:
    objective, A, truth = _quadratic(device)
    w = objective.layout.flatten(objective.weights).cpu()
    flat = w.clone().requires_grad_(True)
    x = torch.cat([chunk.inputs for chunk in objective.chunks]).cpu()
    (g,) = torch.autograd.grad((0.5 * (((flat - x) @ A) * (flat - x)).sum(dim=1)).mean(), flat)
    expected = (0.3 * g.norm() + 0.045 * (g @ A @ g) / (g @ g)).item()
    yield "SAM sharpness of a quadratic", abs(sam_sharpness(objective, [0.3])[0].value / expected - 1), 1e-10
    (average,) = average_case_sharpness(objective, [0.1], pairs=200, seed=0)
    distance = abs(average.value - 0.005 * A.trace().item())
    yield "average-case sharpness, in standard errors", distance / (average.standard_error or float("nan")), 4.0
    direction = objective.layout.unflatten(g.to(device))
    here = loss_at(objective, moved(objective.weights, [(0.1, direction)])).value
    yield "loss of a quadratic away from the weights", abs(here - truth(w + 0.1 * g)), 1e-12
