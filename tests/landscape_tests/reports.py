"""Stores to report on: several seeds of two methods, with scores and differences."""

from pathlib import Path

import numpy as np

from landscape.records import Checkpoint, Provenance, SharpnessMeasure, SharpnessReport, Table
from landscape.store import Store

METHODS = ("plain", "sam")
SETTINGS = Provenance("tests:known", {"loss": "bce"}, command="landscape sharpness tests:known --store s.h5")


def seeds_of_two_methods(path: Path, values: dict[str, dict[str, list[float]]], *, seeds: int = 3) -> Path:
    """For each measure and method a value a seed, and scores whose difference is .002 with its interval."""
    with Store.write(path) as store:
        for method in METHODS:
            for seed in range(seeds):
                name = f"{method}-{seed}"
                config = {"group": method, "seed": seed}
                store.add_checkpoint(Checkpoint(name, hash=name, norm=1.0, parameters=3, config=config))
                measures = tuple(
                    SharpnessMeasure(measure, {"rho": 0.1}, of[method][seed], None, 2) for measure, of in values.items()
                )
                store.add_sharpness(SharpnessReport(name, name, measures, SETTINGS))
        store.add_table(
            "comparisons",
            Table(
                "differences",
                {
                    "a": np.array(["plain"]),
                    "b": np.array(["sam"]),
                    "metric": np.array(["NDCG@10"]),
                    "level": np.array(["seeds"]),
                    "difference": np.array([0.002]),
                    "low": np.array([0.001]),
                    "high": np.array([0.003]),
                    "units": np.array([seeds]),
                },
                {"baseline": "plain", "headline": ["NDCG@10"]},
            ),
        )
    return path
