"""Small stores with known values to draw: no model, no torch."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landscape.grid import Axis, Grid
from landscape.records import (
    BlockMass,
    Checkpoint,
    Direction,
    Eigenpairs,
    Provenance,
    Scalars,
    SharpnessMeasure,
    SharpnessReport,
    Surface,
    Table,
)
from landscape.spectra import Density, Subsets, Trace
from landscape.store import Store

Floats = NDArray[np.float64]
SETTINGS = Provenance("tests:known", {"loss": "bce", "users": 64})
SQUARE = Axis(-1, 1, 21)


def direction(seed: int) -> Direction:
    return Direction("filter", seed, {"biases": "zero"}, hash=f"{seed:064x}", norm=1.0)


def checkpoint(name: str, norm: float = 100.0) -> Checkpoint:
    return Checkpoint(name, hash=name, norm=norm, parameters=10, metrics={"NDCG@10": 0.03})


def add_surface(
    store: Store,
    name: str,
    function: Callable[..., Floats],
    *,
    alpha: Axis = SQUARE,
    beta: Axis | None = SQUARE,
    share: float = 1.0,
    loss: float = 0.5,
    extra: Mapping[str, Callable[..., Floats]] | None = None,
    seed: int = 1,
) -> None:
    """A checkpoint and its surface, of which a share is measured, coarse to fine."""
    grid = Grid(alpha, beta)
    functions = {"loss": function, **(extra or {})}
    empty = {key: np.full(grid.shape, np.nan) for key in functions}
    store.add_checkpoint(checkpoint(name))
    store.add_surface(
        Surface(
            name=f"{name}-surface",
            checkpoint=name,
            alpha=alpha.values,
            beta=None if beta is None else beta.values,
            status=np.zeros(grid.shape, dtype=np.uint8),
            values=empty,
            x=direction(seed),
            y=None if beta is None else direction(seed + 1),
            provenance=SETTINGS,
            centre={"loss": loss},
        )
    )
    order = grid.coarse_to_fine()[: round(share * grid.size)]
    points = grid.coordinates[order].T
    store.write_points(f"{name}-surface", order, {key: f(*points) for key, f in functions.items()})


def bowl(sharpness: float, lowest: float = 0.5) -> Callable[[Floats, Floats], Floats]:
    return lambda a, b: lowest + sharpness * (a**2 + 0.5 * b**2 + 0.3 * a * b)


def add_numbers(store: Store, name: str, factor: float = 1.0) -> None:
    """Both ends of a spectrum and sharpness measures of a checkpoint already there."""
    store.add_eigenpairs(
        Eigenpairs(
            name=f"{name}-ends",
            checkpoint=name,
            method="power",
            labels=("lambda_max", "lambda_2", "lambda_min"),
            values=factor * np.array([0.439, 0.31, -0.503]),
            residuals=factor * np.array([0.004, 0.02, 0.01]),
            converged=np.array([True, False, True]),
            products=np.array([40, 100, 60]),
            tolerance=1e-2,
            provenance=SETTINGS,
            mass=BlockMass(
                BLOCKS, SIZES, 100, np.array([[0.9, 0.1, 0.6, 0.0], [0.5, 0.5, 0.4, 0.0], [0.2, 0.8, 1e-6, 0.0]])
            ),
        )
    )
    measures = [
        SharpnessMeasure("sam", {"rho": rho, "adaptive": False}, factor * 0.05 * rho**1.5, None, 2)
        for rho in (0.01, 0.1, 1.0)
    ]
    measures += [SharpnessMeasure("sam", {"rho": 0.5, "adaptive": True}, factor * 0.2, None, 2, "lower bound")]
    measures += [
        SharpnessMeasure("average_case", {"sigma": sigma, "draws": 8}, factor * sigma, 0.2 * sigma, 16)
        for sigma in (0.01, 0.02)
    ]
    measures += [SharpnessMeasure("lambda_max_norm_squared", {"residual": 12.0}, factor * 4390.0, None, 0)]
    store.add_sharpness(SharpnessReport(f"{name}-sharpness", name, tuple(measures), SETTINGS))


BLOCKS = ("table", "attention", "rows:head", "rows:untouched")
SIZES = np.array([80, 20, 30, 5])


def add_spectra(store: Store, name: str, factor: float = 1.0) -> None:
    """A density, traces and ends on subsets of a checkpoint already there."""
    nodes = factor * np.array([[-0.4, 0.0, 0.38], [-0.3, 0.001, np.nan], [-0.5, -0.001, 0.43]])
    weights = np.array([[0.001, 0.998, 0.001], [0.002, 0.998, 0.0], [0.0005, 0.999, 0.0005]])
    residuals = np.full_like(nodes, 0.01)
    settings: Scalars = {"steps": 3, "seed": 0, "block": None, "coordinates": "raw"}
    store.add_density(Density(name, name, nodes, weights, residuals, 100, 8, SETTINGS, 0.5, settings))
    rows = [(block, frame) for frame in ("raw", "relative") for block in ("all", *BLOCKS)]
    samples = factor * (np.arange(len(rows))[:, None] - 3.0 + np.array([[-0.5, 0.0, 0.5]]))
    names, frames = zip(*rows, strict=True)
    sizes = np.tile(np.array([100, *SIZES]), 2)
    kinds = ("trace",) * len(rows)
    store.add_trace(Trace(name, name, kinds, names, frames, sizes, samples, 6, SETTINGS, 0.5, {"method": "hutchinson"}))
    users = np.repeat([256, 512], 2)
    values = factor * np.array([[0.5, -0.6], [0.6, -0.55], [0.45, -0.5], [0.47, -0.52]])
    store.add_subsets(
        Subsets(
            name=name,
            checkpoint=name,
            users=users,
            seeds=np.array([0, 1, 0, 1]),
            losses=np.full(4, 0.5),
            values=values,
            residuals=np.abs(values) / 100,
            converged=np.array([[True, True], [True, False], [True, True], [True, True]]),
            products=np.full(4, 40),
            provenance=SETTINGS,
            settings={"tolerance": 0.01, "max_products": 300},
        )
    )


def add_scores(store: Store, names: tuple[str, ...]) -> None:
    metrics = ["HR@5", "HR@10", "NDCG@5", "NDCG@10", "MRR"]
    rows = [(name, metric) for name in names for metric in metrics]
    store.add_table(
        "comparisons",
        Table(
            "scores",
            {
                "checkpoint": np.array([name for name, _ in rows]),
                "metric": np.array([metric for _, metric in rows]),
                "value": np.array([0.02 + 0.005 * row for row in range(len(rows))]),
                "standard_error": np.full(len(rows), 0.001),
            },
            {"level": "users"},
        ),
    )


def two_checkpoints(path: Path) -> Path:
    """A sharp and a flat checkpoint with everything that can be drawn."""
    with Store.write(path) as store:
        add_surface(store, "sharp", bowl(6.0))
        add_surface(store, "flat", bowl(2.0, 0.6), loss=0.6)
        for name, factor in (("sharp", 1.0), ("flat", 0.4)):
            add_numbers(store, name, factor)
            add_spectra(store, name, factor)
        add_scores(store, ("sharp", "flat"))
    return path
