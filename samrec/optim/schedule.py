"""How rho changes over training: constant, linear warm-up, cosine decay, or falling in steps.

Letters: e how far training is, in epochs (steps taken / steps an epoch, from 0); E the schedule's own length in epochs.

    constant   1
    linear     min(1, e / E)                       a warm-up from 0
    cosine     (1 + cos(pi min(1, e / E))) / 2     from 1 down to 0
    step       factor ^ floor(e / E)               times `factor` after every E epochs

A schedule gives the factor of a step and knows nothing of rho. The papers of the family keep rho constant.
"""

import math
from dataclasses import dataclass

from samrec.errors import ConfigError

SHAPES = ("constant", "linear", "cosine", "step")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A factor for every step of a run."""

    shape: str  # one of SHAPES
    epochs: int  # E
    steps_an_epoch: int
    factor: float = 0.5  # of the shape "step"

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ConfigError(f"expected a schedule out of {', '.join(SHAPES)}, got {self.shape!r}")
        if self.epochs < 1 or self.steps_an_epoch < 1:
            raise ConfigError(
                f"expected a schedule of at least one epoch of at least one step, got {self.epochs} epochs "
                f"of {self.steps_an_epoch} steps"
            )

    def __call__(self, step: int) -> float:
        """The factor of a step; the run's first is 0."""
        steps = self.epochs * self.steps_an_epoch
        if self.shape == "constant":
            return 1.0
        if self.shape == "step":
            return float(self.factor ** (step // steps))
        part = min(1.0, step / steps)
        return part if self.shape == "linear" else (1 + math.cos(math.pi * part)) / 2
