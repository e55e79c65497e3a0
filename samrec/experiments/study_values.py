"""Every number of a study, from its run folders and its `measured.jsonl`: a row a run and quantity.

What tables, figures and statistics say is computed from here. A run that diverged has no numbers: it is counted, not
averaged. Quantities: the test scores by their names; where measured, both ends of the spectrum, every sharpness measure
(named with its setting), both losses of the common objective and their gap.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.sharpness.names import eigenvalue_name, measure_name
from samrec.errors import ProtocolMismatch, RunError
from samrec.evaluation.evaluate import Evaluation, read_evaluation
from samrec.evaluation.metrics import METRICS
from samrec.experiments.cells import Cell
from samrec.experiments.measured_loss import FIELDS as LOSS_FIELDS
from samrec.experiments.measured_loss import MeasuredLoss, loss_measured
from samrec.experiments.measurements import read_measured
from samrec.experiments.study_folder import PlannedRun, StudyFolder
from samrec.training.checkpoint import Run

NOT_BEGUN = "not begun"
LOSSES = ("training loss", "test loss", "generalisation gap")


@dataclass(frozen=True, slots=True)
class StudiedRun:
    """A run of a study with all that is known of it."""

    planned: PlannedRun
    run: Run | None  # None: not begun
    status: str  # "finished", "diverged", "running", "not begun"
    evaluation: Evaluation | None  # of a finished run that was evaluated
    values: Mapping[str, float] = field(default_factory=dict)  # by quantity
    history: Sequence[Mapping[str, Any]] = ()  # the lines of history.jsonl

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.planned.name

    @property
    def record(self) -> Mapping[str, Any]:
        """What run.json says; empty for a run that was not begun."""
        return self.run.record if self.run else {}


@dataclass(frozen=True, slots=True)
class StudyValues:
    """All runs of a study, in its order, and what may be asked of them."""

    folder: StudyFolder
    runs: tuple[StudiedRun, ...]
    measures: tuple[str, ...]  # quantities of curvature and sharpness, in the order they were taken
    unsettled: tuple[str, ...] = ()  # eigenpairs, as "run lambda_min"
    measured_on: Mapping[str, Any] = field(default_factory=dict)  # the objective of curvature and sharpness
    measured_otherwise: tuple[str, ...] = ()  # runs whose curvature and sharpness are of another one: left out

    @property
    def measured_loss(self) -> MeasuredLoss | None:
        """Of curvature and sharpness, None where there are none."""
        if not self.measured_on:
            return None
        return loss_measured(self.measured_on, [cell.config.model_dump() for cell in self.folder.study.cells])

    @property
    def quantities(self) -> tuple[str, ...]:
        """Everything that some run has a value of."""
        known = {name for run in self.runs for name in run.values}
        return tuple(name for name in (*METRICS, *self.measures, *LOSSES) if name in known)

    def of(self, cell: Cell) -> list[StudiedRun]:
        """The runs of a cell, by seed."""
        return [run for run in self.runs if run.planned.cell == cell.label]

    def pairs(self, cell: Cell) -> list[tuple[StudiedRun, StudiedRun]]:
        """(baseline, other) of one seed each, for the cell it is compared with; both evaluated."""
        against = {
            run.planned.seed: run
            for run in self.runs
            if run.planned.cell == cell.against and run.evaluation is not None
        }
        others = [run for run in self.of(cell) if run.evaluation is not None]
        return [(against[run.planned.seed], run) for run in others if run.planned.seed in against]

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Evaluated runs that nothing was measured of, in a study of which something was."""
        return tuple(run.name for run in self.runs if self.measures and run.evaluation and LOSSES[-1] not in run.values)

    def column(self, quantity: str) -> NDArray[np.float64]:
        """The quantity of every run, NaN where it has none."""
        return np.array([run.values.get(quantity, np.nan) for run in self.runs], dtype=np.float64)


def read_values(folder: StudyFolder, objective: tuple[Any, ...] | None = None) -> StudyValues:
    """Read everything a study has so far.

    Args:
        folder: the study.
        objective: whose curvature and sharpness count, as `objective_key` has it; by default that of the most runs.

    Raises:
        RunError: a folder holds another run than the study's, or an evaluation that cannot be read.
        ProtocolMismatch: evaluations that may not stand in one table.
    """
    evaluated = {}
    states = {}
    for planned in folder.runs:
        run = folder.run(planned)
        status = str(run.record["status"]) if run else NOT_BEGUN
        if run is not None and status == "finished":
            try:
                evaluated[planned.name] = read_evaluation(run.path)
            except RunError:
                status = "not evaluated"
        states[planned.name] = (run, status)
    found = _measured(folder, evaluated, objective)
    runs = []
    for planned in folder.runs:
        evaluation = evaluated.get(planned.name)
        scores = dict(evaluation.metrics) if evaluation else {}
        values = {**scores, **found.values.get(planned.name, {})}
        run, status = states[planned.name]
        runs.append(StudiedRun(planned, run, status, evaluation, values, run.history() if run else ()))
    check_protocols({run.name: run.evaluation for run in runs if run.evaluation is not None})
    return StudyValues(folder, tuple(runs), found.measures, found.unsettled, found.objective, found.otherwise)


@dataclass(frozen=True, slots=True)
class _Measurements:
    """What is kept of a study's runs."""

    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by run
    measures: tuple[str, ...] = ()
    unsettled: tuple[str, ...] = ()
    objective: Mapping[str, Any] = field(default_factory=dict)  # of the most runs, the first of equals
    otherwise: tuple[str, ...] = ()  # runs measured on another one: their gap alone counts


def _measured(
    folder: StudyFolder, evaluated: Mapping[str, Evaluation], objective: tuple[Any, ...] | None
) -> _Measurements:
    """Of runs that are evaluated, with the weights that the evaluation is of."""
    kept = read_measured(folder.measured)
    names = [name for name, found in evaluated.items() if name in kept and kept[name].checkpoint.hash == found.weights]
    pairs = {name: kept[name].eigenpairs for name in names}
    counted = Counter(objective_key(found.provenance.objective) for found in pairs.values())
    (most, _), *_ = counted.most_common(1) or [((), 0)]
    chosen = most if objective is None else objective
    alike = [name for name in names if objective_key(pairs[name].provenance.objective) == chosen]
    gaps = {name: kept[name].gap for name in names}
    values = {
        name: dict(zip(LOSSES, (gap.training_loss, gap.test_loss, gap.gap), strict=True)) for name, gap in gaps.items()
    }
    measures: dict[str, None] = {}
    unsettled = []
    for name in alike:
        labels = list(map(eigenvalue_name, pairs[name].labels))
        own = {label: float(value) for label, value in zip(labels, pairs[name].values, strict=True)}
        sharpness = {measure_name(measure): float(measure.value) for measure in kept[name].sharpness.measures}
        own |= {key: value for key, value in sharpness.items() if key not in own}
        measures |= dict.fromkeys(own)
        values[name] = own | values[name]
        unsettled += [f"{name} {label}" for label, ok in zip(labels, pairs[name].converged, strict=True) if not ok]
    return _Measurements(
        values=values,
        measures=tuple(measures),
        unsettled=tuple(unsettled),
        objective=dict(pairs[alike[0]].provenance.objective) if alike else {},
        otherwise=tuple(name for name in names if name not in alike),
    )


def objective_key(objective: Mapping[str, Any]) -> tuple[Any, ...]:
    """Equal where curvature and sharpness are of one loss and the same users."""
    return tuple(objective.get(name) for name in (*LOSS_FIELDS, "split", "units", "targets", "seed"))


def check_protocols(evaluated: Mapping[str, Evaluation]) -> None:
    """Raise ProtocolMismatch for evaluations, by the name of their run, that may not stand in one table."""
    for name, evaluation in evaluated.items():
        first_name, first = next(iter(evaluated.items()))
        if evaluation.protocol != first.protocol or not np.array_equal(evaluation.users, first.users):
            raise ProtocolMismatch(
                f"expected evaluations of one protocol and the same users, got {first_name} ({first.protocol[:12]}, "
                f"{len(first.users):,} users) and {name} ({evaluation.protocol[:12]}, {len(evaluation.users):,} users)"
            )
