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
    count: int = 0
    loss: float = 0.0  # sums; divided by `count` in the record
    sharpness: float = 0.0

    def add(self, ascent: Ascent, count: int, *, summed: bool = False) -> None:
        """Count a step whose loss is the mean over `count` targets or prefixes, or `summed` their sum."""
        self.steps += 1
        self.gradients += ascent.gradients
        self.count += count
        self.loss += ascent.loss if summed else count * ascent.loss
        self.sharpness += ascent.sharpness if summed else count * ascent.sharpness

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
        mean = total / self.count if self.count else math.nan
        return mean if math.isfinite(mean) else None
