"""Axes that find their own span: symmetric, until the loss has doubled at one of the two ends.

`auto` or `auto:POINTS` in place of start:stop:points. The span is bracketed by doubling or halving from 1, bisected on
a log scale and rounded to two digits: about a dozen losses, and the same numbers whenever it is asked again.
"""

import math
from collections.abc import Callable
from typing import Any

from landscape.errors import InvalidArgument
from landscape.grid import Axis, Grid, auto_points, is_auto, parse_axis
from landscape.objective import Objective
from landscape.surface.evaluate import SurfacePoint

POINTS = 51
BISECTIONS = 5  # the span is then within 2 % before it is rounded
WIDEST, NARROWEST = 64.0, 2.0**-20


def grid_for(x: str | Axis, y: str | Axis | None, objective: Objective, **directions: Any) -> tuple[Grid, list[str]]:
    """The grid that these axes ask for, and a line about each span that was found.

    Args:
        x: an axis or its text, or "auto" or "auto:POINTS".
        y: the same, or None for a line.
        objective: where spans are found.
        directions: the options of `surface_task`.

    Raises:
        InvalidArgument: an axis that cannot be read, or a loss that does not double between 2^-20 and 64.
    """
    from landscape.surface.resume import surface_task

    texts = [x] if y is None else [x, y]
    placeholder = Axis(-1.0, 1.0, 3)
    automatic = [isinstance(text, str) and is_auto(text) for text in texts]
    axes = [
        text if isinstance(text, Axis) else placeholder if auto else parse_axis(text)
        for text, auto in zip(texts, automatic, strict=True)
    ]
    notes: list[str] = []
    if any(automatic):
        task = surface_task(objective, Grid(*axes), **directions)
        point = task.open()
        assert isinstance(point, SurfacePoint)
        for number, (text, letter) in enumerate(zip(texts, ("x", "y"), strict=False)):
            if not (isinstance(text, str) and is_auto(text)):
                continue

            def worse_end(length: float, number: int = number) -> float:
                ends = [tuple(sign * length if k == number else 0.0 for k in range(len(texts))) for sign in (1.0, -1.0)]
                losses = [point(end)["loss"] for end in ends]
                return math.inf if any(map(math.isnan, losses)) else max(losses)

            half, asked = doubling_span(worse_end, point.centre.value)
            axes[number] = Axis(-half, half, auto_points(text, POINTS))
            notes.append(
                f"--{letter} auto: {-half:g} to {half:g}, where the loss has doubled at one end ({2 * asked} points)"
            )
    return Grid(*axes), notes


def doubling_span(loss: Callable[[float], float], centre: float) -> tuple[float, int]:
    """The length, to two digits, at which a loss is twice its value at the centre, and how often it was asked.

    Raises:
        InvalidArgument: a centre that is not positive, or a loss that does not double between 2^-20 and 64.
    """
    if not centre > 0:
        raise InvalidArgument(f"expected a positive loss to double for an automatic span, got {centre:g}")
    asked = 1
    low = high = 1.0
    doubled = loss(1.0) >= 2 * centre
    while True:
        low, high = (low / 2, low) if doubled else (high, high * 2)
        if high > WIDEST or low < NARROWEST:
            raise InvalidArgument(
                f"expected a loss that doubles between {NARROWEST:.1g} and {WIDEST:g}, got {centre:g} at the centre "
                f"and {'more' if doubled else 'less'} than twice that all the way: give start:stop:points"
            )
        asked += 1
        if (loss(low if doubled else high) >= 2 * centre) != doubled:
            break
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        asked += 1
        low, high = (low, middle) if loss(middle) >= 2 * centre else (middle, high)
    return float(f"{math.sqrt(low * high):.1e}"), asked
