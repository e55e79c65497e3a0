"""A whole study in one call: trained, evaluated, measured, as tables and in its store; what `samrec sweep` does too."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.display import Display, Shown
from landscape.store import Store
from samrec.config import RunConfig
from samrec.data.catalog import open_data
from samrec.experiments.cells import Study
from samrec.experiments.measure import MeasureSettings, measure_study
from samrec.experiments.pretrainings import NONE, Pretrainings
from samrec.experiments.reuse import runs_elsewhere, take
from samrec.experiments.robust import rank_perturbed
from samrec.experiments.studies import study_named
from samrec.experiments.study_figures import rebuild_tables
from samrec.experiments.study_folder import StudyFolder, define, held
from samrec.experiments.sweep import Outcome, sweep
from samrec.experiments.table import Section, table_of


@dataclass(frozen=True, slots=True, repr=False)
class StudyResult(Shown):
    """What came out of a study; its runs, tables and store lie in its folder."""

    folder: StudyFolder
    outcomes: tuple[Outcome, ...]  # how each run ended
    failures: Mapping[str, str]  # what could not be ranked or measured, and why
    sections: tuple[Section, ...] = field(repr=False)  # the tables
    unsettled: tuple[str, ...]  # eigenpairs that did not reach the tolerance, as "run lambda_min"

    @property
    def store(self) -> Store:
        """Measurements, and the tables that figures draw."""
        return Store.read(self.folder.store)

    def _display(self) -> Display:
        study = self.folder.study
        ended = [outcome.status for outcome in self.outcomes]
        counts: dict[str, int] = {status: ended.count(status) for status in dict.fromkeys(ended)}
        notes = [study.question]
        notes += [f"{o.run} {o.status}: {o.message}" for o in self.outcomes if o.status != "finished"]
        notes += [f"{run} not measured: {why}" for run, why in self.failures.items()]
        notes += [f"Did not settle: {', '.join(self.unsettled)}."] if self.unsettled else []
        facts: dict[str, Any] = {"settings": len(study.cells), "seeds": len(self.folder.seeds), **counts}
        return Display("Study", study.name, facts, tuple(map(table_of, self.sections)), tuple(notes))


def run_study(
    study: str | Study,
    base: RunConfig,
    out: Path | str,
    *,
    seeds: Sequence[int] = (1, 2, 3),
    vary: Mapping[str, Sequence[Any]] | None = None,
    pretrainings: Pretrainings = NONE,
    data_dir: Path | None = None,
    workers: int = 1,
    measure: bool | MeasureSettings = False,
    robust: bool = False,
    reuse: Sequence[Path] = (),
    only: Collection[str] = (),
    extend: bool = False,
    device: str = "auto",
    command: str = "",
) -> StudyResult:
    """Take every setting of a study over every seed to its end; interrupted, the same call goes on.

    Args:
        study: its name, "grid" with `vary`, or one made by hand.
        base: the configuration that it changes; its data are the study's.
        out: the study's folder.
        seeds: over which seeds.
        vary: values by field of a grid, the first ones being the baseline.
        pretrainings: what cells of S3-Rec start from.
        data_dir: where to look for the data's name first.
        workers: runs side by side, in processes of one thread; 1 is this process.
        measure: both ends of the spectrum, sharpness and the generalisation gap, or with which settings.
        robust: rank on noisy and on shortened histories too.
        reuse: folders of other studies, whose finished runs of the same data and configuration are taken.
        only: labels of the cells to train this time, or their folders' part of the name; all of them by default.
        extend: let seeds be added to the study that is there.
        device: "auto" is CUDA where there is one.
        command: kept in the provenance of what is measured.

    Returns:
        How every run ended, with the tables; a run that failed is an outcome, not an error.

    Raises:
        ConfigError: no such study or cell, or a study that the base cannot have.
        RunError: the folder holds another study, or another sweep is at work in it.
    """
    wanted = study if isinstance(study, Study) else study_named(study, base, vary, pretrainings)
    labels = wanted.labels_of(only)
    place = Path(out)
    interactions = open_data(base.data, data_dir=data_dir)
    with held(place):
        folder = define(place, wanted, seeds, interactions.fingerprint, extend=extend)
        outcomes, failures = carry_out(
            folder,
            data=base.data,
            data_dir=data_dir,
            workers=workers,
            measure=MeasureSettings(device=device) if measure is True else measure or None,
            robust=robust,
            reuse=reuse,
            only=labels,
            device=device,
            command=command,
        )
        values, sections, _ = rebuild_tables(folder)
    return StudyResult(folder, tuple(outcomes), failures, tuple(sections), tuple(values.unsettled))


def carry_out(
    folder: StudyFolder,
    *,
    data: str,
    data_dir: Path | None,
    workers: int,
    measure: MeasureSettings | None,
    robust: bool,
    reuse: Sequence[Path],
    only: Collection[str] = (),
    device: str,
    seed: int = 0,
    command: str = "",
) -> tuple[list[Outcome], dict[str, str]]:
    """Train and evaluate every run, or those of the cells in `only`; then rank and measure where asked.

    Call it while the folder is `held`.

    Returns:
        An outcome a run, and what could not be ranked or measured, with why.
    """
    take(folder, runs_elsewhere(folder, reuse))
    outcomes = sweep(folder, data=data, data_dir=data_dir, workers=workers, device=device, only=only)
    failures: dict[str, str] = {}
    if robust:
        failures |= rank_perturbed(folder, data=data, data_dir=data_dir, seed=seed, workers=workers)
    if measure:
        failures |= measure_study(
            folder, data=data, data_dir=data_dir, settings=measure, workers=workers, command=command
        )
    return outcomes, failures
