"""Measure the runs of a study: both ends of the spectrum, sharpness, and the generalisation gap, into its store.

All runs are measured on the same users and negatives, with the same starts and noise. The generalisation gap is

    gap = L_test - L_train        positive: worse on what it has not seen (some texts use the opposite sign)

both losses being full cross-entropy over all items with dropout off, whatever a run was trained with: L_train over the
training targets of the users it was trained on, L_test over every user's test target. What is kept (`measurements`) of
the same weights and settings is not measured again. A run without weights is told as such.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landscape.curvature.ends import eigenpairs_of
from landscape.describe import checkpoint_record
from landscape.errors import LandscapeError, WorkerDied
from landscape.objective import loss_at
from landscape.progress import progress
from landscape.sharpness.summary import sharpness_report
from landscape.store import Store
from samrec.config import RunConfig
from samrec.data.catalog import open_data
from samrec.data.interactions import Interactions
from samrec.data.split import Sequences, training_sequences
from samrec.errors import ConfigError, SamrecError
from samrec.experiments.measured_loss import COMMON_LOSS, MeasuredLoss, measured_loss
from samrec.experiments.measurements import Gap, Measured, gaps_table, put, read_measured, write_measured
from samrec.experiments.study_folder import PlannedRun, StudyFolder
from samrec.experiments.sweep import answers, best_weights, is_evaluated, one_line
from samrec.models.losses import loss_named
from samrec.objective import SequenceObjective, load
from samrec.training.checkpoint import Run
from samrec.training.draws import rows_trained_on

NO_WEIGHTS = "its weights are not here"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSettings:
    """What is measured of every run."""

    users: int | None = 2048  # for curvature and sharpness, drawn from `seed`; the gap takes all
    loss: str | None = None  # for curvature and sharpness, see `measured_loss`
    seed: int = 0
    tolerance: float = 1e-3
    max_products: int = 500  # of a run
    pairs: int = 20  # of noise, antithetic
    device: str = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"expected a relative tolerance between 0 and 1, got {self.tolerance}")
        for name, least in (("users", 1), ("max_products", 1), ("pairs", 2), ("seed", 0)):
            if (number := getattr(self, name)) is not None and number < least:
                raise ConfigError(f"expected {name.replace('_', ' ')} of at least {least}, got {number}")
        if self.loss is not None:
            loss_named(self.loss)


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A run that could not be measured, and why: its loss or its scores are not finite, or it cannot be read."""

    why: str


@dataclass(frozen=True, slots=True)
class MeasuringTask:
    """Measures runs; nothing is written by a worker."""

    folder: Path
    data: str
    data_dir: Path | None
    settings: MeasureSettings
    loss: MeasuredLoss
    command: str

    def open(self) -> Callable[[PlannedRun], Measured | Unmeasured]:
        """The function that measures one run."""
        interactions = open_data(self.data, data_dir=self.data_dir)
        source = interactions.source if Path(interactions.source).is_file() else self.data

        def measure(planned: PlannedRun) -> Measured | Unmeasured:
            try:
                return measured(planned)
            except (SamrecError, LandscapeError) as error:
                return Unmeasured(one_line(error))

        def measured(planned: PlannedRun) -> Measured:
            s, name, folder = self.settings, planned.name, self.folder / planned.name
            objective = load(
                f"{folder}@best",
                users=users_of(s, interactions, planned.config),
                **self.loss.options,
                seed=s.seed,
                device=s.device,
                data=source,
            )
            shared: dict[str, Any] = {"name": name, "checkpoint": name, "seed": s.seed, "command": self.command}
            pairs = eigenpairs_of(objective, tolerance=s.tolerance, max_products=s.max_products, **shared)
            report = sharpness_report(objective, pairs=s.pairs, eigenpairs=pairs, **shared)
            gap = generalisation_gap(Run(folder), interactions, device=str(objective.device))
            return Measured(checkpoint_record(objective, name), pairs, report, gap)

        return measure


def measure_study(
    study: StudyFolder,
    *,
    data: str,
    data_dir: Path | None = None,
    settings: MeasureSettings | None = None,
    workers: int = 1,
    command: str = "",
) -> dict[str, str]:
    """Measure every finished run, and keep it in the study's store and as text. Call it while the folder is `held`.

    Returns:
        Runs that could not be measured, each with why.
    """
    finished = [(planned, run) for planned in study.runs if (run := finished_run(study, planned))]
    if not finished:
        return {}
    settings = settings or MeasureSettings()
    loss = measured_loss([cell.config.model_dump() for cell in study.study.cells], settings.loss)
    interactions = open_data(data, data_dir=data_dir)
    failures: dict[str, str] = {}
    with Store.write(study.store) as store:
        kept = read_measured(study.measured)
        left = []
        for planned, run in finished:
            try:
                if not is_measured(kept.get(planned.name), run, settings, loss, interactions):
                    left.append((planned, run))
            except SamrecError as error:
                failures[planned.name] = one_line(error)
        failures |= {planned.name: NO_WEIGHTS for planned, run in left if run.is_bare}
        waiting = [planned for planned, run in left if not run.is_bare]
        task = MeasuringTask(study.path.resolve(), data, data_dir, settings, loss, command)
        with progress(f"measuring {study.study.name}", len(finished)) as advance:
            advance(len(finished) - len(waiting))
            for planned, answer in answers(task, waiting, workers):
                if isinstance(answer, WorkerDied):
                    failures[planned.name] = one_line(answer)
                elif isinstance(answer, Unmeasured):
                    failures[planned.name] = answer.why
                else:
                    keep(store, study, answer)
                advance(1, last=planned.name)
    return failures


def finished_run(study: StudyFolder, planned: PlannedRun) -> Run | None:
    """A run that has come to its end without diverging; one that is kept without weights, with its evaluation."""
    run = study.run(planned)
    if run is None or run.record["status"] != "finished" or (run.is_bare and not is_evaluated(run)):
        return None
    return run


def is_measured(
    found: Measured | None, run: Run, settings: MeasureSettings, loss: MeasuredLoss, interactions: Interactions
) -> bool:
    """Whether what is kept of a run is of its weights (where they are gone, its evaluation's) and of these settings."""
    if found is None:
        return False
    pairs, report = found.eigenpairs, found.sharpness
    settled = pairs.converged | (pairs.products >= settings.max_products)
    wanted = {
        "data": interactions.fingerprint,
        **loss.facts,
        "seed": settings.seed,
        "units": users_of(settings, interactions, run.config) or len(_training(run.config, interactions)),
    }
    return (
        found.checkpoint.hash == best_weights(run)
        and all(
            record.provenance.objective.get(key) == value for key, value in wanted.items() for record in (pairs, report)
        )
        and pairs.tolerance == settings.tolerance
        and bool(settled.all())
        and {m.setting["pairs"] for m in report.measures if m.measure == "average_case"} == {settings.pairs}
    )


def keep(store: Store, study: StudyFolder, found: Measured) -> None:
    """Keep one run's measurements beside the others: in the store, then as text, with which it counts as measured."""
    name = found.checkpoint.name
    kept = {**read_measured(study.measured), name: found}
    kept = {planned.name: kept[planned.name] for planned in study.runs if planned.name in kept}
    put(store, found)
    store.add_table("studies", gaps_table(kept))
    write_measured(study.measured, kept)


def generalisation_gap(run: Run, interactions: Interactions, *, device: str = "cpu") -> Gap:
    """Both losses on the common objective, with the run's best weights. Two passes over the data, one without inputs
    but the newest: each scores every item at every target.
    """
    model = run.load_model("best")
    train, test = (
        SequenceObjective(model, interactions, loss=COMMON_LOSS, split=split, holdout=run.config.holdout, device=device)
        for split in ("train", "test")
    )
    sequences = _training(run.config, interactions)
    learnt = sequences.users[
        rows_trained_on(np.arange(len(sequences)), fraction=run.config.data_fraction, seed=run.config.seed)
    ]
    at_train, at_test = loss_at(train, train.weights), loss_at(test, test.weights)
    own = np.isin(np.concatenate([chunk.users for chunk in train.chunks]), learnt)
    targets = at_train.counts[own].sum()
    return Gap(float(at_train.sums[own].sum() / targets), at_test.value, int(targets), int(at_test.counts.sum()))


def users_of(settings: MeasureSettings, interactions: Interactions, config: RunConfig) -> int | None:
    """How many users are drawn, or None where that would be all of those with a training target."""
    usable = len(_training(config, interactions))
    return None if settings.users is None or settings.users >= usable else settings.users


def _training(config: RunConfig, interactions: Interactions) -> Sequences:
    return training_sequences(interactions, max_length=config.max_length, holdout=config.holdout)
