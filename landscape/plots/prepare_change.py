"""From a store to plain figure data of changes between groups: a row a measure, with its interval over pairs of seeds.

The same numbers as the report's verdict (`landscape.changes`), in percent of the baseline's mean. Drops of a metric,
whose baseline may be zero, stand below on an axis of their own, as they are. Solid: the interval excludes zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from landscape.changes import Change, Measured, baseline_of, changes_of, groups_of
from landscape.errors import InvalidArgument
from landscape.plots.figure_data import Floats, Marks, MarksPanel, RowsData
from landscape.plots.prepare_marks import aside
from landscape.plots.prepare_sharpness_table import HEADINGS
from landscape.plots.scale import Scale, room_around, scale_of
from landscape.store import Store

MOST_TICKS = 4  # of an axis half a page wide
SPREAD = 0.85  # of all ends of intervals lie on the axis at least; and every mean does
BEYOND = 2.0  # times the largest mean


def prepare_change(store: Store, names: Sequence[str] = (), *, baseline: str | None = None) -> RowsData:
    """How far every measure changes from the baseline to each of the groups named, all others by default.

    Raises:
        InvalidArgument: no group of one of these names, or nothing that two groups have both measured.
    """
    groups, first = groups_of(store), baseline_of(store, baseline)
    others = [name for name in groups if name != first]
    if unknown := [name for name in names if name not in others]:
        raise InvalidArgument(f"expected groups out of {', '.join(others) or 'none'}, got {', '.join(unknown)}")
    chosen = list(names) or others
    changes = {other: changes_of(store, first, other) for other in chosen}
    if not any(changes.values()):
        raise InvalidArgument(f"expected sharpness measures of two groups of checkpoints in {store.path}, found none")
    columns = []
    for heading, invariant in zip(HEADINGS, (False, True), strict=True):
        panels = []
        for relative in (True, False):
            own = {
                other: [c for c in all_of if c.measure.is_invariant is invariant and c.is_relative is relative]
                for other, all_of in changes.items()
            }
            if any(own.values()):
                panels.append(_panel(own, relative))
        if panels:
            columns.append((heading, tuple(panels)))
    pairs = sorted({change.pairs for own in changes.values() for change in own})
    notes = [f"change from {first} to {', '.join(chosen)}; left of zero is flatter"]
    if pairs == [1]:
        notes.append("one pair of runs has no interval: nothing is decided")
    else:
        over = " or ".join(map(str, pairs))
        notes.append(f"bars: 95 % t-intervals over {over} pairs of seeds, not corrected for the number of measures")
        notes.append("hollow: the interval holds zero, or there is none")
    beyond = sum(panel.scale.clipped_above + panel.scale.clipped_below for _, panels in columns for panel in panels)
    if beyond:
        notes.append(f"arrows: {beyond} ends of intervals lie beyond the axis")
    return RowsData(tuple(columns), tuple(chosen), tuple(notes))


def _panel(changes: Mapping[str, Sequence[Change]], relative: bool) -> MarksPanel:
    rows = list(dict.fromkeys(change.measure for own in changes.values() for change in own))
    values = {other: np.array([one.shown for one in own]).reshape(-1, 3) for other, own in changes.items()}
    scale = _scale(
        "change in % of the baseline" if relative else "change of the drop", np.concatenate([*values.values()])
    )
    marks = []
    for place, (other, own) in enumerate(changes.items()):
        value, low, high = (scale.drawn(column) for column in values[other].T)
        at = np.array([-rows.index(one.measure) - 1.4 * aside(place, len(changes)) for one in own], dtype=np.float64)
        solid = np.array([one.is_flatter is not None for one in own], dtype=np.bool_)
        texts = tuple(f"{other}, {one.measure}: {_told(one)}" for one in own)
        low, high = (np.where(np.isfinite(side), side, value) for side in (low, high))
        marks.append(Marks(other, at, value, low, high, solid, texts, place, place))
    categories = tuple((float(-place), _row(measure)) for place, measure in enumerate(rows))
    beside: tuple[tuple[float, str], ...] = ()
    if len(changes) == 1:
        (only,) = changes.values()
        beside = tuple((float(-place), _told(one)) for place, one in enumerate(only))
    return MarksPanel("", "", categories, (0.4 - len(rows), 0.6), scale, room_around(scale), tuple(marks), beside)


def _scale(name: str, values: Floats) -> Scale:
    """An axis with zero that holds every mean and most ends; an interval may reach far beyond all means."""
    reach, ends = BEYOND * float(np.abs(values[:, 0]).max()), np.abs(values[:, 1:][np.isfinite(values[:, 1:])])
    if len(ends):
        reach = min(float(ends.max()), max(reach, float(np.quantile(ends, SPREAD))))
    held = np.clip(values, -reach, reach)
    scale = scale_of(name, held, np.zeros(1), allow_log=False).with_fewer_ticks(MOST_TICKS)
    below, above = int((values < scale.low).sum()), int((values > scale.high).sum())
    return replace(scale, clipped_below=below, clipped_above=above)


def _row(measure: Measured) -> str:
    name = measure.name.removesuffix(" |w|")
    return f"{name}, {measure.split}" if measure.split else name


def _told(change: Change) -> str:
    """The change with its interval, as it stands beside a row."""
    value, low, high = change.shown
    digits = "+.0f" if change.is_relative else "+.1g"
    told = f"{value:{digits}} [{low:{digits}}, {high:{digits}}]" if np.isfinite(low) else f"{value:{digits}}"
    return told.replace("-", "−")
