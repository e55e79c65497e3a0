"""Figures as cards of a report, one panel each, with surfaces thinned out to what a page needs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.plots import plotly_figures
from landscape.plots.figure_data import MarksData, Panel, RowsData, SurfacesData, TrendsData
from landscape.records import Surface
from landscape.report.parts import Card

MOST_POINTS = 101  # a side of a surface as drawn; more is thinned out
ROW, AROUND = 26, 120  # pixels of a row of a card of rows, and of what stands around its rows


def marks_cards(data: MarksData, kind: str, titles: Sequence[str] = ()) -> tuple[Card, ...]:
    """A card a panel of marks, under the titles given or their own."""
    draw = getattr(plotly_figures, kind)
    named = titles or [panel.title for panel in data.panels]
    return tuple(
        Card(title or panel.scale.label, kind, draw(replace(data, panels=(panel,), notes=())))
        for title, panel in zip(named, data.panels, strict=True)
    )


def trend_cards(data: TrendsData, kind: str) -> tuple[Card, ...]:
    """A card a panel of lines."""
    draw = getattr(plotly_figures, kind)
    return tuple(
        Card(panel.title or panel.scale.label, kind, draw(replace(data, panels=(panel,), notes=())))
        for panel in data.panels
    )


def row_cards(data: RowsData, kind: str) -> tuple[Card, ...]:
    """A card a column of rows, as tall as its rows."""
    draw = getattr(plotly_figures, kind)
    return tuple(
        Card(
            heading,
            kind,
            draw(replace(data, columns=((heading, panels),), notes=())),
            height=sum(AROUND + ROW * len(panel.categories) for panel in panels),
        )
        for heading, panels in data.columns
    )


def surface_cards(data: SurfacesData, surfaces: Sequence[Surface], kind: str) -> Iterator[Card]:
    """A card a surface, which can be switched off with its checkpoint."""
    draw = getattr(plotly_figures, kind)
    for panel, surface in zip(data.panels, surfaces, strict=True):
        alone = replace(data, panels=(thinned(panel),), notes=())
        yield Card(panel.title, kind, draw(alone), panel.subtitle, surface.checkpoint)


def thinned(panel: Panel, most: int = MOST_POINTS) -> Panel:
    """The panel with at most so many points a side: evenly spread indices, ends included."""
    columns, rows = _spread(len(panel.alpha), most), _spread(len(panel.beta), most)
    if len(columns) == len(panel.alpha) and len(rows) == len(panel.beta):
        return panel
    cells = np.ix_(rows, columns)
    return replace(
        panel, alpha=panel.alpha[columns], beta=panel.beta[rows],
        heights=panel.heights[cells], values=panel.values[cells],
    )  # fmt: skip


def _spread(length: int, most: int) -> Any:
    return np.unique(np.round(np.linspace(0, length - 1, min(length, most))).astype(int))
