"""Dots with intervals in named rows, to point at: columns of panels, each panel with an axis of its own."""

import plotly.graph_objects as go

from landscape.plots.figure_data import RowsData
from landscape.plots.plotly_page import SYMBOLS, add_heads, axis_of, finished
from landscape.plots.style import PAPER, Style

ROW, AXIS, HEADING = 24, 70, 40  # pixels of a row, of what a panel has beside its rows, and above all


def sharpness_table(data: RowsData, *, style: Style = PAPER) -> go.Figure:
    """Every sharpness measure, raw ones left and scale-invariant ones right, each quantity on its own axis."""
    return _rows_figure(data, style)


def change(data: RowsData, *, style: Style = PAPER) -> go.Figure:
    """How far every measure changes between groups, raw ones left and scale-invariant ones right, with intervals."""
    return _rows_figure(data, style)


def _rows_figure(data: RowsData, style: Style) -> go.Figure:
    figure = go.Figure()
    tallest = max(sum(ROW * len(panel.categories) + AXIS for panel in panels) for _, panels in data.columns)
    number = 0
    for place, (heading, panels) in enumerate(data.columns):
        left = (place + 0.42) / len(data.columns)  # the labels of the rows stand in what is left of it
        right = (place + (0.78 if any(panel.beside for panel in panels) else 0.92)) / len(data.columns)
        top = 1.0
        figure.add_annotation(
            text=f"<b>{heading}</b>",
            x=(left + right) / 2,
            y=1.0,
            xref="paper",
            yref="paper",
            yshift=24,
            showarrow=False,
        )
        for panel in panels:
            number += 1
            low = top - ROW * len(panel.categories) / tallest
            for marks in panel.marks:
                symbol = SYMBOLS[style.marker(marks.member)]
                figure.add_scatter(
                    x=marks.value,
                    y=marks.position,
                    mode="markers",
                    name=marks.label,
                    legendgroup=marks.label,
                    showlegend=number == 1 and len(data.labels) > 1,
                    text=marks.texts,
                    hoverinfo="text",
                    error_x={"type": "data", "array": marks.high - marks.value, "arrayminus": marks.value - marks.low},
                    marker={
                        "color": style.colour(marks.group),
                        "size": 8,
                        "symbol": [symbol if solid else f"{symbol}-open" for solid in marks.solid],
                    },
                    xaxis=f"x{number}",
                    yaxis=f"y{number}",
                )
                axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
                add_heads(figure, marks, panel.scale, style, upright=False, **axes)
            for at, text in panel.beside:
                figure.add_annotation(
                    text=text, x=right, xref="paper", y=at, yref=f"y{number}", xanchor="left", showarrow=False
                )
            axis_x = {**axis_of(panel.scale), "range": list(panel.value_range), "domain": [left, right]}
            axis_y = {
                "tickvals": [at for at, _ in panel.categories],
                "ticktext": [label for _, label in panel.categories],
                "range": list(panel.category_range),
                "domain": [max(0.0, low), top],
                "zeroline": False,
            }
            figure.update_layout(
                {
                    f"xaxis{number}": {**axis_x, "anchor": f"y{number}", "zeroline": panel.value_range[0] < 0},
                    f"yaxis{number}": {**axis_y, "anchor": f"x{number}"},
                }
            )
            top = low - AXIS / tallest
    return finished(figure, data.notes, style, width=1150, height=tallest + HEADING + 160)
