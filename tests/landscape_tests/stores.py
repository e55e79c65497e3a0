"""Small records for tests of the store and of what reads it."""

import contextlib

import numpy as np

from landscape.grid import Grid, parse_axis
from landscape.records import Checkpoint, Direction, Eigenpairs, Provenance, SharpnessMeasure, SharpnessReport, Surface
from landscape.store import Store

FIVE_BY_THREE = Grid(parse_axis("-1:1:5"), parse_axis("0:3:3"))
PROVENANCE = Provenance(
    "models:small", {"loss": "bce", "users": 7}, {"numpy": "2"}, "2026-01-01T00:00:00+00:00", "test"
)


@contextlib.contextmanager
def study_at(path):
    """A store being written: a checkpoint, an empty surface of 5 x 3, eigenvalues and a sharpness report."""
    with Store.write(path) as store:
        store.add_checkpoint(checkpoint())
        store.add_surface(empty_surface())
        store.add_eigenpairs(eigenpairs())
        store.add_sharpness(sharpness())
        yield store


def checkpoint(name="base", weights="w0", *, metrics=None, config=None, loss=None):
    return Checkpoint(name, weights, 3.5, 10, metrics or {"ndcg@10": 0.5}, config or {"size": 8}, loss)


def empty_surface(name="plane", grid=FIVE_BY_THREE, *, checkpoint="base", seed=0, metrics=("ndcg@10",), objective=None):
    x = Direction("filter", seed, {"biases": "zero"}, f"x{seed}", 3.5)
    y = Direction("filter", seed + 1, {"biases": "zero"}, f"y{seed}", 3.5, f"x{seed}", 1e-17, 2)
    provenance = PROVENANCE if objective is None else Provenance("models:small", objective)
    return Surface(
        name=name,
        checkpoint=checkpoint,
        alpha=grid.alpha.values,
        beta=None if grid.beta is None else grid.beta.values,
        status=np.zeros(grid.shape, dtype=np.uint8),
        values={value: np.full(grid.shape, np.nan) for value in ("loss", "standard_error", *metrics)},
        x=x,
        y=None if grid.beta is None else y,
        provenance=provenance,
        centre={"loss": 0.25, **dict.fromkeys(metrics, 0.5)},
    )


def values_at(indices, metrics=("ndcg@10",)):
    """Numbers that depend on the point alone, in every bit."""
    indices = np.asarray(indices, dtype=np.int64)
    names = ("loss", "standard_error", *metrics)
    return {name: np.sin(indices * 0.7 + number) for number, name in enumerate(names)}


def eigenpairs(name="both-ends", checkpoint="base", method="power"):
    return Eigenpairs(
        name,
        checkpoint,
        method,
        ("lambda_max", "lambda_2", "lambda_min"),
        np.array([0.4, 0.1, -0.5]),
        np.array([1e-5, 2e-5, 3e-5]),
        np.array([True, True, False]),
        np.array([12, 30, 100]),
        1e-3,
        PROVENANCE,
        0.25,
        {"top": 2, "tolerance": 1e-3, "seed": 0, "max_products": 100},
    )


def sharpness(name="report", checkpoint="base", value=0.01):
    sam = SharpnessMeasure("sam", {"rho": 0.1, "adaptive": False}, value, None, 2, "exact for these users")
    average = SharpnessMeasure("average_case", {"sigma": 0.01, "draws": 8}, value / 2, 1e-4, 17)
    return SharpnessReport(name, checkpoint, (sam, average), PROVENANCE, 0.25)
