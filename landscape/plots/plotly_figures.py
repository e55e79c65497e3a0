"""The same figures to turn and to point at, drawn by plotly: one HTML file that needs nothing else."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from landscape.plots.figure_data import CurveData, MarksData, Panel, SurfacesData
from landscape.plots.plotly_page import DASHES, SYMBOLS, add_band, add_heads, axis_of, finished, grid_of, save
from landscape.plots.plotly_places import add_line_places, add_places, add_relief_places
from landscape.plots.plotly_rows import change, sharpness_table
from landscape.plots.plotly_spectra import density, mass, subsets, trace
from landscape.plots.plotly_studies import relation, study, training
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


def curve(data: CurveData, *, style: Style = PAPER) -> go.Figure:
    """Lines with bands, all checkpoints in one panel."""
    figure = go.Figure()
    for index, line in enumerate(data.lines):
        colour = style.colour(index)
        if line.low is not None and line.high is not None:
            add_band(figure, line.x, line.low, line.high, colour, showlegend=False, legendgroup=line.label)
        figure.add_scatter(
            x=line.x,
            y=line.y,
            mode="lines",
            name=line.label,
            legendgroup=line.label,
            customdata=line.values,
            line={"color": colour, "dash": DASHES[style.dash(index)]},
            hovertemplate=f"{data.x_label} %{{x:.4g}}<br>%{{customdata:.6g}}<extra>{line.label}</extra>",
        )
        if len(line.holes):
            figure.add_scatter(
                x=line.holes,
                y=np.full(len(line.holes), data.scale.low),
                mode="markers",
                showlegend=False,
                marker={"symbol": "x-thin-open", "color": colour},
                hovertext="not finite",
                hoverinfo="text+x",
            )
        add_line_places(figure, line, colour)
    if data.has_centre:
        figure.add_vline(0.0, line={"color": "#999999", "width": 1})
    figure.update_xaxes(title_text=data.x_label)
    figure.update_yaxes(**axis_of(data.scale))
    figure.update_layout(showlegend=True)
    return finished(figure, data.notes, style, width=760, height=520)


def contour(data: SurfacesData, *, style: Style = PAPER) -> go.Figure:
    """Filled contours side by side, one colour bar."""
    columns, rows = grid_of(len(data.panels), style, SURFACE)
    figure = make_subplots(rows, columns, subplot_titles=_titles(data), horizontal_spacing=0.08, vertical_spacing=0.16)
    for index, panel in enumerate(data.panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        levels = data.scale.levels
        figure.add_contour(
            x=panel.alpha,
            y=panel.beta,
            z=panel.heights,
            customdata=panel.values,
            coloraxis="coloraxis",
            hoverongaps=False,
            contours={"start": levels[0], "end": levels[-1], "size": levels[1] - levels[0]},
            line={"width": 0.5},
            hovertemplate=_hover(data, panel),
            **place,
        )
        if len(panel.holes):
            figure.add_scatter(
                x=panel.holes[:, 0],
                y=panel.holes[:, 1],
                mode="markers",
                showlegend=False,
                hovertext="not finite",
                hoverinfo="text+x+y",
                marker={"symbol": "x-thin-open", "color": "#444444", "size": 4},
                **place,
            )
        if panel.measured is not None:
            figure.add_scatter(
                x=panel.measured[:, 0],
                y=panel.measured[:, 1],
                mode="markers",
                showlegend=False,
                hoverinfo="skip",
                marker={"color": "white", "size": 2},
                **place,
            )
        if len(panel.unsettled):
            figure.add_scatter(
                x=panel.unsettled[:, 0],
                y=panel.unsettled[:, 1],
                mode="markers",
                showlegend=False,
                hovertext="not converged",
                hoverinfo="text",
                marker={"symbol": "circle-open", "color": "white", "size": 6},
                **place,
            )
        if panel.centre is not None:
            figure.add_scatter(
                x=[panel.centre[0]],
                y=[panel.centre[1]],
                mode="markers",
                showlegend=False,
                hovertext=panel.subtitle,
                hoverinfo="text",
                marker={"symbol": "cross", "size": 11, "color": "white", "line": {"color": "black", "width": 1}},
                **place,
            )
        add_places(figure, panel, place)
        figure.update_xaxes(
            title_text=data.x_label, range=[panel.alpha[0], panel.alpha[-1]], constrain="domain", **place
        )
        figure.update_yaxes(
            title_text=data.y_label if index % columns == 0 else None, range=[panel.beta[0], panel.beta[-1]], **place
        )
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_yaxes(showgrid=False, zeroline=False)
    figure.update_layout(coloraxis=_colours(data.scale, style), plot_bgcolor=style.mixed(0.88))
    return finished(figure, data.notes, style, width=140 + 430 * columns, height=470 * rows + 60)


def relief(data: SurfacesData, *, style: Style = PAPER) -> go.Figure:
    """3D reliefs side by side on one height, one colour bar."""
    columns, rows = grid_of(len(data.panels), style, SURFACE)
    kinds = [[{"type": "scene"}] * columns for _ in range(rows)]
    figure = make_subplots(rows, columns, specs=kinds, subplot_titles=_titles(data), horizontal_spacing=0.02)
    heights = axis_of(data.scale)
    for index, panel in enumerate(data.panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        figure.add_surface(
            x=panel.alpha,
            y=panel.beta,
            z=panel.heights,
            customdata=panel.values,
            coloraxis="coloraxis",
            hovertemplate=_hover(data, panel),
            **place,
        )
        if panel.centre is not None and np.isfinite(panel.centre_height):
            figure.add_scatter3d(
                x=[panel.centre[0]],
                y=[panel.centre[1]],
                z=[panel.centre_height],
                mode="markers",
                showlegend=False,
                hovertext=panel.subtitle,
                hoverinfo="text",
                marker={"symbol": "cross", "size": 5, "color": "black"},
                **place,
            )
        add_relief_places(figure, panel, data, place)
    figure.update_scenes(
        xaxis_title_text=data.x_label,
        yaxis_title_text=data.y_label,
        zaxis={**heights, "title": {"text": data.scale.label}},
        aspectratio={"x": 1, "y": 1, "z": 0.75},
        camera={"eye": {"x": 1.3, "y": -1.7, "z": 1.0}},
    )
    figure.update_layout(coloraxis=_colours(data.scale, style))
    return finished(figure, data.notes, style, width=140 + 480 * columns, height=500 * rows + 60)


def spectrum(data: MarksData, *, style: Style = PAPER) -> go.Figure:
    """Both ends of the spectrum, a row a checkpoint."""
    return _marks_figure(data, style, upright=False)


def sharpness(data: MarksData, *, style: Style = PAPER) -> go.Figure:
    """Sharpness measures, a panel a measure."""
    return _marks_figure(data, style, upright=True)


def scores(data: MarksData, *, style: Style = PAPER) -> go.Figure:
    """Ranking scores with their intervals, a panel a family of metrics."""
    return _marks_figure(data, style, upright=True)


def _marks_figure(data: MarksData, style: Style, *, upright: bool) -> go.Figure:
    columns, rows = grid_of(len(data.panels), style)
    titles = [panel.title for panel in data.panels]
    apart = min(0.2, 0.6 / rows)
    figure = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=apart)
    for index, panel in enumerate(data.panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        for marks in panel.marks:
            bars = {"type": "data", "array": marks.high - marks.value, "arrayminus": marks.value - marks.low}
            symbol = SYMBOLS[style.marker(marks.member)]
            x, y = (marks.position, marks.value) if upright else (marks.value, marks.position)
            figure.add_scatter(
                x=x,
                y=y,
                mode="markers+text" if marks.printed else "markers",
                textposition="top center",
                name=marks.label,
                legendgroup=marks.label,
                showlegend=index == 0 and upright,  # rows have their names beside them
                text=marks.printed or None,
                hovertext=marks.texts,
                hoverinfo="text",
                **{"error_y" if upright else "error_x": bars},
                marker={
                    "color": style.colour(marks.group),
                    "size": 8,
                    "symbol": [symbol if solid else f"{symbol}-open" for solid in marks.solid],
                },
                **place,
            )
            add_heads(figure, marks, panel.scale, style, upright=upright, **place)
        names = {
            "tickvals": [at for at, _ in panel.categories],
            "ticktext": [label for _, label in panel.categories],
            "range": list(panel.category_range),
            "title": {"text": panel.category_label},
        }
        values = {**axis_of(panel.scale), "range": list(panel.value_range)}
        figure.update_xaxes(**(names if upright else values), **place)
        figure.update_yaxes(**(values if upright else names), **place)
        if not upright and index % columns:
            figure.update_yaxes(showticklabels=False, **place)
    return finished(figure, data.notes, style, width=140 + 400 * columns, height=360 * rows + 60)


def _colours(scale: Scale, style: Style) -> dict[str, Any]:
    bar = {"tickvals": list(scale.ticks), "ticktext": list(scale.tick_labels), "title": {"text": scale.label}}
    return {"colorscale": style.surface_map, "cmin": scale.low, "cmax": scale.high, "colorbar": bar}


def _titles(data: SurfacesData) -> list[str]:
    return [f"<b>{panel.title}</b><br>{panel.subtitle}" for panel in data.panels]


def _hover(data: SurfacesData, panel: Panel) -> str:
    return f"{data.x_label} %{{x:.4g}}<br>{data.y_label} %{{y:.4g}}<br>%{{customdata:.6g}}<extra>{panel.title}</extra>"
