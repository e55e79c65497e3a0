"""A run is a folder: run.json, history.jsonl, best.safetensors, state.safetensors, and by option epoch-N.safetensors.

`state.safetensors` is written last after every epoch and alone is the truth: resuming cuts the history back to its
epoch. Randomness is a function of (seed, stream, epoch), so no generator needs saving. No pickle is written or read.
"""

import contextlib
import importlib.metadata
import json
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from samrec.config import RunConfig, make_config
from samrec.data.catalog import open_data
from samrec.data.interactions import Interactions
from samrec.errors import CheckpointError, ConfigError, RunError
from samrec.fingerprints import fingerprint
from samrec.models.build import build_model
from samrec.models.encoder import Trunk
from samrec.models.sasrec import SASRec
from samrec.stage_config import StageConfig
from samrec.training.files import check_folder, read_json, read_tensors, write_bytes, write_json, write_tensors
from samrec.training.run_records import Epoch, PositionRecord, Record, TrainingEpoch, TrainingRecord, checked

FORMAT = "samrec run 1"
WRITTEN = ("state.safetensors", "best.safetensors", "history.jsonl")  # beside run.json

C = TypeVar("C", bound=StageConfig)


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run has come."""

    epoch: int = 0  # finished epochs
    best_epoch: int = 0
    best_score: float = float("-inf")
    gradients: int = 0  # backward passes over a batch
    seconds: float = 0.0  # training and validation, summed over resumes

    @property
    def stalled(self) -> int:
        """Epochs since the best one."""
        return self.epoch - self.best_epoch


@dataclass(frozen=True, slots=True)
class State:
    """All that resuming needs."""

    position: Position
    weights: dict[str, Tensor]
    moments: dict[str, Tensor] = field(default_factory=dict)  # the base optimizer's, by parameter name
    sam: dict[str, Tensor] = field(default_factory=dict)  # what SAM's variants keep between steps


class RunFolder(ABC):
    """What every kind of run has: its record, its history and its state."""

    format = FORMAT
    record_kind: type[Record] = TrainingRecord
    epoch_kind: type[Epoch] = TrainingEpoch

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.record = read_json(self.path / "run.json")
        if self.record.get("format") != self.format:
            raise RunError(
                f"expected a run folder of format {self.format!r}, got {self.record.get('format')!r} in {path}"
            )
        checked(self.record_kind, self.record, str(self.path / "run.json"), RunError)

    @property
    @abstractmethod
    def config(self) -> StageConfig:
        """The resolved configuration."""

    def configured(self, make: Callable[..., C]) -> C:
        """What `make` takes the record's configuration for; RunError names the file if it takes it for none."""
        try:
            return make(**self.record["config"])
        except ConfigError as error:
            raise RunError(f"{self.path / 'run.json'}: {error}") from None

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.resolve().name

    def check_data(self, interactions: Interactions) -> None:
        """Refuse other data than the run's own."""
        expected = self.record["fingerprints"]["data"]
        if interactions.fingerprint != expected:
            raise RunError(
                f"expected the data {self.path} was trained on ({expected[:12]}), "
                f"got {interactions.source} ({interactions.fingerprint[:12]})"
            )
        if self.record["fingerprints"].get("times", interactions.times_fingerprint) != interactions.times_fingerprint:
            raise RunError(f"expected the times {self.path} was split by, got others in {interactions.source}")

    def state(self) -> State:
        """The last finished epoch's state; position 0 and no weights if none was finished.

        A training writes it before anything else: RunError if it is missing beside what comes after it.
        """
        path = self.path / "state.safetensors"
        if not path.exists():
            if later := written_in(self.path):
                raise RunError(f"expected {path} beside {later[0]}, got none: nothing says how far the run came")
            return State(Position(), {})
        tensors, metadata = read_tensors(path)
        if "position" not in metadata:
            raise CheckpointError(f"expected the state of a run in {path}, got tensors without a position")
        try:
            content = json.loads(metadata["position"])
        except ValueError as error:
            raise CheckpointError(f"expected JSON as the position in {path}, got {error}") from None
        position = Position(**checked(PositionRecord, content, f"position in {path}", CheckpointError).model_dump())
        if position.epoch and not any(name.startswith("weights/") for name in tensors):
            raise CheckpointError(f"expected the weights of epoch {position.epoch} in {path}, got none")
        return State(
            position,
            {name.removeprefix("weights/"): t for name, t in tensors.items() if name.startswith("weights/")},
            {name.removeprefix("moments/"): t for name, t in tensors.items() if name.startswith("moments/")},
            {name.removeprefix("sam/"): t for name, t in tensors.items() if name.startswith("sam/")},
        )

    def save_state(self, state: State) -> None:
        """Keep all that resuming needs; from here on this epoch is finished."""
        tensors = {f"weights/{name}": tensor for name, tensor in state.weights.items()}
        tensors |= {f"moments/{name}": tensor for name, tensor in state.moments.items()}
        tensors |= {f"sam/{name}": tensor for name, tensor in state.sam.items()}
        write_tensors(self.path / "state.safetensors", tensors, {"position": json.dumps(asdict(state.position))})

    def begin_state(self) -> None:
        """Keep a state of no epoch where there is none: from here on a state that is missing was lost."""
        if not (self.path / "state.safetensors").exists():
            self.save_state(State(Position(), {}))

    def check_finished(self) -> None:
        """Refuse a finished run whose record, history or state was lost or changed."""
        record, place = self.record, self.path / "run.json"
        epochs, reached = len(self.history()), self.state().position.epoch
        if not epochs == reached == record["cost"]["epochs"]:
            raise RunError(
                f"expected {record['cost']['epochs']} epochs of the finished run in {self.path}, got {epochs} in its "
                f"history and {reached} in its state"
            )
        for name in ("gradients", "seconds"):
            if record["cost"].get(name) is None:
                raise RunError(f"{place}: cost.{name}: expected a value, got none")

    def history(self) -> list[dict[str, Any]]:
        """The lines of history.jsonl, an epoch each."""
        return self._entries(self._history_lines())

    def append_history(self, entry: Mapping[str, Any]) -> None:
        """Add an epoch's line."""
        try:
            with (self.path / "history.jsonl").open("a") as file:
                file.write(json.dumps(entry) + "\n")
                file.flush()
                os.fsync(file.fileno())  # before the state that counts on it
        except OSError as error:
            raise RunError(f"cannot write {self.path / 'history.jsonl'}: {error.strerror or error}") from None

    def cut_history(self, epoch: int) -> None:
        """Keep the lines of the first `epoch` epochs, whatever stands behind them; RunError if one is missing."""
        kept = self._entries(self._history_lines()[:epoch])
        if len(kept) < epoch:
            raise RunError(f"expected {epoch} epochs in {self.path / 'history.jsonl'}, got {len(kept)}")
        write_bytes(self.path / "history.jsonl", "".join(json.dumps(entry) + "\n" for entry in kept).encode())

    def _history_lines(self) -> list[bytes]:
        path = self.path / "history.jsonl"
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # a line a kill cut off has no newline

    def _entries(self, lines: list[bytes]) -> list[dict[str, Any]]:
        path = self.path / "history.jsonl"
        try:
            entries = [json.loads(line) for line in lines]
        except ValueError as error:
            raise RunError(f"expected a JSON object in each line of {path}, got {error}") from None
        for number, entry in enumerate(entries, start=1):
            found = checked(self.epoch_kind, entry, f"line {number} of {path}", RunError)
            if found.epoch != number:
                raise RunError(f"expected epoch {number} in line {number} of {path}, got {found.epoch}")
        return entries

    def discard(self) -> None:
        """Take back a run that was made and cannot be trained; the folder stays if something else is in it."""
        for name in ("run.json", *WRITTEN, *(f"epoch-{epoch}.safetensors" for epoch in epochs_in(self.path))):
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def update(self, **fields: Any) -> None:
        """Change fields of run.json."""
        self.record = {**self.record, **fields}
        write_json(self.path / "run.json", self.record)


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


def written_in(path: Path) -> list[str]:
    """What a training has written beside run.json; an empty history counts for nothing."""
    return [name for name in WRITTEN if (path / name).is_file() and (path / name).stat().st_size]


def epochs_in(path: Path) -> list[int]:
    """The epochs of files epoch-N.safetensors in a folder, ascending."""
    names = [file.name.removeprefix("epoch-").removesuffix(".safetensors") for file in path.glob("epoch-*.safetensors")]
    return sorted(int(name) for name in names if name.isdecimal())


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
