"""From a configuration to a model."""

import torch

from samrec.config import RunConfig
from samrec.models.sasrec import SASRec


def build_model(config: RunConfig, item_count: int, generator: torch.Generator | None = None) -> SASRec:
    """The configured model; initialised if a generator is given, else with weights that are to be loaded."""
    model = SASRec(item_count, size=config.size, heads=config.heads, layers=config.layers, max_length=config.max_length)
    if generator is not None:
        model.initialise(generator)
    return model
