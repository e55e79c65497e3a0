"""Runs of several studies together: does any measure of sharpness order all of them as they generalise?

One study has few runs. Runs of several that were measured on one loss and the same users can be ordered together, and
what sets them apart besides, how long they trained before all, can be taken out. A run that several studies share
counts once, by its weights. One that was measured on another loss or other users, or not at all, is named and left out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from landscape.records import Table
from landscape.store import Store
from samrec.errors import ConfigError, ProtocolMismatch, RunError
from samrec.experiments.figures import ENDINGS
from samrec.experiments.measurements import read_measured
from samrec.experiments.relations import GENERALISATION, TITLE, relations_section, relations_table
from samrec.experiments.study_figures import RELATED
from samrec.experiments.study_folder import DEFINITION, STORE, open_study
from samrec.experiments.study_values import LOSSES, StudiedRun, StudyValues, check_protocols, objective_key, read_values
from samrec.experiments.table import SCALE, Section
from samrec.experiments.table_files import write_tables
from samrec.training.files import check_folder

BEST_EPOCH, NORM = "best epoch", "‖w‖"  # held against the targets like measures: what a measure has to beat


@dataclass(frozen=True, slots=True)
class PooledRun:
    """A run under the first study that has it."""

    study: str  # the name of its folder
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
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by why
    loss: str = ""  # that was measured

    def column(self, quantity: str) -> Float[np.ndarray, " runs"]:
        """The quantity of every run, NaN where it has none."""
        return np.array([one.values.get(quantity, np.nan) for one in self.runs], dtype=np.float64)

    def tables(self, *, seed: int = 0) -> dict[str, Table]:
        """Values, a row a run and quantity, and rank correlations, all given the epoch of the weights too.

        Laid out as those of a study; the seed is that of redraws.
        """
        about = {"studies": list(self.studies)}
        found = relations_table(self.measures, self.column, given=BEST_EPOCH, seed=seed)
        return {
            "values": Table("values", self._values(), {**about, **self._cells()}),
            "relations": Table("relations", found.columns, {**found.attributes, **about}),
        }

    def section(self, table: Table) -> Section:
        """Of rank correlations, with what was put together."""
        found = relations_section(table)
        seeds = len({one.run.planned.seed for one in self.runs})
        notes = [
            f"{len(self.runs)} runs of {seeds} seeds, of {', '.join(self.studies)}; a run that several share counts "
            "once. Runs of one seed saw the same batches and negatives.",
            *found.notes,
            f"Curvature and sharpness: of the frozen {self.loss} training loss of the same users for every run.",
            SCALE,
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


def pooled(folders: Sequence[Path]) -> Pooled:
    """The measured runs of several studies of one data set; of different losses the one of the most runs.

    Raises:
        ConfigError: no study, one of them twice, or fewer than two runs measured alike.
        RunError: a folder without a study, or with one that cannot be read.
        ProtocolMismatch: studies of different data, or evaluated under different protocols.
    """
    resolved = [folder.resolve() for folder in folders]
    names = [folder.name for folder in resolved]
    if not folders or len(set(names)) < len(names):
        raise ConfigError(f"expected folders of different studies, at least one, got {', '.join(names) or 'none'}")
    found = {name: read_values(open_study(folder)) for name, folder in zip(names, resolved, strict=True)}
    _check_data(found)
    check_protocols([run for values in found.values() for run in values.runs])
    counted = Counter[tuple[Any, ...]]()
    for values in found.values():
        counted[objective_key(values.measured_on)] += sum(_is_measured(values, run) for run in values.runs)
    (most, _), *_ = counted.most_common(1)
    runs: dict[str, PooledRun] = {}
    left: dict[str, list[str]] = {}
    for name, values in found.items():
        alike = objective_key(values.measured_on) == most
        for run in values.runs:
            if run.evaluation is None:
                continue
            if not _is_measured(values, run):
                left.setdefault("not measured", []).append(f"{name}/{run.name}")
            elif not alike or run.name in values.measured_otherwise:
                left.setdefault("measured on another loss or other users", []).append(f"{name}/{run.name}")
            else:
                runs.setdefault(run.evaluation.weights, PooledRun(name, run, _with_training(values, run)))
    told = next(str(values.measured_loss) for values in found.values() if objective_key(values.measured_on) == most)
    if len(runs) < 2:
        raise ConfigError(f"expected at least two runs measured alike in {', '.join(names)}, got {len(runs)}")
    measures = dict.fromkeys(measure for values in found.values() for measure in values.measures)
    known = [name for name in measures if any(name in one.values for one in runs.values())]
    return Pooled(
        studies=tuple(names),
        runs=tuple(runs.values()),
        measures=(*known, NORM, BEST_EPOCH),
        left_out={why: tuple(who) for why, who in left.items()},
        loss=told,
    )


def write_pooled(found: Pooled, out: Path, *, seed: int = 0, figures: bool = True) -> tuple[Section, Table, list[Path]]:
    """Tables, a store and figures into a folder; returns rank correlations, for people and plain, and the files.

    Raises:
        RunError: the folder is a study's or a run's, or cannot be written.
    """
    if there := [name for name in (DEFINITION, "run.json") if (out / name).exists()]:
        raise RunError(f"expected another folder than that of a study or a run, got {out}, which has a {there[0]}")
    check_folder(out)
    tables = found.tables(seed=seed)
    section = found.section(tables["relations"])
    written = write_tables(out / "tables", "relations", tables, [section])
    with Store.write(out / STORE) as store:
        for table in tables.values():
            store.add_table("studies", table)
    return section, tables["relations"], [*written, *(_draw(out) if figures else [])]


def _draw(out: Path) -> list[Path]:
    from landscape.plots import matplotlib_figures, plotly_figures, prepare

    (out / "figures").mkdir(exist_ok=True)
    written = []
    store = Store.read(out / STORE)
    known = set(store.table("studies", "relations").columns["measure"].tolist())
    shown = [name for name in (*RELATED, NORM, BEST_EPOCH) if name in known]
    for name, target in (("relation", GENERALISATION[0]), ("relation-gap", GENERALISATION[1])):
        data = prepare.prepare_relation(store, shown, target=target)
        for ending in (*ENDINGS, ".html"):
            drawers = plotly_figures if ending == ".html" else matplotlib_figures
            written.append(drawers.save(drawers.relation(data), out / "figures" / f"{name}{ending}"))
    return written


def _check_data(found: Mapping[str, StudyValues]) -> None:
    first, *others = found
    for name in others:
        if (data := found[name].folder.data) != (there := found[first].folder.data):
            raise ProtocolMismatch(
                f"expected studies of one data set, got {first} ({there[:12]}) and {name} ({data[:12]})"
            )


def _is_measured(values: StudyValues, run: StudiedRun) -> bool:
    """Curvature and sharpness, or the gap alone where they are of another loss."""
    return bool(values.measures) and run.evaluation is not None and LOSSES[-1] in run.values


def _with_training(values: StudyValues, run: StudiedRun) -> dict[str, float]:
    norm = read_measured(values.folder.measured)[run.name].checkpoint.norm
    return {**run.values, NORM: norm, BEST_EPOCH: float(run.record["best"]["epoch"])}
