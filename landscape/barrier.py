"""The barrier on the line between two checkpoints, by both of the definitions in use.

With L(a) the loss at alpha = a, the checkpoints at a = 0 and 1:

    over the larger end    max over [0, 1] of L(a) - max(L(0), L(1))
    over the straight line max over [0, 1] of L(a) - ((1 - a) L(0) + a L(1))      (Entezari et al. 2022)

The second is never smaller. Both are at least 0, the ends being points of the line, and both are lower bounds: the
maximum over the points measured. Not finite where a point between the ends is not.
"""

from dataclasses import dataclass

import numpy as np

from landscape.records import Status, Surface


@dataclass(frozen=True, slots=True)
class Barrier:
    """Both barriers of a line, and where they are reached."""

    names: tuple[str, str]  # the checkpoints at alpha = 0 and 1
    ends: tuple[float, float]  # their losses
    over_larger_end: float
    at_larger_end: float  # alpha
    over_straight_line: float
    at_straight_line: float  # alpha
    points: int  # measured strictly between the ends


def barrier_of(surface: Surface) -> Barrier | None:
    """The barrier of a line between two checkpoints; None for any other surface, or with no point between the ends."""
    ends = [mark for mark in surface.marks if mark.beta == 0.0 and mark.alpha in (0.0, 1.0)]
    if surface.x.kind != "between" or surface.beta is not None or len(ends) != 2:
        return None
    first, last = sorted(ends, key=lambda mark: mark.alpha)
    inside = (surface.alpha > 0) & (surface.alpha < 1) & (surface.status != Status.PENDING)
    if first.loss is None or last.loss is None or not inside.any():
        return None
    alpha = np.concatenate([[0.0], surface.alpha[inside], [1.0]])
    loss = np.concatenate([[first.loss], surface.values["loss"][inside], [last.loss]])
    loss = np.where(np.isfinite(loss), loss, np.inf)
    over_larger = loss - max(first.loss, last.loss)
    over_line = loss - straight_line(alpha, first.loss, last.loss)
    highest, farthest = int(over_larger.argmax()), int(over_line.argmax())
    return Barrier(
        names=(first.name, last.name),
        ends=(first.loss, last.loss),
        over_larger_end=float(over_larger[highest]),
        at_larger_end=float(alpha[highest]),
        over_straight_line=float(over_line[farthest]),
        at_straight_line=float(alpha[farthest]),
        points=int(inside.sum()),
    )


def straight_line(alpha: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Between the losses of the ends."""
    return np.asarray((1 - alpha) * start + alpha * stop)
