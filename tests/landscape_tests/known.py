"""Objectives whose surface, gradient and Hessian are known or cheap to get densely; shared by the tests of `landscape`.

`quadratic` is L(w) = constant + 1/2 (w - minimum) . A (w - minimum) exactly, in float64, with per-unit noise that
cancels in the sum: paired standard errors are then not zero although the loss is exact. `small_network` is a tiny
embedding + MLP classifier with a padding row. Both are also loaders for `landscape_tests.known:FUNCTION`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from landscape.objective import ModelObjective, Objective, Recipe
from landscape.parameters import Layout, Params


@dataclass(frozen=True)
class Units:
    """A chunk: the number of targets of each unit and each unit's own slope, which sum to zero over all units."""

    counts: Tensor  # (units,)
    slopes: Tensor  # (units, n)


@dataclass
class Quadratic:
    """L(w) = constant + 1/2 d . A d with d = w - minimum, over one tensor for each of `shapes`."""

    matrix: Tensor
    minimum: Tensor
    constant: float
    layout: Layout
    weights: Params
    chunks: Sequence[Units]
    recipe: Recipe = field(default_factory=lambda: Recipe(None, {}))

    def outputs(self, params: Params, chunk: Any, *, differentiable_twice: bool = False) -> Tensor:  # noqa: ARG002
        flat = torch.cat([params[name].reshape(-1) for name in self.layout.shapes])
        return flat - self.minimum

    def loss(self, z: Tensor, chunk: Any) -> Tensor:
        return chunk.counts * (self.constant + 0.5 * z @ self.matrix @ z) + chunk.slopes @ z

    def metrics(self, params: Params, names: Sequence[str]) -> dict[str, Tensor]:
        """ "height": the first free coordinate, once and thrice as much for two units."""
        first = torch.cat([params[name].reshape(-1) for name in self.layout.shapes])[0]
        return {name: torch.stack([first, 3 * first]) for name in names}

    def value(self, flat: Tensor) -> float:
        """The loss at a flat point, without chunks or units."""
        d = flat - self.minimum
        return float(self.constant + 0.5 * d @ self.matrix @ d)


def quadratic(
    matrix: Tensor | None = None,
    *,
    size: int = 12,
    units: int = 9,
    batch_size: int = 4,
    seed: int = 0,
    constant: float = 0.25,
    at_minimum: bool = False,
) -> Quadratic:
    """A quadratic with this Hessian (by default a random indefinite one of `size`), away from its minimum.

    The weights are one tensor "table" of three columns where the size allows it, and a vector "bias" of the rest.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    if matrix is None:
        half = draw(size, size)
        matrix = (half + half.T) / 2
    matrix = matrix.double()
    size = len(matrix)
    rows = max(size // 3 - 1, 0)
    weights = {"table": draw(rows, 3), "bias": draw(size - 3 * rows)} if rows else {"bias": draw(size)}
    flat = torch.cat([tensor.reshape(-1) for tensor in weights.values()])
    minimum = flat.clone() if at_minimum else flat + 0.5 * draw(size)
    counts = torch.arange(1, units + 1, dtype=torch.float64) % 4 + 1
    slopes = draw(units, size)
    slopes -= slopes.mean(dim=0)
    chunks = [
        Units(counts[start : start + batch_size], slopes[start : start + batch_size])
        for start in range(0, units, batch_size)
    ]
    return Quadratic(matrix, minimum, constant, Layout.of(weights), weights, chunks)


def bowl(size: int, *, at_minimum: bool = False) -> Quadratic:
    """Convex, one chunk of three units, so that two hundred estimates take a second."""
    half = quadratic(size=size).matrix
    return quadratic(half @ half.T + 0.1 * torch.eye(size), units=3, batch_size=3, at_minimum=at_minimum)


def dense_hessian(objective: Objective) -> Tensor:
    """The Hessian of the mean loss over the free coordinates, dense, float64, by torch.func on one flat vector."""
    layout, weights = objective.layout, objective.weights
    count = sum(float(chunk.counts.sum()) for chunk in objective.chunks)
    fixed = {name: tensor.detach().double() for name, tensor in weights.items()}
    frozen = {name: layout.frozen_rows.get(name) for name in fixed}

    def loss(flat: Tensor) -> Tensor:
        params = layout.unflatten(flat)
        for name, rows in frozen.items():
            if rows is not None:
                params[name] = params[name].index_copy(0, rows, fixed[name][rows])
        sums = [
            objective.loss(objective.outputs(params, chunk, differentiable_twice=True), chunk).double().sum()
            for chunk in objective.chunks
        ]
        return torch.stack(sums).sum() / count

    hessian = torch.autograd.functional.hessian(loss, layout.flatten(weights))
    assert isinstance(hessian, Tensor)
    return (hessian + hessian.T) / 2


class Network(nn.Module):
    """Mean of the embeddings of three words (0 is padding) -> hidden layer -> class scores."""

    def __init__(self, *, words: int = 8, width: int = 4, hidden: int = 5, classes: int = 3, dropout: float = 0.0):
        super().__init__()
        self.embedding = nn.Embedding(words + 1, width, padding_idx=0)
        self.hidden = nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(hidden, classes)

    def forward(self, words: Tensor) -> Tensor:
        return self.scores(self.dropout(self.norm(torch.tanh(self.hidden(self.embedding(words).mean(dim=1))))))


def small_network(
    *,
    units: int = 21,
    batch_size: int = 7,
    seed: int = 0,
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float64,
    zero_row: int | None = None,
    fit: int = 30,
) -> ModelObjective:
    """A small classifier after `fit` steps of gradient descent on random data; in training mode if there is dropout.

    Row 8 of the embedding is never touched by the data and stands in the row group "untouched".
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Network(dropout=dropout).to(dtype)
        words = torch.randint(0, 8, (units, 3))
        classes = torch.randint(0, 3, (units,))
        weights = list(model.parameters())
        for _ in range(fit):  # by hand: the first optimizer of a process costs seconds of imports
            gradients = torch.autograd.grad(nn.functional.cross_entropy(model(words), classes), weights)
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients, strict=True):
                    weight -= 0.5 * gradient
    model.train(dropout > 0)
    if zero_row is not None:
        with torch.no_grad():
            model.hidden.weight[zero_row] = 0
    return ModelObjective(
        model,
        [(words[i : i + batch_size], classes[i : i + batch_size]) for i in range(0, units, batch_size)],
        lambda z, targets: nn.functional.cross_entropy(z, targets, reduction="none"),
        metrics=lambda scores, targets, names: {name: (scores.argmax(-1) == targets).double() for name in names},
        frozen_rows={"embedding.weight": torch.tensor([0])},
        row_groups={"untouched": {"embedding.weight": torch.tensor([8])}},
    )


def partial_network(*, users: int | None = None, split: str = "train", seed: int = 0) -> ModelObjective:
    """The small network on its first `users` units; another seed has other weights."""
    objective = small_network(seed=seed)
    chunks = objective.chunks if users is None else objective.chunks[:1]
    reduced = ModelObjective(objective.model, chunks, objective._loss, metrics=objective._metrics)
    reduced.facts = {"units_asked": users, "split": split}
    return reduced


def second_network(*, users: int | None = None) -> ModelObjective:
    """The small network with other weights, for the way to another checkpoint."""
    return partial_network(users=users, seed=1)


def third_network(*, users: int | None = None) -> ModelObjective:
    """And with others again."""
    return partial_network(users=users, seed=2)


class Cube(torch.autograd.Function):
    """x^3, differentiated once by hand: its backward pass has no derivative of any kind."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):
        return 3 * ctx.saved_tensors[0] ** 2 * slope


def cubed_network(*, users: int | None = None, seed: int = 0) -> ModelObjective:
    """Two cubed outputs in single precision: products come from central differences alone.

    `users` of its 24 units, drawn anew for another seed; the weights are always the same.
    """

    class Cubed(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            cubed: Tensor = Cube.apply(super().forward(x))
            return cubed

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, inputs = Cubed(6, 2), 0.3 * torch.randn(24, 6)
    chosen = torch.randperm(24, generator=torch.Generator().manual_seed(seed))[:users]
    return ModelObjective(model, [(inputs[chosen], torch.ones(len(chosen), 2))], lambda z, y: ((z - y) ** 2).sum(1))


def drifting_network(*, users: int | None = None) -> ModelObjective:
    """One name for two sets of weights: those of the environment's variable NETWORK_SEED."""
    return partial_network(users=users, seed=int(os.environ["NETWORK_SEED"]))


def slow_quadratic(*, seconds: float = 0.01, seed: int = 0) -> Quadratic:
    """The default quadratic with a wait in its loss: something to kill in the middle."""
    import time

    known = quadratic(seed=seed)
    first = known.chunks[0]

    class Slow(Quadratic):
        def loss(self, z: Tensor, chunk: Any) -> Tensor:
            if chunk is first:
                time.sleep(seconds)
            return super().loss(z, chunk)

    return Slow(known.matrix, known.minimum, known.constant, known.layout, known.weights, known.chunks)
