"""What lies in a figure for paper beside the surface: named points, a training's path, the barrier of a line."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from mpl_toolkits.mplot3d.axes3d import Axes3D

from landscape.plots.figure_data import BarrierMark, Line, Panel, Spot, Trail
from landscape.plots.matplotlib_paper import shade
from landscape.plots.style import Style

OUTLINE = [patheffects.withStroke(linewidth=1.8, foreground="black")]
LOWEST: dict[str, Any] = {"marker": "D", "color": "white", "markeredgecolor": "black", "markersize": 4.5}
HALO = [patheffects.withStroke(linewidth=2.0, foreground="white")]


def places_in(panel: Panel) -> list[tuple[float, float]]:
    """Where no other label should stand."""
    own = [panel.centre] if panel.centre else []
    own += [] if panel.lowest is None else [(panel.lowest.x, panel.lowest.y)]
    spots = [(spot.x, spot.y) for spot in panel.spots]
    return [*own, *spots, *([] if panel.trail is None else [(spot.x, spot.y) for spot in panel.trail.labels])]


def draw_places(axes: Axes, panel: Panel, style: Style) -> None:
    """The path and the named points of a panel, over everything else."""
    if panel.trail is not None:
        _draw_trail(axes, panel.trail, style)
    if panel.lowest is not None:
        axes.plot(panel.lowest.x, panel.lowest.y, **LOWEST, zorder=4.9, clip_on=False)
    for spot in panel.spots:
        if (spot.x, spot.y) != panel.centre:
            axes.plot(
                spot.x, spot.y, "o", color="white", markeredgecolor="black", markersize=5, zorder=6, clip_on=False
            )
        _label(axes, spot, style)


def draw_relief_places(axes: Axes3D, panel: Panel, style: Style) -> None:
    """The same on the surface itself, in front of it; what lies beside the surface is left out."""
    if panel.trail is not None:
        trail = panel.trail
        edge = [patheffects.withStroke(linewidth=2.4, foreground="black")]
        axes.plot(trail.x, trail.y, trail.heights, color="white", linewidth=1.1, zorder=5.5, path_effects=edge)
        dots: dict[str, Any] = {"markeredgecolor": "black", "markersize": 3, "markeredgewidth": 0.6}
        axes.plot(trail.x, trail.y, trail.heights, "o", color="white", zorder=5.6, **dots)
        _label_relief(axes, trail.labels, style)
    if panel.lowest is not None:
        axes.plot(panel.lowest.x, panel.lowest.y, panel.lowest.height, **LOWEST, zorder=9)
    for spot in panel.spots:
        if (spot.x, spot.y) != panel.centre and np.isfinite(spot.height):
            axes.plot(spot.x, spot.y, spot.height, "o", color="white", markeredgecolor="black", markersize=5, zorder=10)
    _label_relief(axes, panel.spots, style)


def _label_relief(axes: Axes3D, spots: Sequence[Spot], style: Style) -> None:
    for spot in spots:
        if np.isfinite(spot.height):
            axes.text(
                spot.x,
                spot.y,
                spot.height,
                f"{spot.label}\n" if spot.above else f"\n{spot.label}",
                ha="center",
                va="bottom" if spot.above else "top",
                linespacing=0.6,
                color="white",
                fontsize=style.size,
                fontweight="bold",
                path_effects=OUTLINE,
                zorder=12,
            )


def _draw_trail(axes: Axes, trail: Trail, style: Style) -> None:
    edge = [patheffects.withStroke(linewidth=2.4, foreground="black")]
    axes.plot(trail.x, trail.y, color="white", linewidth=1.1, zorder=5.5, path_effects=edge, clip_on=True)
    axes.plot(
        trail.x, trail.y, "o", color="white", markeredgecolor="black", markersize=3, markeredgewidth=0.6, zorder=5.6
    )
    for spot in trail.labels:
        _label(axes, spot, style)


def _label(axes: Axes, spot: Spot, style: Style) -> None:
    """Above the point or below it, aligned so that it stays inside of the panel."""
    x = (axes.transData + axes.transAxes.inverted()).transform((spot.x, spot.y))[0]
    aligned = {"left": "right", "center": "center", "right": "left"}[spot.side]
    side = "left" if x < 0.2 else "right" if x > 0.8 else aligned
    axes.annotate(
        spot.label,
        (spot.x, spot.y),
        (0, 6 if spot.above else -6),
        textcoords="offset points",
        ha=side,
        va="bottom" if spot.above else "top",
        color="white",
        fontsize=style.size,
        fontweight="bold",
        path_effects=OUTLINE,
        zorder=7,
        annotation_clip=False,
    )


def draw_line_places(axes: Axes, line: Line, colour: str, style: Style, *, named: bool) -> None:
    """The ends of a line and its barrier."""
    if line.barrier is not None:
        _draw_barrier(axes, line.barrier, colour, style)
    for spot in line.spots:
        axes.plot(spot.x, spot.y, "o", color=colour, markersize=4.5, zorder=4, clip_on=False)
        if named:
            right = spot.side == "right"
            axes.annotate(
                spot.label,
                (spot.x, spot.y),
                (5 if right else -5, 5 if spot.above else -5),
                textcoords="offset points",
                ha="left" if right else "right",
                va="bottom" if spot.above else "top",
                path_effects=HALO,
                zorder=5,
            )


def _draw_barrier(axes: Axes, barrier: BarrierMark, colour: str, style: Style) -> None:
    axes.plot(barrier.x, barrier.y, color=colour, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1.5)
    if barrier.high > barrier.low:
        axes.annotate(
            "",
            (barrier.at, barrier.high),
            (barrier.at, barrier.low),
            arrowprops={"arrowstyle": "<->", "color": shade(0.3), "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0},
            zorder=3,
        )
    axes.annotate(
        barrier.text,
        (barrier.at, barrier.middle),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontsize=style.size - 0.5,
        path_effects=HALO,
        zorder=5,
    )
