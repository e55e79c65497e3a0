"""Points with bars in one panel of matplotlib: what spectra, sharpness and scores are drawn with."""

from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes

from landscape.plots.figure_data import MarksPanel
from landscape.plots.matplotlib_paper import category_axis, shade, value_axis
from landscape.plots.style import Style

HEADS = {True: "v^", False: "<>"}  # of bars that go on beyond the axis
LETTERS = 26  # of a title on a line above a third of a page


def draw_marks(axes: Axes, panel: MarksPanel, style: Style, *, upright: bool) -> None:
    """One panel: values upwards, or in rows; hollow where a mark is not solid."""
    for marks in panel.marks:
        colour = style.colour(marks.group)
        bars = np.maximum(np.stack([marks.value - marks.low, marks.high - marks.value]), 0.0)
        x, y = (marks.position, marks.value) if upright else (marks.value, marks.position)
        axes.errorbar(
            x,
            y,
            yerr=bars if upright else None,
            xerr=None if upright else bars,
            color=colour,
            capsize=2,
            linestyle="none",
            marker=style.marker(marks.member),
            markersize=style.grown(4),
            label=marks.label,
        )
        axes.plot(
            x[~marks.solid],
            y[~marks.solid],
            style.marker(marks.member),
            color=shade(1),
            markeredgecolor=colour,
            markersize=style.grown(4),
            zorder=5,
        )
        for cut, ends, head in zip(marks.cut(panel.scale), (marks.low, marks.high), HEADS[upright], strict=True):
            x, y = (marks.position, ends) if upright else (ends, marks.position)
            if cut.any():  # a layout has no place for nothing that is not clipped
                axes.plot(x[cut], y[cut], head, color=colour, markersize=style.grown(4), clip_on=False)
    if panel.title:
        axes.set_title("\n".join(wrap(panel.title, LETTERS)))
    category_axis(axes, panel.categories, panel.category_range, panel.category_label, upright=upright)
    value_axis(axes, panel.scale, "y" if upright else "x", panel.value_range)
