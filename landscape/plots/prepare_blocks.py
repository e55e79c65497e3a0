"""From a store to plain figure data of blocks: where eigenvectors have their mass, and the trace of each block.

A row a block, beside it the block's share of the weights; whole and relative coordinates side by side.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from landscape.errors import InvalidArgument
from landscape.plots.figure_data import Floats, Marks, MarksData, MarksPanel
from landscape.plots.order import baseline_first
from landscape.plots.prepare_marks import INTERVAL, labels_of, looks_of
from landscape.plots.scale import decades, room_around, scale_of, short
from landscape.records import Eigenpairs
from landscape.sharpness.names import eigenvalue_name
from landscape.spectra import Trace
from landscape.store import Store

SMALLEST_MASS = 1e-4  # masses below it are drawn at the end of the axis
BLACK = 6  # the colour of what belongs to no checkpoint
DIAMOND = 3  # its marker
TICKS = 6  # at most, of an axis


def prepare_mass(store: Store, names: Sequence[str] = ()) -> MarksData:
    """The mass of each eigenvector by block on a log axis, beside the block's share of the coordinates."""
    held = [store.eigenpairs(name) for name in names or store.names("curvature")]
    held = held if names else baseline_first(store, held)
    chosen = [pairs for pairs in held if pairs.mass is not None]
    if names and (without := [pairs.name for pairs in held if pairs.mass is None]):
        raise InvalidArgument(f"expected eigenpairs with their mass by block, found none in {', '.join(without)}")
    if not names:
        whole = [pairs for pairs in chosen if pairs.settings.get("block") is None]
        chosen = whole or chosen
    if not chosen:
        raise InvalidArgument(f"expected eigenpairs with their mass by block in {store.path}, found none")
    labels = labels_of(chosen)
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
    scale = decades("share of the eigenvector", floor, 1.0, most=TICKS)
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
            MarksPanel(
                eigenvalue_name(end), "", rows, (-len(blocks) + 0.4, 0.6), scale, room_around(scale), tuple(marks)
            )
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
    chosen = chosen if names else baseline_first(store, chosen)
    if not chosen:
        raise InvalidArgument(f"expected traces in {store.path}, found none")
    labels = labels_of(chosen)
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
        panels.append(MarksPanel("", "", rows, (-len(blocks) + 0.4, 0.6), scale, room_around(scale), tuple(marks)))
    probes = sorted({one.probes for one in chosen})
    notes = [f"bars: 95 % intervals over {' or '.join(map(str, probes))} probes"]
    return MarksData(tuple(panels), tuple(labels), tuple(notes))


def _trace_rows(trace: Trace, blocks: Sequence[str], frame: str) -> tuple[Floats, Floats]:
    """Values and half a 95 % interval for each block, NaN where it was not measured."""
    rows = zip(trace.quantities, trace.blocks, trace.coordinates, trace.estimates, strict=True)
    held = {block: pair for quantity, block, coordinates, pair in rows if (quantity, coordinates) == ("trace", frame)}
    table = np.array([held.get(block, (np.nan, np.nan)) for block in blocks], dtype=float)
    return table[:, 0], INTERVAL * np.nan_to_num(table[:, 1])


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
