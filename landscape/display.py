"""What a notebook shows of a result: a line and a small table; and the one place where tables become HTML.

`Shown` is a base of whatever says what it is in `_display`: `repr` is the line, a notebook gets the table. Colours and
fonts are the notebook's own, so that a light and a dark one can be read; every name is escaped. Takes jinja2 alone,
loaded when asked for.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_ROWS = 12  # of a table in a notebook; the record has all


@dataclass(frozen=True, slots=True)
class SortableTable:
    """Rows of text and numbers under named columns."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @property
    def sides(self) -> tuple[str, ...]:
        """Where each column stands: numbers to the right."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.columns)
        known = [[cell for cell in column if cell is not None] for column in columns]
        return tuple("right" if cells and isinstance(cells[0], int | float) else "left" for cells in known)


@dataclass(frozen=True, slots=True)
class Display:
    """A result in brief."""

    kind: str  # "Surface"
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the line; what is None is left out
    tables: tuple[SortableTable, ...] = ()
    notes: tuple[str, ...] = ()  # a sentence each

    @property
    def known(self) -> dict[str, str]:
        """The facts as they are written."""
        return {key: written(value) for key, value in self.facts.items() if value is not None}

    @property
    def line(self) -> str:
        """One line without markup."""
        told = ", ".join(f"{key} {value}" for key, value in self.known.items())
        return f"<{' '.join(filter(None, (self.kind, self.name)))}{': ' if told else ''}{told}>"

    @property
    def html(self) -> str:
        """A piece of HTML without scripts or colours."""
        return environment().get_template("display.html").render(display=self, most=MOST_ROWS)


class Shown:
    """A result that shows itself: in one line as text, with its table in a notebook."""

    __slots__ = ()

    @abstractmethod
    def _display(self) -> Display:
        """What is shown."""

    def __repr__(self) -> str:
        return self._display().line

    def _repr_html_(self) -> str:
        return self._display().html


def environment() -> "Environment":
    """The templates of this package, where nothing reaches a page unescaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("landscape", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    made.filters["number"] = written
    made.filters["sortable"] = sortable
    return made


def written(value: Any) -> str:
    """What a cell shows."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def sortable(value: Any) -> str:
    """What a column is sorted by: numbers in full, with what is not finite and what is missing at the end."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(value) if isinstance(value, int | float) else str(value)
