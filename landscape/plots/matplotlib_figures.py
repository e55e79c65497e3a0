"""Figures for paper, drawn by matplotlib: PNG, PDF and SVG.

The same names and signatures as `plotly_figures`; what is special about these figures is in `matplotlib_paper`,
and those of studies are in `matplotlib_studies`, reached from here too.
"""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.axes3d import Axes3D

from landscape.plots.figure_data import CurveData, MarksData, Panel, SurfacesData
from landscape.plots.matplotlib_marks import draw_marks
from landscape.plots.matplotlib_paper import PaperFigure, empty_figure, legend_above, rules, save, shade, value_axis
from landscape.plots.matplotlib_places import draw_line_places, draw_places, draw_relief_places, places_in
from landscape.plots.matplotlib_rows import change, sharpness_table
from landscape.plots.matplotlib_spectra import density, mass, subsets, trace
from landscape.plots.matplotlib_studies import relation, study, training
from landscape.plots.scale import Scale
from landscape.plots.style import PAPER, SURFACE, Style

__all__ = [
    "change",
    "contour",
    "curve",
    "density",
    "mass",
    "relation",
    "relief",
    "save",
    "scores",
    "sharpness",
    "sharpness_table",
    "spectrum",
    "study",
    "subsets",
    "trace",
    "training",
]

CELLS, CELLS_OF_MANY = 60, 40  # a side, that a relief is drawn with, and one of three or more side by side


def curve(data: CurveData, *, style: Style = PAPER) -> Figure:
    """Lines with bands, all checkpoints in one panel."""
    with rules(style):
        figure = empty_figure(style, style.width(1), 3.1, data.notes)
        axes = figure.add_subplot()
        if data.has_centre:
            axes.axvline(0.0, color=shade(0.6), linewidth=0.7, zorder=0)
        for index, line in enumerate(data.lines):
            colour = style.colour(index)
            axes.plot(line.x, line.y, color=colour, linestyle=style.dash(index), label=line.label)
            if line.low is not None and line.high is not None:
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.22, linewidth=0)
            if len(line.holes):
                bottom = np.full(len(line.holes), data.scale.low)
                axes.plot(line.holes, bottom, "x", color=colour, markersize=4, clip_on=False)
        axes.set_xlabel(data.x_label)
        value_axis(axes, data.scale, "y")
        axes.margins(x=0)
        for index, line in enumerate(data.lines):
            draw_line_places(axes, line, style.colour(index), style, named=index == 0)
        if len(data.lines) > 1:
            legend_above(figure, *axes.get_legend_handles_labels(), 2)
        else:
            axes.set_title(data.lines[0].label)
    return figure


def contour(data: SurfacesData, *, style: Style = PAPER) -> Figure:
    """Filled contours side by side, one colour bar."""
    with rules(style):
        columns = style.columns(len(data.panels), SURFACE)
        rows = math.ceil(len(data.panels) / columns)
        width, unit = style.width(len(data.panels)), style.size / PAPER.size
        side = (width - 1.3 * unit) / columns - 0.1  # what labels and the colour bar leave to a panel
        height = rows * (side + 0.48 * unit) + 0.35 * unit
        figure = empty_figure(style, width, height, data.notes, stretched=False)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(data.panels) :]:
            axes.remove()
        ends = {(*panel.alpha[[0, -1]], *panel.beta[[0, -1]]) for panel in data.panels}
        for axes, panel in zip(grid.flat, data.panels, strict=False):
            _draw_contour(axes, panel, data, style, style.title(panel.title, side + 0.3))
            axes.set_xlabel(data.x_label)
            axes.set_ylabel(data.y_label)
            if len(ends) == 1:  # axes that panels share are numbered once
                axes.label_outer(remove_inner_ticks=False)
        beside = {"ax": list(grid.flat[: len(data.panels)]), "pad": 0.02, "aspect": 20 * rows}
        _colour_bar(figure, data.scale, style, _bands(data.scale), **beside)
        figure.draw_without_rendering()  # a bar beside square panels: the layout settles in its second pass
    return figure


def _draw_contour(axes: Axes, panel: Panel, data: SurfacesData, style: Style, title: str) -> None:
    axes.set_facecolor(shade(0.88))
    axes.set_box_aspect(1)
    axes.set_xlim(panel.alpha[0], panel.alpha[-1])
    axes.set_ylim(panel.beta[0], panel.beta[-1])
    if np.isfinite(panel.heights).any() and min(panel.heights.shape) > 1:
        heights = np.ma.masked_invalid(panel.heights)
        filled = axes.contourf(
            panel.alpha,
            panel.beta,
            heights,
            levels=data.scale.levels,
            cmap=style.surface_map,
            norm=_bands(data.scale),
            zorder=1,
        )
        filled.set_edgecolor("face")
        axes.contour(
            panel.alpha,
            panel.beta,
            heights,
            levels=data.scale.levels,
            colors="black",
            linestyles="solid",
            linewidths=0.3,
            alpha=0.5,
            zorder=2,
        )
        if data.line_labels:
            labelled = axes.contour(
                panel.alpha,
                panel.beta,
                heights,
                levels=[at for at, _ in data.line_labels],
                colors="white",
                linestyles="solid",
                linewidths=0.7,
                zorder=3,
            )
            texts = axes.clabel(labelled, fmt=dict(data.line_labels), fontsize=style.size - 1, inline=False)
            _keep_apart(axes, texts, places_in(panel))
    if panel.measured is not None:
        axes.plot(*panel.measured.T, ".", color="white", markersize=1.2, markeredgewidth=0, zorder=4)
    if len(panel.holes):
        axes.plot(*panel.holes.T, "x", color="0.25", markersize=2.5, markeredgewidth=0.6, zorder=4)
    if len(panel.unsettled):
        ring: dict[str, Any] = {"markerfacecolor": "none", "markersize": 4, "markeredgewidth": 0.7}
        axes.plot(*panel.unsettled.T, "o", markeredgecolor="white", zorder=4, **ring)
    if panel.centre is not None:
        axes.plot(
            *panel.centre,
            "P",
            color="white",
            markeredgecolor="black",
            markersize=6,
            markeredgewidth=0.8,
            zorder=5,
            clip_on=False,
        )
    draw_places(axes, panel, style)
    axes.locator_params(nbins=5)
    axes.set_title(f"{title}\n", fontweight="bold")
    axes.annotate(panel.subtitle, (0.5, 1.0), (0, 4), "axes fraction", "offset points", ha="center", va="bottom")


def _keep_apart(axes: Axes, texts: Sequence[Text], taken: Sequence[tuple[float, float]]) -> None:
    """Take away labels too near to each other, to the centre or to the edge; outline the rest."""
    to_panel = axes.transData + axes.transAxes.inverted()
    axes.set_autoscale_on(False)
    kept = [to_panel.transform(place) for place in taken]
    for text in texts:
        place = to_panel.transform(text.get_position())
        if np.any((place < 0.05) | (place > 0.95)) or any(np.hypot(*(place - other)) < 0.11 for other in kept):
            text.remove()
            continue
        kept.append(place)
        text.set_path_effects([patheffects.withStroke(linewidth=1.4, foreground="black")])


def relief(data: SurfacesData, *, style: Style = PAPER) -> Figure:
    """3D reliefs side by side on one height, one colour bar."""
    with rules(style):
        columns = style.columns(len(data.panels), SURFACE)
        rows = math.ceil(len(data.panels) / columns)
        width = style.width(len(data.panels))
        side, above = (width - 0.85) / columns, 0.0375 * style.size  # inches of a panel, and of the titles above it
        below = 0.2 * (side < SURFACE)  # of labels that reach below a small panel
        text = style.wrapped(data.notes, width)
        foot = 0.12 + 0.15 * (text.count("\n") + 1) if text else 0.05
        height = rows * (side + above + below) + foot
        figure = PaperFigure(figsize=(width, height))
        figure.style = style
        for index, panel in enumerate(data.panels):
            row, column = divmod(index, columns)
            bottom = foot + below + (rows - 1 - row) * (side + above + below)
            box = (column * side / width, bottom / height, side / width, side / height)
            axes = figure.add_axes(box, projection="3d")
            assert isinstance(axes, Axes3D)
            _draw_relief(axes, panel, data, style, CELLS if columns < 3 else CELLS_OF_MANY)
            centre = (column + 0.5) * side / width
            figure.text(
                centre,
                (bottom + side - 0.02 + 0.0175 * style.size) / height,
                style.title(panel.title, side),
                ha="center",
                fontweight="bold",
                fontsize=style.size + 1,
            )
            figure.text(centre, (bottom + side - 0.02) / height, panel.subtitle, ha="center")
        bar = figure.add_axes(
            (
                (width - 0.72) / width,
                (foot + 0.2 * (height - foot)) / height,
                0.12 / width,
                0.55 * (height - foot) / height,
            )
        )
        _colour_bar(figure, data.scale, style, Normalize(data.scale.low, data.scale.high), cax=bar)
        figure.text(0.08 / width, 0.06 / height, text, fontsize=style.size - 1.5, color=style.mixed(0.3), va="bottom")
    return figure


def _draw_relief(axes: Axes3D, panel: Panel, data: SurfacesData, style: Style, cells: int) -> None:
    axes.set_facecolor("none")  # or it hides the labels of the panel beside it
    colours = matplotlib.colormaps[style.surface_map]
    norm = Normalize(data.scale.low, data.scale.high)
    alpha, beta = np.meshgrid(panel.alpha, panel.beta)
    if np.isfinite(panel.heights).any() and min(panel.heights.shape) > 1:
        axes.plot_surface(
            alpha,
            beta,
            panel.heights,
            cmap=colours,
            norm=norm,
            rcount=cells,
            ccount=cells,
            linewidth=0.15,
            edgecolor=(0, 0, 0, 0.25),
            antialiased=True,
        )
    if panel.centre is not None and np.isfinite(panel.centre_height):
        axes.plot(
            *panel.centre, panel.centre_height, "P", color="white", markeredgecolor="black", markersize=6, zorder=10
        )
    draw_relief_places(axes, panel, style)
    axes.computed_zorder = False
    axes.set_xlim(panel.alpha[0], panel.alpha[-1])
    axes.set_ylim(panel.beta[0], panel.beta[-1])
    axes.set_zlim(data.scale.low, data.scale.high)
    axes.set_zticks(data.scale.ticks, data.scale.tick_labels)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], prune="both"))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], prune="both"))
    axes.tick_params(pad=-2, labelsize=style.size - 1.5)
    axes.set_xlabel(data.x_label, labelpad=-5)
    axes.set_ylabel(data.y_label, labelpad=-5)
    axes.view_init(elev=40, azim=-55)
    axes.set_box_aspect((1, 1, 0.75), zoom=0.93)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((*shade(0.97), 1.0))


def spectrum(data: MarksData, *, style: Style = PAPER) -> Figure:
    """Both ends of the spectrum, a row a checkpoint."""
    with rules(style):
        columns = style.columns(len(data.panels))
        rows = math.ceil(len(data.panels) / columns)
        figure = empty_figure(style, style.page, 0.4 + rows * (0.75 + 0.42 * len(data.labels)), data.notes)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, panel in zip(grid.flat, data.panels, strict=True):
            axes.axvline(0.0, color=shade(0.6), linewidth=0.7, zorder=0)
            draw_marks(axes, panel, style, upright=False)
            for marks in panel.marks:
                for x, y, text in zip(marks.value, marks.position, marks.printed, strict=True):
                    if np.isfinite(x):
                        axes.annotate(
                            text, (x, y), (0, 5), textcoords="offset points", ha="center", fontsize=style.size - 1
                        )
            if columns > 1:
                axes.label_outer(remove_inner_ticks=False)
    return figure


def sharpness(data: MarksData, *, style: Style = PAPER) -> Figure:
    """Sharpness measures, a panel a measure."""
    return _marks_figure(data, style)


def scores(data: MarksData, *, style: Style = PAPER) -> Figure:
    """Ranking scores with their intervals, a panel a family of metrics."""
    return _marks_figure(data, style)


def _marks_figure(data: MarksData, style: Style) -> Figure:
    with rules(style):
        columns = style.columns(len(data.panels))
        rows = math.ceil(len(data.panels) / columns)
        width = style.width(len(data.panels))
        figure = empty_figure(style, width, 2.3 * rows + 0.5, data.notes)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(data.panels) :]:
            axes.remove()
        for axes, panel in zip(grid.flat, data.panels, strict=False):
            draw_marks(axes, panel, style, upright=True)
        handles, labels = grid.flat[0].get_legend_handles_labels()
        if len(labels) > 1:
            legend_above(figure, handles, labels)
    return figure


def _colour_bar(figure: Figure, scale: Scale, style: Style, norm: Normalize, **place: Any) -> None:
    mappable = ScalarMappable(norm, style.surface_map)
    bar = figure.colorbar(mappable, spacing="proportional", **place)
    bar.set_ticks(list(scale.ticks), labels=list(scale.tick_labels))
    bar.minorticks_off()
    bar.set_label(scale.label)
    bar.outline.set_linewidth(0.5)


def _bands(scale: Scale) -> Normalize:
    """A colour for each band between two levels."""
    return BoundaryNorm(scale.levels, 256)
