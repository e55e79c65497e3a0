"""One call of a sharpness measure: what its numbers will be called, what it costs, whether they are there already."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from landscape.objective import Objective
from landscape.records import SharpnessMeasure
from landscape.sharpness.names import is_settled
from landscape.sharpness.spectral import SPECTRAL, identity_of, uncertainty_of

GRADIENT = 3.5  # a gradient in losses, for prices
PRODUCT = 11.0  # a Hessian-vector product in losses
RANKING = 4.0  # a pass of the metrics


@dataclass(frozen=True, slots=True)
class Step:
    """What one call measures; its numbers come at their own settings."""

    family: str
    expected: tuple[tuple[str, Mapping[str, Any]], ...]  # measure and the settings that identify it, a number each
    call: Callable[[Objective], Sequence[SharpnessMeasure]]
    losses: float = 0
    gradients: float = 0
    products: float = 0
    rankings: float = 0
    unranked: Optional["Step"] = None  # the same search where there are no metrics to take at its end

    @property
    def price(self) -> float:
        """The whole cost in losses, roughly."""
        return self.losses + GRADIENT * self.gradients + PRODUCT * self.products + RANKING * self.rankings

    @property
    def block(self) -> str | None:
        """The block of weights it is of; None for all of them."""
        block: str | None = self.expected[0][1].get("block")
        return block

    def is_held(self, measures: Collection[SharpnessMeasure]) -> bool:
        """Whether all its numbers are there already, with these settings."""
        return all(any(_answers(measure, *wanted) for measure in measures) for wanted in self.expected)

    def wants(self, measure: SharpnessMeasure) -> bool:
        """Whether this is one of its numbers, be it good enough or not."""
        own = [wanted for name, wanted in self.expected if name == measure.measure]
        return any(wanted.get("block") == measure.setting.get("block") for wanted in own)

    def run(self, objective: Objective) -> tuple[SharpnessMeasure, ...]:
        """Measure, with the seconds spent shared out by cost."""
        started = time.perf_counter()
        found = tuple(self.call(objective))
        spent = time.perf_counter() - started
        total = sum(measure.cost for measure in found) or 1
        return tuple(replace(measure, seconds=spent * measure.cost / total) for measure in found)


def updated(held: Sequence[SharpnessMeasure], new: Sequence[SharpnessMeasure]) -> tuple[SharpnessMeasure, ...]:
    """The measures held and the new ones; a new one takes the place of one with the same settings."""
    place = {identity_of(measure): measure for measure in held}
    place |= {identity_of(measure): measure for measure in new}
    return tuple(place.values())


def _answers(measure: SharpnessMeasure, name: str, wanted: Mapping[str, Any]) -> bool:
    """Whether a measure is the one wanted; of a spectrum, or one at least as good."""
    if measure.measure != name or measure.setting.get("block") != wanted.get("block"):
        return False
    return all(_fits(measure, key, value) for key, value in wanted.items())


def _fits(measure: SharpnessMeasure, key: str, wanted: Any) -> bool:
    had = measure.setting.get(key)
    if measure.measure in SPECTRAL and isinstance(had, float | int):
        if key == "tolerance":  # a ratio has the residuals of both
            reach = wanted * abs(measure.value) * (2 if measure.measure == "lambda_ratio" else 1)
            return bool(had <= wanted) or uncertainty_of(measure) <= reach
        if key == "max_products":  # more of them change nothing once it has settled
            return is_settled(measure) or bool(had >= wanted)
        if key == "probes":
            return bool(had >= wanted)
    return bool(had == wanted)
