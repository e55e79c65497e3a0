"""What a training run would cost, from one step of it."""

import tempfile
import time
from typing import Any

import torch

from landscape.memory import peak_memory_mib
from samrec.config import RunConfig
from samrec.data.interactions import Interactions
from samrec.training.checkpoint import create_run
from samrec.training.streams import torch_seed
from samrec.training.trainer import Trainer


def estimate_cost(config: RunConfig, interactions: Interactions, *, device: torch.device) -> dict[str, Any]:
    """Steps, gradients, seconds and memory of a run to its cap. Takes two steps in a folder that is thrown away.

    They are the run's own first steps: the same batches, negatives and dropout masks, all from its seed. The random
    state of whoever asks is left as it was.
    """
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=_of_cuda(device)):
        trainer = Trainer(create_run(folder, config, interactions), interactions, device=device, show=False)
        trainer.dropout_generator.manual_seed(torch_seed(config.seed, "dropout", 1))
        batches = trainer.steps(1)
        trainer.step.take(*next(batches))
        began = time.perf_counter()
        ascent = trainer.step.take(*(next(batches, None) or next(trainer.steps(1))))
        seconds = (time.perf_counter() - began) / ascent.gradients
    steps = -(-len(trainer.trained_on) // config.batch_size)
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.named.values()),
        "training_tokens": len(trainer.sequences.items),
        "steps_an_epoch": steps,
        "gradients_to_the_cap": trainer.step.gradients_in(steps * config.epochs),
        "seconds_an_epoch_without_validation": round(trainer.step.gradients_in(steps) * seconds, 2),
        "dry_run_peak_memory_mib": round(peak_memory_mib()),
    }


def _of_cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
