"""Any loss as what the frozen objective needs: a summed loss for each unit, and how many targets each unit has.

L = sum of losses / number of targets does not depend on how the data is cut into batches; a mean a batch does. So a
loss of PyTorch with `reduction="mean"` is taken with `reduction="none"`, its elements summed unit by unit and its
targets counted the way its own mean counts them (class weights, ignored targets), and both are compared on a batch.
"""

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.errors import InvalidArgument

Count = Callable[[Any], Tensor]
OWN = "the model's own"
NO_REDUCTION = "return one number for each unit (reduction='none'), not their mean"


@dataclass(frozen=True)
class UnitLoss:
    """(outputs, targets) -> the summed loss of each unit."""

    function: Callable[[Any, Any], Any]
    name: str  # for the record
    mean: Callable[[Any, Any], Tensor] | None = None  # what the loss itself would return, where it can be asked
    of_classes: bool = False  # cross-entropy: counts by its own rules
    ignored: int = -100  # targets it leaves out
    class_weights: Tensor | None = None
    of_units: bool = False  # its own mean is over units, not over all elements
    own: bool = False  # the model computes it

    def __call__(self, z: Any, targets: Any) -> Any:
        """(units,); added up in float64 where a unit has several elements. Unchecked: see `check`."""
        if self.mean is None:
            return self.function(z, targets)
        elements = self.elements(z, targets)
        return elements if elements.ndim == 1 else elements.double().reshape(len(elements), -1).sum(dim=1)

    def elements(self, z: Any, targets: Any) -> Tensor:
        """The loss before any sum, units first."""
        found: Tensor = self.function(self._arranged(z, targets), targets)
        return found

    def counts(self, targets: Any, elements: torch.Size, units: int) -> Float[Tensor, " units"]:
        """Valid targets of each unit, float64, as the loss's own mean counts them.

        Args:
            targets: of a batch.
            elements: shape of the losses of the elements of some batch.
            units: in this batch.
        """
        device = next((t.device for t in (targets, self.class_weights) if isinstance(t, Tensor)), None)
        if self.own or self.mean is None or self.of_units or len(elements) == 1:
            if self.of_classes and _is_of_indices(targets):
                return self._class_counts(targets, units)
            return torch.ones(units, dtype=torch.float64, device=device)
        if self.of_classes:
            if _is_of_indices(targets):
                return self._class_counts(targets, units)
            each = targets.shape[2:].numel()  # (units, classes, ...) of probabilities
        elif isinstance(targets, Tensor) and targets.ndim == len(elements):
            each = targets.shape[1:].numel()
        else:
            raise InvalidArgument(
                f"expected a loss whose elements match its targets, got elements {tuple(elements)} and targets "
                f"{_shape(targets)}: say how many targets each unit has, as in counts=lambda targets: ..."
            )
        return torch.full((units,), float(each), dtype=torch.float64, device=device)

    def check(self, z: Any, targets: Any, counts: Tensor, units: int) -> None:
        """Refuse a loss that gives no number for each unit, or whose mean is not the sum over the counts.

        Raises:
            InvalidArgument: as said.
        """
        sums = self(z, targets)
        if not isinstance(sums, Tensor) or sums.shape != (units,):
            came = f"shape {tuple(sums.shape)}" if isinstance(sums, Tensor) else f"a {type(sums).__name__}"
            more = f": {NO_REDUCTION}" if not isinstance(sums, Tensor) or sums.ndim == 0 else ": sum over the rest"
            raise InvalidArgument(f"expected a loss for each of {units} units, shape ({units},), got {came}{more}")
        if self.mean is None:
            return
        ours = float(sums.double().sum() / counts.sum())
        theirs = float(self.mean(self._arranged(z, targets), targets))
        if not abs(ours - theirs) <= 1e-4 * abs(theirs) + 1e-6 and ours == ours:
            raise InvalidArgument(
                f"expected {self.name} to be a mean over its targets, {ours:.6g} on the first batch, got {theirs:.6g}: "
                f"{NO_REDUCTION}, and say the counts"
            )

    def _arranged(self, z: Any, targets: Any) -> Any:
        """Scores with the classes last, as language models give them, in PyTorch's order: classes second.

        Where both readings fit, PyTorch's stands.
        """
        if not (self.of_classes and isinstance(z, Tensor) and z.ndim >= 3 and _is_of_indices(targets)):
            return z
        fits = (z.shape[0], *z.shape[2:]) == tuple(targets.shape)
        return z.movedim(-1, 1) if not fits and z.shape[:-1] == targets.shape else z

    def _class_counts(self, targets: Tensor, units: int) -> Tensor:
        valid = (targets != self.ignored).double()
        if self.class_weights is not None:
            valid = valid * self.class_weights.double()[targets.clamp(min=0)]
        return valid.reshape(units, -1).sum(dim=1)


def as_unit_loss(loss: Any, device: torch.device, dtype: torch.dtype | None = None) -> UnitLoss:
    """A loss of PyTorch, a function of its kind, a function that returns a loss a unit, or None: the model's own.

    Raises:
        InvalidArgument: no loss, or one that sums over a batch.
    """
    if isinstance(loss, UnitLoss):
        return loss
    if loss is None:
        return UnitLoss(lambda z, _: z, OWN, own=True)
    if isinstance(loss, type) or not callable(loss):
        order = f"a {type(loss).__name__}: the order is from_model(model, loss, batches)"
        hint = f"the class {loss.__name__}: make one, {loss.__name__}()" if isinstance(loss, type) else order
        raise InvalidArgument(f"expected a loss to call with (outputs, targets), got {hint}")
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        _check_reduction(loss.reduction)
        kept: Any = copy.deepcopy(loss).to(device, dtype)
        apart = copy.deepcopy(kept)
        apart.reduction = "none"
        if kept.reduction == "none":
            kept.reduction = "mean"
        of_classes = isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss)
        found = UnitLoss(apart, type(loss).__name__, kept, of_classes, of_units=kept.reduction == "batchmean")
        return _with_class_rules(found, vars(kept) | dict(kept.named_buffers())) if of_classes else found
    if (function := _with_reduction(loss)) is not None:
        options = loss.keywords if isinstance(loss, functools.partial) else {}
        _check_reduction(options.get("reduction", "mean"))
        found = UnitLoss(
            functools.partial(loss, reduction="none"),
            function.__name__,
            functools.partial(loss, reduction="mean"),
            function in (F.cross_entropy, F.nll_loss),
        )
        return _with_class_rules(found, options)
    name = getattr(loss, "__name__", type(loss).__name__)
    return UnitLoss(loss, "custom" if name == "<lambda>" else name)


def _with_class_rules(loss: UnitLoss, options: Any) -> UnitLoss:
    return replace(loss, ignored=options.get("ignore_index", -100), class_weights=options.get("weight"))


def _with_reduction(loss: Callable[..., Any]) -> Any:
    """The function itself, if it is one with a `reduction` to choose."""
    try:
        parameters = inspect.signature(loss).parameters
    except (TypeError, ValueError):
        return None
    function = loss.func if isinstance(loss, functools.partial) else loss
    return function if "reduction" in parameters and hasattr(function, "__name__") else None


def _check_reduction(reduction: Any) -> None:
    if reduction not in ("mean", "none", "batchmean"):
        raise InvalidArgument(
            f"expected a loss with reduction 'mean' or 'none', got {reduction!r}: the loss looked at is always the sum "
            "divided by the number of targets"
        )


def _is_of_indices(targets: Any) -> bool:
    return isinstance(targets, Tensor) and not targets.is_floating_point()


def _shape(targets: Any) -> str:
    return str(tuple(targets.shape)) if isinstance(targets, Tensor) else type(targets).__name__
