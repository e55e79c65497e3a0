"""From a store to plain figure data of surfaces: cuts, panels on one scale, holes, half-finished grids and notes.

All decisions of a picture are taken here and in `scale`; the drawers only draw. Names are names of surfaces, in the
order wanted; none means all that fit. What else a store holds is prepared by `prepare_marks` and
`prepare_studies`, reached from here too.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.errors import InvalidArgument
from landscape.plots.figure_data import CurveData, Floats, Line, Panel, SurfacesData
from landscape.plots.prepare_marks import (
    INTERVAL,
    distinct_labels,
    prepare_scores,
    prepare_sharpness,
    prepare_spectrum,
)
from landscape.plots.prepare_spectra import prepare_density, prepare_mass, prepare_subsets, prepare_trace
from landscape.plots.prepare_studies import prepare_relation, prepare_study, prepare_training
from landscape.plots.scale import Scale, scale_of, short
from landscape.records import Checkpoint, Direction, Status, Surface
from landscape.store import Store

__all__ = [
    "prepare_contour",
    "prepare_curve",
    "prepare_density",
    "prepare_mass",
    "prepare_relation",
    "prepare_relief",
    "prepare_scores",
    "prepare_sharpness",
    "prepare_spectrum",
    "prepare_study",
    "prepare_subsets",
    "prepare_trace",
    "prepare_training",
]

LONGEST = 36  # characters of a name over a panel
DIRECTIONS = {"filter": "filter-normalised (1 is the norm of each filter)", "raw": "raw Gaussian"}
UNITS = {"rise": "rise of the loss", "standard_error": "standard error"}


def prepare_curve(store: Store, names: Sequence[str] = (), *, value: str = "loss") -> CurveData:
    """Lines over alpha, several checkpoints in one panel. A surface in 2D is cut where beta is nearest to 0.

    The band is 1.96 standard errors of the difference from the centre, paired over units, where it was measured.
    """
    surfaces = _surfaces(store, names, value, dimensions=(1, 2))
    cuts = [_cut(surface, value) for surface in surfaces]
    notes = _notes(surfaces)
    reaches = []
    for _, values, errors, _ in cuts:
        reach = np.zeros_like(values) if errors is None else np.where(np.isfinite(errors), errors * INTERVAL, 0.0)
        reaches.append(reach)
    bounds = [
        side
        for (_, values, _, _), reach in zip(cuts, reaches, strict=True)
        for side in (values - reach, values + reach)
    ]
    scale = scale_of(_named(value), *bounds)
    lines = []
    for surface, label, (x, values, errors, beta), reach in zip(
        surfaces, _labels(surfaces), cuts, reaches, strict=True
    ):
        if beta is not None:
            notes.append(f"{label}: cut at beta = {short(beta)}")
        low, high = (None, None) if errors is None else (scale.drawn(values - reach), scale.drawn(values + reach))
        holes = x[~np.isfinite(values)]
        if len(holes):
            notes.append(f"{label}: {len(holes)} of {len(x)} points not finite (×)")
        if len(x) < len(surface.alpha):
            notes.append(f"{label}: {len(x)} of {len(surface.alpha)} points measured so far")
        lines.append(Line(label, x, scale.drawn(values), low, high, values, holes))
    if any(line.low is not None for line in lines):
        notes.append("bands: 95 % intervals of the difference from the centre, paired over units")
    has_centre = any(surface.alpha[0] <= 0 <= surface.alpha[-1] for surface in surfaces)
    return CurveData("alpha", scale, tuple(lines), has_centre, (*notes, *scale.notes))


def prepare_contour(store: Store, names: Sequence[str] = (), *, value: str = "loss") -> SurfacesData:
    """Panels for filled contours, all on one colour scale."""
    return _prepare_surfaces(store, names, value, dots=" (dots)", cross=" (×)")


def prepare_relief(store: Store, names: Sequence[str] = (), *, value: str = "loss") -> SurfacesData:
    """Panels for 3D reliefs, all on one height and colour scale: as for contours, but for the notes."""
    return _prepare_surfaces(store, names, value, dots="", cross=": a gap")


def _prepare_surfaces(store: Store, names: Sequence[str], value: str, *, dots: str, cross: str) -> SurfacesData:
    surfaces = _surfaces(store, names, value, dimensions=(2,))
    scale = scale_of(_named(value), *[_measured(surface, value) for surface in surfaces])
    notes = _notes(surfaces)
    panels = []
    for surface, label in zip(surfaces, _labels(surfaces), strict=True):
        panel = _panel(surface, label, value, store.checkpoint(surface.checkpoint), scale)
        if panel.measured is not None:
            count, size = len(panel.measured), surface.status.size
            notes.append(f"{label}: {count:,} of {size:,} points measured so far{dots}, linear in between")
        if len(panel.holes):
            notes.append(f"{label}: {len(panel.holes):,} of {surface.status.size:,} points not finite{cross}")
        panels.append(panel)
    lines = tuple(
        (tick, label)
        for tick, label in zip(scale.ticks, scale.tick_labels, strict=True)
        if scale.low < tick < scale.high
    )
    return SurfacesData("alpha", "beta", scale, tuple(panels), lines, (*notes, *scale.notes))


def _panel(surface: Surface, label: str, value: str, checkpoint: Checkpoint, scale: Scale) -> Panel:
    assert surface.beta is not None
    values = _measured(surface, value)
    done = surface.status != Status.PENDING
    heights = scale.drawn(values)
    alpha, beta = np.meshgrid(surface.alpha, surface.beta, indexing="ij")
    places = np.stack([alpha, beta], axis=-1)
    measured = None
    if not surface.is_finished:
        measured = places[done]
        heights = _between(surface, heights, done)
    inside = surface.alpha[0] <= 0 <= surface.alpha[-1] and surface.beta[0] <= 0 <= surface.beta[-1]
    centre = _at_centre(surface, value, checkpoint)
    shown = short(centre, 8 if scale.offset else 4)
    subtitle = f"{_named(value)} at centre {shown}" if np.isfinite(centre) else f"{_named(value)} at centre unknown"
    return Panel(
        title=label,
        subtitle=subtitle,
        alpha=surface.alpha,
        beta=surface.beta,
        heights=np.ascontiguousarray(heights.T),
        values=np.ascontiguousarray(values.T),
        measured=measured,
        holes=places[done & ~np.isfinite(values)],
        centre=(0.0, 0.0) if inside else None,
        centre_height=float(scale.drawn(centre)),
    )


def _between(surface: Surface, heights: Floats, done: Any) -> Floats:
    """Heights of the points not measured yet, linear between those that are; NaN near a hole and outside them all."""
    from scipy.interpolate import LinearNDInterpolator

    assert surface.beta is not None
    rows, columns = np.nonzero(done)
    if len(set(rows.tolist())) < 2 or len(set(columns.tolist())) < 2 or len(rows) < 4:
        return heights
    known = np.stack([rows, columns], axis=1).astype(np.float64)
    wanted = np.stack(np.nonzero(~done), axis=1).astype(np.float64)
    filled = heights.copy()
    filled[~done] = LinearNDInterpolator(known, heights[done])(wanted)
    return filled


def _cut(surface: Surface, value: str) -> tuple[Floats, Floats, Floats | None, float | None]:
    """The measured alphas, the raw values and standard errors there, and the beta of the cut (None in 1D)."""
    values, status = np.asarray(surface.values[value]), surface.status
    errors = surface.values.get("standard_error") if value in ("loss", "rise") else None
    beta = None
    if surface.beta is not None:
        nearest = int(np.abs(surface.beta).argmin())
        values, status, beta = values[:, nearest], status[:, nearest], float(surface.beta[nearest])
        errors = None if errors is None else errors[:, nearest]
    done = status != Status.PENDING
    return surface.alpha[done], values[done], None if errors is None else errors[done], beta


def _surfaces(store: Store, names: Sequence[str], value: str, *, dimensions: tuple[int, ...]) -> list[Surface]:
    if not names:
        every = [store.surface(name) for name in store.names("surfaces")]
        chosen = [surface for surface in every if len(surface.shape) == dimensions[0]]
        chosen = chosen or [surface for surface in every if len(surface.shape) in dimensions]
    else:
        chosen = [store.surface(name) for name in names]
    if not chosen:
        raise InvalidArgument(f"expected a surface in {dimensions[0]}D in {store.path}, found none")
    for surface in chosen:
        if len(surface.shape) not in dimensions:
            raise InvalidArgument(
                f"expected surfaces over alpha and beta, got {surface.name} over alpha alone: draw a curve"
            )
        if value not in surface.values:
            raise InvalidArgument(
                f"expected one of the values of surface {surface.name} ({', '.join(surface.values)}), got {value!r}"
            )
    return chosen


def _measured(surface: Surface, value: str) -> Floats:
    return np.where(surface.status == Status.PENDING, np.nan, surface.values[value])


def _at_centre(surface: Surface, value: str, checkpoint: Checkpoint) -> float:
    """The value at w of the surface's own objective; in stores that do not keep it, of its point there.

    Last comes the checkpoint's record of whatever was measured last: all that the first stores have off the centre.
    """
    if value in surface.centre:
        return float(surface.centre[value])
    if value in ("rise", "standard_error"):
        return 0.0
    for axis in (surface.alpha, surface.beta):
        if axis is not None and not (axis == 0).any():
            break
    else:
        index = tuple(int(np.flatnonzero(axis == 0)[0]) for axis in (surface.alpha, surface.beta) if axis is not None)
        if surface.status[index] != Status.PENDING:
            return float(surface.values[value][index])
    recorded = {name.lower(): number for name, number in checkpoint.metrics.items()}
    if value == "loss" and checkpoint.loss is not None:
        return checkpoint.loss
    return float(recorded.get(value.lower(), np.nan))


def _labels(surfaces: Sequence[Surface]) -> list[str]:
    names = [surface.checkpoint for surface in surfaces], [surface.name for surface in surfaces]
    return distinct_labels(*names, longest=LONGEST)


def _named(value: str) -> str:
    return UNITS.get(value, value)


def _notes(surfaces: Sequence[Surface]) -> list[str]:
    """How the directions were drawn, and what keeps the pictures from being compared."""
    kinds = [(_drawn(surface.x), None if surface.y is None else _drawn(surface.y)) for surface in surfaces]
    first = surfaces[0].x
    if any(surface.x.kind == "imported" for surface in surfaces):
        return ["imported: how its directions were drawn is not known"]
    if len(set(kinds)) > 1:
        return ["directions differ in kind or seed between surfaces: the pictures are not paired"]
    second = surfaces[0].y
    if second is None:
        return [f"direction: {first.kind}, seed {first.seed}"]
    seeds = f"seed {first.seed}" if second.seed == first.seed else f"seeds {first.seed} and {second.seed}"
    return [f"directions: {DIRECTIONS.get(first.kind, first.kind)}, {seeds}"]


def _drawn(direction: Direction) -> tuple[str, int]:
    return direction.kind, direction.seed
