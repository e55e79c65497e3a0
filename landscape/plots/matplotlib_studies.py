"""Figures of studies for paper: quantities over a setting, training curves, a measure against a score."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from landscape.plots.figure_data import TrendPanel, TrendsData
from landscape.plots.matplotlib_paper import category_axis, empty_figure, legend_above, rules, shade, value_axis
from landscape.plots.style import PAPER, Style

ROW = 0.2  # inches of a cell in a row of its own


def study(data: TrendsData, *, style: Style = PAPER) -> Figure:
    """Quantities over the study's setting, a panel each."""
    return trends_figure(data, style)


def training(data: TrendsData, *, style: Style = PAPER) -> Figure:
    """Training curves, a panel each of loss, validation and sharpness."""
    return trends_figure(data, style)


def relation(data: TrendsData, *, style: Style = PAPER) -> Figure:
    """A dot a run, a panel a measure."""
    return trends_figure(data, style, dots_alone=True)


def trends_figure(data: TrendsData, style: Style, *, dots_alone: bool = False) -> Figure:
    """Panels of lines, bands and dots under one legend."""
    with rules(style):
        columns = style.columns(len(data.panels))
        rows = math.ceil(len(data.panels) / columns)
        keys = math.ceil(len(data.legend) / max(data.legend_columns, 1))
        panel_height = 0.6 + ROW * len(data.panels[0].x_ticks) if data.rows else 2.0 if columns > 2 else 2.4
        height = panel_height * rows + 0.2 + 0.17 * keys
        figure = empty_figure(style, style.width(len(data.panels)), height, data.notes)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(data.panels) :]:
            axes.remove()
        for index, (axes, panel) in enumerate(zip(grid.flat, data.panels, strict=False)):
            _draw_trends(axes, panel, style, upright=not data.rows)
            if data.rows and index % columns:
                axes.tick_params(labelleft=False)
        if data.legend:
            handles = [
                Line2D([], [], color=style.colour(group), marker=style.marker(group), markersize=style.grown(4))
                for _, group in data.legend
            ]
            for handle, (_, group) in zip(handles, data.legend, strict=True):
                handle.set_linestyle("none" if dots_alone else style.dash(group))  # type: ignore[arg-type]
            labels = [label for label, _ in data.legend]
            legend_above(figure, handles, labels, data.legend_columns)
    return figure


def _draw_trends(axes: Axes, panel: TrendPanel, style: Style, *, upright: bool) -> None:
    turn = 1 if upright else -1
    for at in panel.x_breaks:
        axes.axvline(at, color=shade(0.55), linewidth=0.7, linestyle=(0, (2, 2)), zorder=0)
    many = len(panel.trends) > 2 * len({trend.group for trend in panel.trends})
    for trend in panel.trends:
        colour = style.colour(trend.group)
        if trend.low is not None and trend.high is not None:
            axes.fill_between(trend.x, trend.low, trend.high, color=colour, alpha=0.18, linewidth=0)
        if len(trend.x):
            width = 0.9 if many else None
            axes.plot(*(trend.x, trend.y)[::turn], color=colour, linestyle=style.dash(trend.group), linewidth=width)
        if len(trend.dots):
            is_crowd = len(trend.x) > 0 and len(trend.dots) > 1
            axes.plot(
                *np.asarray(trend.dots).T[::turn],
                style.marker(trend.group),
                color=colour,
                markersize=style.grown(2.8 if is_crowd else 4),
                alpha=0.85,
                markeredgecolor=shade(1),
                markeredgewidth=0.4,
                zorder=4,
                clip_on=False,
            )
    axes.set_title(panel.title)
    low, high = panel.x_range
    category_axis(axes, panel.x_ticks, (low, high) if upright else (high, low), panel.x_label, upright=upright)
    value_axis(axes, panel.scale, "y" if upright else "x", panel.value_range)
