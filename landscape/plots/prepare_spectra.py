"""From a store to plain figure data of whole spectra: densities, mass and trace by block, ends against the data's size.

Where raw values depend on the scale of the weights, a panel beside them has what re-scaling leaves alone.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from landscape.errors import InvalidArgument
from landscape.estimates import smoothed
from landscape.plots.figure_data import Floats, Marks, MarksData, MarksPanel, Trend, TrendPanel, TrendsData
from landscape.plots.prepare_marks import INTERVAL, distinct_labels, looks_of
from landscape.plots.scale import Scale, scale_of, short, superscript
from landscape.records import Eigenpairs
from landscape.spectra import Density, Subsets, Trace
from landscape.store import Store
from landscape.store_refusals import same_objective

KERNEL = 0.01  # its standard deviation, as a share of the range of all nodes of a panel
POINTS = 801  # of a smooth density
BELOW_ONE = 0.3  # a density's axis ends at this share of the height of a single eigenvalue
SMALLEST_MASS = 1e-4  # masses below it are drawn at the end of the axis
BLACK = 6  # the colour of what belongs to no checkpoint
DIAMOND = 3  # its marker
TICKS = 6  # at most, of an axis


def prepare_density(store: Store, names: Sequence[str] = ()) -> TrendsData:
    """Smoothed spectral densities on a log axis; raw ones beside those of H ||w||^2. Bands: all probes.

    Dots mark both ends: eigenvalues where the store has them for the same objective, else the outermost nodes.
    """
    chosen: list[Density] = [store.density(name) for name in names or store.names("densities")]
    if not names:  # one kind of coordinates in a picture: the first there is
        chosen = [one for one in chosen if one.settings.get("coordinates") == _frames(chosen)[0]]
    if not chosen:
        raise InvalidArgument(f"expected spectral densities in {store.path}, found none")
    if len(frames := _frames(chosen)) > 1:
        raise InvalidArgument(f"expected densities in one kind of coordinates, got {' and '.join(frames)}")
    relative = frames[0] == "relative"
    labels = _labels(chosen)
    groups = [group for group, _ in looks_of(store, [one.checkpoint for one in chosen])]
    norms = [store.checkpoint(one.checkpoint).norm ** 2 for one in chosen]
    ends = [_ends_of(store, density) for density in chosen]
    titles: list[tuple[str, list[float]]] = [("eigenvalue", [1.0] * len(chosen)), ("eigenvalue × ‖w‖²", norms)]
    if relative:
        titles = [("eigenvalue, relative to |w|", [1.0] * len(chosen))]
    panels, widths = [], []
    for title, factors in titles:
        panel, width = _density_panel(title, chosen, factors, labels, groups, ends)
        panels.append(panel)
        widths.append(short(width, 2))
    told = [
        f"{label}: λmin {short(low, 3)}, λmax {short(high, 3)}"
        for label, (low, high, _) in zip(labels, ends, strict=True)
    ]
    probes = sorted({one.probes for one in chosen})
    notes = [
        f"Gaussian kernel of standard deviation {' and '.join(widths)}, 1 % of the range",
        *([f"bands: lowest and highest of {' or '.join(map(str, probes))} probes"] if probes[-1] > 1 else []),
        "dash-dotted: one eigenvalue alone",
        "dots: both ends" + ("" if all(known for *_, known in ends) else ", as far out as the probes saw them"),
    ]
    return TrendsData(tuple(panels), tuple(zip(told, groups, strict=True)), 1, tuple(notes))


def _density_panel(
    title: str,
    chosen: Sequence[Density],
    factors: Sequence[float],
    labels: Sequence[str],
    groups: Sequence[int],
    ends: Sequence[tuple[float, float, bool]],
) -> tuple[TrendPanel, float]:
    """A panel, and the standard deviation of its kernel."""
    reach = [
        factor * value
        for one, factor, (low, high, _) in zip(chosen, factors, ends, strict=True)
        for value in (np.nanmin(one.nodes), np.nanmax(one.nodes), low, high)
    ]
    span = max(reach) - min(reach)
    width = KERNEL * (span or max(map(abs, reach)) or 1.0)
    grid = np.linspace(min(reach) - 4 * width, max(reach) + 4 * width, POINTS)
    x_scale = scale_of(title, np.array([min(reach), max(reach)]), allow_log=False).with_fewer_ticks(TICKS)
    single = [1 / (one.dimension * width * math.sqrt(2 * math.pi)) for one in chosen]
    curves = [smoothed(f * one.nodes, one.weights, grid, width=width) for one, f in zip(chosen, factors, strict=True)]
    scale = _decades("density", BELOW_ONE * min(single), max(float(curve.max()) for curve in curves))
    trends = []
    for curve, height, factor, label, group, (low, high, _) in zip(
        curves, single, factors, labels, groups, ends, strict=True
    ):
        at = factor * np.array([low, high])
        dots = np.stack([at - x_scale.offset, scale.drawn(np.full(2, height))], axis=1)
        texts = tuple(
            f"{label}: {sign} {short(value)}" for sign, value in zip(("λmin", "λmax"), at.tolist(), strict=True)
        )
        mean, lowest, highest = (_above(scale, part) for part in (curve.mean(0), curve.min(0), curve.max(0)))
        shown = np.nan_to_num(lowest, nan=scale.low), np.nan_to_num(highest, nan=scale.low)
        trends.append(Trend(label, group, grid - x_scale.offset, mean, *shown, np.zeros((0, 2)), ()))
        trends.append(Trend(label, group, np.zeros(0), np.zeros(0), None, None, dots, texts))
    for height in sorted(set(single)):
        ends_of_line = grid[[0, -1]] - x_scale.offset
        line = scale.drawn(np.full(2, height))
        trends.append(Trend("one eigenvalue", BLACK, ends_of_line, line, None, None, np.zeros((0, 2)), ()))
    ticks = tuple(zip(x_scale.ticks, x_scale.tick_labels, strict=True))
    bounds = float(grid[0] - x_scale.offset), float(grid[-1] - x_scale.offset)
    zero = (-x_scale.offset,) if bounds[0] < -x_scale.offset < bounds[1] else ()
    panel = TrendPanel("", x_scale.label, ticks, bounds, zero, scale, (scale.low, scale.high), tuple(trends))
    return panel, width


def _ends_of(store: Store, density: Density) -> tuple[float, float, bool]:
    """lambda_min, lambda_max, and whether they are eigenvalues of their own and not the outermost nodes."""
    for name in store.names("curvature"):
        pairs: Eigenpairs = store.eigenpairs(name)
        found = dict(zip(pairs.labels, pairs.values.tolist(), strict=True))
        if (
            density.settings.get("coordinates") == "raw"
            and pairs.checkpoint == density.checkpoint
            and pairs.settings.get("block") == density.settings.get("block")
            and {"lambda_min", "lambda_max"} <= found.keys()
            and same_objective(pairs.provenance, density.provenance)
        ):
            return found["lambda_min"], found["lambda_max"], True
    return density.end(-1)[0], density.end(1)[0], False


def prepare_subsets(store: Store, names: Sequence[str] = ()) -> TrendsData:
    """Both ends against the number of users: means over draws, bands from the lowest to the highest, a dot a draw."""
    chosen: list[Subsets] = [store.subsets(name) for name in names or store.names("subsets")]
    if not chosen:
        raise InvalidArgument(f"expected ends of spectra on subsets in {store.path}, found none")
    labels = _labels(chosen)
    groups = [group for group, _ in looks_of(store, [one.checkpoint for one in chosen])]
    norms = [store.checkpoint(one.checkpoint).norm ** 2 for one in chosen]
    sizes = sorted({size for one in chosen for size in one.users.tolist()})
    ticks = tuple((math.log2(size), f"{size:,}") for size in sizes)
    room = 0.1 * max(ticks[-1][0] - ticks[0][0], 1.0)
    panels = []
    for unit, factors in (("", [1.0] * len(chosen)), (" × ‖w‖²", norms)):
        for end, title in enumerate(("λmax", "λmin")):
            values = [factor * one.values[:, end] for one, factor in zip(chosen, factors, strict=True)]
            scale = scale_of(title + unit, *values, allow_log=False).with_fewer_ticks(TICKS)
            trends = []
            for one, column, label, group in zip(chosen, values, labels, groups, strict=True):
                own = sorted(set(one.users.tolist()))
                parts = [column[one.users == size] for size in own]
                line, low, high = (scale.drawn([f(part) for part in parts]) for f in (np.mean, np.min, np.max))
                dots = np.stack([np.log2(one.users), scale.drawn(column)], axis=1)
                texts = tuple(
                    f"{label}, {size:,} users, seed {seed}: {short(value)}{'' if settled else ', not converged'}"
                    for size, seed, value, settled in zip(
                        one.users.tolist(), one.seeds.tolist(), column.tolist(), one.converged[:, end], strict=True
                    )
                )
                trends.append(Trend(label, group, np.log2(np.array(own, dtype=float)), line, low, high, dots, texts))
            bounds = ticks[0][0] - room, ticks[-1][0] + room
            panels.append(TrendPanel("", "users", ticks, bounds, (), scale, _room(scale), tuple(trends)))
    notes = ["lines: means over random subsets (a dot each); bands: lowest to highest"]
    unsettled = sum(int((~one.converged).sum()) for one in chosen)
    if unsettled:
        notes.append(f"{unsettled} of {sum(one.converged.size for one in chosen)} ends not converged")
    return TrendsData(tuple(panels), tuple(zip(labels, groups, strict=True)), min(3, len(labels)), tuple(notes))


def prepare_mass(store: Store, names: Sequence[str] = ()) -> MarksData:
    """The mass of each eigenvector by block on a log axis, beside the block's share of the coordinates."""
    held = [store.eigenpairs(name) for name in names or store.names("curvature")]
    chosen = [pairs for pairs in held if pairs.mass is not None]
    if names and (without := [pairs.name for pairs in held if pairs.mass is None]):
        raise InvalidArgument(f"expected eigenpairs with their mass by block, found none in {', '.join(without)}")
    if not names:
        whole = [pairs for pairs in chosen if pairs.settings.get("block") is None]
        chosen = whole or chosen
    if not chosen:
        raise InvalidArgument(f"expected eigenpairs with their mass by block in {store.path}, found none")
    labels = _labels(chosen)
    looks = looks_of(store, [pairs.checkpoint for pairs in chosen])
    ends = list(dict.fromkeys(label for pairs in chosen for label in pairs.labels))
    ends.sort(key=_order)
    blocks = _moved_blocks(chosen)
    rows = tuple((float(-row), _block_name(block)) for row, block in enumerate(blocks))
    shares = _by_block(chosen[0], blocks, lambda mass: mass.shares)
    smallest = [
        _by_block(pairs, blocks, lambda mass: np.minimum(mass.masses.min(axis=0), mass.shares)) for pairs in chosen
    ]
    floor = min(max(SMALLEST_MASS, float(np.nanmin(smallest)) / 2), 0.1)
    scale = _decades("share of the eigenvector", floor, 1.0)
    panels = []
    for end in ends:
        marks = []
        for place, (pairs, label, look) in enumerate(zip(chosen, labels, looks, strict=True)):
            if end not in pairs.labels:
                continue
            k = pairs.labels.index(end)
            mass = _by_block(pairs, blocks, lambda mass, k=k: mass.masses[k])  # type: ignore[misc]
            position = _rows_at(blocks, _aside(place, len(chosen)))
            there = np.isfinite(mass)
            times = mass / _by_block(pairs, blocks, lambda mass: mass.shares)
            texts = tuple(
                f"{label}, {block}: {short(value)}, {short(ratio, 3)} times its share of the weights"
                for block, value, ratio in zip(blocks, mass.tolist(), times.tolist(), strict=True)
            )
            at = scale.drawn(mass)
            solid = np.full(len(blocks), bool(pairs.converged[k]))
            marks.append(_kept(Marks(label, position, at, at, at, solid, texts, *look), there))
        texts = tuple(f"{block}: {short(share)} of the weights" for block, share in zip(blocks, shares, strict=True))
        at, position = scale.drawn(shares), _rows_at(blocks)
        hollow = np.zeros(len(blocks), dtype=bool)
        marks.append(Marks("share of the weights", position, at, at, at, hollow, texts, BLACK, DIAMOND))
        panels.append(
            MarksPanel(_eigen_name(end), "", rows, (-len(blocks) + 0.4, 0.6), scale, _room(scale), tuple(marks))
        )
    notes = (
        ["blocks cover every weight once; head and tail items are rows of the item table"]
        if "rows:head" in blocks
        else []
    )
    if not all(pairs.converged.all() for pairs in chosen):
        notes.append("hollow circles and squares: not converged")
    if any((_by_block(pairs, blocks, lambda mass: mass.masses.min(axis=0)) < 2**scale.low).any() for pairs in chosen):
        notes.append("smaller masses are drawn at the end of the axis")
    return MarksData(tuple(panels), (*labels, "share of the weights"), tuple(notes))


def prepare_trace(store: Store, names: Sequence[str] = ()) -> MarksData:
    """The Hessian's trace, whole and by block, with 95 % intervals; raw beside relative coordinates."""
    chosen: list[Trace] = [store.trace(name) for name in names or store.names("traces")]
    if not chosen:
        raise InvalidArgument(f"expected traces in {store.path}, found none")
    labels = _labels(chosen)
    looks = looks_of(store, [one.checkpoint for one in chosen])
    blocks = list(dict.fromkeys(block for one in chosen for block in one.blocks))
    rows = tuple(
        (float(-row), "all weights" if block == "all" else _block_name(block)) for row, block in enumerate(blocks)
    )
    panels = []
    for frame, title in (("raw", "trace"), ("relative", "trace relative to |w|")):
        found = [_trace_rows(one, blocks, frame) for one in chosen]
        if not any(np.isfinite(value).any() for value, _ in found):
            continue
        ends = [side for value, reach in found for side in (value - reach, value + reach)]
        scale = scale_of(title, *ends, np.zeros(1), allow_log=False).with_fewer_ticks(TICKS)
        marks = []
        for place, ((value, reach), label, look) in enumerate(zip(found, labels, looks, strict=True)):
            position = _rows_at(blocks, _aside(place, len(chosen)))
            texts = tuple(
                f"{label}, {block}: {short(one)} ± {short(error / INTERVAL, 2)}"
                for block, one, error in zip(blocks, value.tolist(), reach.tolist(), strict=True)
            )
            at, low, high = (scale.drawn(side) for side in (value, value - reach, value + reach))
            solid = np.ones(len(blocks), dtype=bool)
            marks.append(_kept(Marks(label, position, at, low, high, solid, texts, *look), np.isfinite(value)))
        panels.append(MarksPanel("", "", rows, (-len(blocks) + 0.4, 0.6), scale, _room(scale), tuple(marks)))
    probes = sorted({one.probes for one in chosen})
    notes = [f"bars: 95 % intervals over {' or '.join(map(str, probes))} probes"]
    return MarksData(tuple(panels), tuple(labels), tuple(notes))


def _trace_rows(trace: Trace, blocks: Sequence[str], frame: str) -> tuple[Floats, Floats]:
    """Values and half a 95 % interval for each block, NaN where it was not measured."""
    rows = zip(trace.quantities, trace.blocks, trace.coordinates, trace.estimates, strict=True)
    held = {block: pair for quantity, block, coordinates, pair in rows if (quantity, coordinates) == ("trace", frame)}
    table = np.array([held.get(block, (np.nan, np.nan)) for block in blocks], dtype=float)
    return table[:, 0], INTERVAL * np.nan_to_num(table[:, 1])


def _decades(name: str, low: float, high: float) -> Scale:
    """A log scale between these bounds with labels at powers of ten, few enough for a narrow panel."""
    bottom, top = math.log2(low), math.log2(high) + 0.02 * (math.log2(high) - math.log2(low))
    powers = list(range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1))
    powers = powers[-1 :: -max(1, math.ceil(len(powers) / TICKS))][::-1]
    ticks = tuple(power * math.log2(10) for power in powers)
    names = {0: "1", 1: "10"}
    labels = tuple(names.get(power, f"10{superscript(power)}") for power in powers)
    return Scale(name, "log", 0.0, bottom, top, (bottom, top), ticks, labels)


def _above(scale: Scale, values: Floats) -> Floats:
    """As drawn, with a gap where the values are far below the scale."""
    drawn: Floats = np.where(values > 0.1 * 2**scale.low, scale.drawn(values), np.nan)
    return drawn


def _frames(chosen: Sequence[Density]) -> list[str]:
    """Kinds of coordinates, "raw" first."""
    return sorted({str(one.settings.get("coordinates")) for one in chosen})


def _labels(chosen: Sequence[Any]) -> list[str]:
    return distinct_labels([one.checkpoint for one in chosen], [one.name for one in chosen])


def _moved_blocks(chosen: Sequence[Eigenpairs]) -> list[str]:
    """The blocks in which any of the eigenvectors has a mass beyond rounding."""
    masses = [pairs.mass for pairs in chosen if pairs.mass is not None]
    every = dict.fromkeys(block for mass in masses for block in mass.blocks)
    return [
        block
        for block in every
        if any(mass.masses[:, mass.blocks.index(block)].max() > 1e-9 for mass in masses if block in mass.blocks)
    ]


def _by_block(pairs: Eigenpairs, blocks: Sequence[str], column: Callable[[Any], Floats]) -> Floats:
    assert pairs.mass is not None
    values = dict(zip(pairs.mass.blocks, column(pairs.mass).tolist(), strict=True))
    return np.array([values.get(block, np.nan) for block in blocks])


def _kept(marks: Marks, there: Any) -> Marks:
    """The marks of the blocks that a record has."""
    texts = tuple(text for text, known in zip(marks.texts, there.tolist(), strict=True) if known)
    columns = [column[there] for column in (marks.position, marks.value, marks.low, marks.high, marks.solid)]
    position, value, low, high, solid = columns
    return Marks(marks.label, position, value, low, high, solid, texts, marks.group, marks.member)


def _rows_at(blocks: Sequence[str], aside: float = 0.0) -> Floats:
    """Where the rows of blocks lie, the first on top."""
    return np.array([-row - aside for row in range(len(blocks))], dtype=np.float64)


def _aside(place: int, count: int) -> float:
    """How far from its row a checkpoint's marks stand."""
    return 0.0 if count == 1 else 0.5 / count * (place - (count - 1) / 2)


def _block_name(block: str) -> str:
    name = block.removeprefix("rows:")
    return f"{name} items" if block in ("rows:head", "rows:tail") else f"{name} rows" if name != block else name


def _order(label: str) -> tuple[int, int]:
    """lambda_max, lambda_2, ..., lambda_min_2, lambda_min."""
    number = label.rpartition("_")[2]
    last: Literal[0, 1] = 1 if label.startswith("lambda_min") else 0
    rank = int(number) if number.isdigit() else 1
    return last, -rank if last else rank


def _eigen_name(label: str) -> str:
    return label.replace("lambda_", "λ").replace("_", ", ")


def _room(scale: Scale) -> tuple[float, float]:
    room = 0.05 * (scale.high - scale.low)
    return scale.low - room, scale.high + room
