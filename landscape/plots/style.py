"""How figures look: paper sizes, fonts, colours everybody can tell apart. Passed to a drawer, never set globally.

Colours of lines: Okabe and Ito (2008), darkest first; lines differ in dash and marker too. Colours of surfaces:
viridis, even in lightness for every kind of colour vision and in grey print.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from landscape.errors import InvalidArgument
from landscape.plots.scale import shortened

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True, slots=True)
class Style:
    """Sizes in inches and points. The defaults are those of a page of a two-column paper."""

    page: float = 7.0  # width of a figure over both columns
    single: float = 4.2  # width of a figure of one panel
    font: tuple[str, ...] = ("DejaVu Sans",)  # comes with matplotlib, so figures agree between machines
    size: float = 8.0  # points, of labels; titles are 1 larger, ticks and notes 1 smaller
    colours: tuple[str, ...] = COLOURS
    dashes: tuple[str, ...] = ("solid", "dashed", "dashdot", "dotted")
    markers: tuple[str, ...] = ("o", "s", "^", "D", "v", "p", ">", "<")  # another number than colours have: 56 pairs
    surface_map: str = "viridis"
    ink: str = "#000000"  # of text and axes
    ground: str = "#ffffff"
    template: str = "plotly_white"  # of plotly figures
    dots_per_inch: int = 300
    rules: dict[str, object] = field(default_factory=dict)  # further matplotlib rcParams, for one figure only

    def colour(self, index: int) -> str:
        """The colour of the index-th checkpoint."""
        return self.colours[index % len(self.colours)]

    def dash(self, index: int) -> str:
        """Its dash, in matplotlib's words."""
        return self.dashes[index % len(self.dashes)]

    def marker(self, index: int) -> str:
        """Its marker, in matplotlib's words."""
        return self.markers[index % len(self.markers)]

    def grown(self, points: float) -> float:
        """The size of a mark that has so many points beside letters of paper size: it grows with them."""
        return points * self.size / PAPER.size

    def width(self, panels: int) -> float:
        """Of a figure with so many panels side by side."""
        return self.single if panels == 1 else self.page

    def mixed(self, share: float) -> str:
        """A shade between ink (0) and ground (1): of grids, notes, and regions where there is nothing to draw."""
        parts = [
            round((1 - share) * int(self.ink[at : at + 2], 16) + share * int(self.ground[at : at + 2], 16))
            for at in (1, 3, 5)
        ]
        return "#" + "".join(f"{part:02x}" for part in parts)

    def columns(self, panels: int, least: float = 1.9) -> int:
        """How many panels stand side by side, each at least so many inches wide with its labels."""
        wanted = panels if panels <= 3 else 2 if panels == 4 else 3
        return max(1, min(wanted, int(self.width(panels) / least)))

    def title(self, text: str, width: float) -> str:
        """A bold title that fits a panel this wide."""
        return shortened(text, int(width * 72 / (0.66 * (self.size + 1))))

    def wrapped(self, notes: Sequence[str], width: float) -> str:
        """Notes as lines that fit a figure this wide."""
        letters = int(width * 72 / (0.56 * (self.size - 1.5)))
        return textwrap.fill("; ".join(notes), letters)


PAPER = Style()
TALK = Style(page=8.4, single=5.0, size=10.0, rules={"lines.linewidth": 1.8, "axes.linewidth": 0.9})
DARK = Style(
    colours=("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#FFFFFF"),
    ink="#e9e9e9",
    ground="#16181b",
    template="plotly_dark",
)
STYLES = {"paper": PAPER, "talk": TALK, "dark": DARK}
SURFACE = 1.5  # inches: a surface needs less width than an axis with labels of its own
COLUMN, PAGE = 3.5, 7.0  # inches: widths of one and of both columns of a two-column paper


def style_named(name: str, *, columns: int | None = None) -> Style:
    """A style by name; `columns` (1 or 2) fits a figure of one panel, or of several, to the columns of a paper.

    Raises:
        InvalidArgument: another name, or another number of columns.
    """
    if name not in STYLES:
        raise InvalidArgument(f"expected a style out of {', '.join(STYLES)}, got {name!r}")
    if columns is None:
        return STYLES[name]
    if columns not in (1, 2):
        raise InvalidArgument(f"expected 1 or 2 columns, got {columns}")
    width = COLUMN if columns == 1 else PAGE
    return replace(STYLES[name], single=width, page=width)
