"""The evidence of an epoch that diverged: how many steps it took, their mean loss and sharpness, and what they cost."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

from samrec.optim.sam import Ascent


@dataclass(slots=True)
class FailedEpoch:
    """Counts along with an epoch; only steps that came to their end are counted."""

    epoch: int
    steps: int = 0
    gradients: int = 0
    began: float = field(default_factory=time.perf_counter)
    weight: int = 0
    loss: float = 0.0  # sums, weighted; divided by `weight` in the record
    sharpness: float = 0.0

    def add(self, ascent: Ascent, loss: float, sharpness: float, weight: int, *, gradients: int | None = None) -> None:
        """Count a step of this mean loss and sharpness over `weight` targets or prefixes."""
        self.steps += 1
        self.gradients += ascent.gradients if gradients is None else gradients
        self.weight += weight
        self.loss += weight * loss
        self.sharpness += weight * sharpness

    @property
    def seconds(self) -> float:
        """Since the epoch began."""
        return time.perf_counter() - self.began

    def record(self) -> dict[str, Any]:
        """As run.json keeps it: null for what is not finite or was not reached."""
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            "loss": self._mean(self.loss),
            "sharpness": self._mean(self.sharpness),
        }

    def _mean(self, total: float) -> float | None:
        mean = total / self.weight if self.weight else math.nan
        return mean if math.isfinite(mean) else None
