"""Figures of studies to point at: quantities over a setting, training curves, a measure against a score."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.plots.figure_data import Trend, TrendsData
from landscape.plots.plotly_page import DASHES, SYMBOLS, add_band, axis_of, finished, grid_of
from landscape.plots.style import PAPER, Style


def study(data: TrendsData, *, style: Style = PAPER) -> go.Figure:
    """Quantities over the study's setting, a panel each."""
    return trends_figure(data, style)


def training(data: TrendsData, *, style: Style = PAPER) -> go.Figure:
    """Training curves, a panel each of loss, validation and sharpness."""
    return trends_figure(data, style)


def relation(data: TrendsData, *, style: Style = PAPER) -> go.Figure:
    """A dot a run, a panel a measure."""
    return trends_figure(data, style)


def trends_figure(data: TrendsData, style: Style) -> go.Figure:
    """Panels of lines, bands and dots under one legend."""
    columns, rows = grid_of(len(data.panels), style)
    titles = [panel.title for panel in data.panels]
    figure = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=0.25 / rows)
    for index, panel in enumerate(data.panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        for at in panel.x_breaks:
            figure.add_vline(at, line={"color": "#888888", "width": 1, "dash": "dot"}, **place)
        for trend in panel.trends:
            _add_trend(figure, trend, style, place, upright=not data.rows)
        names = {
            "tickvals": [at for at, _ in panel.x_ticks],
            "ticktext": [label for _, label in panel.x_ticks],
            "range": list(panel.x_range),
            "title": {"text": panel.x_label},
        }
        values = {**axis_of(panel.scale), "range": list(panel.value_range)}
        if data.rows:
            names |= {
                "range": list(panel.x_range[::-1]),
                "showticklabels": index % columns == 0,
                "automargin": True,
                "zeroline": False,
            }
            figure.update_xaxes(**values, **place).update_yaxes(**names, **place)
        else:
            figure.update_xaxes(**names, **place).update_yaxes(**values, **place)
    for label, group in data.legend:
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="lines+markers",
            name=label,
            legendgroup=str(group),
            line={"color": style.colour(group), "dash": DASHES[style.dash(group)]},
            marker={"symbol": SYMBOLS[style.marker(group)], "size": 8},
        )
    figure.update_layout(showlegend=bool(data.legend))
    return finished(figure, data.notes, style, width=140 + 400 * columns, height=360 * rows + 60)


def _add_trend(figure: go.Figure, trend: Trend, style: Style, place: dict[str, int], *, upright: bool) -> None:
    turn = 1 if upright else -1
    colour = style.colour(trend.group)
    shared = {"showlegend": False, "legendgroup": str(trend.group), **place}
    if trend.low is not None and trend.high is not None:
        add_band(figure, trend.x, trend.low, trend.high, colour, **shared)
    if len(trend.x):
        x, y = (trend.x, trend.y)[::turn]
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            hoverinfo="skip",
            line={"color": colour, "dash": DASHES[style.dash(trend.group)]},
            **shared,
        )
    if len(trend.dots):
        x, y = trend.dots.T[::turn]
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers",
            text=trend.texts,
            hoverinfo="text",
            marker={"color": colour, "symbol": SYMBOLS[style.marker(trend.group)], "size": 7},
            **shared,
        )
