"""Runs of several studies together: does any measure of sharpness order all of them as they generalise?

One study has few runs. Runs of several that were measured on one loss and the same users can be ordered together, and
of runs that trained for unlike times the pairs of like time alone. Runs whose kept weights are equal count once: those
that studies share, and one training that two stop rules leave at the same epoch. What cannot take part is named.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from landscape.records import Table
from samrec.errors import ConfigError, ProtocolMismatch
from samrec.experiments.measurements import Measured, read_measured
from samrec.experiments.members import short_names
from samrec.experiments.relations import GENERALISATION, TITLE, Alike, relations_section, relations_table
from samrec.experiments.study_folder import StudyFolder, open_study
from samrec.experiments.study_values import (
    NOT_BEGUN,
    StudiedRun,
    StudyValues,
    check_protocols,
    objective_key,
    read_values,
)
from samrec.experiments.table import SCALE, Section

BEST_EPOCH, NORM = "best epoch", "‖w‖"  # held against the targets like measures: what a measure has to beat
LIKE_TIME = Alike(BEST_EPOCH, within=0.1)
UNLIKE = "measured on another loss or other users"


@dataclass(frozen=True, slots=True)
class PooledRun:
    """A run under the first study that has it."""

    study: str
    run: StudiedRun
    values: Mapping[str, float]

    @property
    def name(self) -> str:
        """Told apart from runs of that name in other studies."""
        return f"{self.study}/{self.run.name}"

    @property
    def method(self) -> str:
        """Without its settings."""
        return self.run.planned.config.name.partition(" (")[0]


@dataclass(frozen=True, slots=True)
class Pooled:
    """Different runs of several studies, measured alike."""

    studies: tuple[str, ...]
    runs: tuple[PooledRun, ...]
    measures: tuple[str, ...]
    left_out: Mapping[str, tuple[str, ...]]  # by why
    unsettled: tuple[str, ...]  # eigenpairs, as "study/run λmin"
    measured_on: str  # the loss and how many users

    def column(self, quantity: str) -> Float[np.ndarray, " runs"]:
        """The quantity of every run, NaN where it has none."""
        return np.array([one.values.get(quantity, np.nan) for one in self.runs], dtype=np.float64)

    def tables(self, *, seed: int = 0) -> dict[str, Table]:
        """Values, a row a run and quantity, and rank correlations, over pairs of like best epoch too.

        Laid out as those of a study; the seed is that of redraws.
        """
        about = {"studies": list(self.studies)}
        found = relations_table(self.measures, self.column, alike=LIKE_TIME, seed=seed)
        return {
            "values": Table("values", self._values(), {**about, **self._cells()}),
            "relations": Table("relations", found.columns, {**found.attributes, **about}),
        }

    def section(self, table: Table) -> Section:
        """Of rank correlations, with what was put together."""
        found = relations_section(table)
        seeds = len({one.run.planned.seed for one in self.runs})
        notes = [
            f"{len(self.runs)} runs of {seeds} seeds, of {', '.join(self.studies)}. Runs whose kept weights are equal "
            "count once. Runs of one seed share its random draws where their settings allow it, and one training that "
            "two stop rules ended is two runs: fewer are independent than there are.",
            *found.notes,
            f"Curvature and sharpness: of the frozen {self.measured_on}, the same for every run; the gap: of full "
            "cross-entropy over all items: training loss of the users trained on, test loss of all.",
            "The best epoch counts passes over the data, without S3-Rec's pre-training; ‖w‖ and the best epoch are no "
            "measures of sharpness: they are what one has to beat.",
            SCALE,
            *(f"{name} did not settle." for name in self.unsettled),
            *(f"Left out, {why}: {', '.join(names)}." for why, names in self.left_out.items()),
        ]
        return Section(TITLE, found.header, found.rows, tuple(notes))

    def _values(self) -> dict[str, Any]:
        quantities = (*self.measures, *GENERALISATION)
        rows = [(one, name) for name in quantities for one in self.runs if name in one.values]
        texts = {"run": "name", "cell": "method", "line": "method"}
        return {
            **{name: np.array([getattr(one, of) for one, _ in rows], dtype=np.str_) for name, of in texts.items()},
            "setting": np.full(len(rows), np.nan),
            "seed": np.array([one.run.planned.seed for one, _ in rows], dtype=np.int64),
            "quantity": np.array([name for _, name in rows], dtype=np.str_),
            "value": np.array([one.values[name] for one, name in rows], dtype=np.float64),
        }

    def _cells(self) -> dict[str, Any]:
        methods = list(dict.fromkeys(one.method for one in self.runs))
        return {"axis": None, "cells": methods, "measures": list(self.measures)}


def pooled(folders: Sequence[Path], *, leave_out: Sequence[str] = ()) -> Pooled:
    """The measured runs of several studies of one data set; of different losses the one of the most runs.

    Args:
        folders: of the studies, or of their records without weights.
        leave_out: runs that shall not count, as STUDY/RUN, such as all but one of near copies; nor do those of other
            studies whose kept weights are theirs.

    Raises:
        ConfigError: no study, one of them twice, fewer than two runs measured alike, or a run to leave out that is
            not there.
        RunError: a folder without a study, or with one that cannot be read.
        ProtocolMismatch: studies of different data, or evaluated under different protocols.
    """
    resolved = [Path(folder).resolve() for folder in folders]
    if not resolved or len(set(resolved)) < len(resolved):
        raise ConfigError(
            f"expected folders of different studies, at least one, got {', '.join(map(str, folders)) or 'none'}"
        )
    names = short_names(resolved)
    studies = {name: open_study(folder) for name, folder in zip(names, resolved, strict=True)}
    _check_data(studies)
    records = {name: read_measured(study.measured) for name, study in studies.items()}
    most = _most_measured(records)
    values = {name: read_values(study, most) for name, study in studies.items()}
    check_protocols(
        {f"{name}/{run.name}": run.evaluation for name, of in values.items() for run in of.runs if run.evaluation}
    )
    known = {f"{name}/{run.name}": run for name, of in values.items() for run in of.runs}
    if unknown := set(leave_out) - set(known):
        raise ConfigError(f"expected runs to leave out as STUDY/RUN of {', '.join(names)}, got {min(unknown)}")
    asked = {_weights(known[name]) for name in leave_out} - {""}
    runs: dict[str, PooledRun] = {}
    others: list[tuple[str, str, str]] = []
    for name, of in values.items():
        for run in of.runs:
            if why := _why_not(of, run, asked=_weights(run) in asked or f"{name}/{run.name}" in leave_out):
                if run.status != NOT_BEGUN:
                    others.append((why, f"{name}/{run.name}", _weights(run)))
                continue
            record = records[name][run.name]
            more = {NORM: record.checkpoint.norm, BEST_EPOCH: float(run.record["best"]["epoch"])}
            runs.setdefault(_weights(run), PooledRun(name, run, {**run.values, **more}))
    if len(runs) < 2:
        raise ConfigError(f"expected at least two runs measured alike in {', '.join(names)}, got {len(runs)}")
    left: dict[str, list[str]] = {}
    for why, who, weights in others:
        if weights not in runs:
            left.setdefault(why, []).append(who)
    loss = next(of.measured_loss for of in values.values() if of.measures)
    users = next(of.measured_on["units"] for of in values.values() if of.measures)
    unsettled = {f"{name}/{what}" for name, of in values.items() for what in of.unsettled}
    measures = dict.fromkeys(measure for of in values.values() for measure in of.measures)
    return Pooled(
        studies=tuple(names),
        runs=tuple(runs.values()),
        measures=(*measures, NORM, BEST_EPOCH),
        left_out={why: tuple(who) for why, who in left.items()},
        unsettled=tuple(what for one in runs.values() for what in sorted(unsettled) if what.startswith(f"{one.name} ")),
        measured_on=f"{loss} training loss of {users:,} users",
    )


def _check_data(studies: Mapping[str, StudyFolder]) -> None:
    first, *others = studies
    for name in others:
        if (data := studies[name].data) != (there := studies[first].data):
            raise ProtocolMismatch(
                f"expected studies of one data set, got {first} ({there[:12]}) and {name} ({data[:12]})"
            )


def _most_measured(records: Mapping[str, Mapping[str, Measured]]) -> tuple[Any, ...]:
    """The loss and users of the most different weights, the first of equals."""
    keys = {
        (record.checkpoint.hash, objective_key(record.eigenpairs.provenance.objective)): None
        for kept in records.values()
        for record in kept.values()
    }
    (most, _), *_ = Counter(key for _, key in keys).most_common(1) or [((), 0)]
    return most


def _weights(run: StudiedRun) -> str:
    """The hash of its kept weights; empty where it was not evaluated."""
    return run.evaluation.weights if run.evaluation else ""


def _why_not(values: StudyValues, run: StudiedRun, *, asked: bool) -> str:
    """What keeps a run out; empty if nothing does."""
    if asked:
        return "as asked"
    if run.evaluation is None:
        return run.status
    if run.name in values.measured_otherwise:
        return UNLIKE
    return "" if any(name in run.values for name in values.measures) else "not measured"
