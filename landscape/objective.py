"""The frozen objective: one loss, over one fixed set of data, as a function of the weights alone.

Every surface, eigenvalue and sharpness measure goes through this seam, so that all of them speak of the same loss.

L(w) = sum over units of S_u(w) / sum over units of n_u, where a unit is what is drawn independently (a user, an image),
S_u its summed loss and n_u its number of valid targets. Sums run in float64 across chunks and are divided once, so the
result does not depend on how the data is cut into chunks.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from landscape.any_model import AnyModel, output_of, shapes_of
from landscape.batches import MAX_BYTES, Batch, Piece, data_hash, fixed_pieces
from landscape.errors import InvalidArgument, LandscapeError, NonFiniteLoss, NotFrozen
from landscape.parameters import Layout, Params, Vector
from landscape.unit_losses import as_unit_loss

if TYPE_CHECKING:
    from abc import ABCMeta as _ProtocolType
else:
    _ProtocolType = type(Protocol)

# (outputs, targets) -> a value a unit, by name; or one function of (outputs, targets, names) for names without end
Metrics = Mapping[str, Callable[[Any, Any], Tensor]] | Callable[[Any, Any, Sequence[str]], Mapping[str, Tensor]]


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


class _FromModel(_ProtocolType):
    """Gives `Objective.from_model`: on the metaclass, so that it is no part of what an objective must have."""

    def from_model(cls, model: nn.Module, loss: Any, batches: Any, **options: Any) -> "ModelObjective":  # noqa: N805
        """An objective from any `torch.nn.Module`, a loss and some batches.

            model = resnet.eval()
            objective = Objective.from_model(model, torch.nn.CrossEntropyLoss(), loader)

        The model is never changed, and its weights are copied, so that training it further does not move the origin. A
        tied tensor is one free tensor; parameters that require no gradient and buffers stay as they are now, and their
        hash is kept with the results. Batches go to the model's device and floating-point type.

        Args:
            model: in evaluation mode; one in training mode is taken in evaluation mode too, unless it has dropout.
            loss: a loss of PyTorch such as `CrossEntropyLoss()` or `functional.mse_loss` (its mean becomes a sum a
                unit over a count); or a function of (outputs, targets) that returns the summed loss of each unit, as
                most do with reduction="none"; or None for the `loss` that the model computes by itself: a unit is
                then a batch, all batches weigh the same, and GGN products say nothing.
            batches: pairs (inputs, targets), inputs being a tensor, a tuple of arguments or a mapping of named ones;
                or mappings, as Hugging Face's collators give them; or `Batch`es. A DataLoader or a generator is drawn
                once and kept. The first axis of the targets is the units.
            options: all optional, by name:

                - targets: the entry of a mapping that goes to the loss, "labels".
                - output: name or place of what the loss takes among several outputs; by default `logits`, or the first.
                - counts: targets -> how many valid ones each unit has; by default what the loss's own mean counts,
                      or one. For the model's own loss: a batch -> the weight of its mean.
                - batch_norm: "running" statistics, or those of each "batch".
                - metrics: name -> function of (outputs, targets) that returns a value a unit; or one function of
                      (outputs, targets, names) that returns such a mapping.
                - frozen_rows: rows that are no free coordinates, by tensor; by default the padding rows of embeddings.
                - row_groups: named groups of rows; "untouched" are those the data never reaches.
                - blocks: patterns of tensor names for each named block; one a module at the top by default.
                - facts: JSON values that provenance keeps.
                - max_bytes: of a DataLoader or a generator, 4 GiB.

        Raises:
            NotFrozen: dropout is on, or the model draws something at random.
            InvalidArgument: shapes, a loss or batches that do not fit each other, in one line.
        """
        return ModelObjective(model, batches, loss, **options)


@runtime_checkable
class Objective(Protocol, metaclass=_FromModel):
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


@runtime_checkable
class OwnDerivatives(Protocol):
    """Derivatives of the summed loss of a chunk that an objective knows better than a graph would find them.

    An objective may offer them as `own_derivatives`; None, or no such attribute, leaves all to automatic
    differentiation. They must be exact and follow any change of `params`.
    """

    def gradient(self, params: Params, chunk: Any, names: Sequence[str]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The summed loss in float64, and its gradient in the tensors named."""
        ...

    def products(self, params: Params, chunk: Any, directions: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Hessian products with (columns, *shape) of some tensors; the others stand still and are not answered for."""
        ...


def own_derivatives(objective: Objective) -> OwnDerivatives | None:
    """What the objective offers, if it does."""
    found: OwnDerivatives | None = getattr(objective, "own_derivatives", None)
    return found


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
    total = torch.zeros(layout.size, dtype=torch.float64, device=next(iter(params.values())).device)
    loss = 0.0
    count = 0.0
    for chunk in objective.chunks:
        summed, gradients = summed_gradient(objective, params, chunk, list(params))
        total += layout.flatten(gradients)
        loss += summed.item()
        count += chunk.counts.sum().item()
    return loss / count, total / count


def summed_gradient(
    objective: Objective, params: Params, chunk: Any, names: Sequence[str]
) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The summed loss of one chunk, float64, and its gradient in the tensors named, in their own precision."""
    own = own_derivatives(objective)
    if own is not None:
        return own.gradient(params, chunk, names)
    leaves = {name: params[name].detach().requires_grad_(True) for name in names}
    with torch.enable_grad():
        summed = objective.loss(objective.outputs({**params, **leaves}, chunk), chunk).double().sum()
        parts = torch.autograd.grad(summed, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return summed.detach(), dict(zip(names, parts, strict=True))


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


class ModelObjective:
    """Any `torch.nn.Module` over fixed batches, as an objective; `Objective.from_model` makes one and says how."""

    def __init__(
        self,
        model: nn.Module,
        batches: Any,
        loss: Any,
        *,
        targets: str = "labels",
        output: str | int | None = None,
        counts: Callable[[Any], Tensor] | None = None,
        batch_norm: str = "running",
        metrics: Metrics | None = None,
        frozen_rows: Mapping[str, Int[Tensor, " rows"]] | None = None,
        row_groups: Mapping[str, Mapping[str, Int[Tensor, " rows"]]] | None = None,
        blocks: Mapping[str, tuple[str, ...]] | None = None,
        facts: Mapping[str, Any] | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Fix the data and the loss; two forward passes over the first batch show whether they fit."""
        self.model = model
        self._module = AnyModel(model, batch_norm=batch_norm)
        self.weights: Params = self._module.weights
        shapes = {name: weight.shape for name, weight in self.weights.items()}
        rows = self._module.padding_rows() if frozen_rows is None else frozen_rows
        self.layout = Layout(shapes, rows, row_groups or {}, blocks or {})
        self.recipe = Recipe(None, {})
        self._loss = as_unit_loss(loss, self._module.device, self._module.dtype)
        self._output, self._metrics = output, metrics
        pieces = fixed_pieces(
            batches,
            targets=None if self._loss.own else targets,
            device=self._module.device,
            dtype=self._module.dtype,
            max_bytes=max_bytes,
        )
        self.chunks = self._counted(pieces, counts)
        own = {"loss": self._loss.name, "batches": data_hash(self.chunks)}
        self.facts = self._module.facts | own | dict(facts or {})

    def outputs(self, params: Params, chunk: Any, *, differentiable_twice: bool = False) -> Tensor:
        """Outputs of the model with these weights in place of its own."""
        found = self._module(params, chunk.inputs, differentiable_twice=differentiable_twice)
        return output_of(found, self._output, own_loss=self._loss.own)

    def loss(self, z: Tensor, chunk: Any) -> Float[Tensor, " units"]:
        """Summed loss of each unit."""
        sums: Tensor = self._loss(z, chunk.targets)
        return sums * chunk.counts.to(sums.dtype) if self._loss.own else sums

    def metrics(self, params: Params, names: Sequence[str]) -> dict[str, Float[Tensor, " units"]]:
        """Named metrics, a value a unit. One forward pass over the data."""
        known = self._metrics
        if known is None or (isinstance(known, Mapping) and not known.keys() >= set(names)):
            there = "no metrics" if known is None else f"metrics out of {', '.join(known)}"
            raise InvalidArgument(f"expected {there} from this objective, got {', '.join(names)}")
        found: list[Mapping[str, Tensor]] = []
        with torch.no_grad():
            for chunk in self.chunks:
                z = self.outputs(params, chunk)
                if isinstance(known, Mapping):
                    found.append({name: known[name](z, chunk.targets) for name in names})
                else:
                    found.append(known(z, chunk.targets, names))
        return {name: torch.cat([part[name].double() for part in found]) for name in names}

    def _counted(self, pieces: Sequence[Piece], counts: Callable[[Any], Tensor] | None) -> list[Batch]:
        """The pieces with their targets counted, after a trial of the first."""
        first, loss = pieces[0], self._loss
        z, again = self._trial(first), self._trial(first)
        if not torch.allclose(z, again, rtol=0, atol=0, equal_nan=True):
            raise NotFrozen(
                "expected the same outputs twice at the same weights, got others: switch off what the model draws at "
                "random in evaluation mode"
            )
        units = [1 if loss.own else piece.units for piece in pieces]
        with self._explained(f"the loss {loss.name}", f"outputs {shapes_of(z)} and targets {shapes_of(first.targets)}"):
            elements = torch.Size() if loss.own or loss.mean is None else loss.elements(z, first.targets).shape
        batches = []
        for piece, size in zip(pieces, units, strict=True):
            if piece.counts is not None:
                counted = piece.counts
            elif counts is not None:
                counted = counts(piece.inputs if loss.own else piece.targets).double().reshape(-1)
            else:
                counted = loss.counts(piece.targets, elements, size)
            batches.append(Batch(piece.inputs, piece.targets, counted.double().to(self._module.device)))
        with self._explained(f"the loss {loss.name}", f"outputs {shapes_of(z)} and targets {shapes_of(first.targets)}"):
            loss.check(z, first.targets, batches[0].counts, len(batches[0].counts))
        return batches

    def _trial(self, piece: Piece) -> Tensor:
        with self._explained("the model", f"inputs {shapes_of(piece.inputs)}"):
            return output_of(self._module(self.weights, piece.inputs), self._output, own_loss=self._loss.own)

    @contextlib.contextmanager
    def _explained(self, what: str, given: str) -> Iterator[None]:
        """Without a graph, and with shapes beside the complaint of whoever did not take them."""
        try:
            with torch.no_grad():
                yield
        except LandscapeError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InvalidArgument(f"expected {given} to fit {what}, got {type(error).__name__}: {reason}") from error
