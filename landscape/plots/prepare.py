"""From a store to plain figure data of surfaces: cuts, panels on one scale, holes, half-finished grids and notes.

All decisions of a picture are taken here and in `scale`; the drawers only draw. Names are names of surfaces, in the
order wanted; none means all that fit. What else a store holds is prepared by `prepare_marks` and
`prepare_studies`, reached from here too.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.changes import group_of
from landscape.errors import InvalidArgument
from landscape.plots.caption import approximation_note
from landscape.plots.figure_data import CurveData, Floats, Line, Panel, SurfacesData
from landscape.plots.order import baseline_first
from landscape.plots.prepare_blocks import prepare_mass, prepare_trace
from landscape.plots.prepare_change import prepare_change
from landscape.plots.prepare_marks import (
    INTERVAL,
    distinct_labels,
    prepare_scores,
    prepare_sharpness,
    prepare_spectrum,
)
from landscape.plots.prepare_places import (
    band_note,
    band_of,
    barrier_on,
    clear_of_lowest,
    direction_note,
    expanded,
    families,
    lowest_note,
    lowest_of,
    placed,
    spots_in,
    spots_on,
    trail_of,
    trajectory_on,
)
from landscape.plots.prepare_sharpness_table import prepare_sharpness_table
from landscape.plots.prepare_spectra import prepare_density, prepare_subsets
from landscape.plots.prepare_studies import prepare_relation, prepare_study, prepare_training
from landscape.plots.scale import Scale, scale_of, short
from landscape.records import RANDOM, Checkpoint, Direction, Status, Surface
from landscape.sharpness.names import eigenvalue_name
from landscape.store import Store

__all__ = [
    "prepare_change",
    "prepare_contour",
    "prepare_curve",
    "prepare_density",
    "prepare_mass",
    "prepare_relation",
    "prepare_relief",
    "prepare_scores",
    "prepare_sharpness",
    "prepare_sharpness_table",
    "prepare_spectrum",
    "prepare_study",
    "prepare_subsets",
    "prepare_trace",
    "prepare_training",
]

LONGEST = 36  # characters of a name over a panel
CURVATURE = ("ratio", "lambda_max", "lambda_min")  # values that an iteration may leave unsettled
UNITS = {
    "rise": "rise of the loss",
    "standard_error": "standard error",
    "gradient-norm": "norm of the gradient",
    "ratio": "|λmin / λmax|",
    "lambda_max": eigenvalue_name("lambda_max"),
    "lambda_min": eigenvalue_name("lambda_min"),
}


def prepare_curve(
    store: Store,
    names: Sequence[str] = (),
    *,
    value: str = "loss",
    scale: str = "auto",
    band: str = "range",
    by_group: bool = False,
) -> CurveData:
    """Lines over alpha, several checkpoints in one panel. A surface in 2D is cut where beta is nearest to 0.

    The band is 1.96 standard errors of the difference from the centre, paired over units, where it was measured. Lines
    of several seeds that belong together are drawn as their mean; `band` is then "range", from the smallest to the
    largest, or "sd", a standard deviation to either side. `by_group` takes runs of one group together, such as those
    of one method from several seeds. `scale` is "auto", "linear" or "log".
    """
    surfaces = _surfaces(store, names, value, dimensions=(1, 2))
    groups = {surface.checkpoint: group_of(store, surface.checkpoint) for surface in surfaces}
    kin = families(surfaces, groups if by_group else None)
    cuts = [_cut(family[0], value) if len(family) == 1 else _band(family, value, band) for family in kin]
    labels = [groups[family[0].checkpoint] for family in kin] if by_group else _labels(kin)
    notes = _notes(kin)
    axis = scale_of(_named(value), *[side for cut in cuts for side in cut[1:4] if side is not None], asked=scale)
    lines = []
    for family, label, (x, values, lowest, highest, beta) in zip(kin, labels, cuts, strict=True):
        surface = family[0]
        if beta is not None:
            notes.append(f"{label}: cut at beta = {short(beta)}")
        low, high = (None if side is None else axis.drawn(side) for side in (lowest, highest))
        holes = x[~np.isfinite(values)]
        if len(holes):
            notes.append(f"{label}: {len(holes)} of {len(x)} points not finite (×)")
        if len(x) < len(surface.alpha):
            notes.append(f"{label}: {len(x)} of {len(surface.alpha)} points measured so far")
        notes += _interpolated(surface, label, value)
        barrier, told = barrier_on(surface, axis, value) or (None, "")
        notes += [told] if told else []
        spots = spots_on(surface, axis, value)
        lines.append(Line(label, x, axis.drawn(values), low, high, values, holes, spots, barrier))
    if any(line.low is not None and len(family) == 1 for line, family in zip(lines, kin, strict=True)):
        notes.append("bands: 95 % intervals of the difference from the centre, paired over units")
    notes += dict.fromkeys(band_note(family, band) for family in kin if len(family) > 1)
    has_centre = any(surface.alpha[0] <= 0 <= surface.alpha[-1] for surface in surfaces)
    return CurveData("alpha", axis, tuple(lines), has_centre, (*notes, *axis.notes))


def prepare_contour(
    store: Store, names: Sequence[str] = (), *, value: str = "loss", scale: str = "auto"
) -> SurfacesData:
    """Panels for filled contours, all on one colour scale: "auto", "linear" or "log"."""
    return _prepare_surfaces(store, names, value, scale, dots=" (dots)", cross=" (×)")


def prepare_relief(
    store: Store, names: Sequence[str] = (), *, value: str = "loss", scale: str = "auto"
) -> SurfacesData:
    """Panels for 3D reliefs, all on one height and colour scale: as for contours, but for the notes."""
    return _prepare_surfaces(store, names, value, scale, dots="", cross=": a gap")


def _prepare_surfaces(
    store: Store, names: Sequence[str], value: str, asked: str, *, dots: str, cross: str
) -> SurfacesData:
    surfaces = _surfaces(store, names, value, dimensions=(2,))
    scale = scale_of(_named(value), *[_measured(surface, value) for surface in surfaces], asked=asked)
    alone = [[surface] for surface in surfaces]
    notes = _notes(alone, store)
    panels = []
    for surface, label in zip(surfaces, _labels(alone), strict=True):
        panel = _panel(surface, label, value, store.checkpoint(surface.checkpoint), scale)
        path = trajectory_on(store, surface)
        trail = None if path is None else trail_of(path, surface)
        panel = placed(replace(panel, spots=spots_in(surface), trail=trail))
        if value in ("loss", "rise"):
            panel = clear_of_lowest(replace(panel, lowest=lowest_of(panel)))
        beside = [f"{spot.label}: {spot.text}" for spot in panel.spots if "outside" in spot.text]
        notes += beside
        if panel.measured is not None:
            count, size = len(panel.measured), surface.status.size
            notes.append(f"{label}: {count:,} of {size:,} points measured so far{dots}, linear in between")
        if len(panel.holes):
            notes.append(f"{label}: {len(panel.holes):,} of {surface.status.size:,} points not finite{cross}")
        if len(panel.unsettled):
            ring = " (○)" if dots else ""
            notes.append(f"{label}: {len(panel.unsettled):,} of {surface.status.size:,} points not converged{ring}")
        notes += _interpolated(surface, label, value)
        panels.append(panel)
    notes += lowest_note(panels)
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
        unsettled=places[_unsettled(surface, value)],
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


def _cut(surface: Surface, value: str) -> tuple[Floats, Floats, Floats | None, Floats | None, float | None]:
    """The measured alphas, the raw values there, the ends of their intervals, and the beta of the cut (None in 1D)."""
    values, status = np.asarray(surface.values[value]), surface.status
    errors = surface.values.get("standard_error") if value in ("loss", "rise") else None
    beta = None
    if surface.beta is not None:
        nearest = int(np.abs(surface.beta).argmin())
        values, status, beta = values[:, nearest], status[:, nearest], float(surface.beta[nearest])
        errors = None if errors is None else errors[:, nearest]
    done = status != Status.PENDING
    values = values[done]
    if errors is None:
        return surface.alpha[done], values, None, None, beta
    reach = np.where(np.isfinite(errors[done]), errors[done] * INTERVAL, 0.0)
    return surface.alpha[done], values, values - reach, values + reach, beta


def _band(family: Sequence[Surface], value: str, band: str) -> tuple[Floats, Floats, Floats, Floats, float | None]:
    """As `_cut`, of several lines at once."""
    cuts = [_cut(surface, value) for surface in family]
    return *band_of([cut[:2] for cut in cuts], [surface.name for surface in family], band), cuts[0][-1]


def _surfaces(store: Store, names: Sequence[str], value: str, *, dimensions: tuple[int, ...]) -> list[Surface]:
    names = expanded(store, names)
    if not names:
        every = baseline_first(store, [store.surface(name) for name in store.names("surfaces")])
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


def _labels(kin: Sequence[Sequence[Surface]]) -> list[str]:
    firsts = [family[0] for family in kin]
    own = [one.group if len(family) > 1 else one.name for one, family in zip(firsts, kin, strict=True)]
    return distinct_labels([surface.checkpoint for surface in firsts], own, longest=LONGEST)


def _named(value: str) -> str:
    return UNITS.get(value, value)


def _notes(kin: Sequence[Sequence[Surface]], store: Store | None = None) -> list[str]:
    """What the directions are, and what keeps the pictures from being compared."""
    kinds = [{(_drawn(one.x), None if one.y is None else _drawn(one.y)) for one in family} for family in kin]
    firsts = [family[0] for family in kin]
    if any(surface.x.kind == "imported" for surface in firsts):
        return ["imported: how its directions were drawn is not known"]
    if any(surface.x.kind not in RANDOM for surface in firsts):  # each has directions of its own
        paths = [None if store is None else trajectory_on(store, surface) for surface in firsts]
        told = [direction_note(surface, path) for surface, path in zip(firsts, paths, strict=True)]
        labels = [f"{label}: " if len(set(told)) > 1 else "" for label in _labels(kin)]
        return list(dict.fromkeys(f"{label}{note}" for label, note in zip(labels, told, strict=True)))
    if any(kind != kinds[0] for kind in kinds):
        return ["directions differ in kind or seed between surfaces: the pictures are not paired"]
    if len(drawn := list(dict.fromkeys(surface.x.seed for surface in kin[0]))) > 1:
        seeds = ", ".join(map(str, drawn))
        return [f"{direction_note(firsts[0]).rpartition(', seed')[0]}, seeds {seeds}"]
    return [direction_note(firsts[0])]


def _unsettled(surface: Surface, value: str) -> Any:
    """Where an eigenvalue is shown whose iteration did not converge."""
    if value not in CURVATURE or "converged" not in surface.values:
        return np.zeros(surface.shape, dtype=np.bool_)
    return (surface.status == Status.DONE) & (surface.values["converged"] == 0)


def _interpolated(surface: Surface, label: str, value: str) -> list[str]:
    note = approximation_note(surface.approximation, value)
    return [f"{label}: {note}"] if note else []


def _drawn(direction: Direction) -> tuple[str, int, str]:
    return direction.kind, direction.seed, str(direction.policy.get("block", ""))
