"""Why does this picture look odd? What a store itself shows, each finding with its evidence and a next step.

Nothing is measured again and nothing is changed: a finding follows from the numbers, errors and records that are there,
by the rules below, whose limits are stated with them. A finding is no failure; a store without any is no proof.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.records import (
    RANDOM,
    UNSET,
    Checkpoint,
    Direction,
    Eigenpairs,
    Provenance,
    SharpnessReport,
    Status,
    Surface,
)
from landscape.store import Store

Floats = NDArray[np.float64]

ERRORS = 3.0  # standard errors beyond which a difference is no noise; many points are looked at
NOISY, SMALL = 0.5, 0.1  # median error over median rise: drowned in noise; too few units
FEW_UNITS = 30  # below it a standard error itself is a guess
FLAT, STEEP = 0.01, 50.0  # rise over the loss at the centre: nothing happens; nothing but the rim is seen
NEEDLE = 0.9  # share of points in the lowest tenth of the range, in which case the rim alone sets the colours
UNLIKE = 1.1  # ratio of norms ||w|| from which raw measures are not compared
UNEQUAL = 3.0  # ratio of the norms of two directions of one plane
ROUNDING = 1e-6  # relative to the loss at the centre
COSINE = 1e-6
OF_A_CHECKPOINT = ("model", "fixed_tensors", "frozen_parameters")  # facts that differ with the checkpoint, not the loss
OF_A_SOLVER = ("curvature_tolerance", "max_products", "solver_seed")  # how a ratio map found its eigenvalues


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that makes a picture or a number odd."""

    finding: str  # a name for it
    record: str  # KIND/NAME, several where they were compared
    says: str  # in one line
    evidence: Mapping[str, Any] = field(default_factory=dict)
    next: str = ""  # what to do


@dataclass(frozen=True)
class Contents:
    """What is looked at."""

    checkpoints: Mapping[str, Checkpoint]
    surfaces: Sequence[Surface]
    eigenpairs: Sequence[Eigenpairs]
    sharpness: Sequence[SharpnessReport]


def diagnose(store: Store) -> list[Finding]:
    """Everything odd in a store, record by record, then what was compared with each other."""
    contents = Contents(
        {name: store.checkpoint(name) for name in store.names("checkpoints")},
        [store.surface(name) for name in store.names("surfaces")],
        [store.eigenpairs(name) for name in store.names("curvature")],
        [store.sharpness(name) for name in store.names("sharpness")],
    )
    of_surfaces = (_unfinished, _not_finite, _no_minimum, _signal, _few_units, _span, _directions)
    found = [finding for surface in contents.surfaces for check in of_surfaces for finding in check(surface)]
    found += [one for pairs in contents.eigenpairs for check in (_unsettled, _negative) for one in check(pairs)]
    comparisons: tuple[Callable[[Contents], Iterator[Finding]], ...] = (_norms, _objectives, _unpaired)
    return found + [finding for check in comparisons for finding in check(contents)]


def _unfinished(surface: Surface) -> Iterator[Finding]:
    left = int((surface.status == Status.PENDING).sum())
    if left:
        again = surface.provenance.command
        yield Finding(
            "half finished",
            f"surfaces/{surface.name}",
            f"{left:,} of {surface.status.size:,} points are not measured yet: figures draw straight lines between",
            {"missing": left, "points": surface.status.size},
            f"go on with the same command{f': {again}' if again else ''}",
        )


def _not_finite(surface: Surface) -> Iterator[Finding]:
    holes = surface.status == Status.NON_FINITE
    if holes.any():
        distance = _distances(surface)
        nearest = float(distance[holes].min())
        yield Finding(
            "not finite",
            f"surfaces/{surface.name}",
            f"NaN or infinite at {int(holes.sum()):,} of {holes.size:,} points, first {nearest:.3g} from the centre",
            {"points": int(holes.sum()), "nearest": nearest, "share": float(holes.mean())},
            f"take a span below {nearest:.3g}, or weights in float64 to see whether the overflow is of the precision",
        )


def _no_minimum(surface: Surface) -> Iterator[Finding]:
    rise, error, centre = _rise(surface)
    if not np.isfinite(rise).any():
        return
    allowed = np.fmax(ERRORS * np.nan_to_num(error), ROUNDING * abs(centre))
    lower = rise < -allowed
    if not lower.any():
        return
    at = np.unravel_index(int(np.nanargmin(np.where(lower, rise, np.inf))), rise.shape)
    place = {"alpha": float(surface.alpha[at[0]])}
    if surface.beta is not None:
        place["beta"] = float(surface.beta[at[1]])
    evidence = {"rise": float(rise[at]), "standard_error": float(error[at]), **place, "points": int(lower.sum())}
    slope = surface.centre.get("gradient_norm")
    where = ", ".join(f"{axis} {value:.3g}" for axis, value in place.items())
    yield Finding(
        "centre is not a minimum",
        f"surfaces/{surface.name}",
        f"{int(lower.sum()):,} of {lower.size:,} points lie lower than the checkpoint, by up to {-rise[at]:.3g} "
        f"(at {where})" + (f"; its gradient has norm {slope:.3g}" if slope is not None else ""),
        evidence if slope is None else {**evidence, "gradient_norm": slope},
        "train on, look at the loss and data that were trained with, or expect it: early stopping, dropout and weight "
        "decay all end beside the minimum of the frozen training loss",
    )


def _signal(surface: Surface) -> Iterator[Finding]:
    noise, signal = _noise_and_signal(surface)
    if noise > NOISY * signal:
        yield Finding(
            "noise above signal",
            f"surfaces/{surface.name}",
            f"half of the points rise by less than {signal:.3g} with standard errors of {noise:.3g}",
            {"median_rise": signal, "median_standard_error": noise},
            "measure more units (--users), or a larger span",
        )


def _few_units(surface: Surface) -> Iterator[Finding]:
    units = surface.provenance.objective.get("units")
    noise, signal = _noise_and_signal(surface)
    few = isinstance(units, int | float) and units < FEW_UNITS
    if few or SMALL * signal < noise <= NOISY * signal:
        share = noise / signal if signal else float("nan")
        says = f"the loss is of {units:g} units" if few else f"standard errors are {share:.0%} of the rise"
        yield Finding(
            "subset too small",
            f"surfaces/{surface.name}",
            f"{says}: another draw of the data would show another surface",
            {"units": units, "median_rise": signal, "median_standard_error": noise},
            "measure more units (--users, or more batches): errors shrink with the root of their number",
        )


def _span(surface: Surface) -> Iterator[Finding]:
    rise, error, centre = _rise(surface)
    finite = rise[np.isfinite(rise)]
    if finite.size < 3 or not centre > 0:
        return
    top, reach = float(finite.max()), float(np.abs(surface.alpha).max())
    known = {"highest_rise": top, "loss_at_centre": centre, "reach": reach}
    errors = error[np.isfinite(error)]
    noise = float(np.median(errors)) if errors.size else 0.0
    if top < max(FLAT * centre, noise):
        yield Finding(
            "span too small",
            f"surfaces/{surface.name}",
            f"the loss rises by {top:.3g} at most, from {centre:.4g}: the picture is its rounding and noise",
            {**known, "noise": noise},
            "take a span several times as large, as in --x=-2:2:51",
        )
        return
    low = float(np.mean(finite <= 0.1 * top))
    if top > STEEP * centre and (low >= NEEDLE or np.median(finite) > STEEP * centre):
        yield Finding(
            "span too large",
            f"surfaces/{surface.name}",
            f"the loss reaches {top / centre:.3g} times that of the centre: the basin is a speck in the picture",
            {**known, "share_in_lowest_tenth": low, "median_rise": float(np.median(finite))},
            f"take a smaller span, as in --x={-reach / 10:.2g}:{reach / 10:.2g}:51",
        )


def _directions(surface: Surface) -> Iterator[Finding]:
    x, y = surface.x, surface.y
    if y is None:
        return
    norms = sorted((x.norm, y.norm))
    unlike = norms[0] > 0 and norms[1] > UNEQUAL * norms[0]
    cosine = abs(y.cosine or 0.0)
    if x.kind != y.kind or unlike or cosine > COSINE:
        yield Finding(
            "directions of unlike units",
            f"surfaces/{surface.name}",
            f"a step of 1 is {x.norm:.3g} along {x.kind} and {y.norm:.3g} along {y.kind}, at a cosine of {cosine:.2g}: "
            "the shape on paper is that of the axes",
            {"x": {"kind": x.kind, "norm": x.norm}, "y": {"kind": y.kind, "norm": y.norm}, "cosine": cosine},
            "read each axis by itself, or take two orthogonal directions of one kind",
        )


def _unsettled(pairs: Eigenpairs) -> Iterator[Finding]:
    open_ends = {
        label: {"value": float(value), "residual": float(residual)}
        for label, value, residual, settled in zip(
            pairs.labels, pairs.values, pairs.residuals, pairs.converged, strict=True
        )
        if not settled
    }
    if open_ends:
        shown = ", ".join(f"{label} {one['value']:.3g} ± {one['residual']:.1g}" for label, one in open_ends.items())
        yield Finding(
            "eigenvalues not converged",
            f"curvature/{pairs.name}",
            f"not converged: {shown}; an eigenvalue lies within the bar, though perhaps not the outermost",
            open_ends,
            f"more products than {int(pairs.products.max(initial=0)):,} (--max-products), or a looser --tolerance",
        )


def _negative(pairs: Eigenpairs) -> Iterator[Finding]:
    ends = dict(zip(pairs.labels, zip(pairs.values.tolist(), pairs.residuals.tolist(), strict=True), strict=True))
    if not ends.keys() >= {"lambda_max", "lambda_min"}:
        return
    (top, above), (bottom, below) = ends["lambda_max"], ends["lambda_min"]
    if -bottom - below > abs(top) + above:
        yield Finding(
            "largest eigenvalue in size is negative",
            f"curvature/{pairs.name}",
            f"lambda_min {bottom:.3g} is larger in size than lambda_max {top:.3g}: a saddle, not the bottom of a bowl",
            {"lambda_max": top, "lambda_min": bottom},
            "quote both ends by name; power iteration elsewhere would give this one as lambda_max. Training on lowers "
            "the loss along its eigenvector",
        )


def _norms(contents: Contents) -> Iterator[Finding]:
    """Raw measures of checkpoints whose weights differ in size."""
    for kind, records in (("sharpness", contents.sharpness), ("curvature", contents.eigenpairs)):
        norms = {r.name: _norm(contents, r.checkpoint) for r in records}
        known = {name: norm for name, norm in norms.items() if norm is not None and norm > 0}
        if len(known) > 1 and max(known.values()) > UNLIKE * min(known.values()):
            yield Finding(
                "raw values at unlike norms",
                ", ".join(f"{kind}/{name}" for name in known),
                f"the checkpoints' norms go from {min(known.values()):.4g} to {max(known.values()):.4g}: raw {kind} is "
                "not comparable between them",
                {"norms": known},
                "compare what scaling leaves alone: measures relative to |w|, lambda_max times norm squared",
            )


def _objectives(contents: Contents) -> Iterator[Finding]:
    """Records that one figure would draw together, of unlike losses."""
    lines = [surface for surface in contents.surfaces if len(surface.shape) == 1]
    planes = [surface for surface in contents.surfaces if len(surface.shape) == 2]
    for kind, records in (
        ("surfaces", lines),
        ("surfaces", planes),
        ("curvature", contents.eigenpairs),
        ("sharpness", contents.sharpness),
    ):
        of = {record.name: _loss_facts(record.provenance) for record in records}
        unlike = sorted(
            {key for one, other in itertools.combinations(of.values(), 2) for key in _differing(one, other)}
        )
        if unlike:
            values = {key: {name: facts.get(key) for name, facts in of.items()} for key in unlike}
            yield Finding(
                "unlike objectives",
                ", ".join(f"{kind}/{name}" for name in of),
                f"not of one loss: {', '.join(unlike)} differ, so one scale says nothing about them",
                values,
                "measure all of them with the same data, loss, split and seed, or draw them apart (--surface, --name)",
            )


def _unpaired(contents: Contents) -> Iterator[Finding]:
    """Two checkpoints with surfaces along random directions, none of which are drawn alike."""
    for dimensions in (1, 2):
        surfaces = [s for s in contents.surfaces if len(s.shape) == dimensions and s.x.kind in RANDOM]
        drawn = {surface.name: _drawn(surface.x, surface.y) for surface in surfaces}
        records = ", ".join(f"surfaces/{name}" for name in drawn)
        of: dict[str, set[str]] = {}
        for surface in surfaces:
            of.setdefault(surface.checkpoint, set()).add(drawn[surface.name])
        if any(one.isdisjoint(other) for one, other in itertools.combinations(of.values(), 2)):
            yield Finding(
                "directions drawn unlike",
                records,
                "surfaces differ in kind, seed or policy of their directions: the pictures are not paired",
                {"directions": {name: json.loads(text) for name, text in drawn.items()}},
                "measure them with one --directions and one --seed, or compare none of them",
            )
            continue
        raw = [surface for surface in surfaces if surface.x.kind == "raw"]
        norms = {s.name: norm for s in raw if (norm := _norm(contents, s.checkpoint)) is not None and norm > 0}
        if len(norms) > 1 and max(norms.values()) > UNLIKE * min(norms.values()):
            yield Finding(
                "directions of unlike units",
                records,
                "raw directions through checkpoints of unlike norms: a step of 1 is a share of its own in each",
                {"norms": norms},
                "take --directions filter, in which 1 is the norm of each filter",
            )


def _rise(surface: Surface) -> tuple[Floats, Floats, float]:
    """Rise over the centre and its standard error, NaN where unknown or not finite; the loss at the centre."""
    nothing: Floats = np.full(surface.shape, np.nan)
    loss = surface.values.get("loss", nothing)
    centre = surface.centre.get("loss")
    if centre is None:
        here = np.flatnonzero(_distances(surface).reshape(-1) == 0)
        centre = float(loss.reshape(-1)[here[0]]) if len(here) else float("nan")
    rise = surface.values.get("rise", loss - centre)
    done = surface.status == Status.DONE
    error = surface.values.get("standard_error", nothing)
    return np.where(done, rise, np.nan), np.where(done, error, np.nan), float(centre)


def _noise_and_signal(surface: Surface) -> tuple[float, float]:
    """Median standard error and median size of the rise away from the centre; zeros where there are no errors."""
    rise, error, _ = _rise(surface)
    away = (_distances(surface) > 0) & np.isfinite(rise) & np.isfinite(error)
    if not away.any():
        return 0.0, 0.0
    return float(np.median(error[away])), float(np.median(np.abs(rise[away])))


def _distances(surface: Surface) -> Floats:
    """From the centre, in steps of the directions."""
    if surface.beta is None:
        return np.abs(surface.alpha)
    return np.hypot(surface.alpha[:, None], surface.beta[None, :])


def _norm(contents: Contents, checkpoint: str) -> float | None:
    there = contents.checkpoints.get(checkpoint)
    return None if there is None else there.norm


def _loss_facts(provenance: Provenance) -> dict[str, Any]:
    return {
        key: value
        for key, value in provenance.objective.items()
        if key not in (*OF_A_CHECKPOINT, *OF_A_SOLVER) and (key not in UNSET or value != UNSET[key])
    }


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [key for key in {*one, *other} if one.get(key) != other.get(key)]


def _drawn(x: Direction, y: Direction | None) -> str:
    pair = [(one.kind, one.seed, dict(one.policy)) for one in (x, y) if one is not None]
    return json.dumps(pair, sort_keys=True, default=str)
