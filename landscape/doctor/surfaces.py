"""What one surface shows: holes, lower points, noise, a span that hides the basin, axes of unlike units."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from landscape.doctor.finding import Finding
from landscape.records import Status, Surface

Floats = NDArray[np.float64]

ERRORS = 3.0  # standard errors beyond which a difference is no noise; many points are looked at
NOISY, SMALL = 0.5, 0.1  # median error over median rise: drowned in noise; too few units
FEW_UNITS = 30  # below it a standard error itself is a guess
FLAT, STEEP = 0.01, 50.0  # rise over the loss at the centre: nothing happens; nothing but the rim is seen
NEEDLE = 0.9  # share of points in the lowest tenth of the range, in which case the rim alone sets the colours
UNEQUAL = 3.0  # ratio of the norms of two directions of one plane
ROUNDING = 1e-6  # relative to the loss at the centre
COSINE = 1e-6


def unfinished(surface: Surface) -> Iterator[Finding]:
    """Points not measured yet."""
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


def not_finite(surface: Surface) -> Iterator[Finding]:
    """NaN or infinite losses."""
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


def no_minimum(surface: Surface) -> Iterator[Finding]:
    """Points lower than the checkpoint, beyond their errors."""
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


def noise_above_signal(surface: Surface) -> Iterator[Finding]:
    """Errors larger than half of the rise."""
    noise, signal = _noise_and_signal(surface)
    if noise > NOISY * signal:
        yield Finding(
            "noise above signal",
            f"surfaces/{surface.name}",
            f"half of the points rise by less than {signal:.3g} with standard errors of {noise:.3g}",
            {"median_rise": signal, "median_standard_error": noise},
            "measure more units (--users), or a larger span",
        )


def few_units(surface: Surface) -> Iterator[Finding]:
    """A loss of too few users to show again in another draw."""
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


def odd_span(surface: Surface) -> Iterator[Finding]:
    """A span so small that nothing happens, or so large that only the rim is seen."""
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


def unlike_directions(surface: Surface) -> Iterator[Finding]:
    """Two axes of unlike kinds or lengths, or not orthogonal."""
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


CHECKS = (unfinished, not_finite, no_minimum, noise_above_signal, few_units, odd_span, unlike_directions)
