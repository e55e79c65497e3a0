"""Rank the runs of a study on noisy and on shortened histories, into its `robust.jsonl` and its store.

The same noise for every run that reads as many items: items replaced by ones the user never had, each place with the
probability asked for; and only the newest items read. Targets and candidates stay those of the clean ranking
(`samrec.evaluation.robustness`). What is kept of the same weights under the same perturbations, their seed included, is
not ranked again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import LandscapeError, WorkerDied
from landscape.parameters import content_hash
from landscape.progress import progress
from landscape.records import Table
from samrec.data.catalog import open_data
from samrec.errors import SamrecError
from samrec.evaluation.held_out import held_out
from samrec.evaluation.robustness import robustness
from samrec.experiments.measure import NO_WEIGHTS, Unmeasured, finished_run
from samrec.experiments.measurements import as_json, read_lines, write_lines
from samrec.experiments.study_folder import PlannedRun, StudyFolder
from samrec.experiments.sweep import answers, best_weights, one_line
from samrec.training.checkpoint import Run

NOISE = (0.1, 0.2, 0.4)  # shares of replaced items
NEWEST = (1, 2, 5, 10)  # how many items are read
METRICS = ("HR@10", "NDCG@10")
TABLE = "robustness"  # of the store's /studies
OTHER_NOISE = "ranked before, but not on these perturbed histories"


@dataclass(frozen=True, slots=True)
class Perturbations:
    """What was done to the histories; scores of one table share it."""

    seed: int  # of the noise
    noise: tuple[float, ...] = NOISE
    newest: tuple[int, ...] = NEWEST  # those below the model's length


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one run under one perturbation."""

    kind: str  # "replace" or "truncate"
    amount: float  # share of noise, or items read; 0 and the model's length are the clean histories
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class Scores:
    """All of a run, with the weights and the perturbations they are of."""

    weights: str
    perturbations: Perturbations | None  # None in records from before they were kept: not known to be anyone else's
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class RankingTask:
    """Ranks runs on perturbed histories; nothing is written by a worker."""

    folder: Path
    data: str
    data_dir: Path | None
    perturbations: Perturbations

    def open(self) -> Callable[[PlannedRun], Scores | Unmeasured]:
        """The function that ranks one run."""
        interactions = open_data(self.data, data_dir=self.data_dir)
        asked = self.perturbations

        def rank(planned: PlannedRun) -> Scores | Unmeasured:
            try:
                model = Run(self.folder / planned.name).load_model("best")
                longest = model.max_length
                found = robustness(
                    model,
                    held_out(interactions, "test", longest, holdout=planned.config.holdout),
                    noise=asked.noise,
                    truncate=[newest for newest in asked.newest if newest < longest],
                    seed=asked.seed,
                    metrics=METRICS,
                )
            except (SamrecError, LandscapeError) as error:
                return Unmeasured(one_line(error))
            clean = [("replace", 0.0, found.metrics), ("truncate", float(longest), found.metrics)]
            rows = [*clean, *((p.kind, float(p.amount), p.metrics) for p in found.perturbed)]
            scores = (Score(kind, amount, name, metrics[name]) for kind, amount, metrics in rows for name in METRICS)
            return Scores(content_hash(model.state_dict()), asked, tuple(scores))

        return rank


def rank_perturbed(
    study: StudyFolder, *, data: str, data_dir: Path | None = None, seed: int = 0, workers: int = 1
) -> dict[str, str]:
    """Rank every finished run on perturbed histories and keep the scores. Call it while the folder is `held`.

    Eight rankings a run. What was ranked with noise of another seed, or before its seed was kept, is ranked again.
    Returns runs that could not be ranked, each with why.
    """
    known = read_scores(study.robust)
    asked = Perturbations(seed)
    finished = [(planned, run) for planned in study.runs if (run := finished_run(study, planned))]
    failures: dict[str, str] = {}
    waiting: list[PlannedRun] = []
    for planned, run in finished:
        try:
            if _is_ranked(known.get(planned.name), run, asked):
                continue
        except SamrecError as error:  # its weights cannot be read, which is no other run's matter
            failures[planned.name] = one_line(error)
            continue
        if run.is_bare:
            failures[planned.name] = f"{OTHER_NOISE}, and {NO_WEIGHTS}" if planned.name in known else NO_WEIGHTS
        else:
            waiting.append(planned)
    task = RankingTask(study.path.resolve(), data, data_dir, asked)
    with progress(f"perturbed histories, {study.study.name}", len(finished)) as advance:
        advance(len(finished) - len(waiting))
        for planned, answer in answers(task, waiting, workers):
            if isinstance(answer, Scores):
                known[planned.name] = answer
                write_lines(study.robust, {p.name: known[p.name] for p in study.runs if p.name in known})
            else:
                failures[planned.name] = one_line(answer) if isinstance(answer, WorkerDied) else answer.why
            advance(1, last=planned.name)
    return failures


def read_scores(path: Path) -> dict[str, Scores]:
    """What a study's `robust.jsonl` holds, by run; RunError names a line that cannot be read."""
    return read_lines(path, _scores)


def _scores(content: dict[str, Any]) -> Scores:
    rows = [(str(s["kind"]), float(s["amount"]), str(s["metric"]), float(s["value"])) for s in content["scores"]]
    kept = content.get("perturbations")
    perturbations = kept and Perturbations(
        int(kept["seed"]), tuple(map(float, kept["noise"])), tuple(map(int, kept["newest"]))
    )
    return Scores(str(content["weights"]), perturbations, tuple(Score(*row) for row in rows))


def _is_ranked(found: Scores | None, run: Run, asked: Perturbations) -> bool:
    """Raises SamrecError where the run's weights cannot be read."""
    return found is not None and found.perturbations == asked and found.weights == best_weights(run)


def scores_table(known: Mapping[str, Scores]) -> Table:
    """As the store keeps it: a row a run and score."""
    rows = [(run, found.weights, score) for run, found in known.items() for score in found.scores]
    return Table(
        TABLE,
        {
            "run": np.array([run for run, *_ in rows], dtype=np.str_),
            "weights": np.array([weights for _, weights, _ in rows], dtype=np.str_),
            "kind": np.array([score.kind for *_, score in rows], dtype=np.str_),
            "amount": np.array([score.amount for *_, score in rows], dtype=np.float64),
            "metric": np.array([score.metric for *_, score in rows], dtype=np.str_),
            "value": np.array([score.value for *_, score in rows], dtype=np.float64),
        },
        {"perturbations": {run: as_json(found.perturbations) for run, found in known.items()}, "split": "test"},
    )
