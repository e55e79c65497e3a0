"""How an evaluation reads on a terminal: scores, parts of the users, lists, and what others published."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from samrec.evaluation.beyond_accuracy import BeyondAccuracy
    from samrec.evaluation.evaluate import Evaluation
    from samrec.evaluation.reference_book import BookEntry
    from samrec.evaluation.robustness import Robustness
    from samrec.evaluation.strata import Stratum

SHOWN = ("HR@10", "NDCG@10")  # where a table has no room for all
TITLES = {
    "length": "by the number of items before the target",
    "head_tail": "by the target: head (the most popular fifth of the items in training) or tail",
    "popularity": "by the target's interactions in training",
}


def tables(result: "Evaluation", payload: Mapping[str, Any]) -> "Group":
    """All that was computed of one run."""
    from rich.console import Group

    parts: list[Any] = [*_scores(result)]
    for name, strata in payload.get("strata", {}).items():
        parts += ["", _strata(TITLES[name], strata)]
    if "beyond_accuracy" in payload:
        parts += ["", _lists(payload["beyond_accuracy"])]
    if "published" in payload:
        parts += ["", *_published(payload["published"])]
    return Group(*parts)


def robustness_table(name: str, found: "Robustness") -> "Group":
    """Perturbed scores with their paired differences."""
    from rich.console import Group

    rows = [("clean", "-", *(_with_error(found.metrics[m], found.standard_errors[m]) for m in SHOWN))]
    for one in found.perturbed:
        label = f"newest {one.amount:g} items" if one.kind == "truncate" else f"{one.kind} {one.amount:.0%}"
        cells = (f"{one.metrics[m]:.4f} ({one.differences[m]:+.4f} ± {one.standard_errors[m]:.4f})" for m in SHOWN)
        rows.append((label, f"{one.changed:.1%}", *cells))
    return Group(
        f"{name}: {found.conditions['split']}, {len(found.ranks):,} targets, ranked among "
        f"{found.conditions['candidates']}, seen items {found.conditions['seen']}",
        _table(("history", "changed", *SHOWN), rows),
        "In brackets the difference to the clean ranking, paired, ± one standard error over users.",
    )


def _scores(result: "Evaluation") -> list[Any]:
    from samrec.evaluation.protocol import seen_rule

    rows = [(name, f"{value:.4f}", f"{result.standard_errors[name]:.4f}") for name, value in result.metrics.items()]
    unreachable = " and cannot be hit" if result.targets_seen and not result.keep_seen else ""
    lines = [
        f"{result.run}: {result.split}, {result.summary()['users']:,} users, seen items {seen_rule(result.keep_seen)}",
        _table(("metric", "value", "standard error"), rows),
        f"{result.targets_seen:.1%} of the targets were already seen{unreachable}; protocol {result.protocol[:12]}",
    ]
    if result.candidates.sampled is not None:
        lines.insert(1, f"ranked among {result.candidates}: not to be compared with full ranking")
    return lines


def _strata(title: str, strata: Sequence["Stratum"]) -> "Table":
    rows = [
        (
            stratum.name,
            f"{stratum.targets:,}",
            *(_with_error(stratum.metrics[name], stratum.standard_errors[name]) for name in SHOWN),
        )
        for stratum in strata
    ]
    return _table(("targets", "number", *SHOWN), rows, title=title)


def _lists(found: "BeyondAccuracy") -> "Table":
    rows = [
        ("coverage", f"{found.coverage:.4f}", f"{found.recommended_items:,} items are recommended to somebody"),
        ("Gini", f"{found.gini:.4f}", "0: all items equally often"),
        (
            "popularity of the lists",
            _with_error(found.popularity, found.popularity_standard_error, digits=2),
            "interactions in training, mean of a list's items",
        ),
        (
            "popularity of the histories",
            _with_error(found.history_popularity, found.history_popularity_standard_error, digits=2),
            "the same of what the users had",
        ),
        (
            "popularity lift",
            _with_error(found.popularity_lift, found.popularity_lift_standard_error),
            "lists over histories, less 1",
        ),
    ]
    return _table((f"lists of {found.k}", "value", ""), rows)


def _published(found: "BookEntry") -> list[Any]:
    rows = []
    for name, place in found.metrics.items():
        verdict: str = place.verdict
        if place.verdict != "inside":
            verdict += f" by {place.standard_errors_away:.1f} standard errors"
        if place.verdict == "below" and found.cut_short:
            verdict += "*"
        reproduced = ""
        if place.reproduced is not None:
            low, high = place.reproduced
            reproduced = f"{place.reproduced_verdict} {low:.4f} to {high:.4f}"
        span = f"{place.low:.4f}" if place.low == place.high else f"{place.low:.4f} to {place.high:.4f}"
        rows.append((name, f"{place.value:.4f}", verdict, span, str(place.sources), reproduced))
    header = ("metric", "value", "the published range", "range", "sources", "counts as reproduced")
    return [
        f"published for {found.model} with {found.loss} on {found.data}, same protocol:",
        _table(header, rows),
        *([f"* this run: {'; '.join(found.cut_short)}"] if found.cut_short else []),
        f"sources: {'; '.join(found.sources)}",
    ]


def _with_error(value: float, error: float, *, digits: int = 4) -> str:
    """A single user's score has no standard error."""
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if math.isfinite(error) else "")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(header):
        table.add_column(escape(column), justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table
