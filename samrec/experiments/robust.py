"""Rank the runs of a study on noisy and on shortened histories, into its `robust.jsonl` and its store.

The same noise for every run: items replaced by ones the user never had, each place with the probability asked for; and
only the newest items read. Targets and candidates stay those of the clean ranking (`samrec.evaluation.robustness`).
What is kept of the same weights is not ranked again.
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
from samrec.experiments.measurements import read_lines, write_lines
from samrec.experiments.study_folder import PlannedRun, StudyFolder
from samrec.experiments.sweep import answers, best_weights
from samrec.training.checkpoint import Run

NOISE = (0.1, 0.2, 0.4)  # shares of replaced items
NEWEST = (1, 2, 5, 10)  # how many items are read
METRICS = ("HR@10", "NDCG@10")
TABLE = "robustness"  # of the store's /studies


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one run under one perturbation."""

    kind: str  # "replace" or "truncate"
    amount: float  # share of noise, or items read; 0 and the model's length are the clean histories
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class Scores:
    """All of a run, and the weights they are of."""

    weights: str
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class RankingTask:
    """Ranks runs on perturbed histories; nothing is written by a worker."""

    folder: Path
    data: str
    data_dir: Path | None
    seed: int

    def open(self) -> Callable[[PlannedRun], Scores | Unmeasured]:
        """The function that ranks one run."""
        interactions = open_data(self.data, data_dir=self.data_dir)

        def rank(planned: PlannedRun) -> Scores | Unmeasured:
            try:
                model = Run(self.folder / planned.name).load_model("best")
                longest = model.max_length
                found = robustness(
                    model,
                    held_out(interactions, "test", longest, holdout=planned.config.holdout),
                    noise=NOISE,
                    truncate=[newest for newest in NEWEST if newest < longest],
                    seed=self.seed,
                    metrics=METRICS,
                )
            except (SamrecError, LandscapeError) as error:
                return Unmeasured(" ".join(str(error).split()))
            clean = [("replace", 0.0, found.metrics), ("truncate", float(longest), found.metrics)]
            rows = [*clean, *((p.kind, float(p.amount), p.metrics) for p in found.perturbed)]
            scores = (Score(kind, amount, name, metrics[name]) for kind, amount, metrics in rows for name in METRICS)
            return Scores(content_hash(model.state_dict()), tuple(scores))

        return rank


def rank_perturbed(
    study: StudyFolder, *, data: str, data_dir: Path | None = None, seed: int = 0, workers: int = 1
) -> dict[str, str]:
    """Rank every finished run on perturbed histories and keep the scores. Call it while the folder is `held`.

    Eight rankings a run. Returns runs that could not be ranked, each with why.
    """
    known = read_scores(study.robust)
    finished = [(planned, run) for planned in study.runs if (run := finished_run(study, planned))]
    left = [(planned, run) for planned, run in finished if not _is_ranked(known, run)]
    failures = {planned.name: NO_WEIGHTS for planned, run in left if run.is_bare}
    waiting = [planned for planned, run in left if not run.is_bare]
    task = RankingTask(study.path.resolve(), data, data_dir, seed)
    with progress(f"perturbed histories, {study.study.name}", len(finished)) as advance:
        advance(len(finished) - len(waiting))
        for planned, answer in answers(task, waiting, workers):
            if isinstance(answer, Scores):
                known[planned.name] = answer
                write_lines(study.robust, {p.name: known[p.name] for p in study.runs if p.name in known})
            else:
                failures[planned.name] = " ".join(str(answer).split()) if isinstance(answer, WorkerDied) else answer.why
            advance(1, last=planned.name)
    return failures


def read_scores(path: Path) -> dict[str, Scores]:
    """What a study's `robust.jsonl` holds, by run; RunError names a line that cannot be read."""
    return read_lines(path, _scores)


def _scores(content: dict[str, Any]) -> Scores:
    rows = [(str(s["kind"]), float(s["amount"]), str(s["metric"]), float(s["value"])) for s in content["scores"]]
    return Scores(str(content["weights"]), tuple(Score(*row) for row in rows))


def _is_ranked(known: dict[str, Scores], run: Run) -> bool:
    return run.name in known and known[run.name].weights == best_weights(run)


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
        {"noise": list(NOISE), "newest": list(NEWEST), "split": "test"},
    )
