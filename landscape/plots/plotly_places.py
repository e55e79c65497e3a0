"""What lies in an interactive figure beside the surface: named points, a training's path, the barrier of a line."""

from typing import Any

import plotly.graph_objects as go

from landscape.plots.figure_data import Line, Panel


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
    if panel.spots:
        figure.add_scatter(
            x=[spot.x for spot in panel.spots],
            y=[spot.y for spot in panel.spots],
            mode="markers+text",
            text=[f"<b>{spot.label}</b>" for spot in panel.spots],
            textposition=["top center" if spot.above else "bottom center" for spot in panel.spots],
            textfont={"color": "white", "size": 13, "shadow": "auto"},
            hovertext=[f"{spot.label}: {spot.text}" for spot in panel.spots],
            hoverinfo="text",
            showlegend=False,
            marker={"color": "white", "size": 8, "line": {"color": "black", "width": 1}},
            **place,
        )


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
