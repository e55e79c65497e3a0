"""From a store to plain figure data of whole spectra: their densities, and their ends against the data's size.

Where raw values depend on the scale of the weights, a panel beside them has what re-scaling leaves alone.
"""

import math
from collections.abc import Sequence

import numpy as np

from landscape.errors import InvalidArgument
from landscape.estimates import smoothed
from landscape.plots.figure_data import Floats, Trend, TrendPanel, TrendsData
from landscape.plots.order import baseline_first
from landscape.plots.prepare_marks import labels_of, looks_of
from landscape.plots.scale import Scale, decades, room_around, scale_of, short
from landscape.records import Eigenpairs
from landscape.spectra import Density, Subsets
from landscape.store import Store
from landscape.store.refusals import same_objective

KERNEL = 0.01  # its standard deviation, as a share of the range of all nodes of a panel
POINTS = 801  # of a smooth density
BELOW_ONE = 0.3  # a density's axis ends at this share of the height of a single eigenvalue
BLACK = 6  # the colour of what belongs to no checkpoint
TICKS = 6  # at most, of an axis


def prepare_density(store: Store, names: Sequence[str] = ()) -> TrendsData:
    """Smoothed spectral densities on a log axis; raw ones beside those of H ||w||^2. Bands: all probes.

    Dots mark both ends: eigenvalues where the store has them for the same objective, else the outermost nodes.
    """
    chosen: list[Density] = [store.density(name) for name in names or store.names("densities")]
    chosen = chosen if names else baseline_first(store, chosen)
    if not names:  # one kind of coordinates in a picture: the first there is
        chosen = [one for one in chosen if one.settings.get("coordinates") == _frames(chosen)[0]]
    if not chosen:
        raise InvalidArgument(f"expected spectral densities in {store.path}, found none")
    if len(frames := _frames(chosen)) > 1:
        raise InvalidArgument(f"expected densities in one kind of coordinates, got {' and '.join(frames)}")
    relative = frames[0] == "relative"
    labels = labels_of(chosen)
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
    scale = decades("density", BELOW_ONE * min(single), max(float(curve.max()) for curve in curves), most=TICKS)
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
    chosen = chosen if names else baseline_first(store, chosen)
    if not chosen:
        raise InvalidArgument(f"expected ends of spectra on subsets in {store.path}, found none")
    labels = labels_of(chosen)
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
            panels.append(TrendPanel("", "users", ticks, bounds, (), scale, room_around(scale), tuple(trends)))
    notes = ["lines: means over random subsets (a dot each); bands: lowest to highest"]
    unsettled = sum(int((~one.converged).sum()) for one in chosen)
    if unsettled:
        notes.append(f"{unsettled} of {sum(one.converged.size for one in chosen)} ends not converged")
    return TrendsData(tuple(panels), tuple(zip(labels, groups, strict=True)), min(3, len(labels)), tuple(notes))


def _above(scale: Scale, values: Floats) -> Floats:
    """As drawn, with a gap where the values are far below the scale."""
    drawn: Floats = np.where(values > 0.1 * 2**scale.low, scale.drawn(values), np.nan)
    return drawn


def _frames(chosen: Sequence[Density]) -> list[str]:
    """Kinds of coordinates, "raw" first."""
    return sorted({str(one.settings.get("coordinates")) for one in chosen})
