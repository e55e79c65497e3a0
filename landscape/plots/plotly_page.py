"""What every plotly figure shares: axes of a scale, sizes, fonts, notes, and the one HTML file it is saved to."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from landscape.errors import InvalidArgument
from landscape.plots.figure_data import Marks
from landscape.plots.saving import written_aside
from landscape.plots.scale import Scale
from landscape.plots.style import Style

Numbers = NDArray[np.float64]
DASHES = {"solid": "solid", "dashed": "dash", "dashdot": "dashdot", "dotted": "dot"}
MARKUP = re.compile(r"<(?!/?(?:b|br|extra|i|sub|sup)>)")  # all but the tags drawers write themselves
SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "p": "pentagon",
    ">": "triangle-right", "<": "triangle-left",
}  # fmt: skip


def save(figure: go.Figure, path: str | Path) -> Path:
    """Write a figure as one HTML file with plotly inside; the file appears whole or not at all.

    Raises:
        InvalidArgument: another ending than .html.
        StoreError: the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() != ".html":
        raise InvalidArgument(f"expected a file name ending in .html, got {target.name!r}")
    page = figure.to_html(include_plotlyjs=True, full_html=True, div_id="landscape", config={"displaylogo": False})
    return written_aside(target, page.encode())


def add_heads(figure: go.Figure, marks: Marks, scale: Scale, style: Style, *, upright: bool, **place: Any) -> None:
    """Arrow heads on bars that go on beyond the axis; `place` is said to plotly of them."""
    symbols = ("triangle-down", "triangle-up") if upright else ("triangle-left", "triangle-right")
    for cut, ends, symbol in zip(marks.cut(scale), (marks.low, marks.high), symbols, strict=True):
        if cut.any():
            x, y = (marks.position, ends) if upright else (ends, marks.position)
            look = {"color": style.colour(marks.group), "size": 8, "symbol": symbol}
            figure.add_scatter(
                x=x[cut], y=y[cut], mode="markers", marker=look, hoverinfo="skip", showlegend=False, **place
            )


def axis_of(scale: Scale) -> dict[str, Any]:
    """An axis that shows a scale."""
    return {
        "tickvals": list(scale.ticks),
        "ticktext": list(scale.tick_labels),
        "range": [scale.low, scale.high],
        "title": {"text": scale.label},
    }


def grid_of(panels: int, style: Style, least: float = 1.9) -> tuple[int, int]:
    """How many columns and rows so many panels take, each at least so many inches wide in print."""
    columns = style.columns(panels, least)
    return columns, math.ceil(panels / columns)


def add_band(figure: go.Figure, x: Numbers, low: Numbers, high: Numbers, colour: str, **shared: Any) -> None:
    """A band in a faint colour; `shared` is said to plotly of both its edges."""
    for side, fill in ((low, None), (high, "tonexty")):
        figure.add_scatter(
            x=x,
            y=side,
            mode="lines",
            line={"width": 0},
            fill=fill,
            fillcolor=faint(colour),
            hoverinfo="skip",
            **shared,
        )


def faint(colour: str) -> str:
    """The colour, mostly transparent."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"


class PageFigure(go.Figure):  # type: ignore[misc]
    """A figure that can be turned and zoomed wherever a notebook goes, converted to HTML without network too.

    As JSON for front ends that draw it themselves, and as HTML: the first one of a session has the plot library inside
    (4.8 MB), so that a page needs nothing else. What plotly shows by itself depends on what else is installed.
    """

    _library_shown = False

    def _ipython_display_(self) -> None:
        from IPython.display import display
        from plotly.io import renderers, to_html

        known = PageFigure._library_shown
        page = to_html(self, full_html=False, include_plotlyjs=not known, config={"responsive": True}, validate=False)
        shown = renderers["plotly_mimetype"].to_mimebundle(self.to_dict())
        display({**shown, "text/html": page, "text/plain": "<PageFigure>"}, raw=True)  # type: ignore[no-untyped-call]
        PageFigure._library_shown = True


def finished(figure: go.Figure, notes: tuple[str, ...], style: Style, *, width: int, height: int) -> go.Figure:
    """Sizes, font and notes; the template is named, so that the caller's default plays no part."""
    text = style.wrapped(notes, (width - 120) / 121).replace("\n", "<br>")
    lines = text.count("<br>") + 1
    figure.add_annotation(
        text=text,
        xref="paper",
        yref="paper",
        x=0,
        y=0,
        yshift=-55,
        xanchor="left",
        yanchor="top",
        align="left",
        showarrow=False,
        font={"size": style.size + 3, "color": style.mixed(0.33)},
    )
    figure.update_layout(
        template=style.template,
        font={"family": "DejaVu Sans, Verdana, sans-serif", "size": style.size + 5},
        width=width,
        height=height + 16 * lines,
        margin={"t": 80, "b": 80 + 16 * lines, "l": 80, "r": 40},
    )
    return PageFigure(_without_markup(figure))


def _without_markup(figure: go.Figure) -> go.Figure:
    """A name in a store is text: what looks like a tag or a link in it is shown, not followed."""
    for trace in figure.data:
        for key in ("name", "legendgroup", "text", "hovertext", "hovertemplate"):
            if key in trace and trace[key] is not None:
                trace[key] = _shown(trace[key])
    for note in figure.layout.annotations:
        note.text = _shown(note.text)
    return figure


def _shown(text: Any) -> Any:
    if isinstance(text, str):
        return MARKUP.sub("&lt;", text)
    return [_shown(entry) for entry in text]
