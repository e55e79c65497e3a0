"""Do measures of curvature and sharpness order runs as they generalise? Kendall's tau of each with each target.

Beside it, where asked for, what is left of tau given a third number: of runs that trained for unlike times, what orders
them may be the time.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from landscape.records import Table
from samrec.experiments.corrections import benjamini_hochberg, holm
from samrec.experiments.rank_correlation import RankCorrelation, partial_rank_correlation, rank_correlation
from samrec.experiments.table import Section, interval_told, number_told, p_values_told

TITLE = "Sharpness against generalisation"
GENERALISATION = ("NDCG@10", "generalisation gap")  # what every measure is held against
NUMBERS = ("tau", "low", "high")


def relations_table(
    measures: Sequence[str],
    column: Callable[[str], Float[np.ndarray, " runs"]],
    *,
    given: str | None = None,
    seed: int = 0,
) -> Table:
    """A row a measure and target, of those that at least two runs have.

    Args:
        measures: which ones.
        column: a quantity of every run, NaN where it has none.
        given: also the partial tau given this quantity.
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
        **{name: _numbers([own for *_, own in rows], name) for name in (*NUMBERS, "p_value")},
    }
    for name, adjust in (("holm", holm), ("benjamini_hochberg", benjamini_hochberg)):
        columns[name] = np.full(len(rows), np.nan)
        for target in GENERALISATION:
            own = columns["target"] == target
            columns[name][own] = adjust(columns["p_value"][own])
    columns |= {name: np.array([getattr(own, name) for *_, own in rows], dtype=np.int64) for name in ("runs", "draws")}
    about = {"statistic": "Kendall tau-b", "confidence": 0.95, "generalisation gap": "test - training loss"}
    if given is not None:
        partial = [
            partial_rank_correlation(column(measure), column(target), column(given), seed=seed)
            for measure, target, _ in rows
        ]
        columns |= {f"{name}_given": _numbers(partial, name) for name in NUMBERS}
        about["given"] = given
    return Table("relations", columns, about)


def relations_section(table: Table) -> Section:
    """Laid out for people."""
    given = table.attributes.get("given")
    header = ["measure", "with", "tau", "95 % interval", "p", "Holm", "BH", "runs"]
    rows = [
        [r["measure"], r["target"], *_told(r, ""), *p_values_told(r), str(r["runs"])]
        + (_told(r, "_given") if given else [])
        for r in table.rows()
    ]
    notes = [
        "Kendall's tau-b over runs; 95 % bootstrap interval over redrawn runs, seeds of one cell counting as runs of "
        "their own.",
        "generalisation gap = test loss − training loss. If sharper meant worse, tau would be below 0 with NDCG@10 and "
        "above 0 with the gap (for λmin, whose size is its depth, the other way round).",
        "Holm and BH adjust p over all measures held against the same target. An association, not a cause.",
    ]
    if given:
        header += [f"tau given {given}", "95 % interval"]
        notes.append(f"tau given {given}: Kendall's partial tau, what is left once the {given} is taken out of both.")
    return Section(TITLE, tuple(header), tuple(map(tuple, rows)), tuple(notes))


def _told(row: dict[str, Any], of: str) -> list[str]:
    return [number_told(row[f"tau{of}"], "+.2f"), interval_told(row, "+.2f", (f"low{of}", f"high{of}"))]


def _numbers(found: Sequence[RankCorrelation], name: str) -> Float[np.ndarray, " rows"]:
    return np.array([getattr(own, name) for own in found], dtype=np.float64)
