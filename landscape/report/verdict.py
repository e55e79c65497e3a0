"""The verdict in words: which group of checkpoints is flatter, by which measures, and how far scores differ.

What changes, and by how much, is counted in `landscape.changes`; here it becomes sentences. With one pair of seeds
there is no spread to judge by, and the text says so.
"""

from collections.abc import Mapping, Sequence

from landscape.changes import Change, baseline_of, changes_of, groups_of
from landscape.records import Table
from landscape.report.parts import Finding
from landscape.store import Store

HEADLINES = 2  # metrics told where a table does not say which matter


def verdict(store: Store, *, baseline: str | None = None) -> tuple[Finding, ...]:
    """Findings, most important first; empty where the store holds nothing that can be compared.

    Args:
        store: what was measured.
        baseline: the group that others are compared with; by default that of `landscape.changes.baseline_of`.

    Raises:
        InvalidArgument: no group of this name.
    """
    groups, baseline = groups_of(store), baseline_of(store, baseline)
    held = store.names("comparisons")
    table = store.table("comparisons", "differences") if "differences" in held else None
    told: list[Finding] = []
    for other in groups:
        if other == baseline:
            continue
        told += _flatness(baseline, other, changes_of(store, baseline, other))
        if table is not None:
            told += _scores(table, baseline, other, groups)
    return tuple(told)


def _flatness(baseline: str, other: str, changes: Sequence[Change]) -> list[Finding]:
    if not changes:
        return []
    pairs = max(change.pairs for change in changes)
    of = _many(len(changes), "measure")
    if pairs == 1:
        lower = tuple(_told(change) for change in changes if change.difference < 0)
        higher = tuple(_told(change) for change in changes if change.difference >= 0)
        found = [
            Finding(f"{other} lies lower than {baseline} by {len(lower)} of {of}, one run of each.", lower),
            Finding(f"It does not by {len(higher)}.", higher),
        ]
        found = [finding for finding in found if finding.items]
        return [*found, Finding("One pair has no spread over seeds: none of this says that the methods differ.")]
    flatter = tuple(_told(change) for change in changes if change.is_flatter is True)
    sharper = tuple(_told(change) for change in changes if change.is_flatter is False)
    undecided = tuple(_told(change) for change in changes if change.is_flatter is None)
    found = [Finding(f"{other} is flatter than {baseline} by {len(flatter)} of {of}, over {pairs} seeds.", flatter)]
    if sharper:
        found.append(Finding(f"It is sharper by {len(sharper)}.", sharper))
    if undecided:
        found.append(Finding(f"{len(undecided)} do not decide: their intervals hold zero.", undecided))
    return found


def _scores(table: Table, baseline: str, other: str, groups: Mapping[str, Sequence[str]]) -> list[Finding]:
    columns = {key: column.tolist() for key, column in table.columns.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    metrics = table.attributes.get("headline") or list(dict.fromkeys(row["metric"] for row in rows))[:HEADLINES]
    told = []
    for metric in metrics:
        of_metric = [row for row in rows if row["metric"] == metric]
        over_seeds = [row for row in of_metric if row["a"] == baseline and row["b"] == other]
        over_users = [row for row in of_metric if row["a"] in groups[baseline] and row["b"] in groups[other]]
        for row in over_seeds[:1] or over_users[:1]:
            sign = "no difference beyond chance" if row["low"] <= 0 <= row["high"] else "a difference"
            told.append(
                Finding(
                    f"{metric} of {row['b']} minus {row['a']}: {row['difference']:+.4f} "
                    f"[{row['low']:+.4f}, {row['high']:+.4f}] over {row['units']:,} {row['level']}: {sign} at 95 %."
                )
            )
    return told


def _told(change: Change) -> str:
    return f"{change.measure} {change.told}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
