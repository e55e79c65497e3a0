"""What noisy and shortened histories do to each cell: tables for people and for figures.

A value a run, cell and amount; beside it what is left of the clean score, and the paired difference from the cell it is
compared with, over seeds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landscape.records import Table
from samrec.evaluation.paired import paired_seeds
from samrec.experiments.robust import METRICS, Scores
from samrec.experiments.study_folder import StudyFolder
from samrec.experiments.table import Section

KINDS = {"replace": ("noise", "share of items replaced"), "truncate": ("truncation", "newest items read")}
SHOWN = "NDCG@10"


def perturbed_tables(study: StudyFolder, known: Mapping[str, Scores], names: Sequence[str]) -> dict[str, Table]:
    """The tables `noise` and `truncation`, laid out as `prepare_study` reads them, of these runs."""
    tables = {}
    for kind, (name, axis) in KINDS.items():
        rows = [
            (planned, score)
            for metric in METRICS
            for planned in study.runs
            if planned.name in known and planned.name in names
            for score in known[planned.name].scores
            if (score.kind, score.metric) == (kind, metric)
        ]
        columns: dict[str, Any] = {
            "run": np.array([planned.name for planned, _ in rows], dtype=np.str_),
            "cell": np.array([planned.cell for planned, _ in rows], dtype=np.str_),
            "line": np.array([planned.cell for planned, _ in rows], dtype=np.str_),
            "setting": np.array([score.amount for _, score in rows], dtype=np.float64),
            "seed": np.array([planned.seed for planned, _ in rows], dtype=np.int64),
            "quantity": np.array([score.metric for _, score in rows], dtype=np.str_),
            "value": np.array([score.value for _, score in rows], dtype=np.float64),
        }
        if rows:
            about = {"axis": axis, "cells": [cell.label for cell in study.study.cells], "measures": []}
            tables[name] = Table(name, columns, about)
    return tables


def robustness_section(study: StudyFolder, tables: Mapping[str, Table]) -> Section:
    """A row a cell and perturbation."""
    rows = []
    for name, axis in KINDS.values():
        if name not in tables:
            continue
        c = {key: column.tolist() for key, column in tables[name].columns.items()}
        value = {
            (cell, amount, metric, seed): number
            for cell, amount, metric, seed, number in zip(
                c["cell"], c["setting"], c["quantity"], c["seed"], c["value"], strict=True
            )
        }
        amounts = sorted(set(c["setting"]))
        clean = amounts[0] if name == "noise" else amounts[-1]
        for cell in study.study.cells:
            seeds = [seed for seed in study.seeds if (cell.label, clean, SHOWN, seed) in value]
            for amount in amounts if seeds else ():
                own = {
                    metric: np.array([value[cell.label, amount, metric, seed] for seed in seeds]) for metric in METRICS
                }
                left = own[SHOWN] / np.array([value[cell.label, clean, SHOWN, seed] for seed in seeds])
                shared = [seed for seed in seeds if (cell.against, amount, SHOWN, seed) in value]
                differences = np.array(
                    [value[cell.label, amount, SHOWN, s] - value[str(cell.against), amount, SHOWN, s] for s in shared]
                )
                rows.append(
                    (
                        cell.label,
                        f"{axis} {amount:g}" + (" (clean)" if amount == clean else ""),
                        *(_spread(own[metric]) for metric in METRICS),
                        f"{left.mean():.0%}",
                        _against(differences),
                        str(len(seeds)),
                    )
                )
    notes = (
        "Targets and candidates are those of the clean ranking; noise is drawn outside the user's whole sequence, the "
        "same for every run, a larger share adding to a smaller one.",
        f"Left: the share of the run's clean {SHOWN}, mean over seeds. Difference: {SHOWN} against the cell it is "
        "compared with, over seeds, 95 % t interval; not corrected for many comparisons.",
    )
    header = ("cell", "histories", *METRICS, f"{SHOWN} left", "difference", "seeds")
    return Section("Noisy and shortened histories", header, tuple(rows), notes)


def _spread(found: Any) -> str:
    return f"{found.mean():.4f}" + (f" ± {found.std(ddof=1):.4f}" if len(found) > 1 else "")


def _against(differences: Any) -> str:
    if not len(differences):
        return "-"
    if len(differences) == 1:
        return f"{differences[0]:+.4f}"
    found = paired_seeds(differences)
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
