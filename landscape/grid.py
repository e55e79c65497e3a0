"""Where a surface is measured: axes in one or two dimensions, their points, and the order in which to visit them.

A point has a flat index in C order (alpha slow, beta fast), the same number everywhere: in coordinates, in the store,
in what a worker is sent. The visiting order goes from coarse to fine, so that a picture exists early and sharpens.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Axis:
    """`points` equally spaced numbers from start to stop, both included."""

    start: float | int
    stop: float | int
    points: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.stop) and self.start < self.stop):
            raise InvalidArgument(f"expected an axis from a smaller to a larger number, got {self.start}:{self.stop}")
        if self.points < 2:
            raise InvalidArgument(f"expected at least 2 points on an axis, got {self.points}")

    @property
    def values(self) -> NDArray[np.float64]:
        """The numbers themselves. A point meant to be the origin is exactly 0.0, not 1e-17.

        Inner ones are rounded to 12 digits of the step, so that axes that share points share every bit of them.
        """
        values = np.linspace(self.start, self.stop, self.points, dtype=np.float64)
        step = (self.stop - self.start) / (self.points - 1)
        inner = values[1:-1]
        digits = 12 - math.floor(math.log10(step))
        if 0 <= digits <= 22 and max(abs(self.start), abs(self.stop)) * 10.0**digits < 2**52:
            inner[:] = np.round(inner, digits)
        inner[np.abs(inner) < 1e-9 * step] = 0.0
        return values

    def __str__(self) -> str:
        return f"{self.start:g}:{self.stop:g}:{self.points}"


@dataclass(frozen=True, slots=True)
class Grid:
    """All points of one axis, or of two."""

    alpha: Axis
    beta: Axis | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(alpha,) or (alpha, beta)."""
        return (self.alpha.points,) if self.beta is None else (self.alpha.points, self.beta.points)

    @property
    def size(self) -> int:
        """How many points there are."""
        return math.prod(self.shape)

    @property
    def coordinates(self) -> NDArray[np.float64]:
        """(points, 1) or (points, 2), by flat index."""
        axes = [axis.values for axis in (self.alpha, self.beta) if axis is not None]
        return np.stack([plane.reshape(-1) for plane in np.meshgrid(*axes, indexing="ij")], axis=1)

    def coarse_to_fine(self) -> NDArray[np.int64]:
        """Every flat index once, so that any prefix is a coarse picture of the whole.

        The middle comes first, then the corners, then each level halves the gaps along every axis. Inside a level the
        points are spread by the R2 sequence (Roberts 2018), so that half a level covers the whole plane too.
        """
        indices = np.stack([plane.reshape(-1) for plane in np.indices(self.shape)], axis=1)
        levels = np.max([_levels(points)[at] for points, at in zip(self.shape, indices.T, strict=True)], axis=0)
        middle = np.ravel_multi_index([(points - 1) // 2 for points in self.shape], self.shape)
        levels[middle] = -1
        spread = (indices * [0.7548776662466927, 0.5698402909980532][: indices.shape[1]]).sum(axis=1) % 1.0
        return np.lexsort((spread, levels)).astype(np.int64)

    def __str__(self) -> str:
        return str(self.alpha) if self.beta is None else f"{self.alpha} x {self.beta}"


def parse_axis(text: str) -> Axis:
    """Read `start:stop:points`, as in `-1:1:51`.

    Raises:
        InvalidArgument: anything else.
    """
    try:
        start, stop, points = text.split(":")
        axis = float(start), float(stop), int(points)
    except ValueError:
        raise InvalidArgument(f"expected an axis as start:stop:points, such as -1:1:51, got {text!r}") from None
    return Axis(*axis)


def is_auto(text: str | None) -> bool:
    """Whether an axis is to find its own span: "auto", or "auto:POINTS"."""
    return text is not None and text.partition(":")[0] == "auto"


def auto_points(text: str | None, default: int) -> int:
    """How many points an automatic axis asks for; the default for one that does not say, or that is not automatic.

    Raises:
        InvalidArgument: anything but a whole number behind the colon.
    """
    points = text.partition(":")[2] if text is not None and is_auto(text) else ""
    if not points:
        return default
    try:
        return int(points)
    except ValueError:
        raise InvalidArgument(f"expected auto or auto:POINTS, such as auto:51, got {text!r}") from None


def _levels(points: int) -> NDArray[np.int64]:
    """For each index of an axis, the number of halvings after which it is visited; the ends are level 0."""
    finest = max(points - 2, 0).bit_length() + 1
    levels = np.full(points, finest, dtype=np.int64)
    for level in range(finest, -1, -1):
        levels[np.arange(2**level + 1) * (points - 1) // 2**level] = level
    return levels
