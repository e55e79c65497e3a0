"""Do measures of curvature and sharpness order runs as they generalise? Kendall's tau of each with each target.

Beside it, where asked for, tau over those pairs of runs alone that are alike in a third number: of runs that trained
for unlike times, what orders them may be the time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from landscape.records import Table
from samrec.experiments.corrections import benjamini_hochberg, holm
from samrec.experiments.rank_correlation import RankCorrelation, rank_correlation
from samrec.experiments.table import Section, interval_told, number_told, p_values_told

TITLE = "Sharpness against generalisation"
GENERALISATION = ("NDCG@10", "generalisation gap")  # what every measure is held against


@dataclass(frozen=True, slots=True)
class Alike:
    """Which pairs of runs count as alike."""

    quantity: str
    within: float  # of the larger one of the two

    def pairs(self, values: Float[np.ndarray, " runs"]) -> Bool[np.ndarray, "runs runs"]:
        """Of runs with these values; a NaN is like nothing."""
        larger = np.maximum(np.abs(values)[:, None], np.abs(values)[None, :])
        return np.asarray(np.abs(values[:, None] - values[None, :]) <= self.within * larger)

    def __str__(self) -> str:
        return f"pairs of like {self.quantity}"


def relations_table(
    measures: Sequence[str],
    column: Callable[[str], Float[np.ndarray, " runs"]],
    *,
    alike: Alike | None = None,
    seed: int = 0,
) -> Table:
    """A row a measure and target, of those that at least two runs have.

    Args:
        measures: which ones.
        column: a quantity of every run, NaN where it has none.
        alike: also tau over pairs of runs that are alike in this.
        seed: of the redraws.
    """
    found = [
        (measure, target, rank_correlation(column(measure), column(target), seed=seed))
        for target in GENERALISATION
        for measure in measures
    ]
    rows = [row for row in found if row[2].runs > 1]
    columns: dict[str, Any] = {
        "measure": np.array([measure for measure, *_ in rows], dtype=np.str_),
        "target": np.array([target for _, target, _ in rows], dtype=np.str_),
        **{name: _numbers([own for *_, own in rows], name) for name in ("tau", "low", "high", "p_value")},
    }
    for name, adjust in (("holm", holm), ("benjamini_hochberg", benjamini_hochberg)):
        columns[name] = np.full(len(rows), np.nan)
        for target in GENERALISATION:
            own = columns["target"] == target
            columns[name][own] = adjust(columns["p_value"][own])
    columns |= {name: _counts([own for *_, own in rows], name) for name in ("runs", "draws")}
    about: dict[str, Any] = {
        "statistic": "Kendall tau-b", "confidence": 0.95, "generalisation gap": "test - training loss"
    }  # fmt: skip
    if alike is not None:
        counted = alike.pairs(column(alike.quantity))
        among = [
            rank_correlation(column(measure), column(target), comparable=counted, seed=seed)
            for measure, target, _ in rows
        ]
        columns |= {f"{name}_alike": _numbers(among, name) for name in ("tau", "low", "high")}
        columns |= {f"{name}_alike": _counts(among, name) for name in ("pairs", "draws")}
        about |= {"alike": str(alike), "within": alike.within}
    return Table("relations", columns, about)


def relations_section(table: Table) -> Section:
    """Laid out for people."""
    alike = table.attributes.get("alike")
    header = ["measure", "with", "tau", "95 % interval", "p", "Holm", "BH", "runs"]
    rows = [
        [r["measure"], r["target"], *_told(r, ""), *p_values_told(r), str(r["runs"])]
        + ([*_told(r, "_alike"), str(r["pairs_alike"])] if alike else [])
        for r in table.rows()
    ]
    notes = [
        "Kendall's tau-b over runs; 95 % bootstrap interval over redrawn runs, seeds of one cell counting as runs of "
        "their own; none of fewer than 4 runs, of runs in perfect order, or where over 5 % of the redraws have no tau.",
        "generalisation gap = test loss − training loss. If sharper meant worse, tau would be below 0 with NDCG@10 and "
        "above 0 with the gap (for λmin, whose size is its depth, the other way round).",
        "Holm and BH adjust p over all measures held against the same target. An association, not a cause.",
    ]
    if alike:
        header += [f"tau, {alike}", "95 % interval", "pairs"]
        notes.append(
            f"tau, {alike}: over pairs that differ in it by at most {table.attributes['within']:.0%} of the larger. "
            "Intervals are not adjusted."
        )
    return Section(TITLE, tuple(header), tuple(map(tuple, rows)), tuple(notes))


def _told(row: dict[str, Any], of: str) -> list[str]:
    return [number_told(row[f"tau{of}"], "+.2f"), interval_told(row, "+.2f", (f"low{of}", f"high{of}"))]


def _numbers(found: Sequence[RankCorrelation], name: str) -> Float[np.ndarray, " rows"]:
    return np.array([getattr(own, name) for own in found], dtype=np.float64)


def _counts(found: Sequence[RankCorrelation], name: str) -> Any:
    return np.array([getattr(own, name) for own in found], dtype=np.int64)
