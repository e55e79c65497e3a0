"""From a store to plain figure data of all sharpness measures: a row each, a dot a checkpoint, raw and invariant apart.

Only values of one quantity and unit share an axis, and a raw value never shares one with a scale-invariant one. Each
dot keeps its bar: a 95 % interval, or a residual. A lower bound is hollow, the true value lying to its right, and so
is a value that had not settled.
"""

from collections.abc import Sequence

import numpy as np

from landscape.errors import InvalidArgument
from landscape.plots.figure_data import Marks, MarksPanel, RowsData
from landscape.plots.order import baseline_first
from landscape.plots.prepare_marks import aside, distinct_labels, looks_of, reach_of
from landscape.plots.scale import scale_of, short
from landscape.records import SharpnessMeasure, SharpnessReport
from landscape.sharpness.names import (
    family_of,
    is_invariant,
    is_lower_bound,
    is_plain,
    is_settled,
    quantity_of,
    radius_of,
    radius_text,
)
from landscape.store import Store

HEADINGS = ("raw", "scale-invariant")
LEFT_OUT = ("pac_bayes_sigma",)  # the same as 1 / sigma^2
MOST_TICKS = 4  # of an axis half a page wide
LONG = 6  # letters of a label, four of which would touch


def prepare_sharpness_table(store: Store, names: Sequence[str] = ()) -> RowsData:
    """Every measure of these reports, the raw ones in one column and the scale-invariant ones in another."""
    chosen: list[SharpnessReport] = [store.sharpness(name) for name in names or store.names("sharpness")]
    chosen = chosen if names else baseline_first(store, chosen)
    if not any(report.measures for report in chosen):
        raise InvalidArgument(f"expected sharpness measures in {store.path}, found none")
    labels = distinct_labels([report.checkpoint for report in chosen], [report.name for report in chosen])
    looks = looks_of(store, [report.checkpoint for report in chosen])
    every = [m for report in chosen for m in report.measures if m.measure not in LEFT_OUT]
    columns = []
    for heading, invariant in zip(HEADINGS, (False, True), strict=True):
        own = [m for m in every if is_invariant(m) is invariant]
        panels = []
        for quantity in dict.fromkeys(quantity_of(m) for m in own):
            groups = [
                [
                    m
                    for m in report.measures
                    if m.measure not in LEFT_OUT and is_invariant(m) is invariant and quantity_of(m) == quantity
                ]
                for report in chosen
            ]
            panels.append(_panel(quantity, groups, labels, looks))
        if panels:
            columns.append((heading, tuple(panels)))
    notes = []
    if any(m.standard_error is not None for m in every):
        notes.append("bars: 95 % intervals")
    if any("residual" in m.setting for m in every):
        notes.append("of λ: residuals")
    hollow = [
        *(["a lower bound"] if any(map(is_lower_bound, every)) else []),
        *([] if all(map(is_settled, every)) else ["unsettled"]),
    ]
    if hollow:
        notes.append(f"hollow: {' or '.join(hollow)}")
    if len(chosen) == 2:
        notes.append(f"×: {labels[1]} over {labels[0]}")
    lost = sum(not np.isfinite(m.value) for m in every)
    if lost:
        notes.append(f"{lost} values not finite, not drawn")
    notes += list(dict.fromkeys(f"{family_of(m)}: {m.note}" for m in every if m.note and not is_plain(m)))[:3]
    return RowsData(tuple(columns), tuple(labels), tuple(notes))


def _panel(
    quantity: str,
    groups: Sequence[Sequence[SharpnessMeasure]],
    labels: Sequence[str],
    looks: Sequence[tuple[int, int]],
) -> MarksPanel:
    order: dict[str, tuple[int, float]] = {}
    families: dict[str, int] = {}
    for group in groups:
        for m in group:
            place = families.setdefault(family_of(m), len(families))
            radius = radius_of(m)
            order.setdefault(_row(m), (place, float(m.setting[radius] or 0.0) if radius else 0.0))
    rows = sorted(order, key=lambda row: order[row])
    values = [np.array([m.value for m in group], dtype=np.float64) for group in groups]
    reaches = [np.array([reach_of(m) for m in group], dtype=np.float64) for group in groups]
    bottoms = [array - reach for array, reach in zip(values, reaches, strict=True)]
    tops = [array + reach for array, reach in zip(values, reaches, strict=True)]
    can_be_negative = any("metric" in m.setting for group in groups for m in group)  # a drop: no log scale, no ratio
    is_log = not can_be_negative and scale_of(quantity, *values).kind == "log"
    if is_log:  # a bar may leave a log scale on its left, where zero is infinitely far
        bottoms = [np.maximum(bottom, array / 3) for bottom, array in zip(bottoms, values, strict=True)]
    scale = scale_of(quantity, *bottoms, *tops, allow_log=is_log).with_fewer_ticks(MOST_TICKS)
    if max(map(len, scale.tick_labels), default=0) > LONG:
        scale = scale.with_fewer_ticks(MOST_TICKS - 1)
    marks = []
    for place, (group, label) in enumerate(zip(groups, labels, strict=True)):
        at = np.array([-rows.index(_row(m)) - 1.4 * aside(place, len(groups)) for m in group], dtype=np.float64)
        solid = np.array([not is_lower_bound(m) and is_settled(m) for m in group], dtype=np.bool_)
        texts = tuple(f"{label}: {_row(m)} {short(m.value)}" for m in group)
        drawn = [scale.drawn(side[place]) for side in (values, bottoms, tops)]
        marks.append(Marks(label, at, drawn[0], drawn[1], drawn[2], solid, texts, *looks[place]))
    room = 0.05 * (scale.high - scale.low)
    categories = tuple((float(-place), row) for place, row in enumerate(rows))
    bounds = scale.low - room, scale.high + room
    beside = () if can_be_negative else _ratios(groups, rows)
    return MarksPanel("", "", categories, (0.4 - len(rows), 0.6), scale, bounds, tuple(marks), beside)


def _ratios(groups: Sequence[Sequence[SharpnessMeasure]], rows: Sequence[str]) -> tuple[tuple[float, str], ...]:
    """Of two checkpoints the second's value over the first's, where both are positive."""
    if len(groups) != 2:
        return ()
    first, second = ({_row(m): m.value for m in group} for group in groups)
    both = [(place, row) for place, row in enumerate(rows) if first.get(row, 0.0) > 0 and second.get(row, 0.0) > 0]
    found = [(place, second[row] / first[row]) for place, row in both if np.isfinite([first[row], second[row]]).all()]
    return tuple((float(-place), f"×{ratio:.3g}") for place, ratio in found)


def _row(measure: SharpnessMeasure) -> str:
    radius = radius_text(measure).removesuffix("|w|")
    return f"{family_of(measure)} {radius}".strip()
