"""What noisy and shortened histories do to each cell: tables for people and for figures.

A value a run, cell and amount; beside it what is left of the clean score, and the paired difference from the cell it is
compared with, over seeds. One table holds runs ranked under the same perturbations alone: where there are
several kinds, those of most runs, and the other runs are named.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from landscape.records import Table
from samrec.evaluation.paired import paired_seeds
from samrec.experiments.measurements import as_json
from samrec.experiments.robust import METRICS, Perturbations, Scores
from samrec.experiments.study_folder import StudyFolder
from samrec.experiments.table import Section

KINDS = {"replace": ("noise", "share of items replaced"), "truncate": ("truncation", "newest items read")}
SHOWN = "NDCG@10"


def perturbed_tables(study: StudyFolder, known: Mapping[str, Scores], names: Sequence[str]) -> dict[str, Table]:
    """The tables `noise` and `truncation`, laid out as `prepare_study` reads them, of these runs."""
    there = {run.name: known[run.name] for run in study.runs if run.name in known and run.name in names}
    shared = _shared_by_most(there.values())
    left_out = [name for name, found in there.items() if found.perturbations != shared]
    tables = {}
    for kind, (name, axis) in KINDS.items():
        rows = [
            (planned, score)
            for metric in METRICS
            for planned in study.runs
            if planned.name in there and planned.name not in left_out
            for score in there[planned.name].scores
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
            drawn = {"perturbations": as_json(shared), "left_out": left_out}
            tables[name] = Table(name, columns, {**about, **drawn})
    return tables


def robustness_section(study: StudyFolder, tables: Mapping[str, Table]) -> Section:
    """A row a cell and perturbation."""
    rows, notes = [], []
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
        notes = _drawn_notes(tables[name])
        for cell in study.study.cells:
            amounts = sorted({amount for label, amount, *_ in value if label == cell.label})
            if not amounts:
                continue
            clean = amounts[0] if name == "noise" else amounts[-1]  # the whole of what its own model reads
            seeds = [seed for seed in study.seeds if (cell.label, clean, SHOWN, seed) in value]
            for amount in amounts:
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
    notes += [
        f"Left: the share of the run's clean {SHOWN}, mean over seeds. Difference: {SHOWN} against the cell it is "
        "compared with, over seeds, 95 % t interval; not corrected for many comparisons.",
    ]
    header = ("cell", "histories", *METRICS, f"{SHOWN} left", "difference", "seeds")
    return Section("Noisy and shortened histories", header, tuple(rows), tuple(notes))


def _shared_by_most(found: Iterable[Scores]) -> Perturbations | None:
    """The perturbations of most runs, of equally many those met first; None only where no run's are known."""
    counts = Counter(scores.perturbations for scores in found if scores.perturbations is not None)
    return counts.most_common(1)[0][0] if counts else None


def _drawn_notes(table: Table) -> list[str]:
    """How the histories were perturbed, and whose scores are of other ones."""
    drawn, left_out = table.attributes["perturbations"], table.attributes["left_out"]
    clean = "Targets and candidates are those of the clean ranking; noise is drawn outside the user's whole sequence"
    adding = "a larger share adding to a smaller one"
    if drawn is None:
        notes = [
            f"{clean}, {adding}. Its seed was not kept, and runs may differ in it: `samrec sweep --robust` ranks again."
        ]
    else:
        notes = [f"{clean} from seed {drawn['seed']}, the same for every run that reads as many items, {adding}."]
    if left_out:
        notes.append(f"Left out, ranked with noise of another seed or of an unknown one: {', '.join(left_out)}.")
    return notes


def _spread(found: Any) -> str:
    return f"{found.mean():.4f}" + (f" ± {found.std(ddof=1):.4f}" if len(found) > 1 else "")


def _against(differences: Any) -> str:
    if not len(differences):
        return "-"
    if len(differences) == 1:
        return f"{differences[0]:+.4f}"
    found = paired_seeds(differences)
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
