"""Which sharpness measures move when weights are re-scaled and the function is kept: those speak of the weights alone.

Dinh et al. 2017: a network computes the same function from many weights, and its sharpness can be anything among them.
What the re-scalings of a model are, the model's own package knows; here they are other weights of equal loss.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from landscape.errors import InvalidArgument
from landscape.objective import Objective, loss_at, own_derivatives
from landscape.parameters import Params
from landscape.progress import progress
from landscape.records import SharpnessMeasure
from landscape.sharpness.names import is_invariant, measure_name
from landscape.sharpness.step import Step

SAME_LOSS = 1e-4  # relative: single precision moves a loss by less
MOVED = 1e-2  # relative: a measure that changes by more has moved


@dataclass(frozen=True, slots=True)
class Rescaled:
    """One measure before and after one re-scaling."""

    rescaling: str
    measure: SharpnessMeasure  # before
    after: float
    moved: bool

    @property
    def name(self) -> str:
        """The measure with its radius."""
        return measure_name(self.measure)

    @property
    def as_claimed(self) -> bool:
        """Whether a measure that is called scale-invariant stayed; a raw one claims nothing."""
        return not (self.moved and is_invariant(self.measure))


def rescaling_report(
    objective: Objective,
    rescaled: Mapping[str, Params],
    steps: Sequence[Step],
    *,
    tolerance: float = MOVED,
) -> list[Rescaled]:
    """Take every step at the objective's weights and at each set of other weights that compute the same function.

    The same noise and the same starts are used for all, so that a change is the measure's own.

    Args:
        objective: the frozen loss at the checkpoint.
        rescaled: weights by the name of the re-scaling.
        steps: of `landscape.sharpness.plan.sharpness_plan`.
        tolerance: a relative change beyond it is called a move.

    Raises:
        InvalidArgument: weights whose loss differs by more than single precision: they compute something else.
    """
    centre = loss_at(objective, objective.weights).value
    for name, weights in rescaled.items():
        loss = loss_at(objective, weights).value
        if not math.isclose(loss, centre, rel_tol=SAME_LOSS):
            raise InvalidArgument(f"expected the re-scaling {name!r} to keep the loss of {centre:.8g}, got {loss:.8g}")
    found = []
    with progress("re-scaling", total=len(steps) * (1 + len(rescaled))) as advance:
        before: list[SharpnessMeasure] = []
        for step in steps:
            before += step.run(objective)
            advance()
        for name, weights in rescaled.items():
            elsewhere = Elsewhere(objective, weights)
            after: list[SharpnessMeasure] = []
            for step in steps:
                after += step.run(elsewhere)
                advance()
            for one, other in zip(before, after, strict=True):
                moved = not math.isclose(one.value, other.value, rel_tol=tolerance, abs_tol=1e-12)
                found.append(Rescaled(name, one, other.value, moved))
    return found


class Elsewhere:
    """The same objective with its origin at other weights."""

    def __init__(self, objective: Objective, weights: Params) -> None:
        self.weights = weights
        self.layout, self.recipe, self.chunks = objective.layout, objective.recipe, objective.chunks
        self.outputs, self.loss, self.metrics = objective.outputs, objective.loss, objective.metrics
        self.own_derivatives = own_derivatives(objective)
        if hasattr(objective, "chunks_of"):
            self.chunks_of = objective.chunks_of
