"""The self-test of whatever stands around the measures: any model as an objective, errors, relative sharpness, files.

Each check yields (what is compared, the error found, its limit), as those of `selftest` do, which runs them.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import landscape as ls
from landscape.exchange.csv_files import read_surface_csv, surface_csv
from landscape.exchange.loss_landscape import loss_landscape_bytes, read_loss_landscape
from landscape.grid import Axis, Grid
from landscape.objective import ModelObjective, Objective, gradient_at, loss_at
from landscape.parameters import content_hash, moved
from landscape.surface.resume import compute_surface


class _Tied(nn.Module):
    """Word ids -> scores of words by the table that embeds them, with a BatchNorm in between."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.norm = nn.BatchNorm1d(4)
        self.scores = nn.Linear(4, 6, bias=False)
        self.scores.weight = self.embedding.weight

    def forward(self, words: Tensor) -> dict[str, Tensor]:
        return {"logits": self.scores(self.norm(torch.tanh(self.embedding(words))))}


def any_model(device: torch.device) -> Iterator[tuple[str, float, float]]:
    """A model with tied weights and BatchNorm, a mean loss, mappings as batches."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _Tied().double().to(device)
        words, targets = torch.randint(0, 6, (2, 30))
    model.norm.get_buffer("running_mean").add_(0.3)
    before = content_hash(model.state_dict())
    batches = [{"words": w, "labels": t} for w, t in zip(words.split(8), targets.split(8), strict=True)]
    objective = Objective.from_model(model, nn.CrossEntropyLoss(ignore_index=2), batches)
    loss, gradient = gradient_at(objective, objective.weights)
    model.eval()
    own = F.cross_entropy(model(words.to(device))["logits"], targets.to(device), ignore_index=2)
    expected = torch.autograd.grad(own, [weight for _, weight in model.named_parameters()])
    flat = torch.cat([part.reshape(-1) for part in expected])
    yield "loss of any model against its own code", abs(loss - own.item()), 1e-12
    yield "gradient of any model, weights tied", (gradient - flat).abs().max().item(), 1e-12
    yield "model or statistics changed by measuring", float(content_hash(model.state_dict()) != before), 0.0


def bowl_measures(device: torch.device) -> Iterator[tuple[str, float, float]]:
    """Standard errors, relative sharpness and lambda_max times norm squared of 1/2 sum of a_i w_i^2, unit by unit."""
    a = torch.linspace(0.5, 3.0, 6, dtype=torch.float64)
    model = nn.Linear(6, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0, 0.5, 1.5, -1.0, 2.0]]))
    x = a.sqrt() * torch.eye(6, dtype=torch.float64) * 6**0.5  # unit i has the loss 3 a_i w_i^2, and their mean is L
    objective = Objective.from_model(
        model.to(device), lambda z, _: 0.5 * z.squeeze(1) ** 2, [(x, torch.zeros(6))], frozen_rows={}
    )
    w = model.weight.detach().cpu().reshape(-1)
    yield "loss of a bowl", abs(loss_at(objective, objective.weights).value - 0.5 * float(a @ w**2)), 1e-12
    g, scale = a * w, w.abs()
    for rho in (0.1, 0.5):
        d = rho * scale**2 * g / torch.linalg.vector_norm(scale * g)
        expected = float(g @ d + 0.5 * a @ d**2)
        (found,) = ls.sam_sharpness(objective, [rho], scale="relative")
        yield f"SAM sharpness relative to the weights, rho {rho:g}", abs(found.value / expected - 1), 1e-10
    (average,) = ls.average_case_sharpness(objective, [0.1], scale="relative", pairs=200)
    distance = abs(average.value - 0.005 * float(a @ w**2)) / (average.standard_error or float("nan"))
    yield "average-case sharpness relative to the weights, in standard errors", distance, 4.0
    pairs = ls.eigenpairs_of(objective, name="bowl", checkpoint="w", tolerance=1e-6, max_products=2000)
    none: dict[str, Any] = dict.fromkeys(("rhos", "relative_rhos", "sigmas", "relative_sigmas"), ())
    report = ls.sharpness_report(objective, name="bowl", checkpoint="w", eigenpairs=pairs, **none)
    (found,) = [one for one in report.measures if one.measure == "lambda_max_norm_squared"]
    yield "lambda_max times norm squared of a bowl", abs(found.value / (3.0 * float(w @ w)) - 1), 1e-6
    moved_by = moved(objective.weights, [(0.1, objective.weights)])
    _, error = loss_at(objective, moved_by).rise_over(loss_at(objective, objective.weights))
    units = 3.0 * a * w**2 * (1.1**2 - 1)
    yield "standard error of a rise", abs(error / float(units.std() / 6**0.5) - 1), 1e-10


def files(device: torch.device) -> Iterator[tuple[str, float, float]]:
    """A surface out to other programs' files and back."""
    model = nn.Linear(3, 2).to(device)
    objective = Objective.from_model(model, nn.MSELoss(), [(torch.ones(4, 3), torch.zeros(4, 2))])
    with tempfile.TemporaryDirectory() as folder:
        grid = Grid(Axis(-1, 1, 4), Axis(0, 1, 3))
        surface = compute_surface(Path(folder) / "s.h5", objective, grid=grid, name="s", checkpoint_name="w")
        for form, write, read in (
            ("loss-landscape", loss_landscape_bytes, read_loss_landscape),
            ("CSV", surface_csv, read_surface_csv),
        ):
            path = Path(folder) / f"s.{form}"
            path.write_bytes(write(surface))
            again = read(path, name="s").surface
            same = all(np.array_equal(again.values[name], surface.values[name]) for name in surface.values)
            yield f"a surface as {form} and back", float(not same), 0.0


def network(device: torch.device, dtype: torch.dtype) -> ModelObjective:
    """A classifier on random data, away from any minimum."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 3)).double()
        x, y = torch.randn(20, 4, dtype=torch.float64), torch.randint(0, 3, (20,))
    batch = (x.to(device, dtype), y.to(device))
    return ModelObjective(
        model.to(device, dtype), [batch], lambda z, t: nn.functional.cross_entropy(z, t, reduction="none")
    )


def dense_hessian(objective: ModelObjective) -> Tensor:
    """Of the loss of one flat vector; not symmetrised, so that a wrong derivative shows.

    By autograd: nested torch.func transforms (`torch.func.hessian`) give a wrong Hessian for LayerNorm in torch 2.13.
    """
    layout = objective.layout
    (chunk,) = objective.chunks

    def loss(flat: Tensor) -> Tensor:
        return objective.loss(objective.outputs(layout.unflatten(flat), chunk), chunk).mean()

    hessian = torch.autograd.functional.hessian(loss, layout.flatten(objective.weights))  # type: ignore[no-untyped-call]
    assert isinstance(hessian, Tensor)
    return hessian
