"""What a report is made of: sections with cards (a figure each), tables and the evidence behind them. No HTML yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from landscape.display import Display, Shown
from landscape.display import SortableTable as SortableTable


@dataclass(frozen=True, slots=True)
class Card:
    """One interactive figure."""

    title: str
    kind: str  # "contour", "relief", ...: which cameras turn together
    figure: Any  # a plotly figure
    subtitle: str = ""
    checkpoint: str = ""  # whose it is, so that it can be switched off; empty: of several
    height: int = 0  # pixels; 0: as tall as any other


def sortable_table(caption: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> SortableTable:
    """A table whose columns are called as people write them."""
    return SortableTable(caption, tuple(name.replace("_", " ") for name in columns), tuple(rows))


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the numbers of one record come from."""

    name: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Section:
    """One question with its figures and numbers."""

    title: str
    text: str = ""
    cards: tuple[Card, ...] = ()
    tables: tuple[SortableTable, ...] = ()
    notes: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    unfinished: tuple[str, ...] = ()  # what is still to be measured, a sentence each


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence of the verdict, and what it counts."""

    sentence: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Report(Shown):
    """The whole page."""

    title: str
    verdict: tuple[Finding, ...] | None  # None: nobody asked for one
    sections: tuple[Section, ...]
    facts: Mapping[str, str] = field(default_factory=dict)  # of the store: path, fingerprint, versions

    @property
    def unfinished(self) -> tuple[str, ...]:
        """All that is still to be measured."""
        return tuple(line for section in self.sections for line in section.unfinished)

    @property
    def has_intervals(self) -> bool:
        """Whether the verdict quotes any, which takes two pairs of seeds."""
        return any("[" in item for finding in self.verdict or () for item in finding.items)

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Whose cards can be switched off and on, in the order of the cards."""
        return tuple(dict.fromkeys(card.checkpoint for s in self.sections for card in s.cards if card.checkpoint))

    def _display(self) -> Display:
        rows = tuple((s.title, len(s.cards), len(s.tables), len(s.unfinished)) for s in self.sections)
        table = SortableTable("", ("section", "figures", "tables", "unfinished"), rows)
        verdict = tuple(finding.sentence for finding in self.verdict or ())
        return Display("Report", self.title, {"sections": len(rows)}, (table,), (*verdict, *self.unfinished))
