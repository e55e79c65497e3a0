"""What lies in an interactive figure beside the surface: named points, a training's path, the barrier of a line."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from landscape.plots.figure_data import Line, Panel, SurfacesData

LIFT = 0.01  # of the heights' range: a mark in the surface would be half hidden


def add_places(figure: go.Figure, panel: Panel, place: dict[str, int]) -> None:
    """The path and the named points of a panel, over everything else."""
    if panel.trail is not None:
        trail = panel.trail
        labels = {(spot.x, spot.y): spot.label for spot in trail.labels}
        names = [labels.get((float(x), float(y)), "") for x, y in zip(trail.x, trail.y, strict=True)]
        figure.add_scatter(
            x=trail.x,
            y=trail.y,
            mode="lines+markers+text",
            text=[f"<b>{name}</b>" if name else "" for name in names],
            textposition="top center",
            textfont={"color": "white", "size": 13, "shadow": "auto"},
            hovertext=trail.texts,
            hoverinfo="text",
            showlegend=False,
            line={"color": "white", "width": 2},
            marker={"color": "white", "size": 6, "line": {"color": "black", "width": 1}},
            **place,
        )
    if panel.lowest is not None:
        figure.add_scatter(
            x=[panel.lowest.x], y=[panel.lowest.y], mode="markers", showlegend=False, hoverinfo="text",
            hovertext=f"lowest: {panel.lowest.text}", **place,
            marker={"symbol": "diamond", "color": "white", "size": 9, "line": {"color": "black", "width": 1}},
        )  # fmt: skip
    if panel.spots:
        figure.add_scatter(
            x=[spot.x for spot in panel.spots],
            y=[spot.y for spot in panel.spots],
            mode="markers+text",
            text=[f"<b>{spot.label}</b>" for spot in panel.spots],
            textposition=[f"{'top' if spot.above else 'bottom'} {spot.side}" for spot in panel.spots],
            textfont={"color": "white", "size": 13, "shadow": "auto"},
            hovertext=[f"{spot.label}: {spot.text}" for spot in panel.spots],
            hoverinfo="text",
            showlegend=False,
            marker={"color": "white", "size": 8, "line": {"color": "black", "width": 1}},
            **place,
        )


def add_relief_places(figure: go.Figure, panel: Panel, data: SurfacesData, place: dict[str, int]) -> None:
    """The same a little above the surface itself; what lies beside the surface is left out."""
    lift = LIFT * (data.scale.high - data.scale.low)
    shared: dict[str, Any] = {"showlegend": False, "hoverinfo": "text", **place}
    edge = {"color": "black", "width": 1}
    if panel.trail is not None:
        trail = panel.trail
        figure.add_scatter3d(
            x=trail.x, y=trail.y, z=trail.heights + lift, mode="lines+markers", hovertext=trail.texts,
            line={"color": "black", "width": 4}, marker={"color": "white", "size": 4, "line": edge}, **shared,
        )  # fmt: skip
    labels = () if panel.trail is None else panel.trail.labels
    for mode, size, spots in (("text", 0, labels), ("markers+text", 5, panel.spots)):
        on = [spot for spot in spots if np.isfinite(spot.height)]
        if on:
            figure.add_scatter3d(
                x=[spot.x for spot in on], y=[spot.y for spot in on], z=[spot.height + lift for spot in on], mode=mode,
                text=[f"<b>{spot.label}</b>" for spot in on],
                textposition=["top center" if spot.above else "bottom center" for spot in on],
                hovertext=[f"{spot.label}: {spot.text}" for spot in on],
                marker={"color": "white", "size": size, "line": edge}, **shared,
            )  # fmt: skip
    if panel.lowest is not None:
        figure.add_scatter3d(
            x=[panel.lowest.x], y=[panel.lowest.y], z=[panel.lowest.height + lift], mode="markers",
            hovertext=f"lowest: {panel.lowest.text}",
            marker={"symbol": "diamond", "color": "white", "size": 5, "line": edge}, **shared,
        )  # fmt: skip


def add_line_places(figure: go.Figure, line: Line, colour: str) -> None:
    """The ends of a line and its barrier."""
    shared: dict[str, Any] = {"showlegend": False, "legendgroup": line.label}
    if line.barrier is not None:
        barrier = line.barrier
        figure.add_scatter(
            x=barrier.x, y=barrier.y, mode="lines", line={"color": colour, "dash": "dash", "width": 1},
            hoverinfo="skip", **shared,
        )  # fmt: skip
        figure.add_scatter(
            x=[barrier.at] * 3, y=[barrier.low, barrier.middle, barrier.high], mode="lines+text",
            text=["", barrier.text, ""], textposition="middle right", line={"color": "#555555", "width": 1.5},
            hoverinfo="text", hovertext=barrier.text, **shared,
        )  # fmt: skip
    if line.spots:
        figure.add_scatter(
            x=[spot.x for spot in line.spots],
            y=[spot.y for spot in line.spots],
            mode="markers+text",
            text=[spot.label for spot in line.spots],
            textposition=[f"{'top' if spot.above else 'bottom'} {spot.side}" for spot in line.spots],
            hovertext=[f"{spot.label}: {spot.text}" for spot in line.spots],
            hoverinfo="text",
            marker={"color": colour, "size": 9},
            **shared,
        )
