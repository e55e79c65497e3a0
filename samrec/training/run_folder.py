"""What every kind of run folder has: its record, its history, its state, and the checks of what is found in them.

`state.safetensors` is written last after every epoch and alone is the truth: resuming cuts the history back to its
epoch. Randomness is a function of (seed, stream, epoch), so no generator needs saving. No pickle is written or read.
"""

import contextlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from landscape.display import Display, Shown
from samrec.data.interactions import Interactions
from samrec.errors import CheckpointError, ConfigError, RunError
from samrec.stage_config import StageConfig
from samrec.training.files import read_json, read_tensors, write_bytes, write_json, write_tensors
from samrec.training.run_display import facts_of, run_display
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


class RunFolder(Shown, ABC):
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

    def _display(self) -> Display:
        return run_display(type(self).__name__, self.name, self.record, self.history())

    def __repr__(self) -> str:  # of the record alone: a history that cannot be read has an error of its own
        return Display(type(self).__name__, str(self.path), facts_of(self.record)).line

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

    @property
    def is_bare(self) -> bool:
        """Whether it is kept without any weights: what it says can be read, and nothing taken anew."""
        return not any(self.path.glob("*.safetensors"))

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


def written_in(path: Path) -> list[str]:
    """What a training has written beside run.json; an empty history counts for nothing."""
    return [name for name in WRITTEN if (path / name).is_file() and (path / name).stat().st_size]


def epochs_in(path: Path) -> list[int]:
    """The epochs of files epoch-N.safetensors in a folder, ascending."""
    names = [file.name.removeprefix("epoch-").removesuffix(".safetensors") for file in path.glob("epoch-*.safetensors")]
    return sorted(int(name) for name in names if name.isdecimal())
