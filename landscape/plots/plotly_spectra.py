"""Figures of whole spectra to point at: densities, mass and trace by block, ends against the data's size."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.plots.figure_data import MarksData, TrendsData
from landscape.plots.plotly_page import SYMBOLS, add_heads, axis_of, finished, grid_of
from landscape.plots.plotly_studies import trends_figure
from landscape.plots.style import PAPER, Style


def density(data: TrendsData, *, style: Style = PAPER) -> go.Figure:
    """Spectral densities on a log axis, all checkpoints in each panel."""
    return _with_legend_above(trends_figure(data, style), len(data.legend))


def subsets(data: TrendsData, *, style: Style = PAPER) -> go.Figure:
    """Both ends of the spectrum against the number of users."""
    return trends_figure(data, style)


def mass(data: MarksData, *, style: Style = PAPER) -> go.Figure:
    """Mass by block, a panel an eigenvector."""
    return _rows_figure(data, style)


def trace(data: MarksData, *, style: Style = PAPER) -> go.Figure:
    """Traces by block, a panel for each kind of coordinates."""
    return _rows_figure(data, style)


def _with_legend_above(figure: go.Figure, rows: int) -> go.Figure:
    """Labels that tell numbers are long: above the panels they take no width."""
    legend = {"orientation": "v", "x": 0, "y": 1.02, "yanchor": "bottom"}
    return figure.update_layout(legend=legend, margin_t=60 + 22 * rows, height=figure.layout.height + 22 * rows)


def _rows_figure(data: MarksData, style: Style) -> go.Figure:
    columns, rows = grid_of(len(data.panels), style)
    titles = [panel.title for panel in data.panels]
    figure = make_subplots(
        rows, columns, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.03, vertical_spacing=0.25 / rows
    )
    for index, panel in enumerate(data.panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        for marks in panel.marks:
            symbol = SYMBOLS[style.marker(marks.member)]
            bars = {"type": "data", "array": marks.high - marks.value, "arrayminus": marks.value - marks.low}
            figure.add_scatter(
                x=marks.value,
                y=marks.position,
                mode="markers",
                name=marks.label,
                legendgroup=marks.label,
                showlegend=index == 0,
                text=marks.texts,
                hoverinfo="text",
                error_x=bars if (marks.high > marks.low).any() else None,
                marker={
                    "color": style.colour(marks.group),
                    "size": 8,
                    "symbol": [symbol if solid else f"{symbol}-open" for solid in marks.solid],
                },
                **place,
            )
            add_heads(figure, marks, panel.scale, style, upright=False, **place)
        figure.update_xaxes(**{**axis_of(panel.scale), "range": list(panel.value_range)}, **place)
        figure.update_yaxes(
            tickvals=[at for at, _ in panel.categories],
            ticktext=[label for _, label in panel.categories],
            range=list(panel.category_range),
            **place,
        )
    height = rows * (110 + 34 * len(data.panels[0].categories)) + 120
    return finished(figure, data.notes, style, width=200 + 330 * columns, height=height)
