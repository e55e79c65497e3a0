"""What the drawers draw: frozen, plain NumPy data, with every decision about scales, labels and notes already taken.

"As drawn" means in the coordinates of the figure's `Scale`. Arrays of a panel have a row for each beta and a column for
each alpha, as both drawing libraries want them.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from landscape.plots.scale import Scale

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spot:
    """A named point of a picture."""

    x: float
    y: float  # in a panel beta; on a line the loss, as drawn
    label: str
    text: str  # what to show beside it
    above: bool = True  # whether the label stands above the point or below
    side: Literal["left", "center", "right"] = "center"  # of the point, on which the label stands
    height: float = np.nan  # of the surface there, as drawn; NaN beside it


@dataclass(frozen=True, slots=True)
class Trail:
    """A training's path in a panel."""

    x: Floats  # (checkpoints,)
    y: Floats
    labels: tuple[Spot, ...]  # those that carry a label, the epoch
    texts: tuple[str, ...]  # what to show beside each checkpoint
    heights: Floats = field(default_factory=lambda: np.zeros(0))  # (checkpoints,) of the surface there, as for spots


@dataclass(frozen=True, slots=True)
class BarrierMark:
    """The straight line between the losses of two checkpoints, and the height of a curve over it. As drawn."""

    x: Floats
    y: Floats
    at: float  # alpha of the height
    low: float
    high: float
    text: str

    @property
    def middle(self) -> float:
        """Half way up, where the text stands."""
        return (self.low + self.high) / 2


@dataclass(frozen=True, slots=True)
class Line:
    """One surface in 1D, or a cut through one in 2D."""

    label: str
    x: Floats  # (points,) measured points only, ascending
    y: Floats  # (points,) as drawn; NaN where the value is not finite
    low: Floats | None  # (points,) as drawn: the 95 % band or that of seeds, None where there is neither
    high: Floats | None
    values: Floats  # (points,) raw
    holes: Floats  # (holes,) alpha of the points that are not finite
    spots: tuple[Spot, ...] = ()
    barrier: BarrierMark | None = None


@dataclass(frozen=True, slots=True)
class CurveData:
    """Lines of one figure."""

    x_label: str
    scale: Scale
    lines: tuple[Line, ...]
    has_centre: bool  # whether alpha = 0 lies on the axis
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One surface in 2D."""

    title: str
    subtitle: str
    alpha: Floats  # (alpha,)
    beta: Floats  # (beta,)
    heights: Floats  # (beta, alpha) as drawn; NaN where there is nothing to draw
    values: Floats  # (beta, alpha) raw; NaN where not measured
    measured: Floats | None  # (points, 2) where it was measured, None for a finished surface
    holes: Floats  # (points, 2) measured, and the answer was a NaN or an infinity
    centre: tuple[float, float] | None  # (0, 0), None if outside the axes
    centre_height: float  # as drawn; NaN if unknown
    spots: tuple[Spot, ...] = ()
    trail: Trail | None = None
    lowest: Spot | None = None  # the lowest point of a loss, None where it is the centre
    unsettled: Floats = field(default_factory=lambda: np.zeros((0, 2)))  # (points, 2) drawn, but did not converge


@dataclass(frozen=True, slots=True)
class SurfacesData:
    """Surfaces side by side on one scale: what `contour` and `relief` draw."""

    x_label: str
    y_label: str
    scale: Scale
    panels: tuple[Panel, ...]
    line_labels: tuple[tuple[float, str], ...]  # contour lines that carry a label
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Marks:
    """Points with bars of one checkpoint in one panel; positions and bars are as drawn."""

    label: str
    position: Floats  # (marks,) along the axis of categories or settings
    value: Floats  # (marks,)
    low: Floats  # (marks,) end of the bar
    high: Floats
    solid: NDArray[np.bool_]  # (marks,) False: not converged
    texts: tuple[str, ...]  # what each mark says of itself where it is pointed at
    group: int  # decides the colour
    member: int  # of the group: decides the marker
    printed: tuple[str, ...] = ()  # what stands beside each mark in the figure; empty where nothing does

    def cut(self, scale: Scale) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which bars (marks,) go on below the scale's end, and which above it."""
        below = (self.low <= scale.low) & (scale.clipped_below > 0)
        return below, (self.high >= scale.high) & (scale.clipped_above > 0)


@dataclass(frozen=True, slots=True)
class MarksPanel:
    """One panel of marks."""

    title: str
    category_label: str  # of the axis of positions
    categories: tuple[tuple[float, str], ...]  # (position, label)
    category_range: tuple[float, float]
    scale: Scale
    value_range: tuple[float, float]  # as drawn, with room beyond the marks
    marks: tuple[Marks, ...]
    beside: tuple[tuple[float, str], ...] = ()  # (position, text) on the far side from the labels


@dataclass(frozen=True, slots=True)
class MarksData:
    """Panels of marks: what `spectrum`, `sharpness` and `scores` draw."""

    panels: tuple[MarksPanel, ...]
    labels: tuple[str, ...]  # of the legend, in the order of the colours
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowsData:
    """Columns of panels of marks in named rows, stacked in columns: what `sharpness_table` and `change` draw."""

    columns: tuple[tuple[str, tuple[MarksPanel, ...]], ...]  # (heading, panels from the top)
    labels: tuple[str, ...]  # of the legend, in the order of the colours
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trend:
    """One group of a study in one panel: a line through means with a band, single points, or both. As drawn."""

    label: str
    group: int  # decides colour, dash and marker; the same in every panel
    x: Floats  # (points,) of the line; empty for points alone
    y: Floats
    low: Floats | None  # (points,) the band
    high: Floats | None
    dots: Floats  # (dots, 2) single runs
    texts: tuple[str, ...]  # what to show beside each dot


@dataclass(frozen=True, slots=True)
class TrendPanel:
    """One quantity of a study."""

    title: str
    x_label: str
    x_ticks: tuple[tuple[float, str], ...]  # (position, label)
    x_range: tuple[float, float]
    x_breaks: tuple[float, ...]  # where the axis is broken: beyond lies what a log axis cannot hold
    scale: Scale  # of y
    value_range: tuple[float, float]
    trends: tuple[Trend, ...]


@dataclass(frozen=True, slots=True)
class TrendsData:
    """Panels of a study: what `study`, `training` and `relation` draw."""

    panels: tuple[TrendPanel, ...]
    legend: tuple[tuple[str, int], ...]  # (label, group)
    legend_columns: int
    notes: tuple[str, ...]
    rows: bool = False  # drawn with x downwards, as its labels are too long to stand side by side
