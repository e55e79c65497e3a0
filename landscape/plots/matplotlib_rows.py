"""Dots with intervals in named rows, for paper: columns of panels, each panel with an axis of its own."""

from matplotlib.figure import Figure

from landscape.plots.figure_data import MarksPanel, RowsData
from landscape.plots.matplotlib_marks import draw_marks
from landscape.plots.matplotlib_paper import empty_figure, legend_above, rules, shade
from landscape.plots.style import PAPER, Style

ROW, AXIS = 0.17, 0.55  # inches of a row, and of what a panel has beside its rows
MARK = 0.036  # inches of a row for each of its marks, so that six of them can be told apart
LEAST = 2.8  # inches of a column
LEAST_BESIDE = 4.0  # where each row has its numbers beside it


def sharpness_table(data: RowsData, *, style: Style = PAPER) -> Figure:
    """Every sharpness measure, raw ones left and scale-invariant ones right, each quantity on its own axis."""
    return _rows_figure(data, style)


def change(data: RowsData, *, style: Style = PAPER) -> Figure:
    """How far every measure changes between groups, with intervals: raw measures, and scale-invariant ones."""
    return _rows_figure(data, style)


def _rows_figure(data: RowsData, style: Style) -> Figure:
    with rules(style):
        has_numbers = any(panel.beside for _, panels in data.columns for panel in panels)
        columns = _columns(data, style.columns(len(data.columns), LEAST_BESIDE if has_numbers else LEAST))
        heights = [[_row(panel) * len(panel.categories) + AXIS for _, panel in panels] for panels in columns]
        figure = empty_figure(style, style.page, max(map(sum, heights)) + 0.5, data.notes)
        outer = figure.add_gridspec(1, len(columns))
        tallest = max(map(sum, heights))
        for place, (panels, own) in enumerate(zip(columns, heights, strict=True)):
            spare = tallest - sum(own)
            rows = len(panels) + (spare > 0.01)
            inner = outer[place].subgridspec(rows, 1, height_ratios=[*own, *([spare] if spare > 0.01 else [])])
            for row, (heading, panel) in enumerate(panels):
                axes = figure.add_subplot(inner[row])
                draw_marks(axes, panel, style, upright=False)
                for at, text in panel.beside:
                    along = axes.get_yaxis_transform()
                    axes.text(1.01, at, text, transform=along, va="center", fontsize=style.size - 1.5)
                for at, _ in panel.categories[1:]:
                    axes.axhline(at + 0.5, color=shade(0.93), linewidth=0.5, zorder=0)
                if panel.scale.kind == "linear" and panel.scale.offset == 0 and panel.value_range[0] < 0:
                    axes.axvline(0.0, color=shade(0.6), linewidth=0.7, zorder=0)
                if heading:
                    axes.set_title(heading, fontweight="bold")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        if len(labels) > 1:
            legend_above(figure, handles, labels)
    return figure


def _row(panel: MarksPanel) -> float:
    return max(ROW, MARK * len(panel.marks))


def _columns(data: RowsData, count: int) -> list[list[tuple[str, MarksPanel]]]:
    """Panels of each column under the heading of the first; all in one column where there is room for no more."""
    found = [list(zip((heading, *[""] * len(panels)), panels, strict=False)) for heading, panels in data.columns]
    return found if count > 1 else [[panel for panels in found for panel in panels]]
