"""From a configuration to a model and to the loss it descends."""

import torch

from samrec.config import RunConfig
from samrec.models.cl4srec import ContrastiveLoss
from samrec.models.losses import BatchLoss, Loss, loss_named
from samrec.models.sasrec import SASRec


def build_model(config: RunConfig, item_count: int, generator: torch.Generator | None = None) -> SASRec:
    """The configured model; initialised if a generator is given, else with weights that are to be loaded."""
    model = SASRec(item_count, size=config.size, heads=config.heads, layers=config.layers, max_length=config.max_length)
    if generator is not None:
        model.initialise(generator)
    return model


def build_losses(config: RunConfig, item_count: int) -> tuple[Loss, BatchLoss]:
    """The configured loss of a recommender, and what training descends: itself, or with a contrast added."""
    loss = loss_named(config.loss, item_count=item_count, negative_count=config.negative_count, gbce_t=config.gbce_t)
    return loss, loss if config.contrast is None else ContrastiveLoss(loss, config.contrast)
