"""A pre-training run as the beginning of a fine-tuning one: what is taken from it, and all that must fit.

The trunk with both its tables is taken: every tensor a SASRec has. Nothing is ever left at its random start instead: a
run that is missing, unfinished, of other data or of another shape is an error.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from samrec.config import Pretrained
from samrec.data.interactions import Interactions
from samrec.errors import CheckpointError, RunError
from samrec.models.sasrec import SASRec
from samrec.training.checkpoint import load_weights
from samrec.training.pretrain_run import PretrainRun

SHAPE = ("size", "heads", "layers", "max_length")
HEADS = ("heads.", "attribute_embedding.")  # of the pre-training losses alone


def find_pretrained(
    path: Path | str,
    interactions: Interactions,
    *,
    shape: Mapping[str, int],
    data_fraction: float | None = None,
    seed: int | None = None,
) -> Pretrained:
    """What a fine-tuning run's configuration says of the pre-training run in `path`.

    Args:
        path: its folder.
        interactions: what is to be fine-tuned on; must be what was pre-trained on.
        shape: size, heads, layers and max_length of the model; must be those of the pre-training.
        data_fraction: share of the training sequences to fine-tune on; must be the pre-training's. None asks nothing
            of its share.
        seed: of the fine-tuning; must be the pre-training's where that saw a share, which the seed draws.

    Raises:
        RunError: no pre-training run there, one that is not finished, of other data, of another shape or share.
        CheckpointError: its weights are cut short, not finite, or not those of the model.
    """
    run = PretrainRun(path)
    run.check_data(interactions)
    for name in SHAPE:
        if (there := getattr(run.config, name)) != shape[name]:
            raise RunError(
                f"expected a pre-training run with {name} {shape[name]} as asked, got {name} {there} in {path}"
            )
    share = run.config.data_fraction
    drawn_by = run.config.seed if share < 1 else None
    if data_fraction is not None and share != data_fraction:
        raise RunError(
            f"expected a pre-training run on data_fraction {data_fraction:g} as asked, got {share:g} in {path}"
        )
    if data_fraction is not None and drawn_by not in (None, seed):
        raise RunError(
            f"expected a pre-training run on the share {share:g} that seed {seed} draws, got that of seed {drawn_by} "
            f"in {path}"
        )
    weights, epochs = _trunk(run)
    model = SASRec(interactions.item_count, **shape)
    load_weights(model, weights, run.path / "state.safetensors")
    return Pretrained(
        run=str(run.path.resolve()),
        sha256=tensors_hash(weights),
        epochs=epochs,
        recipe=run.recipe,
        data_fraction=share,
        fraction_seed=drawn_by,
        gradients=run.record["cost"].get("gradients"),
        seconds=run.record["cost"].get("seconds"),
    )


def start_from(model: SASRec, pretrained: Pretrained) -> None:
    """Give the model the pre-trained weights; CheckpointError if they are no longer the ones the run was made with."""
    run = PretrainRun(pretrained.run)
    weights, _ = _trunk(run)
    found = tensors_hash(weights)
    if found != pretrained.sha256:
        raise CheckpointError(
            f"expected pre-trained weights {pretrained.sha256[:12]} in {pretrained.run}, got {found[:12]}"
        )
    load_weights(model, weights, run.path / "state.safetensors")


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].detach().cpu().to(torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def _trunk(run: PretrainRun) -> tuple[dict[str, Tensor], int]:
    if (status := run.record["status"]) != "finished":
        raise RunError(f"expected a finished pre-training run, got one that is {status} in {run.path}")
    state = run.state()
    if not state.weights:
        raise CheckpointError(f"expected pre-trained weights in {run.path / 'state.safetensors'}, got none")
    return {name: t for name, t in state.weights.items() if not name.startswith(HEADS)}, state.position.epoch
