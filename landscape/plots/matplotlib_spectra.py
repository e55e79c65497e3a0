"""Figures of whole spectra for paper: densities, mass and trace by block, ends against the data's size."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.plots.figure_data import MarksData, MarksPanel, TrendsData
from landscape.plots.matplotlib_paper import empty_figure, legend_above, rules, shade, value_axis
from landscape.plots.matplotlib_studies import trends_figure
from landscape.plots.style import PAPER, Style


def density(data: TrendsData, *, style: Style = PAPER) -> Figure:
    """Spectral densities on a log axis, all checkpoints in each panel."""
    return trends_figure(data, style)


def subsets(data: TrendsData, *, style: Style = PAPER) -> Figure:
    """Both ends of the spectrum against the number of users."""
    return trends_figure(data, style)


def mass(data: MarksData, *, style: Style = PAPER) -> Figure:
    """Mass by block, a panel an eigenvector."""
    return _rows_figure(data, style)


def trace(data: MarksData, *, style: Style = PAPER) -> Figure:
    """Traces by block, a panel for each kind of coordinates."""
    return _rows_figure(data, style)


def _rows_figure(data: MarksData, style: Style) -> Figure:
    with rules(style):
        columns = style.columns(len(data.panels))
        rows = math.ceil(len(data.panels) / columns)
        height = rows * (0.55 + 0.2 * len(data.panels[0].categories)) + 0.35
        figure = empty_figure(style, style.width(len(data.panels)), height, data.notes)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(data.panels) :]:
            axes.remove()
        for index, (axes, panel) in enumerate(zip(grid.flat, data.panels, strict=False)):
            _draw_rows(axes, panel, style)
            if index + columns < len(data.panels) and data.panels[index + columns].scale == panel.scale:
                axes.set_xlabel("")
        handles, labels = grid.flat[0].get_legend_handles_labels()
        legend_above(figure, handles, labels)
    return figure


def _draw_rows(axes: Axes, panel: MarksPanel, style: Style) -> None:
    for row, _ in panel.categories:
        axes.axhline(row - 0.5, color=shade(0.92), linewidth=0.6, zorder=0)
    if panel.scale.kind == "linear" and panel.value_range[0] < -panel.scale.offset < panel.value_range[1]:
        axes.axvline(-panel.scale.offset, color=shade(0.6), linewidth=0.7, zorder=0)
    for marks in panel.marks:
        colour = style.colour(marks.group)
        bars = np.maximum(np.stack([marks.value - marks.low, marks.high - marks.value]), 0.0)
        axes.errorbar(
            marks.value,
            marks.position,
            xerr=bars if bars.any() else None,
            color=colour,
            capsize=2,
            linestyle="none",
            marker=style.marker(marks.member),
            markersize=style.grown(4),
            markerfacecolor=colour if marks.solid.any() else shade(1),
            label=marks.label,
            zorder=4 if marks.solid.any() else 3,
        )
    axes.set_title(panel.title)
    axes.set_yticks([at for at, _ in panel.categories], [label for _, label in panel.categories])
    axes.set_ylim(*panel.category_range)
    axes.tick_params(axis="y", length=0)
    value_axis(axes, panel.scale, "x", panel.value_range)
