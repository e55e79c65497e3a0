"""How every measure of sharpness changes from one group of checkpoints to another, seed by seed, with its interval.

Checkpoints belong to the group their configuration names (`group`), or to themselves. Two groups are compared over the
seeds they share: the mean difference with a 95 % t-interval over the pairs. One pair has no spread to judge by, and its
interval is NaN. Intervals are not corrected for the number of measures. Reads the store alone, without torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.errors import InvalidArgument
from landscape.estimates import mean_and_error
from landscape.records import Checkpoint, Eigenpairs, SharpnessMeasure, SharpnessReport
from landscape.sharpness.names import is_invariant, is_settled, measure_name
from landscape.sharpness.spectral import ends_of, from_trace
from landscape.spectra import Trace
from landscape.store import Store

Record = Eigenpairs | SharpnessReport | Trace
CONFIDENCE = 0.95  # of the intervals
NO_SHARPNESS = (  # the inverse of another measure, a shape, and how far from convex, which larger is not sharper
    "pac_bayes_sigma",
    "lambda_ratio",
    "lambda_min",
)
NO_SETTINGS = ("group", "seed")  # of a checkpoint's configuration: whose it is, not how it was trained
LATE = "~"  # sorts behind every date


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, larger being sharper: a row of a table."""

    name: str  # with the settings that make it another measure
    is_invariant: bool  # whether re-scaling the weights leaves it alone
    is_drop: bool = False  # of a metric: may be zero or negative, so no percentages
    split: str = ""  # of the data, empty for training data

    def __str__(self) -> str:
        drop = "drop of " if self.is_drop else ""
        split = f", {self.split}" if self.split else ""
        return f"{drop}{self.name} ({'invariant' if self.is_invariant else 'raw'}){split}"


@dataclass(frozen=True, slots=True)
class Change:
    """One measure of a group against the baseline's."""

    measure: Measured
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

    @property
    def is_relative(self) -> bool:
        """Whether a percentage of the baseline says something: not where that may be zero, as a metric's drop may."""
        return self.before > 0 and not self.measure.is_drop

    @property
    def shown(self) -> tuple[float, float, float]:
        """The difference and both ends of its interval, in percent of the baseline where that says something."""
        factor = 100 / self.before if self.is_relative else 1.0
        return factor * self.difference, factor * self.low, factor * self.high

    @property
    def told(self) -> str:
        """What is shown, in words; without an interval where there is none."""
        numbers = [f"{number:+.0f}%" if self.is_relative else f"{number:+.2g}" for number in self.shown]
        return f"{numbers[0]} [{numbers[1]}, {numbers[2]}]" if np.isfinite(self.low) else numbers[0]


def groups_of(store: Store) -> dict[str, list[str]]:
    """The checkpoints of each group, by name."""
    groups: dict[str, list[str]] = {}
    for name in store.names("checkpoints"):
        groups.setdefault(group_of(store, name), []).append(name)
    return groups


def group_of(store: Store, checkpoint: str) -> str:
    """The group a checkpoint's configuration names, or the checkpoint itself."""
    return str(store.checkpoint(checkpoint).config.get("group", checkpoint))


def baseline_of(store: Store, baseline: str | None = None) -> str:
    """The group that others are compared with: this one, or that of the table of differences, or the plainest.

    It may be named by one of its checkpoints.

    The plainest has the most of those settings said to be off (0, False, null) that differ between checkpoints, as
    plain training has beside training with one more term or step; of equals, the one measured first.

    Raises:
        InvalidArgument: no group of this name.
    """
    groups = groups_of(store)
    if baseline not in groups:
        baseline = next((group for group, names in groups.items() if baseline in names), baseline)
    if baseline is not None and baseline not in groups:
        raise InvalidArgument(f"expected a baseline out of {', '.join(groups) or 'no groups'}, got {baseline!r}")
    if baseline is None and "differences" in store.names("comparisons"):
        baseline = str(store.table("comparisons", "differences").attributes.get("baseline", ""))
    return baseline if baseline in groups else _plainest(store, groups)


def _plainest(store: Store, groups: Mapping[str, Sequence[str]]) -> str:
    created: dict[str, str] = {}  # of each checkpoint's first record; ISO 8601 in UTC sorts as text
    surfaces = [store.surface(name) for name in store.names("surfaces")]
    for record in (*(reported for reported, _ in _reported(store)), *surfaces):
        created[record.checkpoint] = min(created.get(record.checkpoint, LATE), record.provenance.created or LATE)
    configs = {name: store.checkpoint(name).config for names in groups.values() for name in names}
    differing = [
        key
        for key in dict.fromkeys(key for config in configs.values() for key in config)
        if key not in NO_SETTINGS and len({repr(config.get(key)) for config in configs.values()}) > 1
    ]

    def order(group: str) -> tuple[int, str]:
        on = [key for key in differing if any(configs[name].get(key, True) for name in groups[group])]
        return len(on), min(created.get(name, LATE) for name in groups[group])

    return min(groups, key=order, default="")


def changes_of(store: Store, baseline: str, other: str) -> list[Change]:
    """From the group `baseline` to the group `other`: a change for each measure that a pair of theirs has."""
    groups = groups_of(store)
    checkpoints = {name: store.checkpoint(name) for name in (*groups[baseline], *groups[other])}
    pairs = _pairs(groups[baseline], groups[other], checkpoints)
    both = {
        measure: [(of[a], of[b]) for a, b in pairs if a in of and b in of] for measure, of in _values(store).items()
    }
    changes = (change_over(measure, values) for measure, values in both.items())
    return [change for change in changes if change is not None]


def change_over(measure: Measured, pairs: Sequence[tuple[float, float]]) -> Change | None:
    """The change over pairs (before, after), a seed each; None where no pair is finite."""
    from scipy.special import stdtrit

    known = [pair for pair in pairs if np.isfinite(pair).all()]
    if not known:
        return None
    before, after = np.array(known, dtype=np.float64).T
    difference, error = mean_and_error(after - before)
    reach = float(stdtrit(len(known) - 1, (1 + CONFIDENCE) / 2)) * error  # NaN for one pair
    return Change(measure, float(before.mean()), difference, difference - reach, difference + reach, len(known))


def measured(measure: SharpnessMeasure) -> Measured:
    """A measure of a sharpness report."""
    return Measured(measure_name(measure), is_invariant(measure), measure.setting.get("metric") is not None)


def _values(store: Store) -> dict[Measured, dict[str, float]]:
    """The value of each measure for each checkpoint; of several records of one, that in the checkpoint's own name."""
    values: dict[Measured, dict[str, float]] = {}
    for record, measure, value in _recorded(store):
        held = values.setdefault(measure, {})
        if record.checkpoint not in held or record.name == record.checkpoint:
            held[record.checkpoint] = value
    return values


def _recorded(store: Store) -> Iterator[tuple[Record, Measured, float]]:
    """Every value that settled, with values of other splits kept apart as measures of their own."""
    for record, measures in _reported(store):
        for one in measures:
            if one.measure not in NO_SHARPNESS and is_settled(one):
                told = measured(one)
                yield record, Measured(told.name, told.is_invariant, told.is_drop, _split_of(record)), float(one.value)


def _reported(store: Store) -> Iterator[tuple[Record, Sequence[SharpnessMeasure]]]:
    for name in store.names("sharpness"):
        report = store.sharpness(name)
        yield report, report.measures
    for name in store.names("curvature"):
        pairs = store.eigenpairs(name)
        if pairs.settings.get("block") is None:
            yield pairs, ends_of(pairs)
    for name in store.names("traces"):
        trace = store.trace(name)
        if trace.settings.get("block") is None:
            yield trace, from_trace(trace)


def _split_of(record: Record) -> str:
    split = record.provenance.objective.get("split")
    return "" if split in (None, "train") else str(split)


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
