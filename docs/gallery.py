"""A store of made numbers, and a picture of it for every kind of figure: `python docs/gallery.py FOLDER` writes them.

The numbers are formulas with seeded noise, chosen so that every kind has something to show; nothing was trained.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landscape.grid import Axis, Grid
from landscape.plots import matplotlib_figures, prepare
from landscape.plots.style import Style
from landscape.records import (
    BlockMass,
    Checkpoint,
    Direction,
    Eigenpairs,
    Provenance,
    SharpnessMeasure,
    SharpnessReport,
    Status,
    Surface,
    Table,
    Trajectory,
)
from landscape.spectra import Density, Subsets, Trace
from landscape.store import Store

Floats = NDArray[np.float64]
MADE = Provenance("made:numbers", {"loss": "made"}, command="python docs/gallery.py")
CURVATURE = {"sharp": 1.0, "flat": 0.4}
KINDS = (
    *("curve", "contour", "relief", "spectrum", "density", "mass", "trace", "subsets", "sharpness", "sharpness_table"),
    *("scores", "study", "training", "relation", "change"),
)
MORE = {  # further pictures of a kind: (kind, what to draw by name, options)
    "half": ("contour", ["half"], {}),
    "path": ("contour", ["path"], {}),
    "path-relief": ("relief", ["path"], {}),
    "ratio": ("contour", ["ratio"], {"value": "ratio"}),
    "seeds": ("curve", ["plain-1", "plain-2", "plain-3", "sam-1", "sam-2", "sam-3"], {"by_group": True}),
}
BLOCKS = ("item table", "attention", "feed-forward")
SIZES = np.array([800, 120, 80])
RHOS = (0.0, 0.001, 0.01, 0.1, 1.0)
FILTERS = tuple(Direction("filter", 0, {"one_dimensional": "zero"}, hash=f"{k:064x}", norm=100.0) for k in (1, 2))
SCREEN = Style(dots_per_inch=150)


def pictures() -> dict[str, bytes]:
    """PNG files by their place in the site: one a kind, and more of some kinds."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path, seeds = Path(folder) / "made.h5", Path(folder) / "seeds.h5"
        for file, additions in ((path, (fill, _add_ratio_map)), (seeds, (fill_seeds,))):
            with Store.write(file) as store:
                for add in additions:
                    add(store)
        names = {"curve": ["sharp-line", "flat-line"], "contour": ["sharp", "flat"], "relief": ["sharp", "flat"]}
        for name, (kind, chosen, options) in ({kind: (kind, names.get(kind, []), {}) for kind in KINDS} | MORE).items():
            arguments = [chosen] if chosen else []
            source = Store.read(seeds if name in ("change", "seeds") else path)
            data = getattr(prepare, f"prepare_{kind}")(source, *arguments, **options)
            file = Path(folder) / f"{name}.png"
            matplotlib_figures.save(getattr(matplotlib_figures, kind)(data, style=SCREEN), file)
            found[f"gallery/{name}.png"] = file.read_bytes()
    return found


def fill(store: Store) -> None:
    """Two checkpoints with everything that can be drawn, and a small study."""
    line, square = Grid(Axis(-1, 1, 41)), Grid(Axis(-1, 1, 31), Axis(-1, 1, 31))
    for name, factor in CURVATURE.items():
        store.add_checkpoint(Checkpoint(name, hash=name, norm=100.0, parameters=1000))
        _add_surface(store, f"{name}-line", name, line, factor)
        _add_surface(store, name, name, square, factor)
        _add_curvature(store, name, factor)
        _add_spectra(store, name, factor)
        _add_sharpness(store, name, factor)
    _add_surface(store, "half", "sharp", square, 1.0, share=0.3)
    _add_path(store)
    _add_scores(store)
    _add_study(store)


def fill_seeds(store: Store) -> None:
    """Two methods, three seeds of each: a line and sharpness measures a run."""
    noise = np.random.default_rng(2)
    for method, factor in (("plain", 1.0), ("sam", 0.8)):
        for seed in (1, 2, 3):
            name, own = f"{method}-{seed}", factor * float(np.exp(noise.normal(0, 0.06)))
            config = {"group": method, "seed": seed}
            store.add_checkpoint(Checkpoint(name, hash=name, norm=100.0, parameters=1000, config=config))
            _add_surface(store, name, name, Grid(Axis(-1, 1, 41)), own)
            _add_curvature(store, name, own)
            measures = [("sam", {"rho": rho}, own * 0.2 * rho**1.4) for rho in (0.05, 0.1)]
            measures += [("m_sharpness", {"rho": 0.1, "m": 256, "form": "step"}, 0.035 * own**2)]
            measures += [("sam", {"rho": 0.5, "scale": "relative"}, 0.02 * own), ("fisher_rao", {}, 2.0 / own)]
            measures += [
                ("average_case", {"sigma": 0.1, "scale": "relative"}, 0.008 * float(np.exp(noise.normal(0, 0.02))))
            ]
            found = tuple(SharpnessMeasure(kind, setting, value, None, 1) for kind, setting, value in measures)
            store.add_sharpness(SharpnessReport(name, name, found, MADE))


def loss(alpha: Floats, beta: Floats, factor: float) -> Floats:
    """A bowl with a second, higher one beside it."""
    bowl = 4 * factor * (alpha**2 + 0.6 * beta**2 + 0.5 * alpha * beta)
    return 0.75 + bowl - 0.9 * factor * np.exp(-8 * ((alpha - 0.75) ** 2 + (beta + 0.4) ** 2))


def _add_surface(
    store: Store,
    name: str,
    checkpoint: str,
    grid: Grid,
    factor: float,
    *,
    share: float = 1.0,
    directions: tuple[Direction, ...] = FILTERS,
) -> None:
    order = grid.coarse_to_fine()[: round(share * grid.size)]
    points = grid.coordinates[order].T
    alpha, beta = points if grid.beta is not None else (points[0], np.zeros(len(order)))
    values = {"loss": loss(alpha, beta, factor), "standard_error": 0.08 * factor * np.hypot(alpha, beta)}
    empty = {key: np.full(grid.shape, np.nan) for key in values}
    pending = np.full(grid.shape, Status.PENDING, dtype=np.uint8)
    x, y = directions
    axes = (grid.alpha.values, None if grid.beta is None else grid.beta.values)
    centre = {"loss": float(loss(np.zeros(1), np.zeros(1), factor)[0])}
    two = None if grid.beta is None else y
    store.add_surface(Surface(name, checkpoint, *axes, pending, empty, x, two, MADE, centre))
    store.write_points(name, order, values)


def _add_path(store: Store) -> None:
    """A training's path that turns into a bowl, on the principal plane it lies near to."""
    turns = np.linspace(0, 3.2, 12)
    places = np.stack([3.2 - turns, 0.8 * np.sin(turns)], axis=1) * 2
    places[-1] = 0
    distances = 1.05 * np.hypot(*places.T)
    epochs, labels = np.arange(0.0, 60, 5), tuple(f"epoch-{k}" for k in range(0, 60, 5))
    x, y = (Direction("pca", k, {"checkpoints": labels}, hash=f"{k:064x}", norm=1.0) for k in (11, 12))
    numbers = (epochs, tuple(f"{k:064x}" for k in range(12)), places, distances, 0.3 * distances)
    losses, explained = 0.75 + 0.05 * distances**1.5, np.array([0.83, 0.08, 0.05])
    store.add_trajectory(Trajectory("sharp-path", "sharp", labels, *numbers, losses, explained, x, y, MADE))
    grid = Grid(Axis(-2, 8, 41), Axis(-3, 4, 41))
    _add_surface(store, "path", "sharp", grid, 0.02, directions=(x, y))


def _add_ratio_map(store: Store) -> None:
    """Most negative curvature at the checkpoint, a convex ring around it, and one point that did not converge."""
    grid = Grid(Axis(-1, 1, 9), Axis(-1, 1, 9))
    alpha, beta = (axis.reshape(grid.shape) for axis in grid.coordinates.T)
    away = np.hypot(alpha, beta)
    values = {
        "ratio": 0.1 + 0.7 * np.exp(-8 * away**2) + 0.3 * away**2,
        "converged": ((alpha != 0.5) | (beta != -0.75)).astype(float),
    }
    x, y = (Direction("filter", 0, {}, hash=f"{k:064x}", norm=100.0) for k in (1, 2))
    done = np.full(grid.shape, Status.DONE, dtype=np.uint8)
    centre = {"ratio": 0.8}
    surface = Surface("ratio", "sharp", grid.alpha.values, grid.alpha.values, done, values, x, y, MADE, centre)
    store.add_surface(surface)


def _add_curvature(store: Store, name: str, factor: float) -> None:
    values = factor * np.array([0.44, 0.31, -0.50])
    settled = np.array([True, True, True])
    products, labels = np.array([60, 90, 80]), ("lambda_max", "lambda_2", "lambda_min")
    mass = BlockMass(BLOCKS, SIZES, 1000, np.array([[0.2, 0.5, 0.3], [0.3, 0.2, 0.5], [0.9, 0.06, 0.04]]))
    pairs = Eigenpairs(name, name, "power", labels, values, 0.02 * np.abs(values), settled, products, 0.05, MADE)
    store.add_eigenpairs(replace(pairs, mass=mass))


def _add_spectra(store: Store, name: str, factor: float) -> None:
    """Most of 1,000 eigenvalues near 0, with tails to both sides."""
    noise = np.random.default_rng(1)
    places = np.array([-0.48, -0.3, -0.12, -0.03, 0.0, 0.03, 0.1, 0.2, 0.31, 0.43])
    shares = np.array([1, 2, 6, 80, 800, 90, 14, 4, 2, 1]) / 1000
    nodes = factor * (places + noise.normal(0, 0.006, (6, 10)))
    shares = shares * np.exp(noise.normal(0, 0.2, (6, 10)))
    shares /= shares.sum(axis=1, keepdims=True)
    density = Density(name, name, nodes, shares, np.full((6, 10), 0.002), 1000, 60, MADE)
    store.add_density(replace(density, settings={"steps": 10, "block": None, "coordinates": "raw"}))
    rows = [(block, frame) for frame in ("raw", "relative") for block in ("all", *BLOCKS)]
    samples = (
        factor * np.array([6.0, 3.0, 2.0, 1.0, 18.0, 5.0, 7.0, 6.0])[:, None] * (1 + noise.normal(0, 0.1, (8, 20)))
    )
    blocks, frames = zip(*rows, strict=True)
    sizes = np.tile(np.array([1000, *SIZES]), 2)
    store.add_trace(Trace(name, name, ("trace",) * 8, blocks, frames, sizes, samples, 20, MADE))
    users = np.repeat([128, 256, 512, 1024], 3)
    ends = factor * np.array([0.44, -0.5]) * (1 + 6 / np.sqrt(users)[:, None] * (0.6 + noise.normal(0, 0.2, (12, 2))))
    drawn = np.tile(np.arange(3), 4), np.full(12, 0.75), ends, 0.01 * np.abs(ends)
    settled, products = np.ones((12, 2), dtype=np.bool_), np.full(12, 50)
    store.add_subsets(Subsets(name, name, users, *drawn, settled, products, MADE))


def _add_sharpness(store: Store, name: str, factor: float) -> None:
    measures = [
        SharpnessMeasure("sam", {"rho": rho, "adaptive": False}, factor * 0.2 * rho**1.4, None, 2)
        for rho in (0.01, 0.1, 1.0)
    ]
    measures += [
        SharpnessMeasure("average_case", {"sigma": s, "draws": 8}, 30 * factor * s**2, 6 * factor * s**2, 16)
        for s in (0.005, 0.01)
    ]
    measures.append(SharpnessMeasure("lambda_max_norm_squared", {"residual": 0.01}, factor * 4400, None, 0))
    store.add_sharpness(SharpnessReport(name, name, tuple(measures), MADE))


def _add_scores(store: Store) -> None:
    metrics = ("HR@5", "HR@10", "NDCG@5", "NDCG@10")
    rows = [(name, metric) for name in CURVATURE for metric in metrics]
    values = np.array([0.037, 0.058, 0.023, 0.030, 0.039, 0.061, 0.025, 0.033])
    columns = {"checkpoint": [name for name, _ in rows], "metric": [metric for _, metric in rows]}
    arrays = {key: np.array(column) for key, column in columns.items()}
    numbers = {"value": values, "standard_error": 0.03 * values}
    store.add_table("comparisons", Table("scores", {**arrays, **numbers}, {"level": "users"}))


def _add_study(store: Store) -> None:
    noise = np.random.default_rng(0)
    rows = []
    for k, rho in enumerate(RHOS):
        for seed in (1, 2, 3):
            score = 0.030 + 0.004 * np.exp(-((k - 3) ** 2)) + noise.normal(0, 4e-4)
            largest = 0.45 / (1 + 2 * rho) * np.exp(noise.normal(0, 0.05))
            for quantity, value in (("NDCG@10", score), ("lambda_max", largest)):
                rows.append((f"rho-{rho:g}-{seed}", f"rho {rho:g}", "", rho, seed, quantity, value))
    keys = ("run", "cell", "line", "setting", "seed", "quantity", "value")
    columns = {key: np.array([row[k] for row in rows]) for k, key in enumerate(keys)}
    about = {"axis": "rho", "cells": [f"rho {rho:g}" for rho in RHOS], "measures": ["lambda_max"]}
    store.add_table("studies", Table("values", columns, about))
    relation = {"measure": "lambda_max", "target": "NDCG@10", **_tau(columns, noise)}
    store.add_table("studies", Table("relations", {key: np.array([value]) for key, value in relation.items()}))
    for name, method, slow in (("plain-1", "plain", 12.0), ("sam-1", "SAM", 20.0)):
        epochs = np.arange(1, 61)
        history = {
            "epoch": epochs,
            "loss": 0.6 + 0.75 * np.exp(-epochs / slow) + noise.normal(0, 0.004, 60),
            "validation NDCG@10": 0.03 * (1 - np.exp(-epochs / slow)) + noise.normal(0, 3e-4, 60),
        }
        if method == "SAM":
            history["sharpness"] = 0.02 * np.exp(-epochs / 30) + noise.normal(0, 3e-4, 60)
        best = int(epochs[history["validation NDCG@10"].argmax()])
        store.add_table("histories", Table(name, history, {"method": method, "best_epoch": best}))


def _tau(columns: dict[str, NDArray[np.generic]], noise: np.random.Generator) -> dict[str, float]:
    """Kendall's tau-b between the study's two quantities, with a 95 % bootstrap interval."""
    from scipy.stats import kendalltau

    across, up = (columns["value"][columns["quantity"] == name] for name in ("lambda_max", "NDCG@10"))
    drawn = noise.integers(0, len(up), (500, len(up)))
    low, high = np.quantile([kendalltau(across[rows], up[rows]).statistic for rows in drawn], (0.025, 0.975))
    return {"tau": float(kendalltau(across, up).statistic), "low": float(low), "high": float(high)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for path, content in pictures().items():
        (folder / Path(path).name).write_bytes(content)
