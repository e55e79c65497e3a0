"""From a store to plain figure data of single numbers: both ends of the spectrum, sharpness measures, scores.

Each number keeps its bar: a residual for an eigenvalue, a 95 % interval where a standard error was measured.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.errors import InvalidArgument
from landscape.plots.figure_data import Floats, Marks, MarksData, MarksPanel
from landscape.plots.order import baseline_first
from landscape.plots.scale import Scale, scale_of, short, shortened
from landscape.records import Eigenpairs, SharpnessMeasure, SharpnessReport, Table
from landscape.sharpness.names import SILENT, eigenvalue_name, family_of, is_settled, kind_of, quantity_of, radius_of
from landscape.store import Store

INTERVAL = 1.959964  # standard errors to either side of a 95 % interval
IN_FAMILY = ("p", "form", "m", "gamma", "metric", "block")  # settings that `family_of` tells
MOST_LETTERS = 26  # of names that stand side by side under a panel
MOST_TICKS = 4  # of an axis whose labels stand side by side, two panels on a page
Look = tuple[int, int]  # group and member
ENDS = ("lambda_min", "lambda_max")  # of a spectrum, from left to right
SCORE_COLUMNS = ("checkpoint", "metric", "value", "standard_error")


def prepare_spectrum(store: Store, names: Sequence[str] = ()) -> MarksData:
    """Eigenvalues with residual bars, a row a checkpoint; beside them times ||w||^2: the same if all are scaled."""
    chosen: list[Eigenpairs] = [store.eigenpairs(name) for name in names or store.names("curvature")]
    chosen = chosen if names else baseline_first(store, chosen)
    if not chosen:
        raise InvalidArgument(f"expected eigenvalues in {store.path}, found none")
    labels = distinct_labels([pairs.checkpoint for pairs in chosen], [pairs.name for pairs in chosen])
    norms = [store.checkpoint(pairs.checkpoint).norm for pairs in chosen]
    rows = tuple((float(-row), label) for row, label in enumerate(labels))
    looks = looks_of(store, [pairs.checkpoint for pairs in chosen])
    panels = []
    for title, factors in (("eigenvalue", [1.0] * len(chosen)), ("eigenvalue × ‖w‖²", [norm**2 for norm in norms])):
        ends = [
            factor * (pairs.values + side * pairs.residuals)
            for pairs, factor in zip(chosen, factors, strict=True)
            for side in (-1, 1)
        ]
        scale = scale_of(title, *ends, np.zeros(1), allow_log=False).with_fewer_ticks(MOST_TICKS)
        marks = []
        for row, (pairs, factor, label) in enumerate(zip(chosen, factors, labels, strict=True)):
            value, bar = factor * pairs.values, factor * pairs.residuals
            numbers = [short(number) for number in value.tolist()]
            texts = tuple(
                f"{label}: {eigenvalue_name(name)} {number}" for name, number in zip(pairs.labels, numbers, strict=True)
            )
            printed = tuple(number if name in ENDS else "" for name, number in zip(pairs.labels, numbers, strict=True))
            at_value, low, high = [scale.drawn(side) for side in (value, value - bar, value + bar)]
            marks.append(
                Marks(
                    label,
                    np.full(len(value), float(-row)),
                    at_value,
                    low,
                    high,
                    pairs.converged.astype(bool),
                    texts,
                    *looks[row],
                    printed,
                )
            )
        panels.append(MarksPanel("", "", rows, (-len(chosen) + 0.4, 0.6), scale, _room(scale, 0.2), tuple(marks)))
    told = [eigenvalue_name(end) for end in ENDS if any(end in pairs.labels for pairs in chosen)]
    notes = [f"numbers: {' and '.join(told)}", "bars: residuals ‖Hv − θv‖; a true eigenvalue lies within"]
    if not all(pairs.converged.all() for pairs in chosen):
        notes.append("hollow: not converged")
    return MarksData(tuple(panels), tuple(labels), tuple(notes))


def prepare_sharpness(store: Store, names: Sequence[str] = ()) -> MarksData:
    """A panel a measure: against its radius where it has one, in a row otherwise."""
    chosen: list[SharpnessReport] = [store.sharpness(name) for name in names or store.names("sharpness")]
    chosen = chosen if names else baseline_first(store, chosen)
    if not chosen:
        raise InvalidArgument(f"expected sharpness measures in {store.path}, found none")
    return sharpness_of(store, chosen)


def sharpness_of(store: Store, chosen: Sequence[SharpnessReport]) -> MarksData:
    """The same for reports at hand; the store tells which checkpoints belong together."""
    labels = distinct_labels([report.checkpoint for report in chosen], [report.name for report in chosen])
    looks = looks_of(store, [report.checkpoint for report in chosen])
    titles = list(dict.fromkeys(_title(measure) for report in chosen for measure in report.measures))
    panels = []
    for title in titles:
        groups = [[m for m in report.measures if _title(m) == title] for report in chosen]
        if any(groups):
            panels.append(_sharpness_panel(title, groups, labels, looks))
    notes = []
    every = [measure for report in chosen for measure in report.measures]
    if any(measure.standard_error is not None for measure in every):
        notes.append("bars: 95 % intervals")
    if any("residual" in measure.setting for measure in every):
        notes.append("of λ: residuals")
    return MarksData(tuple(panels), tuple(labels), (*notes, *_remarks(every)))


def _remarks(every: Sequence[SharpnessMeasure]) -> list[str]:
    """What measures say of themselves, each remark once, with the measures it is true of: all of a name by the name."""
    said: dict[str, set[str]] = {}  # all that measures of one name say
    for measure in every:
        said.setdefault(_named(measure), set()).add(measure.note)
    remarks: dict[str, dict[str, None]] = {}
    for measure in every:
        if measure.note:
            name = _named(measure)
            remarks.setdefault(measure.note, {})[name if len(said[name]) == 1 else _title(measure)] = None
    return [f"{_listed(list(names))}: {remark}" for remark, names in remarks.items()]


def _named(measure: SharpnessMeasure) -> str:
    """The measure's name alone, its drops of ranking metrics told apart."""
    return f"{kind_of(measure).name}{' (ranking)' if measure.setting.get('metric') else ''}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _sharpness_panel(
    title: str, groups: Sequence[Sequence[SharpnessMeasure]], labels: Sequence[str], looks: Sequence[Look]
) -> MarksPanel:
    radius = next((key for group in groups for m in group if (key := radius_of(m))), None)
    values = [np.array([m.value for m in group]) for group in groups]
    reaches = [np.array([reach_of(m) for m in group]) for group in groups]
    name = next(quantity_of(m) for group in groups for m in group) if radius else "value"
    bottoms = [array - reach for array, reach in zip(values, reaches, strict=True)]
    tops = [array + reach for array, reach in zip(values, reaches, strict=True)]
    is_log = scale_of(name, *values).kind == "log"
    if is_log:  # a bar may leave a log scale below, where zero is infinitely far
        bottoms = [np.maximum(bottom, array / 3) for bottom, array in zip(bottoms, values, strict=True)]
    scale = scale_of(name, *bottoms, *tops, allow_log=is_log)
    settings: list[float] = []
    if radius is not None:
        settings = sorted({float(m.setting[radius] or 0.0) for group in groups for m in group})
    categories = tuple((float(place), short(number)) for place, number in enumerate(settings))
    if radius is None and sum(map(len, labels)) <= MOST_LETTERS:  # otherwise the legend alone names them
        categories = tuple((float(place), label) for place, label in enumerate(labels))
    marks = []
    for place, (group, label) in enumerate(zip(groups, labels, strict=True)):
        offset = aside(place, len(groups))
        at = [settings.index(float(m.setting[radius] or 0.0)) + offset if radius else float(place) for m in group]
        order = np.argsort(at, kind="stable")
        texts = tuple(f"{label}: {short(group[index].value)}" for index in order)
        at_value, low, high = [scale.drawn(side)[order] for side in (values[place], bottoms[place], tops[place])]
        solid = np.array([is_settled(group[index]) for index in order], dtype=bool)
        marks.append(
            Marks(
                label,
                np.array(at, dtype=float)[order],
                at_value,
                low,
                high,
                solid,
                texts,
                *looks[place],
            )
        )
    last = len(settings if radius else groups) - 0.5
    return MarksPanel(title, radius or "", categories, (-0.5, last), scale, _room(scale), tuple(marks))


def prepare_scores(store: Store, name: str = "", checkpoints: Sequence[str] = ()) -> MarksData:
    """Ranking scores with 95 % intervals, a place a metric; of all checkpoints in the table unless some are named.

    The table (kind "comparisons") has a row for each checkpoint and metric in the columns `checkpoint`, `metric`,
    `value` and `standard_error` (NaN: none); other columns are left alone. Its attribute `level` says over what the
    error is.
    """
    held = store.names("comparisons")
    fitting = (one for one in held if store.table("comparisons", one).columns.keys() >= set(SCORE_COLUMNS))
    table = store.table("comparisons", name or next(fitting, held[0] if held else "scores"))
    columns = _columns(table)
    there = sorted(set(columns["checkpoint"]))  # as elsewhere, so that colours agree between figures
    if unknown := [checkpoint for checkpoint in checkpoints if checkpoint not in there]:
        raise InvalidArgument(f"expected checkpoints out of {', '.join(there)}, got {', '.join(unknown)}")
    checkpoints = list(checkpoints) or baseline_first(store, there, str)
    metrics = list(dict.fromkeys(columns["metric"]))
    families = list(dict.fromkeys(metric.split("@")[0] for metric in metrics))
    value = np.asarray(table.columns["value"], dtype=np.float64)
    error = np.asarray(table.columns["standard_error"], dtype=np.float64)
    reach = INTERVAL * np.where(np.isfinite(error), error, 0.0)
    labels = distinct_labels(checkpoints, checkpoints)
    looks = looks_of(store, checkpoints)
    panels = []
    for family in families:
        own = [metric for metric in metrics if metric.split("@")[0] == family]
        rows = np.array([metric in own for metric in columns["metric"]])
        scale = scale_of(family, value[rows] - reach[rows], value[rows] + reach[rows], allow_log=False)
        marks = []
        for place, (checkpoint, label) in enumerate(zip(checkpoints, labels, strict=True)):
            mine = np.flatnonzero(rows & (np.array(columns["checkpoint"]) == checkpoint))
            offset = aside(place, len(checkpoints))
            at: Floats = np.array([own.index(columns["metric"][row]) + offset for row in mine], dtype=np.float64)
            at_value, low, high = [scale.drawn(side[mine]) for side in (value, value - reach, value + reach)]
            texts = tuple(f"{label}: {short(value[row])}" for row in mine)
            marks.append(Marks(label, at, at_value, low, high, np.ones(len(mine), dtype=bool), texts, *looks[place]))
        places = tuple((float(place), metric) for place, metric in enumerate(own))
        panels.append(MarksPanel("", "", places, (-0.5, len(own) - 0.5), scale, _room(scale), tuple(marks)))
    level = table.attributes.get("level")
    notes = ["bars: 95 % intervals" + (f" over {level}" if level else "")] if np.isfinite(error).any() else []
    return MarksData(tuple(panels), tuple(labels), tuple(notes))


def aside(place: int, count: int) -> float:
    """How far from a tick the marks of one of so many checkpoints stand, half a step between the outermost at most."""
    return 0.5 / max(count, 2) * (place - (count - 1) / 2)


def looks_of(store: Store, checkpoints: Sequence[str]) -> list[Look]:
    """Group and member of each: checkpoints whose configurations name one group share a colour."""
    there = store.names("checkpoints")
    named = [store.checkpoint(one).config.get("group") if one in there else None for one in checkpoints]
    if None in named:
        return [(place, place) for place in range(len(checkpoints))]
    order = list(dict.fromkeys(named))
    if len(order) == len(checkpoints):  # one of each: differ in marker too
        return [(place, place) for place in range(len(checkpoints))]
    return [(order.index(group), named[:place].count(group)) for place, group in enumerate(named)]


def _room(scale: Scale, share: float = 0.05) -> tuple[float, float]:
    """The scale's bounds with room for marks that stand on them."""
    room = share * (scale.high - scale.low)
    return scale.low - room, scale.high + room


def _columns(table: Table) -> dict[str, list[str]]:
    if missing := [name for name in SCORE_COLUMNS if name not in table.columns]:
        raise InvalidArgument(
            f"expected columns {', '.join(SCORE_COLUMNS)} in table {table.name}, got {', '.join(table.columns)}: "
            f"no {', '.join(missing)}"
        )
    return {name: [str(entry) for entry in table.columns[name]] for name in ("checkpoint", "metric")}


def reach_of(measure: SharpnessMeasure) -> float:
    """Half a bar: a 95 % interval where there is a standard error, a residual where there is one."""
    return INTERVAL * (measure.standard_error or 0.0) or float(measure.setting.get("residual") or 0.0)


def _title(measure: SharpnessMeasure) -> str:
    """The measure as tables call it, with all other settings that make it another one."""
    radius = radius_of(measure)
    extra = []
    for key, setting in measure.setting.items():
        if key == radius or key in SILENT or key in IN_FAMILY or not setting:
            continue
        extra.append(key if setting is True else setting if isinstance(setting, str) else f"{key} {setting}")
    return ", ".join([family_of(measure), *extra])


def labels_of(chosen: Sequence[Any]) -> list[str]:
    """What records are called in a figure: by their checkpoint where that is enough."""
    return distinct_labels([one.checkpoint for one in chosen], [one.name for one in chosen])


def distinct_labels(checkpoints: Sequence[str], names: Sequence[str], longest: int = 28) -> list[str]:
    """Checkpoints' names, with the records' where two share one; long ones lose their middle."""
    labels = [
        one if list(checkpoints).count(one) == 1 else name if name.startswith(one) else f"{one} ({name})"
        for one, name in zip(checkpoints, names, strict=True)
    ]
    return [shortened(label, longest) for label in labels]
