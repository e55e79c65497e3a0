"""A matplotlib figure for paper, without pyplot: its rules hold while it is drawn or saved and nowhere else.

So it looks the same whatever the caller's own settings are. Saved files carry no date and no version: equal data gives
equal bytes.
"""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from landscape.errors import InvalidArgument
from landscape.plots.saving import written_aside
from landscape.plots.scale import Scale
from landscape.plots.style import PAPER, Style

METADATA: dict[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    ".svg": {"Date": None, "Creator": None},
}

PACKING = 3  # of a .png: a tenth larger than at zlib's own 6, in half the time


class PaperFigure(Figure):
    """A figure that remembers its style, and that a notebook shows without pyplot."""

    style: Style = PAPER

    def _repr_png_(self) -> bytes:
        return _bytes(self, ".png", 150)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, PDF or SVG, by the name's ending; the file appears whole or not at all.

    Raises:
        InvalidArgument: another ending.
        StoreError: the file cannot be written.
    """
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in METADATA:
        raise InvalidArgument(f"expected a file name ending in .png, .pdf or .svg, got {target.name!r}")
    style = getattr(figure, "style", PAPER)
    return written_aside(target, _bytes(figure, kind, style.dots_per_inch))


def _bytes(figure: Figure, kind: str, dots_per_inch: int) -> bytes:
    content = io.BytesIO()
    with rules(getattr(figure, "style", PAPER)):
        packing: dict[str, Any] = {"pil_kwargs": {"compress_level": PACKING}} if kind == ".png" else {}
        figure.savefig(content, format=kind[1:], dpi=dots_per_inch, metadata=METADATA[kind], **packing)
    return content.getvalue()


def empty_figure(
    style: Style, width: float, height: float, notes: tuple[str, ...], *, stretched: bool = True
) -> PaperFigure:
    """An empty figure whose notes stand below everything else and take their own room.

    A height is that at the size of the paper's font; where it is not `stretched`, it is taken as it is.
    """
    text, height = style.wrapped(notes, width), height * (style.size / PAPER.size if stretched else 1)
    figure = PaperFigure(figsize=(width, height + 0.14 * (text.count("\n") + 1)), layout="constrained")
    figure.style = style
    FigureCanvasAgg(figure)
    if text:
        figure.supxlabel(text, x=0.01, ha="left", fontsize=style.size - 1.5, color=style.mixed(0.3), linespacing=1.3)
    return figure


def legend_above(figure: Figure, handles: Sequence[Any], labels: Sequence[str], most: int = 3) -> None:
    """A legend over everything else, in as many columns as the width holds; lines beyond two make the figure taller."""
    for fitting in range(max(most, 1), 0, -1):
        columns = math.ceil(len(labels) / math.ceil(len(labels) / fitting))  # as even as they can be
        legend = figure.legend(handles, labels, loc="outside upper center", ncols=columns)
        box = legend.get_window_extent()
        if box.width <= figure.bbox.width or columns == 1:
            break
        legend.remove()
    lines = math.ceil(len(labels) / columns)
    figure.set_figheight(figure.get_figheight() + max(lines - 2, 0) * box.height / lines / figure.dpi)


def value_axis(axes: Axes, scale: Scale, side: str, bounds: tuple[float, float] | None = None) -> None:
    """Ticks, label and bounds of an axis that shows a scale."""
    set_ticks, set_label, set_limits = (
        (axes.set_yticks, axes.set_ylabel, axes.set_ylim)
        if side == "y"
        else (axes.set_xticks, axes.set_xlabel, axes.set_xlim)
    )
    set_ticks(scale.ticks, scale.tick_labels)
    set_label(scale.label)
    set_limits(*(bounds or (scale.low, scale.high)))
    axes.grid(axis="y" if side == "y" else "x", color=shade(0.9), linewidth=0.6)


def category_axis(
    axes: Axes, ticks: Sequence[tuple[float, str]], bounds: tuple[float, float], label: str, *, upright: bool
) -> None:
    """Ticks, bounds and label of the axis that values stand on: across, or from row to row, which needs no label."""
    places, labels = [place for place, _ in ticks], [text for _, text in ticks]
    if upright:
        axes.set_xticks(places, labels)
        axes.set_xlim(*bounds)
        axes.set_xlabel(label)
    else:
        axes.set_yticks(places, labels)
        axes.set_ylim(*bounds)


def shade(share: float) -> Any:
    """A shade between the ink (0) and the ground (1) of the figure being drawn."""
    ink, ground = (np.array(to_rgb(matplotlib.rcParams[key])) for key in ("text.color", "axes.facecolor"))
    return tuple(((1 - share) * ink + share * ground).tolist())


@contextmanager
def rules(style: Style) -> Iterator[None]:
    """The figure's rules, for as long as this lasts; the caller's own are back afterwards."""
    size, ink, ground, pane = style.size, style.ink, style.ground, style.mixed(0.95)
    settings: Any = {
        "font.family": list(style.font), "font.size": size, "axes.titlesize": size + 1, "axes.labelsize": size,
        "xtick.labelsize": size - 1, "ytick.labelsize": size - 1, "legend.fontsize": size, "legend.frameon": False,
        "figure.titlesize": size + 1, "figure.labelsize": size, "axes.linewidth": 0.6, "axes.axisbelow": True,
        "axes.grid": False, "axes.facecolor": ground, "figure.facecolor": ground, "savefig.facecolor": ground,
        "text.color": ink, "axes.labelcolor": ink, "axes.edgecolor": ink, "xtick.color": ink,
        "grid.color": style.mixed(0.9),
        "axes3d.xaxis.panecolor": pane, "axes3d.yaxis.panecolor": pane, "axes3d.zaxis.panecolor": pane,
        "ytick.color": ink, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5,
        "ytick.major.size": 2.5, "lines.linewidth": 1.3, "text.usetex": False, "svg.hashsalt": "landscape",
        "svg.fonttype": "path", "pdf.fonttype": 42, "savefig.bbox": None, "savefig.transparent": False,
        "axes.spines.top": True, "axes.spines.right": True, "figure.constrained_layout.h_pad": 0.05,
        "axes.unicode_minus": True, "axes.titleweight": "normal", "axes.labelweight": "normal", **style.rules,
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        yield
