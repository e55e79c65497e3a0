"""Any `torch.nn.Module` as a pure function of its weights: nothing in it changes, nothing in it is left to chance.

The module is copied without its free weights, which are passed in at each call. The copy is in evaluation mode and has
its own buffers and frozen parameters, so that neither training the model further nor measuring moves the other. A
tensor that is tied, being in two places of the model, is one free tensor under its first name.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from landscape.errors import InvalidArgument, NotFrozen
from landscape.parameters import Params, content_hash


class AnyModel:
    """params, inputs -> outputs, for one module."""

    def __init__(self, model: Any, *, batch_norm: str = "running") -> None:
        """Copy the module; its free weights are those that require a gradient.

        Args:
            model: not changed, and not kept in step with later changes.
            batch_norm: "running" takes the statistics of training; "batch" those of each batch, so that the loss
                depends on how the data is cut.

        Raises:
            NotFrozen: dropout is on.
            InvalidArgument: no free weight, or a module that cannot be copied.
        """
        if not isinstance(model, nn.Module):
            raise InvalidArgument(f"expected a torch.nn.Module first, got a {type(model).__name__}")
        if batch_norm not in ("running", "batch"):
            raise InvalidArgument(f"expected batch_norm to be running or batch, got {batch_norm!r}")
        model = getattr(model, "_orig_mod", model)  # of torch.compile: derivatives of derivatives need the module
        _refuse_dropout(model)
        free = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        if not free:
            raise InvalidArgument(
                f"expected weights that require a gradient, got none in {type(model).__name__}: call "
                "model.requires_grad_(True), or for those that are to be free"
            )
        try:
            self.module = copy.deepcopy(model, {id(weight): weight for weight in free.values()}).eval()
        except Exception as error:
            raise InvalidArgument(
                f"expected a model that copy.deepcopy can copy, got {type(model).__name__}: {_line(error)}"
            ) from error
        self.weights: Params = {name: weight.detach().clone() for name, weight in free.items()}
        first = next(iter(self.weights.values()))
        self.device = first.device
        types = {weight.dtype for weight in self.weights.values()}
        self.dtype: torch.dtype | None = first.dtype if len(types) == 1 else None
        norms = [module for module in self.module.modules() if isinstance(module, _BatchNorm)]
        if batch_norm == "batch":
            for norm in norms:
                norm.track_running_stats = False
                norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        self.facts: dict[str, Any] = {"model": type(model).__name__}
        if norms:
            without = all(norm.running_mean is None for norm in norms)
            self.facts["batch_norm"] = "batch statistics" if without else "running statistics"
        frozen = {name: w.detach() for name, w in self.module.named_parameters() if name not in free}
        if frozen:
            self.facts["frozen_parameters"] = sum(weight.numel() for weight in frozen.values())
        if fixed := frozen | dict(self.module.named_buffers()):
            self.facts["fixed_tensors"] = content_hash(fixed)  # no weights, yet the loss depends on them

    def __call__(self, params: Params, inputs: Any, *, differentiable_twice: bool = False) -> Any:
        """What the module returns for these weights; `differentiable_twice` bars fused attention."""
        if isinstance(inputs, Mapping):
            positional: tuple[Any, ...] = ()
            named = dict(inputs)
        else:
            positional = inputs if isinstance(inputs, tuple) else (inputs,)
            named = {}
        if not differentiable_twice:
            return functional_call(self.module, dict(params), positional, named)
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no double backward
            return functional_call(self.module, dict(params), positional, named)

    def padding_rows(self) -> dict[str, Tensor]:
        """Padding rows of embeddings, which no data moves; of a tied table they are weights like others."""
        places: dict[int, list[str]] = {}
        for name, weight in self.module.named_parameters(remove_duplicate=False):
            places.setdefault(id(weight), []).append(name)
        return {
            places[id(module.weight)][0]: torch.tensor([module.padding_idx])
            for module in self.module.modules()
            if isinstance(module, nn.Embedding)
            and module.padding_idx is not None
            and places[id(module.weight)][0] in self.weights
            and len(places[id(module.weight)]) == 1
        }


def output_of(found: Any, output: str | int | None, *, own_loss: bool) -> Tensor:
    """The tensor that the loss takes, out of whatever a module returns.

    Args:
        found: a tensor; a mapping or an object with named tensors, as Hugging Face's models return; a tuple.
        output: the name or place of the tensor. By default `logits` where there are names and the first of a tuple;
            `loss` where the model computes its own.
        own_loss: whether it does.

    Raises:
        InvalidArgument: there is no such tensor.
    """
    wanted: str | int | None = output if output is not None else ("loss" if own_loss else None)
    if isinstance(found, Tensor):
        tensor: Any = found
    elif isinstance(found, tuple | list) and not hasattr(found, "_fields"):
        place = wanted if isinstance(wanted, int) else 0
        tensor = found[place] if -len(found) <= place < len(found) else None
    else:
        name = wanted if isinstance(wanted, str) else "logits"
        tensor = found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
    if isinstance(tensor, Tensor):
        return tensor.reshape(1) if own_loss and tensor.ndim == 0 else tensor
    there = _names(found)
    raise InvalidArgument(
        f"expected a tensor {'logits' if wanted is None else wanted!r} among a model's outputs, got "
        f"{type(found).__name__} of {there}: name the one the loss takes, as in output='scores'"
    )


def shapes_of(value: Any) -> str:
    """Shapes in nested inputs, for messages."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shapes_of(entry)}" for key, entry in value.items())
    if isinstance(value, tuple | list):
        return f"({', '.join(map(shapes_of, value))})"
    return type(value).__name__


def _refuse_dropout(model: nn.Module) -> None:
    on = [
        name or type(module).__name__
        for name, module in model.named_modules()
        if module.training
        and (
            (isinstance(module, _DropoutNd) and module.p > 0)
            or (isinstance(module, nn.RNNBase | nn.MultiheadAttention) and module.dropout > 0)
        )
    ]
    if on:
        shown = ", ".join(on[:3]) + (", ..." if len(on) > 3 else "")
        raise NotFrozen(f"expected dropout to be off, got it on in {shown}: call model.eval() first")


def _names(found: Any) -> str:
    if isinstance(found, Mapping):
        return ", ".join(map(str, found)) or "nothing"
    if isinstance(found, tuple | list):
        return ", ".join(getattr(found, "_fields", ())) or f"{len(found)} entries"
    return ", ".join(getattr(found, "__dict__", {})) or "no names"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
