"""From a configuration to a base optimizer and to SAM around it."""

from collections.abc import Mapping

import torch
from torch import nn

from samrec.optim.base import make_optimizer
from samrec.optim.sam import SAM
from samrec.optim.schedule import Schedule
from samrec.stage_config import StageConfig


def build_optimizer(config: StageConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The configured base optimizer of all parameters."""
    return make_optimizer(
        model,
        name=config.optimizer,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def build_sam(
    config: StageConfig, named: Mapping[str, nn.Parameter], base: torch.optim.Optimizer, *, steps_an_epoch: int
) -> SAM | None:
    """The configured member of SAM's family around `base`; None where the run takes one gradient a step."""
    if not config.sam:
        return None
    schedule = None
    if config.rho_schedule != "constant":
        epochs = config.rho_epochs or config.epochs
        schedule = Schedule(config.rho_schedule, epochs, steps_an_epoch, config.rho_factor)
    return SAM(
        named,
        base,
        rho=config.rho,
        group=config.sam_group,
        adaptive=config.asam_eta if config.asam else None,
        period=config.sam_period,
        look=config.sam_alpha if config.sam_between == "look" else None,
        schedule=schedule,
    )
