"""A run is a folder: run.json, history.jsonl, best.safetensors, state.safetensors, and by option epoch-N.safetensors.

How one is made, opened and gone on with, and how its weights become a model; `run_folder` has what all runs share.
"""

import importlib.metadata
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from samrec.config import RunConfig, make_config
from samrec.data.catalog import open_data
from samrec.data.interactions import Interactions
from samrec.errors import CheckpointError, RunError
from samrec.fingerprints import fingerprint
from samrec.models.build import build_model
from samrec.models.encoder import Trunk
from samrec.models.sasrec import SASRec
from samrec.stage_config import StageConfig
from samrec.training.files import check_folder, read_tensors, write_json, write_tensors
from samrec.training.run_folder import RunFolder, epochs_in, written_in


class Run(RunFolder):
    """A run folder."""

    @cached_property
    def config(self) -> RunConfig:
        """The resolved configuration."""
        return self.configured(make_config)

    def data(self, source: str | None = None, *, data_dir: Path | None = None) -> Interactions:
        """The interactions the run was trained on; RunError if what is found now is other data."""
        interactions = open_data(source or self.config.data, data_dir=data_dir)
        self.check_data(interactions)
        return interactions

    def load_model(self, which: str = "best") -> SASRec:
        """The model with the weights of "best", "last" or "epoch-N", in eval mode; CheckpointError if they do not fit.

        Of epochs only those that `train --keep-every` kept are there.
        """
        kept = [f"epoch-{epoch}" for epoch in self.kept_epochs]
        if which not in ("best", "last", *kept):
            others = f", or {', '.join(kept)}" if kept else " (it was not trained with --keep-every)"
            raise RunError(f"expected 'best' or 'last' weights of {self.path}{others}, got {which!r}")
        path = self.path / ("state.safetensors" if which == "last" else f"{which}.safetensors")
        weights = self.state().weights if which == "last" else read_tensors(path)[0]
        model = build_model(self.config, int(self.record["item_count"]))
        load_weights(model, weights, path)
        return model.eval()

    def check_finished(self) -> None:
        """Refuse a finished run whose record, history, state or weights were lost or changed."""
        super().check_finished()
        metric = self.config.stop_metric
        if self.record["best"].get(metric) is None:
            raise RunError(f"{self.path / 'run.json'}: best.{metric}: expected a number, got none")
        self.load_model("best")
        self.load_model("last")

    @property
    def kept_epochs(self) -> list[int]:
        """Finished epochs whose weights were kept beside the best and the last ones; 0 is the start."""
        there = epochs_in(self.path)
        reached = self.state().position.epoch if there else 0
        return [epoch for epoch in there if epoch <= reached]

    def save_epoch(self, epoch: int, weights: Mapping[str, Tensor]) -> None:
        """Keep the weights of an epoch, for the path of the training."""
        write_tensors(self.path / f"epoch-{epoch}.safetensors", weights)

    def save_best(self, weights: Mapping[str, Tensor]) -> None:
        """Keep these weights as the best so far."""
        write_tensors(self.path / "best.safetensors", weights)


R = TypeVar("R", bound=RunFolder)


def create_run(path: Path | str, config: RunConfig, interactions: Interactions, **fields: Any) -> Run:
    """Make the folder and its run.json; RunError if a run is there already."""
    times = {"times": interactions.times_fingerprint} if config.holdout.hides_future_items else {}
    return create_folder(Run, path, config, interactions, fingerprints=times, **fields)


def create_folder(
    kind: type[R],
    path: Path | str,
    config: StageConfig,
    interactions: Interactions,
    *,
    fingerprints: Mapping[str, str | None] | None = None,
    **fields: Any,
) -> R:
    """Make the folder of a run of this kind, with `fingerprints` beside the usual ones; RunError if a run is there."""
    path = Path(path)
    check_folder(path)
    if (path / "run.json").exists():
        raise RunError(f"expected no run in {path}, got one: resume it, or name another folder")
    if left := written_in(path):
        raise RunError(f"expected no run in {path}, got {left[0]} of one whose run.json is missing")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the run folder {path}: {error.strerror or error}") from None
    record = {
        "format": kind.format,
        "config": config.model_dump(),
        "item_count": interactions.item_count,
        "fingerprints": {
            "data": interactions.fingerprint,
            "training": fingerprint(config.model_dump()),
            "training_without_seed": fingerprint(config.without_seed),
            **(fingerprints or {}),
        },
        "versions": {name: importlib.metadata.version(name) for name in ("samrec", "torch", "numpy")},
        "threads": torch.get_num_threads(),
        "status": "running",
        **fields,
    }
    write_json(path / "run.json", record)
    return kind(path)


def check_same(run: RunFolder, there: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to go on with a run of another configuration, or with one that was not trained here.

    Warns where the number of threads differs: the run then ends well, but not in an unbroken one's bits.
    """
    if run.record["status"] not in ("running", "diverged", "finished"):
        raise RunError(f"expected a run that was trained in {run.path}, got one that was {run.record['status']}")
    changed = [
        f"{name} {there[name]!r} there, {value!r} asked" for name, value in asked.items() if there[name] != value
    ]
    if changed:
        raise RunError(f"expected the configuration of the run in {run.path}, got another: {'; '.join(changed)}")
    begun, now = run.record.get("threads"), torch.get_num_threads()
    if run.record["status"] == "running" and begun not in (None, now):
        warnings.warn(
            f"{run.path} was begun with {begun} threads and goes on with {now}: it will not repeat bit for bit",
            stacklevel=3,
        )


def load_weights(model: Trunk, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into the model; CheckpointError names the first missing, extra, misshapen or not finite."""
    own = model.state_dict()
    for name in own:
        if name not in weights:
            raise CheckpointError(f"expected a tensor {name} in {path}, got none")
    for name, tensor in weights.items():
        if name not in own:
            raise CheckpointError(f"expected the tensors of {type(model).__name__} in {path}, got also {name}")
        if tensor.shape != own[name].shape:
            raise CheckpointError(
                f"expected {name} of shape {tuple(own[name].shape)} in {path}, got {tuple(tensor.shape)}"
            )
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"expected finite numbers in {name} of {path}, got NaN or infinity")
    model.load_state_dict(dict(weights))
