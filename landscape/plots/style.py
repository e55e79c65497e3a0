"""How figures look: paper sizes, fonts, colours everybody can tell apart. Passed to a drawer, never set globally.

Colours of lines: Okabe and Ito (2008), darkest first; lines differ in dash and marker too. Colours of surfaces:
viridis, even in lightness for every kind of colour vision and in grey print.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True, slots=True)
class Style:
    """Sizes in inches and points. The defaults are those of a page of a two-column paper."""

    page: float = 7.0  # width of a figure over both columns
    column: float = 3.5
    font: tuple[str, ...] = ("DejaVu Sans",)  # comes with matplotlib, so figures agree between machines
    size: float = 8.0  # points, of labels; titles are 1 larger, ticks and notes 1 smaller
    colours: tuple[str, ...] = COLOURS
    dashes: tuple[str, ...] = ("solid", "dashed", "dashdot", "dotted")
    markers: tuple[str, ...] = ("o", "s", "^", "D", "v")
    surface_map: str = "viridis"
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

    def width(self, panels: int) -> float:
        """Of a figure with so many panels side by side."""
        return 4.2 if panels == 1 else self.page

    def columns(self, panels: int) -> int:
        """How many panels stand side by side."""
        return panels if panels <= 3 else 2 if panels == 4 else 3

    def wrapped(self, notes: Sequence[str], width: float) -> str:
        """Notes as lines that fit a figure this wide."""
        letters = int(width * 72 / (0.53 * (self.size - 1.5)))
        return textwrap.fill("; ".join(notes), letters)


PAPER = Style()
