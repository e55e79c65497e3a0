"""Train and evaluate every run of a study, side by side in one-thread processes; going on where an earlier sweep ended.

A run is done when it is finished and its kept evaluation is of its best weights, or when it diverged; one that was kept
without its weights is as done as it was with them. Everything else
is begun, or resumed from its last epoch. A run that fails, or a worker that is killed, keeps no other run from its end.
"""

import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from landscape.devices import choose_device
from landscape.errors import LandscapeError, WorkerDied
from landscape.executors.here import Here, Pool
from landscape.executors.protocol import Executor, Task
from landscape.parameters import content_hash
from landscape.progress import progress
from samrec.data.catalog import open_data
from samrec.errors import Diverged, RunError, SamrecError
from samrec.evaluation.evaluate import evaluate_run, read_evaluation
from samrec.experiments.study_folder import PlannedRun, StudyFolder
from samrec.training.checkpoint import Run
from samrec.training.trainer import train

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run of a sweep ended."""

    run: str
    status: Literal["finished", "diverged", "failed"]
    message: str = ""  # why it diverged or failed, in one line
    bug: str = ""  # a traceback, where the failure is none that is raised on purpose
    worked: bool = True  # False: it was done before


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """Trains and evaluates runs; a worker opens the data once."""

    folder: Path
    data: str
    data_dir: Path | None
    fingerprint: str
    device: str

    def open(self) -> Callable[[PlannedRun], Outcome]:
        """The function that takes one run to its end."""
        interactions = open_data(self.data, data_dir=self.data_dir)
        if interactions.fingerprint != self.fingerprint:
            raise RunError(f"expected the study's data ({self.fingerprint[:12]}), got {interactions.fingerprint[:12]}")
        device = choose_device(self.device)

        def finish(planned: PlannedRun) -> Outcome:
            folder = self.folder / planned.name
            try:
                run = train(planned.config, interactions, folder, resume=True, device=device, show=False)
                evaluate_run(run, "test", interactions=interactions, device=device)
            except Diverged as error:
                return Outcome(planned.name, "diverged", one_line(error))
            except (SamrecError, LandscapeError, OSError, MemoryError) as error:
                return Outcome(planned.name, "failed", one_line(error))
            except Exception as error:
                return Outcome(planned.name, "failed", one_line(repr(error)), traceback.format_exc())
            return Outcome(planned.name, "finished")

        return finish


def sweep(
    study: StudyFolder,
    *,
    data: str,
    data_dir: Path | None = None,
    workers: int = 1,
    device: str = "auto",
    only: Collection[str] = (),
) -> list[Outcome]:
    """Take every run of a study to its end, or those of some cells. Call it while the folder is `held`.

    Args:
        study: what to run and where.
        data: the interactions by name or path, for the workers to open.
        data_dir: where to look for a name first.
        workers: processes of one thread each; 1 is this process, on one thread while it lasts.
        device: "auto" is CUDA where there is one.
        only: labels of the cells to train this time; all of them by default.

    Returns:
        An outcome a run, in the study's order; none for runs that wait for another time.

    Raises:
        RunError: a folder holds another run than the study's.
    """
    outcomes = {planned.name: done(study, planned) for planned in study.runs}
    left = [planned for planned in study.runs if outcomes[planned.name] is None]
    waiting = [planned for planned in left if not only or planned.cell in only]
    task = TrainingTask(study.path.resolve(), data, data_dir, study.data, device)
    with progress(f"runs of {study.study.name}", len(study.runs)) as advance:
        advance(len(study.runs) - len(left))
        for planned, answer in answers(task, waiting, workers):
            outcome = Outcome(planned.name, "failed", one_line(answer)) if isinstance(answer, WorkerDied) else answer
            outcomes[planned.name] = outcome
            advance(1, last=f"{planned.name} {outcome.status}")
    return [known for planned in study.runs if (known := outcomes[planned.name])]


def done(study: StudyFolder, planned: PlannedRun) -> Outcome | None:
    """How a run ended in an earlier sweep; None if there is anything left to do."""
    run = study.run(planned)
    if run is None:
        return None
    if run.record["status"] == "diverged":
        return Outcome(planned.name, "diverged", run.record.get("message", ""), worked=False)
    if run.record["status"] != "finished" or not is_evaluated(run):
        return None
    return Outcome(planned.name, "finished", worked=False)


def is_evaluated(run: Run) -> bool:
    """Whether the kept evaluation on test is whole and of the run's best weights.

    Of a run without weights it counts as it is, as long as the whole history stands beside it.
    """
    try:
        if run.is_bare and len(run.history()) != run.record["cost"]["epochs"]:
            return False
        return read_evaluation(run.path).weights == best_weights(run)
    except SamrecError:
        return False


def best_weights(run: Run) -> str:
    """The hash of a run's best weights; where its weights are gone, of those its evaluation is of."""
    if run.is_bare:
        return read_evaluation(run.path).weights
    return content_hash(run.load_model("best").state_dict())


def answers(
    task: Task[Item, Answer], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Answer | WorkerDied]]:
    """Every item with its answer, or with the death of the worker that held it; one thread each.

    A death stops the other workers too; they are started again on what is left, which loses what an item cannot resume.
    """
    left = list(items)
    executor: Executor = Here() if workers == 1 else Pool(workers, in_flight=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        while left:
            try:
                for item, answer in executor.run(task, left):
                    left = [other for other in left if other is not item]
                    yield item, answer
            except WorkerDied as death:
                lost: Sequence[Any] = death.items
                left = [item for item in left if all(item is not one for one in lost)]
                for item in lost:
                    yield item, death
                if not lost:
                    raise
    finally:
        torch.set_num_threads(threads)


def one_line(problem: object) -> str:
    """What went wrong, as outcomes tell it."""
    return " ".join(str(problem).split())
