"""Base optimizers, and the two ways of keeping weights small: decoupled decay and an L2 term of the loss.

    decay    w <- (1 - lr decay) w before each step of AdamW or SGD (Loshchilov and Hutter 2019, arXiv 1711.05101): no
             part of any gradient, so no part of SAM's ascent
    L2       l2 / 2 ||w||^2 beside the loss: enters both of SAM's gradients and an optimizer's moments

Both act on all parameters, as `weight_decay` does in the S3-Rec code, but for padding rows, which never change.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from samrec.errors import ConfigError

OPTIMIZERS = ("adam", "adamw", "sgd")


def make_optimizer(
    model: nn.Module, *, name: str = "adam", learning_rate: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """An optimizer of all parameters.

    Args:
        model: whose parameters; padding rows of its embeddings are left as they are.
        name: "adam" or "adamw" (betas .9 and .999, eps 1e-8), or "sgd".
        learning_rate: constant.
        momentum: of "sgd" alone.
        weight_decay: decoupled; of "adamw" and "sgd".

    Raises:
        ConfigError: another name, or a decoupled weight decay with adam.
    """
    parameters = list(model.parameters())
    if name not in OPTIMIZERS:
        raise ConfigError(f"expected an optimizer out of {', '.join(OPTIMIZERS)}, got {name!r}")
    if name == "adam":
        if weight_decay:
            raise ConfigError(f"expected adamw or sgd for a decoupled weight decay of {weight_decay:g}, got adam")
        return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    optimizer: torch.optim.Optimizer
    if name == "adamw":
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
    else:
        optimizer = torch.optim.SGD(parameters, lr=learning_rate, momentum=momentum, fused=True)
    if weight_decay:
        _keep_rows(optimizer, padding_rows(model))  # before anything shrinks them
        if name == "sgd":  # its own weight decay is an L2 term
            optimizer.register_step_pre_hook(_decay(weight_decay))
    return optimizer


def moment_names(make: Callable[[nn.Module], torch.optim.Optimizer]) -> tuple[str, ...]:
    """What an optimizer keeps for each parameter, such as exp_avg: found by letting it take one step of its own."""
    probe = nn.Linear(1, 1, bias=False)
    optimizer = make(probe)
    probe.weight.grad = torch.ones_like(probe.weight)
    optimizer.step()
    return tuple(name for name, value in optimizer.state[probe.weight].items() if isinstance(value, Tensor))


def padding_rows(model: nn.Module) -> list[tuple[Tensor, int]]:
    """Each embedding table with the row that stands for no item."""
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    return [(module.weight, module.padding_idx) for module in embeddings if module.padding_idx is not None]


class Penalty:
    """l2 / 2 ||w||^2 as a term of the loss, by its gradient l2 w."""

    def __init__(self, model: nn.Module, l2: float) -> None:
        if not l2 >= 0:
            raise ConfigError(f"expected an L2 coefficient >= 0, got {l2}")
        self.l2 = l2
        self._parameters = list(model.parameters())
        self._padding = padding_rows(model)

    def add_gradients(self, share: float = 1.0) -> None:
        """Add `share` of the penalty's gradient to every gradient there is."""
        found = [parameter for parameter in self._parameters if parameter.grad is not None]
        if not self.l2 or not found:
            return
        gradients: list[Any] = [parameter.grad for parameter in found]
        torch._foreach_add_(gradients, [parameter.data for parameter in found], alpha=self.l2 * share)
        for table, row in self._padding:
            if table.grad is not None:
                table.grad[row] = 0


def _decay(weight_decay: float) -> Callable[..., None]:
    @torch.no_grad()
    def decay(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if moved:
                torch._foreach_mul_(moved, 1 - group["lr"] * weight_decay)

    return decay


def _keep_rows(optimizer: torch.optim.Optimizer, rows: Sequence[tuple[Tensor, int]]) -> None:
    """Put these rows back after every step, bit for bit."""
    saved: list[Tensor] = []

    def save(*_: Any) -> None:
        saved[:] = [table.detach()[row].clone() for table, row in rows]

    def restore(*_: Any) -> None:
        for (table, row), kept in zip(rows, saved, strict=True):
            table.detach()[row] = kept

    optimizer.register_step_pre_hook(save)
    optimizer.register_step_post_hook(restore)
