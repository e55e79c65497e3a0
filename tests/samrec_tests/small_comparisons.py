"""Runs that look finished and were never trained, for comparisons."""

from pathlib import Path

import torch

from samrec.config import make_config
from samrec.data.s3rec_text import read_s3rec_text
from samrec.models.build import build_model
from samrec.training.checkpoint import create_run


def make_run(folder: Path, data: Path, *, seed: int = 0, stopped: str = "patience", imported=None, **config):
    """A finished run that was never trained, or an imported one: weights drawn from the seed."""
    interactions = read_s3rec_text(data)
    settings = make_config(data=str(data), size=8, max_length=8, seed=seed, **config)
    ended = {"status": "finished", "stopped": stopped, "best": {"epoch": 2}, "cost": {"epochs": 3}}
    record = {"status": "imported", "imported": imported} if imported else ended
    run = create_run(folder, settings, interactions, **record)
    run.save_best(build_model(settings, interactions.item_count, torch.Generator().manual_seed(seed + 7)).state_dict())
    run.append_history({"epoch": 1, "loss": 1.5, "validation": {"NDCG@20": 0.1}, "weight_norm": 2.0, "seconds": 0.1})
    return run
