"""Figures as cards of a report, one panel each, with surfaces thinned out to what a page needs."""

import math
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
ROW_WIDTH = 0.62  # of a card, where numbers stand beside its rows
ROWS = {"spectrum": 44, "mass": ROW, "trace": ROW}  # pixels of a row where marks lie in rows; labels need more
LEGEND = 22  # pixels of a line of the legend, which holds two names


def marks_cards(data: MarksData, kind: str, titles: Sequence[str] = ()) -> tuple[Card, ...]:
    """A card a panel of marks, under the titles given or their own; as tall as its rows where it has rows."""
    draw = getattr(plotly_figures, kind)
    cards = []
    for title, panel in zip(titles or [panel.title for panel in data.panels], data.panels, strict=True):
        figure = draw(replace(data, panels=(panel,), notes=()))
        height = AROUND + ROWS[kind] * len(panel.categories) if kind in ROWS else 0
        if height and kind != "spectrum":  # whose rows are the checkpoints
            height += LEGEND * math.ceil(len(data.labels) / 2)
        cards.append(Card(title or panel.scale.label, kind, figure, height=height))
    return tuple(cards)


def trend_cards(data: TrendsData, kind: str) -> tuple[Card, ...]:
    """A card a panel of lines."""
    draw = getattr(plotly_figures, kind)
    return tuple(
        Card(panel.title or panel.scale.label, kind, draw(replace(data, panels=(panel,), notes=())))
        for panel in data.panels
    )


def row_cards(data: RowsData, kind: str) -> tuple[Card, ...]:
    """A card a column of rows, as tall as its rows, with what stands beside a row in the rest of its width."""
    draw = getattr(plotly_figures, kind)
    cards = []
    for heading, panels in data.columns:
        figure = draw(replace(data, columns=((heading, panels),), notes=()))
        beside = [note for note in figure.layout.annotations if note.yref != "paper"]
        for note in beside:
            note.x = ROW_WIDTH
        figure.layout.annotations = beside
        figure.update_xaxes(domain=[0, ROW_WIDTH if beside else 1])
        if len(panels) == 1:
            figure.update_yaxes(domain=[0, 1])
        cards.append(Card(heading, kind, figure, height=sum(AROUND + ROW * len(panel.categories) for panel in panels)))
    return tuple(cards)


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
