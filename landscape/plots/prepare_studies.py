"""From a store to plain figure data of studies: quantities over a setting, training curves, measures against scores.

Tables it reads (kind "studies"):

    values      run, cell, line, setting, seed, quantity, value; its attributes: axis, cells
    relations   measure, target, tau, low, high
    histories   one table a run: epoch, loss, "validation ...", sharpness; its attributes: method, best_epoch, kept_by
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.errors import InvalidArgument
from landscape.plots.figure_data import Floats, Trend, TrendPanel, TrendsData
from landscape.plots.order import baseline_first
from landscape.plots.scale import LOG_FROM_RATIO, Scale, scale_of, short
from landscape.records import Table
from landscape.store import Store

ROOM = 0.06  # of an axis, beyond the outermost points
LONG_LABELS = 40  # letters of all categories together that still stand side by side
FEW_EPOCHS = 6  # stand side by side, each with its number
NARROW = 30  # letters that stand side by side under a narrow panel
LEGEND = 105  # letters that stand side by side above a figure, keys included
STUB = 0.2  # half the length of a mean that no line joins, in decades or places
WATCHED = "NDCG@10"  # on validation by every run, whatever it keeps its weights by
NOTHING: Floats = np.zeros((0, 2))


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where settings lie on the horizontal axis."""

    label: str
    ticks: tuple[tuple[float, str], ...]
    range: tuple[float, float]
    breaks: tuple[float, ...]
    note: str = ""


def prepare_study(store: Store, quantities: Sequence[str] = (), *, table_name: str = "values") -> TrendsData:
    """Quantities over the study's setting, a panel each: the mean over seeds, a band from lowest to highest, all runs.

    Settings far apart lie on a log axis, with 0 beyond a break. A study without an axis shows its cells side by side,
    in rows where their labels are long. Any table laid out as `values` will do.
    """
    table = store.table("studies", table_name)
    wanted = _quantities(table, quantities)
    measures = set(table.attributes.get("measures", ()))
    c = table.columns
    has_axis = bool(table.attributes.get("axis")) and bool(np.isfinite(c["setting"]).all())
    cells = [str(cell) for cell in table.attributes["cells"]]
    axis = _setting_axis(table) if has_axis else _cell_axis([cell for cell in cells if cell in set(c["cell"])])
    rows = not has_axis and sum(len(label) for _, label in axis.ticks) > (NARROW if len(wanted) > 2 else LONG_LABELS)
    lines = [str(line) for line in dict.fromkeys(c["line"].tolist())] if has_axis else [""]
    panels = []
    for quantity in wanted:
        of = np.flatnonzero(c["quantity"] == quantity)
        values = np.asarray(c["value"], dtype=np.float64)
        scale = scale_of(_shown(quantity), values[of], allow_log=quantity in measures)
        scale = _thinned(scale) if rows else scale
        trends = []
        for group, line in enumerate(lines):
            own = of[c["line"][of] == line] if has_axis else of
            places = _places(axis, c["setting"][own]) if has_axis else _cell_places(axis, c["cell"][own])
            trends += _trends(line, group, places, values[own], c["run"][own], scale, axis, joined=has_axis)
        panels.append(
            TrendPanel("", axis.label, axis.ticks, axis.range, axis.breaks, scale, _room(scale), tuple(trends))
        )
    seeds = len(set(c["seed"].tolist()))
    over = (
        f"; line: mean over seeds; band: lowest to highest of {seeds} seeds" if has_axis else "; bar: mean over seeds"
    )
    notes = ["dots: runs" + (over if seeds > 1 else ", one seed")]
    legend = tuple((line, group) for group, line in enumerate(lines)) if len(lines) > 1 else ()
    told = (*notes, *filter(None, [axis.note]), *_told(panels))
    return TrendsData(tuple(panels), legend, _columns_of(legend), told, rows)


def prepare_training(store: Store, names: Sequence[str] = (), *, validation: str | None = None) -> TrendsData:
    """Training curves: loss, validation and, with SAM, the step's sharpness, over epochs; one colour a method.

    A dot marks the epoch whose weights were kept. All runs whose history the store holds, unless named. The metric of
    validation, unless named, is the one by which these runs kept their weights: NDCG@10 where they differ in it.
    """
    found = [store.table("histories", name) for name in names or store.names("histories")]
    found = found if names else baseline_first(store, found, lambda table: table.name)
    if not any(len(table.columns["epoch"]) for table in found):
        raise InvalidArgument(f"expected the history of a run in {store.path}, found none")
    return training_of(found, validation=validation)


def training_of(tables: Sequence[Table], *, validation: str | None = None) -> TrendsData:
    """The same from histories at hand, which may be still growing; those without an epoch are left out."""
    chosen = [table for table in tables if len(table.columns["epoch"])]
    methods = list(dict.fromkeys(str(table.attributes.get("method") or table.name) for table in chosen))
    kept_by = {str(table.attributes.get("kept_by") or WATCHED) for table in chosen}
    validation = validation or (kept_by.pop() if len(kept_by) == 1 else WATCHED)
    panels = []
    for column in ("loss", f"validation {validation}", "sharpness"):
        having = [table for table in chosen if column in table.columns]
        if not having:
            continue
        name = "L(w + ε) − L(w)" if column == "sharpness" else column
        scale = scale_of(name, *[table.columns[column] for table in having], allow_log=column == "sharpness")
        longest = max(float(table.columns["epoch"].max()) for table in having)
        trends = []
        for table in having:
            method = str(table.attributes.get("method") or table.name)
            y = scale.drawn(table.columns[column])
            x = np.asarray(table.columns["epoch"], dtype=np.float64)
            best = np.flatnonzero(table.columns["epoch"] == table.attributes.get("best_epoch", -1))
            dotted = best if len(x) > 1 else np.arange(1)  # a line of one epoch would not be seen
            dots = np.stack([x[dotted], y[dotted]], axis=1)
            texts = tuple(f"{table.name}: {'best ' if row in best else ''}epoch {int(x[row])}" for row in dotted)
            trends.append(Trend(method, methods.index(method), x, y, None, None, dots, texts))
        panels.append(
            TrendPanel(
                "", "epoch", _epochs(longest), (0.0, longest * (1 + ROOM / 2)), (), scale, _room(scale), tuple(trends)
            )
        )
    legend = tuple((method, group) for group, method in enumerate(methods)) if len(methods) > 1 else ()
    kept = any(table.attributes.get("best_epoch", -1) in table.columns["epoch"] for table in chosen)
    notes = ["dots: the epoch whose weights were kept"] if kept else []
    if "sharpness" in {column for table in chosen for column in table.columns}:
        notes.append("L(w + ε) − L(w): mean over the steps of an epoch, each on its own batch, dropout on")
    return TrendsData(tuple(panels), legend, _columns_of(legend), (*notes, *_told(panels)))


def prepare_relation(store: Store, measures: Sequence[str] = (), *, target: str = "NDCG@10") -> TrendsData:
    """Measures of curvature and sharpness against a target, a panel a measure, a dot a run, one colour a cell."""
    table, relations = store.table("studies", "values"), store.table("studies", "relations").columns
    known = [str(name) for name in dict.fromkeys(relations["measure"].tolist())]
    for measure in measures:
        if measure not in known:
            raise InvalidArgument(f"expected a measure out of {', '.join(known)}, got {measure!r}")
    c = table.columns
    cells = [str(cell) for cell in table.attributes["cells"] if cell in set(c["cell"].tolist())]
    value = {
        (str(run), str(quantity)): float(number)
        for run, quantity, number in zip(c["run"], c["quantity"], c["value"], strict=True)
    }
    runs = [
        (str(run), str(cell)) for run, cell in dict.fromkeys(zip(c["run"].tolist(), c["cell"].tolist(), strict=True))
    ]
    panels = []
    across_notes: dict[str, list[str]] = {}
    for measure in measures or known:
        shown = [(run, cell) for run, cell in runs if (run, measure) in value and (run, target) in value]
        across, up = (np.array([value[run, name] for run, _ in shown]) for name in (measure, target))
        x_scale, y_scale = scale_of(_shown(measure), across), scale_of(_shown(target), up, allow_log=False)
        for note in x_scale.notes:
            across_notes.setdefault(note, []).append(_shown(measure))
        places = np.stack([x_scale.drawn(across), y_scale.drawn(up)], axis=1)
        trends = []
        for group, cell in enumerate(cells):
            own = [row for row, (_, of) in enumerate(shown) if of == cell]
            texts = tuple(f"{shown[row][0]}: {measure} {short(across[row])}, {target} {short(up[row])}" for row in own)
            trends.append(Trend(cell, group, NOTHING[:, 0], NOTHING[:, 1], None, None, places[own], texts))
        title = _tau(relations, measure, target)
        panels.append(
            TrendPanel(
                title, x_scale.label, _ticks(x_scale), _room(x_scale), (), y_scale, _room(y_scale), tuple(trends)
            )
        )
    if not panels:
        raise InvalidArgument(f"expected measures of at least two runs in {store.path}, found none")
    notes = [f"τ: Kendall's tau-b of the measure with {target} over runs, 95 % bootstrap interval"]
    notes += [f"{note}: {', '.join(names)}" for note, names in across_notes.items()]
    legend = tuple((cell, group) for group, cell in enumerate(cells))
    return TrendsData(tuple(panels), legend, _columns_of(legend), (*notes, *_told(panels)))


def _trends(
    label: str, group: int, places: Floats, values: Floats, runs: Any, scale: Scale, axis: _Axis, *, joined: bool
) -> list[Trend]:
    """Means and extremes at each place, over the finite values; a place beyond a break, or not joined, is a stub.

    A single run that no line joins needs none.
    """
    at = np.unique(places)
    found = [values[(places == place) & np.isfinite(values)] for place in at]
    mean, low, high = (
        scale.drawn([reduce(own) if len(own) else np.nan for own in found]) for reduce in (np.mean, np.min, np.max)
    )
    dots = np.stack([places, scale.drawn(values)], axis=1)
    texts = tuple(f"{run}: {short(value)}" for run, value in zip(runs.tolist(), values.tolist(), strict=True))
    on_line = at > max(axis.breaks, default=-np.inf) if joined else np.zeros(len(at), dtype=np.bool_)
    trends = [Trend(label, group, at[on_line], mean[on_line], low[on_line], high[on_line], dots, texts)]
    for k in np.flatnonzero(~on_line):
        if not joined and len(found[k]) < 2:
            continue  # the dot is the mean
        ends, middle = at[k] + STUB * np.array([-1.0, 1.0]), np.repeat(mean[k], 2)
        bottom, top = (np.repeat(low[k], 2), np.repeat(high[k], 2)) if joined else (None, None)
        trends.append(Trend(label, group, ends, middle, bottom, top, NOTHING, ()))
    return trends


def _setting_axis(table: Table) -> _Axis:
    """Linear, or log with 0 beyond a break where settings are far apart."""
    label = str(table.attributes["axis"]).replace("_", " ")
    settings = np.unique(np.asarray(table.columns["setting"], dtype=np.float64))
    positive = settings[settings > 0]
    if settings[0] < 0 or len(positive) < 2 or positive[-1] / positive[0] <= LOG_FROM_RATIO:
        span = float(settings[-1] - settings[0]) or 1.0
        ticks = tuple((float(s), short(float(s))) for s in settings)
        return _Axis(label, ticks, (float(settings[0]) - ROOM * span, float(settings[-1]) + ROOM * span), ())
    ticks = tuple((math.log10(s), short(float(s))) for s in positive)
    first, last = ticks[0][0], ticks[-1][0]
    step = (last - first) / (len(positive) - 1)
    breaks: tuple[float, ...] = ()
    note = f"{label} on a log axis"
    if settings[0] == 0:
        ticks, breaks = ((first - step, "0"), *ticks), (first - step / 2,)
        note += ", 0 beyond the break"
        first -= step
    room = ROOM * (last - first)
    return _Axis(label, ticks, (first - room, last + room), breaks, note)


def _places(axis: _Axis, settings: Any) -> Floats:
    """Where these settings lie on the axis."""
    if not axis.note:
        return np.asarray(settings, dtype=np.float64)
    with np.errstate(divide="ignore"):
        logs = np.log10(np.asarray(settings, dtype=np.float64))
    return np.where(np.isfinite(logs), logs, axis.ticks[0][0])


def _cell_axis(cells: Sequence[str]) -> _Axis:
    return _Axis("", tuple((float(k), cell) for k, cell in enumerate(cells)), (-0.6, len(cells) - 0.4), ())


def _cell_places(axis: _Axis, cells: Any) -> Floats:
    place = {label: at for at, label in axis.ticks}
    return np.array([place[str(cell)] for cell in cells], dtype=np.float64)


def _quantities(table: Table, wanted: Sequence[str]) -> list[str]:
    known = [str(name) for name in dict.fromkeys(table.columns["quantity"].tolist())]
    for name in wanted:
        if name not in known:
            raise InvalidArgument(f"expected a quantity out of {', '.join(known)}, got {name!r}")
    chosen = list(wanted) or [name for name in ("HR@10", "NDCG@10") if name in known] or known[:2]
    if not chosen:
        raise InvalidArgument(f"expected values in the table {table.name} of the studies, found none")
    return chosen


def _tau(relations: Any, measure: str, target: str) -> str:
    rows = np.flatnonzero((relations["measure"] == measure) & (relations["target"] == target))
    if not len(rows) or not np.isfinite(relations["tau"][rows[0]]):
        return "τ not defined"
    tau, low, high = (float(relations[name][rows[0]]) for name in ("tau", "low", "high"))
    interval = f" [{low:+.2f}, {high:+.2f}]" if np.isfinite(low) else ""
    return f"τ = {tau:+.2f}{interval}".replace("-", "−")


def _thinned(scale: Scale) -> Scale:
    """The scale with as many ticks as have labels that stand side by side in a narrow panel."""
    fewer = scale
    for most in range(len(scale.ticks), 1, -1):
        fewer = scale.with_fewer_ticks(most)
        if sum(len(label) + 2 for label in fewer.tick_labels) <= NARROW:
            break
    return fewer


def _ticks(scale: Scale) -> tuple[tuple[float, str], ...]:
    fewer = _thinned(scale)
    return tuple(zip(fewer.ticks, fewer.tick_labels, strict=True))


def _epochs(longest: float) -> tuple[tuple[float, str], ...]:
    """Whole numbers from 0 to the last epoch: each of a few, else the scale's, which are whole then."""
    if longest <= FEW_EPOCHS:
        return tuple((float(epoch), str(epoch)) for epoch in range(round(longest) + 1))
    return _ticks(scale_of("epoch", np.array([0.0, longest])))


def _room(scale: Scale) -> tuple[float, float]:
    room = ROOM * (scale.high - scale.low)
    return scale.low - room, scale.high + room


def _shown(quantity: str) -> str:
    """A quantity as figures write it."""
    return quantity.replace("λ_", "λ")


def _columns_of(legend: Sequence[tuple[str, int]]) -> int:
    """As many columns, up to three, as the longest label leaves room for."""
    longest = max((len(label) for label, _ in legend), default=0)
    return max(1, min(3, len(legend), LEGEND // (longest + 8)))


def _told(panels: Sequence[TrendPanel]) -> list[str]:
    """What the scales themselves have to say, each once, with the panels it is true of."""
    told: dict[str, list[str]] = {}
    for panel in panels:
        for note in panel.scale.notes:
            told.setdefault(note, []).append(panel.scale.label.partition("  [")[0])
    return [f"{note}: {', '.join(dict.fromkeys(labels))}" for note, labels in told.items()]
