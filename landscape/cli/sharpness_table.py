"""Sharpness reports as tables for a terminal: each raw value beside its scale-invariant companion, errors and cost."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from landscape.records import SharpnessMeasure, SharpnessReport
from landscape.sharpness.names import (
    OVER,
    PLAIN_NOTES,
    family_of,
    is_invariant,
    is_lower_bound,
    is_settled,
    quantity_of,
    radius_of,
    radius_text,
    sign_of,
)

COLUMNS = ("measure", "raw", "value", "invariant", "value", "s")


def tables(reports: Sequence[SharpnessReport]) -> Any:
    """A table a report and block, with what its marks mean below; at most 100 columns wide."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for report in reports:
        blocks = list(dict.fromkeys(str(m.setting.get("block") or "") for m in report.measures))
        for block in blocks:
            own = [m for m in report.measures if str(m.setting.get("block") or "") == block]
            loss = "" if report.loss is None else f", loss {report.loss:.6g}"
            units = report.provenance.objective.get("units")
            title = f"{report.name}{f', block {block}' if block else ''}{loss}"
            table = Table(title=title + (f", {units:,} units" if units else ""), title_justify="left", show_edge=False)
            for index, column in enumerate(COLUMNS):
                table.add_column(column, justify="right" if index in (2, 4, 5) else "left")
            for row in rows(own):
                table.add_row(*(Text(cell) for cell in row))
            parts.append(table)
            parts += [Text(f"  {line}") for line in _remarks(own)]
    return Group(*parts)


def rows(measures: Sequence[SharpnessMeasure]) -> Iterator[tuple[str, ...]]:
    """A row for each pair of a raw value and its companion, in the order of the radii."""
    families = list(dict.fromkeys((_family(measure), quantity_of(measure)) for measure in measures))
    for family, quantity in families:
        own = [m for m in measures if (_family(m), quantity_of(m)) == (family, quantity)]
        raw, invariant = (sorted((m for m in own if is_invariant(m) is side), key=_radius) for side in (False, True))
        for k, (one, other) in enumerate(zip_longest(raw, invariant)):
            seconds = [m.seconds for m in (one, other) if m is not None and m.seconds is not None]
            spent = f"{sum(seconds):.1f}" if seconds else "-"
            yield (family if k == 0 else "", *_cells(one), *_cells(other), spent)


def _family(measure: SharpnessMeasure) -> str:
    name = family_of(measure)
    block = measure.setting.get("block")
    return name.removesuffix(f", {block}") if block else name


def _radius(measure: SharpnessMeasure) -> float:
    radius = radius_of(measure)
    return 0.0 if radius is None else float(measure.setting[radius] or 0.0)


def _cells(measure: SharpnessMeasure | None) -> tuple[str, str]:
    if measure is None:
        return "", ""
    error = "" if measure.standard_error is None else f" ± {measure.standard_error:.1g}"
    residual = measure.setting.get("residual")
    if residual is not None:
        error = f" ± {residual:.1g}"
    return radius_text(measure), f"{sign_of(measure)}{measure.value:.4g}{error}"


def _remarks(measures: Sequence[SharpnessMeasure]) -> Iterator[str]:
    over: dict[str, list[str]] = {}
    for measure in measures:
        if measure.standard_error is not None and (what := OVER.get(measure.measure)):
            names = over.setdefault(what, [])
            if (name := _family(measure).split(",")[0]) not in names:
                names.append(name)
    if any(map(is_lower_bound, measures)):
        yield "≥: a lower bound, the best that a step or search found"
    if not all(map(is_settled, measures)):
        yield "?: unsettled, the value would go on moving with more draws"
    yield "invariant: stays where weights are re-scaled and the function is kept"
    if over:
        yield "±: one standard error"
        for what, names in over.items():
            yield f"   over {what}: {', '.join(names)}"
    if any("residual" in measure.setting for measure in measures):
        yield "± of λ: the residual"
    told = set()
    for measure in measures:
        note = measure.note.removeprefix("lower bound").removeprefix("; ")
        if note and "lower bound" not in note and note not in PLAIN_NOTES:
            line = f"{_family(measure)} {radius_text(measure)}: {note}"
            if line not in told:
                told.add(line)
                yield line
