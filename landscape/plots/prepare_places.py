"""From a store to what lies in a picture and what its directions are: marks, a training's path, barriers, bands.

A band of seeds is the mean over lines of one group, between the smallest and the largest, or a standard deviation to
either side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from landscape.barrier import barrier_of, straight_line
from landscape.errors import InvalidArgument
from landscape.plots.figure_data import BarrierMark, Floats, Panel, Spot, Trail
from landscape.plots.scale import Scale, short
from landscape.product_error import product_note
from landscape.records import Direction, Status, Surface, Trajectory
from landscape.sharpness.names import eigenvalue_label, eigenvalue_name
from landscape.store import Store

BANDS = ("range", "sd")
NEAREST = 0.13  # of the axes, between two epochs with a label
WIDE = 0.4  # of the axes, a name beside which another one stands on the other side of its point
UPPER = 0.85  # of a panel's height: labels of points above it stand below them
MOST_TOLD = 3  # panels whose lowest points a caption tells
SMALLEST = 1e-9  # a share outside the plane below this is rounding
DRAWN = {
    "filter": "filter-normalised (1 is the norm of each filter)",
    "layer": "layer-normalised (1 is the norm of each tensor)",
    "raw": "raw Gaussian",
}


def families(surfaces: Sequence[Surface], groups: Mapping[str, str] | None = None) -> list[list[Surface]]:
    """Lines that belong together, each with the others of its group, in the order of their first members.

    With `groups`, the group of each checkpoint, those of checkpoints of one group: its runs, from several seeds.
    """
    found: dict[str, list[Surface]] = {}
    for surface in surfaces:
        key = f"group {surface.group}" if surface.group and surface.beta is None else f"surface {surface.name}"
        found.setdefault(key if groups is None else groups[surface.checkpoint], []).append(surface)
    return list(found.values())


def expanded(store: Store, names: Sequence[str]) -> list[str]:
    """Names of surfaces, where the name of a group stands for its members."""
    there = set(store.names("surfaces"))
    if all(name in there for name in names):
        return list(names)
    members: dict[str, list[str]] = {}
    for name in sorted(there):
        members.setdefault(store.surface(name).group, []).append(name)
    return [one for name in names for one in ([name] if name in there else members.get(name, [name]))]


def band_of(
    cuts: Sequence[tuple[Floats, Floats]], names: Sequence[str], band: str = "range"
) -> tuple[Floats, Floats, Floats, Floats]:
    """(alpha, mean, low, high) over the seeds, at the points that all of their lines have measured.

    Args:
        cuts: of each line the alphas measured, and the raw values there.
        names: of the lines.
        band: "range" or "sd".

    NaN where a value is not finite. Raises InvalidArgument for lines that have no point in common, and another band.
    """
    if band not in BANDS:
        raise InvalidArgument(f"expected a band out of {', '.join(BANDS)}, got {band!r}")
    alpha = cuts[0][0]
    for name, (other, _) in zip(names, cuts, strict=True):
        if len(other) and len(alpha) and not len(np.intersect1d(alpha, other)):
            raise InvalidArgument(f"expected lines over the same points in one band, got {name} beside {names[0]}")
        alpha = np.intersect1d(alpha, other)
    values = np.stack([own[np.isin(x, alpha)] for x, own in cuts])
    values = np.where(np.isfinite(values), values, np.nan)
    mean = values.mean(axis=0)
    if band == "sd":
        spread = values.std(axis=0, ddof=1)
        return alpha, mean, mean - spread, mean + spread
    return alpha, mean, values.min(axis=0), values.max(axis=0)


def band_note(family: Sequence[Surface], band: str) -> str:
    """What a band shows."""
    span = "smallest to largest of" if band == "range" else "one standard deviation to either side over"
    of = "runs" if len({surface.checkpoint for surface in family}) > 1 else "seeds of directions"
    return f"line and band: mean, and {span} {len(family)} {of}"


def spots_in(surface: Surface) -> tuple[Spot, ...]:
    """The marked points of a plane, and what to show beside each."""
    assert surface.beta is not None
    upper = surface.beta[0] + UPPER * np.ptp(surface.beta)
    width, height = WIDE * np.ptp(surface.alpha), NEAREST * np.ptp(surface.beta)
    spots: list[Spot] = []
    for mark in surface.marks:
        near = [spot for spot in spots if abs(spot.x - mark.alpha) < width and abs(spot.y - mark.beta) < height]
        above = not near[-1].above if near else bool(mark.beta < upper)
        spots.append(Spot(mark.alpha, mark.beta, mark.name, _told(mark.loss, mark.outside), above))
    return tuple(spots)


def placed(panel: Panel) -> Panel:
    """The panel with the heights of its marks and of its path, so that a relief can carry them.

    Between grid points heights are linear along each axis, as the relief itself is drawn.
    """
    if (not panel.spots and panel.trail is None) or min(panel.heights.shape) < 2:
        return panel
    from scipy.interpolate import RegularGridInterpolator

    height = RegularGridInterpolator((panel.alpha, panel.beta), panel.heights.T, bounds_error=False)
    spots = tuple(replace(spot, height=float(height((spot.x, spot.y)))) for spot in panel.spots)
    trail = panel.trail
    if trail is not None:
        labels = tuple(replace(spot, height=float(height((spot.x, spot.y)))) for spot in trail.labels)
        trail = replace(trail, labels=labels, heights=height(np.stack([trail.x, trail.y], axis=1)))
    return replace(panel, spots=spots, trail=trail)


def lowest_of(panel: Panel) -> Spot | None:
    """The lowest point of a panel that was measured; None where it is the centre, and where nothing is lowest."""
    values = np.where(np.isfinite(panel.values), panel.values, np.inf)
    row, column = np.unravel_index(int(values.argmin()), values.shape)
    least = float(values[row, column])
    x, y = float(panel.alpha[column]), float(panel.beta[row])
    if not np.isfinite(least) or (values[np.isfinite(values)] == least).sum() > 1 or (x, y) == panel.centre:
        return None
    text = f"{short(least)} at ({short(x, 3)}, {short(y, 3)})"
    return Spot(x, y, "lowest", text, height=float(panel.heights[row, column]))


def clear_of_lowest(panel: Panel) -> Panel:
    """The panel with a name that would cover the lowest point moved to the other side of its own point."""
    if panel.lowest is None:
        return panel
    low, width, height = panel.lowest, WIDE / 2 * np.ptp(panel.alpha), NEAREST * np.ptp(panel.beta)
    spots = []
    for spot in panel.spots:
        rise = low.y - spot.y if spot.above else spot.y - low.y  # towards the name
        covers = abs(low.x - spot.x) < width and 0 < rise < height
        side: Literal["left", "right"] = "left" if low.x > spot.x else "right"
        spots.append(replace(spot, side=side) if covers else spot)
    return replace(panel, spots=tuple(spots))


def lowest_note(panels: Sequence[Panel]) -> list[str]:
    """What the diamonds of these panels are."""
    found = [panel for panel in panels if panel.lowest is not None]
    if len(panels) == 1 or not found:
        return [f"◇: lowest point, {panel.lowest.text}" for panel in found if panel.lowest is not None]
    if len(found) > MOST_TOLD:
        return ["◇: lowest points"]
    told = [f"{panel.title} {panel.lowest.text}" for panel in found if panel.lowest is not None]
    return [f"◇: lowest points, {', '.join(told)}"]


def spots_on(surface: Surface, scale: Scale, value: str) -> tuple[Spot, ...]:
    """The marked points of a line at their own losses, as drawn; none where another value is shown."""
    if value != "loss" or surface.beta is not None:
        return ()
    middle = (surface.alpha > 0.2) & (surface.alpha < 0.8) & (surface.status != Status.PENDING)
    inner = float(np.median(surface.values[value][middle])) if middle.any() else np.nan  # labels stand clear of it
    return tuple(
        Spot(
            mark.alpha,
            float(scale.drawn(mark.loss)),
            mark.name,
            _told(mark.loss, mark.outside),
            bool(inner < mark.loss),
            "right" if mark.alpha <= (surface.alpha[0] + surface.alpha[-1]) / 2 else "left",
        )
        for mark in surface.marks
        if mark.loss is not None
    )


def barrier_on(surface: Surface, scale: Scale, value: str) -> tuple[BarrierMark, str] | None:
    """The barrier of a line between two checkpoints, to be drawn, and the note for it."""
    barrier = barrier_of(surface) if value == "loss" else None
    if barrier is None:
        return None
    alpha = np.linspace(0.0, 1.0, 41)
    level = float(straight_line(np.array([barrier.at_straight_line]), *barrier.ends)[0])
    top = level + barrier.over_straight_line
    larger, straight = short(barrier.over_larger_end, 3), short(barrier.over_straight_line, 3)
    mark = BarrierMark(
        x=alpha,
        y=scale.drawn(straight_line(alpha, *barrier.ends)),
        at=barrier.at_straight_line,
        low=float(scale.drawn(level)),
        high=float(scale.drawn(top)),
        text=f"barrier {straight}",
    )
    unfinished = "" if surface.is_finished else " so far"
    note = (
        f"barrier from {barrier.names[0]} to {barrier.names[1]}: {straight} over the straight line between their "
        f"losses (dashed), {larger} over the larger end; at least, from {barrier.points} points between them"
        f"{unfinished}"
    )
    return mark, note


def trajectory_on(store: Store, surface: Surface) -> Trajectory | None:
    """The path whose plane the surface is on."""
    if surface.y is None or surface.x.kind != "pca":
        return None
    for name in store.names("trajectories"):
        path = store.trajectory(name)
        if (path.x.hash, path.y.hash) == (surface.x.hash, surface.y.hash):
            return path
    return None


def trail_of(path: Trajectory, surface: Surface) -> Trail:
    """A path with labels at epochs that are far enough from each other; the first and the last always have one."""
    assert surface.beta is not None
    span = np.array([np.ptp(surface.alpha), np.ptp(surface.beta)])
    places = path.coordinates / span
    order = [0, len(places) - 1, *range(1, len(places) - 1)]
    kept: list[int] = []
    for k in order:
        if all(np.hypot(*(places[k] - places[other])) > NEAREST for other in kept):
            kept.append(k)
    upper = float(surface.beta[0] + UPPER * span[1])
    labels = tuple(
        Spot(float(x), float(y), f"{path.epochs[k]:g}", "", bool(y < upper))
        for k, (x, y) in ((k, path.coordinates[k]) for k in sorted(kept))
    )
    texts = tuple(
        f"epoch {epoch:g}: {_told(float(loss), float(outside))}"
        for epoch, loss, outside in zip(path.epochs, path.losses, path.outside, strict=True)
    )
    return Trail(path.coordinates[:, 0], path.coordinates[:, 1], labels, texts)


def direction_note(surface: Surface, path: Trajectory | None = None) -> str:
    """What the directions of one surface are, in a caption."""
    x, y = surface.x, surface.y
    names = [mark.name for mark in surface.marks]
    if x.kind == "between" and len(names) == 2:
        note = f"direction from {names[0]} (0) to {names[1]} (1), a distance of {short(x.norm)}"
        return note if y is None else f"{note}; the second {_drawn(y)}, orthogonal to it"
    if x.kind == "through" and len(names) == 3:
        distance = short(x.norm)
        return f"plane through {names[0]}, {names[1]} and {names[2]}; 1 is a distance of {distance} along both axes"
    if x.kind == "pca":
        count = len(x.policy["checkpoints"])
        if path is None:
            return f"principal directions of {count} checkpoints, unit length"
        share = " + ".join(f"{100 * part:.1f} %" for part in path.explained[: 1 if y is None else 2])
        low, high = (100 * bound for bound in (path.outside[path.distances > 0].min(), path.outside.max()))
        return (
            f"principal plane of a path of {count} checkpoints (epochs at dots), explaining {share} of the squared "
            f"distances from the origin; outside the plane: {low:.0f} to {high:.0f} % of a checkpoint's distance"
        )
    if x.kind == "eigenvector":
        ends = " and ".join(_eigenvalue(one) for one in (x, y) if one is not None)
        block = f" of {x.policy['block']}" if "block" in x.policy else ""
        error = product_note(x.policy.get("product_error"))
        return "; ".join(filter(None, (f"along eigenvectors{block} of unit length, {ends}", error)))
    if y is None:
        return f"direction: {_drawn(x)}"
    if y.kind == x.kind and y.policy == x.policy:
        seeds = f"seed {x.seed}" if y.seed == x.seed else f"seeds {x.seed} and {y.seed}"
        return f"directions: {DRAWN.get(x.kind, x.kind)}{_block(x)}, {seeds}"
    return f"directions: {_drawn(x)}; {_drawn(y)}"


def _drawn(direction: Direction) -> str:
    return f"{DRAWN.get(direction.kind, direction.kind)}{_block(direction)}, seed {direction.seed}"


def _block(direction: Direction) -> str:
    return f", of {direction.policy['block']} alone" if "block" in direction.policy else ""


def _eigenvalue(direction: Direction) -> str:
    policy = direction.policy
    name = eigenvalue_name(eigenvalue_label(policy["end"], policy["k"]))
    return f"{name} = {short(float(policy['value']))}{'' if policy['converged'] else ' (not settled)'}"


def _told(loss: float | None, outside: float) -> str:
    parts = [] if loss is None else [f"loss {short(loss)}"]
    if outside > SMALLEST:
        parts.append(f"{100 * outside:.1f} % of its distance outside the plane")
    return ", ".join(parts)
