"""What the files of a run folder must hold: run.json, the position in the state, a line of history.

Read at the border, so that a file somebody changed or a disk garbled is one line of error and no traceback. Only what
the package relies on is asked for; fields of other versions are let through.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from samrec.complaints import complaint
from samrec.errors import SamrecError

Told = TypeVar("Told", bound=BaseModel)


class _Lenient(BaseModel):
    """Fields as JSON has them, without conversion; others are let through."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)


class Fingerprints(_Lenient):
    """Of what a run was made from."""

    data: str


class Best(_Lenient):
    """The best epoch, and its score under the name of the metric."""

    epoch: int
    __pydantic_extra__: dict[str, float | None]


class Cost(_Lenient):
    """What the training took."""

    epochs: int = Field(ge=0)
    gradients: int | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, ge=0)


class Record(_Lenient):
    """run.json."""

    config: dict[str, Any]
    item_count: int = Field(ge=1)
    fingerprints: Fingerprints
    status: Literal["running", "finished", "diverged", "imported"]
    stopped: str | None = None
    message: str | None = None
    cost: Cost | None = None

    @model_validator(mode="after")
    def _finished_says_how(self) -> "Record":
        needed = [name for name in self.needed if getattr(self, name, None) is None]
        if self.status == "finished" and needed:
            raise ValueError(f"expected {needed[0]} of a finished run, got none")
        return self

    @property
    def needed(self) -> tuple[str, ...]:
        """What a finished run must say."""
        return ("cost",)


class TrainingRecord(Record):
    """run.json of a training run."""

    best: Best | None = None
    keep_every: int | None = Field(default=None, ge=1)

    @property
    def needed(self) -> tuple[str, ...]:
        """What a finished run must say."""
        return ("best", "cost")


class PositionRecord(BaseModel):
    """The position beside a state's tensors: every field, and no other."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    epoch: int = Field(ge=0)
    best_epoch: int = Field(ge=0)
    best_score: float  # minus infinity before the first score
    gradients: int = Field(ge=0)
    seconds: float = Field(ge=0, allow_inf_nan=False)


class Epoch(_Lenient):
    """A line of history, of either kind of run."""

    epoch: int
    loss: float | None = None
    weight_norm: float | None = None
    gradients: int | None = None
    seconds: float | None = None
    sharpness: float | None = None
    gradient_norm: float | None = None
    shares: dict[str, float] = {}


class TrainingEpoch(Epoch):
    """A line of history with scores on validation."""

    validation: dict[str, float]


class PretrainingEpoch(Epoch):
    """A line of history with each loss."""

    losses: dict[str, float]


def checked(kind: type[Told], content: Any, where: str, error: type[SamrecError]) -> Told:
    """The content as `kind`, or the error in one line that names the place."""
    if not isinstance(content, Mapping):
        raise error(f"expected a JSON object in {where}, got {type(content).__name__}")
    try:
        return kind.model_validate(content)
    except ValidationError as problem:
        raise error(f"{where}: {complaint(problem)}") from None
