"""The frozen objective: one loss, over one fixed set of data, as a function of the weights alone.

Every surface, eigenvalue and sharpness measure goes through this seam, so that all of them speak of the same loss.

L(w) = sum over units of S_u(w) / sum over units of n_u, where a unit is what is drawn independently (a user, an image),
S_u its summed loss and n_u its number of valid targets. Sums run in float64 across chunks and are divided once, so the
result does not depend on how the data is cut into chunks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.errors import InvalidArgument, NonFiniteLoss, NotFrozen
from landscape.parameters import Layout, Params, Vector


@runtime_checkable
class Chunk(Protocol):
    """A fixed piece of the data."""

    @property
    def counts(self) -> Float[Tensor, " units"]:
        """Valid targets of each unit in this chunk, float64."""
        ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a worker needs to build the same objective: nothing live. `target` is None for one made in this process."""

    target: str | None
    settings: Mapping[str, Any]


@runtime_checkable
class Objective(Protocol):
    """A loss over fixed data as a function of the weights. `outputs` and `loss` are apart so that GGN products work."""

    @property
    def layout(self) -> Layout:
        """Names, shapes, free coordinates, filters, named row groups."""
        ...

    @property
    def weights(self) -> Params:
        """The origin: the checkpoint's own weights. Nobody changes them in place."""
        ...

    @property
    def recipe(self) -> Recipe:
        """How a worker rebuilds this objective."""
        ...

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The data, in fixed pieces."""
        ...

    def outputs(self, params: Params, chunk: Any, *, differentiable_twice: bool = False) -> Tensor:
        """Model outputs z for the chunk, differentiable in params; `differentiable_twice` bars fused kernels."""
        ...

    def loss(self, z: Tensor, chunk: Any) -> Float[Tensor, " units"]:
        """Summed loss of each unit, from the outputs alone."""
        ...

    def metrics(self, params: Params, names: Sequence[str]) -> dict[str, Float[Tensor, " units"]]:
        """Named metrics, a value a unit of their own split, ready to be averaged (NDCG@10 of each user)."""
        ...


@dataclass(frozen=True, slots=True)
class LossValue:
    """The loss with what is needed for paired errors."""

    value: float
    sums: NDArray[np.float64]  # (units,) summed loss of each unit, in chunk order
    counts: NDArray[np.float64]  # (units,) valid targets of each unit

    def rise_over(self, centre: "LossValue") -> tuple[float, float]:
        """The difference value - centre.value and its standard error over units.

        A ratio estimator of paired differences: with d_u = S_u - S_u(centre) and R = sum d / sum n, the error is
        sqrt(U/(U-1) sum (d_u - R n_u)^2) / sum n (Cochran, Sampling Techniques, chapter 6). NaN for a single unit.
        """
        differences = self.sums - centre.sums
        total = self.counts.sum()
        rise = float(differences.sum() / total)
        units = len(differences)
        if units < 2:
            return rise, float("nan")
        spread = differences - rise * self.counts
        return rise, float(np.sqrt(units / (units - 1) * np.square(spread).sum()) / total)


def loss_at(objective: Objective, params: Params) -> LossValue:
    """Evaluate the loss once over all chunks, without a graph. One forward pass over the data."""
    with torch.no_grad():
        sums = [objective.loss(objective.outputs(params, chunk), chunk).double() for chunk in objective.chunks]
    counts = torch.cat([chunk.counts for chunk in objective.chunks]).double().cpu().numpy()
    all_sums = torch.cat(sums).cpu().numpy()
    return LossValue(float(all_sums.sum() / counts.sum()), all_sums, counts)


def gradient_at(objective: Objective, params: Params) -> tuple[float, Vector]:
    """The loss and its gradient over the free coordinates, float64. One forward and one backward pass."""
    layout = objective.layout
    leaves = {name: tensor.detach().requires_grad_(True) for name, tensor in params.items()}
    total = torch.zeros(layout.size, dtype=torch.float64, device=next(iter(leaves.values())).device)
    loss = 0.0
    count = 0.0
    for chunk in objective.chunks:
        summed = objective.loss(objective.outputs(leaves, chunk), chunk).double().sum()
        gradients = torch.autograd.grad(summed, list(leaves.values()), allow_unused=True, materialize_grads=True)
        total += layout.flatten(dict(zip(leaves, gradients, strict=True)))
        loss += summed.item()
        count += chunk.counts.sum().item()
    return loss / count, total / count


def check_frozen(objective: Objective) -> LossValue:
    """Evaluate twice at the origin and return the loss.

    Raises:
        NotFrozen: the two differ: dropout is on, or negatives are redrawn.
        NonFiniteLoss: the loss at the origin is NaN or infinite.
    """
    first, second = loss_at(objective, objective.weights), loss_at(objective, objective.weights)
    if not np.isfinite(first.value):
        raise NonFiniteLoss(f"expected a finite loss at the checkpoint, got {first.value}")
    if not np.array_equal(first.sums, second.sums):
        raise NotFrozen(
            f"expected the same loss twice at the same weights, got {first.value!r} and {second.value!r}: "
            "switch dropout off and fix what is drawn at random"
        )
    return first


@dataclass(frozen=True, slots=True)
class Batch:
    """A chunk of inputs and targets, the first axis of both being the units; one valid target a unit unless said."""

    inputs: Tensor
    targets: Tensor
    counts: Float[Tensor, " units"]


class ModelObjective:
    """Any `torch.nn.Module` over fixed batches, as an objective.

    The model is used in the mode it is in (put it in `eval()`: dropout is refused later) and never changed; its
    weights are copied here, so that training it further does not move the origin.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[tuple[Tensor, Tensor]] | Sequence[Batch],
        loss: Callable[[Tensor, Tensor], Float[Tensor, " units"]],
        *,
        metrics: Callable[[Tensor, Tensor, Sequence[str]], dict[str, Float[Tensor, " units"]]] | None = None,
        frozen_rows: Mapping[str, Int[Tensor, " rows"]] | None = None,
        row_groups: Mapping[str, Mapping[str, Int[Tensor, " rows"]]] | None = None,
        blocks: Mapping[str, tuple[str, ...]] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Fix the data and the loss.

        Args:
            model: gives its outputs from `model(inputs)`.
            batches: pairs (inputs, targets) of one valid target a unit, or `Batch`es with their own counts.
            loss: (outputs, targets) -> the summed loss of each unit.
            metrics: (outputs, targets, names) -> a value a unit for each name.
            frozen_rows: rows that are no free coordinates, such as the padding row of an embedding.
            row_groups: named groups of rows; "untouched" are those the data never reaches.
            blocks: patterns of tensor names for each named block; one a module at the top by default.
            facts: JSON values that provenance keeps (a data hash, ...).
        """
        if not batches:
            raise InvalidArgument("expected at least one batch, got none")
        self.model = model
        self.weights: Params = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        shapes = {name: weight.shape for name, weight in self.weights.items()}
        self.layout = Layout(shapes, frozen_rows or {}, row_groups or {}, blocks or {})
        self.recipe = Recipe(None, {})
        self.facts = dict(facts or {})
        self.chunks = [
            batch
            if isinstance(batch, Batch)
            else Batch(*batch, torch.ones(len(batch[1]), dtype=torch.float64, device=batch[1].device))
            for batch in batches
        ]
        self._loss, self._metrics = loss, metrics

    def outputs(self, params: Params, chunk: Any, *, differentiable_twice: bool = False) -> Tensor:
        """Outputs of the model with these weights in place of its own."""
        if not differentiable_twice:
            return cast(Tensor, functional_call(self.model, dict(params), (chunk.inputs,)))
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no double backward
            return cast(Tensor, functional_call(self.model, dict(params), (chunk.inputs,)))

    def loss(self, z: Tensor, chunk: Any) -> Float[Tensor, " units"]:
        """Summed loss of each unit."""
        return self._loss(z, chunk.targets)

    def metrics(self, params: Params, names: Sequence[str]) -> dict[str, Float[Tensor, " units"]]:
        """Named metrics, a value a unit. One forward pass over the data."""
        if self._metrics is None:
            raise InvalidArgument(f"expected no metrics from this objective, got {', '.join(names)}")
        with torch.no_grad():
            parts = [self._metrics(self.outputs(params, chunk), chunk.targets, names) for chunk in self.chunks]
        return {name: torch.cat([part[name] for part in parts]) for name in names}
