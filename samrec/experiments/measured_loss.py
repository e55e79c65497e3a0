"""Which loss curvature, sharpness and surfaces are measured on: the one all runs were trained with, else a common one.

Two runs share a loss if they share its settings too: BCE with 1 and with 16 negatives are two losses. Measured on the
losses of their own, runs could not be told apart from losses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from samrec.config import loss_facts, loss_options

COMMON_LOSS = "ce"  # over all items, without settings and without a draw
FIELDS = ("loss", "negative_count", "gbce_t")


class LossOptions(TypedDict):
    """As `samrec.objective.load` takes them."""

    loss: str
    negative_count: int | None
    gbce_t: float | None


@dataclass(frozen=True, slots=True)
class MeasuredLoss:
    """A loss with its settings, and why it was taken."""

    loss: str
    negative_count: int | None  # None: it scores every item
    gbce_t: float | None  # of "gbce" alone
    why: str

    @property
    def options(self) -> LossOptions:
        """For `load`."""
        return {"loss": self.loss, "negative_count": self.negative_count, "gbce_t": self.gbce_t}

    @property
    def facts(self) -> dict[str, Any]:
        """What an objective of it says of itself, None where it says nothing."""
        said = loss_facts(self.loss, negative_count=self.negative_count, gbce_t=self.gbce_t)
        return {"loss": self.loss, "negative_count": None, "gbce_t": None} | said

    @property
    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        """As tables say it."""
        told = (
            [] if self.negative_count is None else [f"{self.negative_count} negative{'s' * (self.negative_count > 1)}"]
        )
        told += [] if self.gbce_t is None else [f"t {self.gbce_t:g}"]
        return f"{self.loss} ({', '.join(told)})" if told else self.loss


def measured_loss(trained: Sequence[Mapping[str, Any]], asked: str | None = None) -> MeasuredLoss:
    """The loss to measure runs on.

    Args:
        trained: the runs' configurations; their losses with settings count.
        asked: a loss by name, taken with the runs' settings where it is theirs, else with its own defaults.
    """
    own = [_resolved(config) for config in trained]
    shared = all(settings == own[0] for settings in own)
    if shared and asked in (None, own[0]["loss"]):
        return MeasuredLoss(**own[0], why=_why(own, own[0]))
    settings = _resolved({"loss": asked or COMMON_LOSS})
    return MeasuredLoss(**settings, why=_why(own, settings))


def loss_measured(objective: Mapping[str, Any], trained: Sequence[Mapping[str, Any]]) -> MeasuredLoss:
    """The loss that a kept record of these runs is of, from what its objective says of itself."""
    settings = _resolved(objective)
    return MeasuredLoss(**settings, why=_why([_resolved(config) for config in trained], settings))


def _resolved(config: Mapping[str, Any]) -> LossOptions:
    loss = str(config["loss"])
    given = {name: config.get(name) for name in FIELDS[1:]}
    return {"loss": loss, **loss_options(loss, **given)}  # type: ignore[typeddict-item]


def _why(own: Sequence[LossOptions], measured: LossOptions) -> str:
    if all(settings == measured for settings in own):
        return "what all runs were trained with"
    different = [name for name in FIELDS if len({settings[name] for settings in own}) > 1]  # type: ignore[literal-required]
    if different:
        return f"the same for all, as runs differ in {', '.join(different)}"
    return f"the same for all, as runs were trained with {MeasuredLoss(**own[0], why='')}"
