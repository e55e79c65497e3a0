"""The verdict in words: which group of checkpoints is flatter, by which measures, and how far scores differ.

Checkpoints belong to the group their configuration names (`group`), or to themselves. Groups are compared with the
baseline seed by seed where seeds are shared: the mean difference with a 95 % t-interval over them. With one pair there
is no spread to judge by, and the text says so. Intervals are not corrected for the number of measures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.errors import InvalidArgument
from landscape.records import Checkpoint, SharpnessMeasure, Table
from landscape.report.parts import Finding
from landscape.sharpness.names import family_of, is_invariant, is_settled, radius_text
from landscape.sharpness.spectral import ends_of, from_trace
from landscape.store import Store

NO_SHARPNESS = (  # the inverse of another measure, a shape, and how far from convex, which larger is not sharper
    "pac_bayes_sigma",
    "lambda_ratio",
    "lambda_min",
)
DROP = "drop of "
HEADLINES = 2  # metrics told where a table does not say which matter


@dataclass(frozen=True, slots=True)
class Change:
    """One measure of a group against the baseline's."""

    measure: str
    before: float  # the baseline's mean over pairs
    difference: float  # mean over pairs
    low: float  # of the 95 % interval over pairs; NaN for one pair
    high: float
    pairs: int

    @property
    def is_flatter(self) -> bool | None:
        """True, False, or None where the interval holds zero or there is no interval."""
        if not np.isfinite(self.low) or self.low <= 0 <= self.high:
            return None
        return self.high < 0


def verdict(store: Store, *, baseline: str | None = None) -> tuple[Finding, ...]:
    """Findings, most important first; empty where the store holds nothing that can be compared.

    Args:
        store: what was measured.
        baseline: the group that others are compared with; by default that of the table of differences, else the first.

    Raises:
        InvalidArgument: no group of this name.
    """
    checkpoints = {name: store.checkpoint(name) for name in store.names("checkpoints")}
    groups = _groups(checkpoints)
    comparisons = store.names("comparisons")
    table = store.table("comparisons", "differences") if "differences" in comparisons else None
    if baseline is not None and baseline not in groups:
        raise InvalidArgument(f"expected a baseline out of {', '.join(groups) or 'no groups'}, got {baseline!r}")
    if baseline is None and table is not None:
        baseline = str(table.attributes.get("baseline", ""))
    if baseline is None or baseline not in groups:
        baseline = next(iter(groups), "")
    values = _values(store)
    told: list[Finding] = []
    for other in groups:
        if other == baseline:
            continue
        changes = _changes(values, groups[baseline], groups[other], checkpoints)
        told += _flatness(baseline, other, changes)
        if table is not None:
            told += _scores(table, baseline, other, groups)
    return tuple(told)


def _groups(checkpoints: Mapping[str, Checkpoint]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, checkpoint in checkpoints.items():
        groups.setdefault(str(checkpoint.config.get("group", name)), []).append(name)
    return groups


def _values(store: Store) -> dict[str, dict[str, float]]:
    """For each measure, larger being sharper, its value for each checkpoint: one, whichever records have it."""
    values: dict[str, dict[str, float]] = {}
    for name in store.names("sharpness"):
        report = store.sharpness(name)
        _keep_all(values, report, report.measures)
    for name in store.names("curvature"):
        pairs = store.eigenpairs(name)
        if pairs.settings.get("block") is None:
            _keep_all(values, pairs, ends_of(pairs))
    for name in store.names("traces"):
        trace = store.trace(name)
        if trace.settings.get("block") is None:
            _keep_all(values, trace, from_trace(trace))
    return values


def _keep_all(values: dict[str, dict[str, float]], record: Any, measures: Sequence[SharpnessMeasure]) -> None:
    for measure in measures:
        if measure.measure not in NO_SHARPNESS and is_settled(measure):
            _keep(values, told_measure(measure), record, float(measure.value))


def _keep(values: dict[str, dict[str, float]], label: str, record: Any, value: float) -> None:
    """Keep a value apart from those of other splits; of several records of one, that in the checkpoint's own name."""
    split = record.provenance.objective.get("split")
    if split not in (None, "train"):
        label = f"{label}, {split}"
    held = values.setdefault(label, {})
    if record.checkpoint not in held or record.name == record.checkpoint:
        held[record.checkpoint] = value


def told_measure(measure: SharpnessMeasure) -> str:
    """A measure with the settings that make it another one, and whether re-scaling weights leaves it alone."""
    loss = measure.setting.get("metric") is None
    name = f"{family_of(measure)} {radius_text(measure)}".strip()
    drop = "" if loss else DROP
    return f"{drop}{name} ({'invariant' if is_invariant(measure) else 'raw'})"


def _changes(
    values: Mapping[str, Mapping[str, float]],
    baseline: Sequence[str],
    other: Sequence[str],
    checkpoints: Mapping[str, Checkpoint],
) -> list[Change]:
    from scipy import stats

    pairs = _pairs(baseline, other, checkpoints)
    changes = []
    for measure, of in values.items():
        known = [(of[a], of[b]) for a, b in pairs if a in of and b in of]
        if not known:
            continue
        before, after = np.array(known, dtype=np.float64).T
        differences = after - before
        low = high = float("nan")
        if len(known) > 1:
            error = differences.std(ddof=1) / np.sqrt(len(known))
            reach = float(stats.t.ppf(0.975, len(known) - 1) * error)
            low, high = float(differences.mean()) - reach, float(differences.mean()) + reach
        changes.append(Change(measure, float(before.mean()), float(differences.mean()), low, high, len(known)))
    return changes


def _pairs(
    baseline: Sequence[str], other: Sequence[str], checkpoints: Mapping[str, Checkpoint]
) -> list[tuple[str, str]]:
    """Checkpoints of the same seed, or the first of each where no seed is shared."""
    by_seed = {checkpoints[name].config.get("seed"): name for name in reversed(baseline)}
    pairs = [
        (by_seed[seed], name)
        for name in other
        if (seed := checkpoints[name].config.get("seed")) is not None and seed in by_seed
    ]
    return pairs or [(baseline[0], other[0])]


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
    """A change in percent of the baseline; as it is where that may be zero, as a metric's drop may."""
    if change.measure.startswith(DROP) or not change.before > 0:
        interval = f" [{change.low:+.2g}, {change.high:+.2g}]" if np.isfinite(change.low) else ""
        return f"{change.measure} {change.difference:+.2g}{interval}"
    bounds = (change.low / change.before, change.high / change.before)
    interval = f" [{bounds[0]:+.0%}, {bounds[1]:+.0%}]" if np.isfinite(change.low) else ""
    return f"{change.measure} {change.difference / change.before:+.0%}{interval}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
