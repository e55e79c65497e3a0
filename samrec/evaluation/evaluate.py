"""A run's scores on validation or test, kept with the run together with the rank of every user.

`evaluation-test-masked.json` holds the scores and the protocol, `ranks-test-masked.npz` the ranks behind them ("kept"
where seen items stay candidates). Both are written aside and renamed, and both name the weights they come from, so that
a pair broken by a kill between the two renames is noticed.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from samrec.errors import ConfigError, RunError
from samrec.evaluation.metrics import scores_of

if TYPE_CHECKING:
    from samrec.data.interactions import Interactions
    from samrec.evaluation.ranking import Encoder
    from samrec.training.checkpoint import Run

EvaluationSplit = Literal["validation", "test"]
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores, the evidence for them, and the protocol under which they may be compared."""

    run: str  # name of the run's folder
    weights: str  # SHA-256 of the weights evaluated
    split: EvaluationSplit
    keep_seen: bool
    metrics: Mapping[str, float]
    standard_errors: Mapping[str, float]  # over users
    targets_seen: float  # share of targets already seen: without `keep_seen` they cannot be hit
    protocol: str  # fingerprint of `conditions`; results may stand in one table when it is the same
    conditions: Mapping[str, str]
    users: NDArray[np.int64]  # their ids in the data
    ranks: NDArray[np.float64]  # of the same users

    def summary(self) -> dict[str, Any]:
        """Everything but users and ranks, as JSON values."""
        return {
            "run": self.run,
            "split": self.split,
            "seen": seen_rule(self.keep_seen),
            "metrics": dict(self.metrics),
            "standard_errors": dict(self.standard_errors),
            "users": len(self.users),
            "targets_seen": self.targets_seen,
            "protocol": self.protocol,
            "conditions": dict(self.conditions),
            "weights": self.weights,
        }


def evaluate_run(
    run: "Run",
    split: EvaluationSplit = "test",
    *,
    keep_seen: bool = False,
    interactions: "Interactions | None" = None,
) -> Evaluation:
    """Rank every user's target with the run's best weights, and keep the result in its folder.

    Args:
        run: a run folder with weights.
        split: which targets.
        keep_seen: rank items of the history too.
        interactions: the run's data where it is open already; looked for by the name in the run's config otherwise.

    Raises:
        NonFiniteScores: a target or candidate has no finite score; nothing is written then.
        RunError: the folder cannot be read or written.
    """
    from landscape.parameters import content_hash

    model = run.load_model("best")
    if interactions is None:
        interactions = run.data()
    else:
        run.check_data(interactions)
    result = evaluate_model(
        model,
        interactions,
        split,
        keep_seen=keep_seen,
        run=run.name,
        weights=content_hash(model.state_dict()),
    )
    _keep(result, run.path)
    return result


def evaluate_model(
    model: "Encoder",
    interactions: "Interactions",
    split: EvaluationSplit = "test",
    *,
    keep_seen: bool = False,
    run: str = "",
    weights: str = "",
) -> Evaluation:
    """Rank every user's target with this model; nothing is written. One ranking of all users.

    Args:
        model: dropout is off meanwhile, whatever mode it is in.
        interactions: the data it was trained on.
        split: which targets.
        keep_seen: rank items of the history too.
        run: name that the result carries.
        weights: hash of the weights that the result carries.

    Raises:
        ConfigError: a split without held-out targets.
        NonFiniteScores: a target or candidate has no finite score.
    """
    from samrec.data.split import evaluation_sequences, seen_items
    from samrec.evaluation.ranking import full_ranks, targets_already_seen

    if split not in get_args(EvaluationSplit):
        raise ConfigError(f"expected the split validation or test, got {split!r}")
    sequences = evaluation_sequences(interactions, split, max_length=model.max_length)
    seen = seen_items(interactions, split)
    ranks = full_ranks(model, sequences, seen, interactions.item_count, keep_seen=keep_seen)
    scores = scores_of(ranks)
    conditions = conditions_of(interactions.fingerprint, split, keep_seen=keep_seen)
    return Evaluation(
        run=run,
        weights=weights,
        split=split,
        keep_seen=keep_seen,
        metrics={name: score.value for name, score in scores.items()},
        standard_errors={name: score.standard_error for name, score in scores.items()},
        targets_seen=float(targets_already_seen(sequences.targets, *seen).mean()),
        protocol=fingerprint(conditions),
        conditions=conditions,
        users=np.asarray(interactions.user_ids, dtype=np.int64)[sequences.users],
        ranks=ranks,
    )


def read_evaluation(run: Path, split: EvaluationSplit = "test", *, keep_seen: bool = False) -> Evaluation:
    """What `evaluate_run` kept in this folder.

    Raises:
        RunError: nothing was kept, it cannot be read, or scores and ranks come from different weights.
    """
    summary_path, ranks_path = _paths(Path(run), split, keep_seen=keep_seen)
    if not summary_path.is_file() or not ranks_path.is_file():
        raise RunError(f"expected an evaluation in {run}, found no {summary_path.name}: run samrec evaluate first")
    try:
        summary = json.loads(summary_path.read_text(encoding="utf-8"))
        with np.load(ranks_path, allow_pickle=False) as arrays:
            users, ranks, weights = arrays["users"], arrays["ranks"], str(arrays["weights"])
            protocol = str(arrays["protocol"])
        result = Evaluation(
            run=Path(run).name,
            weights=summary["weights"],
            split=split,
            keep_seen=keep_seen,
            metrics=summary["metrics"],
            standard_errors={
                name: float("nan") if error is None else error for name, error in summary["standard_errors"].items()
            },
            targets_seen=summary["targets_seen"],
            protocol=summary["protocol"],
            conditions=summary["conditions"],
            users=users,
            ranks=ranks,
        )
    except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile) as error:
        raise RunError(f"cannot read the evaluation in {run}: {error}") from None
    if (weights, protocol, len(users)) != (result.weights, result.protocol, summary["users"]):
        raise RunError(f"the scores and ranks in {run} belong to different evaluations: run samrec evaluate again")
    return result


def conditions_of(data: str, split: EvaluationSplit, *, keep_seen: bool) -> dict[str, str]:
    """All that must match for two results to stand in one table."""
    return {
        "data": data,
        "split": f"leave-one-out, {split}",
        "seen": seen_rule(keep_seen),
        "ties": "half of the others",
        "candidates": "all items",
    }


def fingerprint(conditions: Mapping[str, str]) -> str:
    """SHA-256 of the conditions."""
    return hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()


def seen_rule(keep_seen: bool) -> str:
    """The word for it in file names and protocols."""
    return "kept" if keep_seen else "masked"


def _paths(run: Path, split: str, *, keep_seen: bool) -> tuple[Path, Path]:
    ending = f"{split}-{seen_rule(keep_seen)}"
    return run / f"evaluation-{ending}.json", run / f"ranks-{ending}.npz"


def _keep(result: Evaluation, folder: Path) -> None:
    from samrec.training.files import write_bytes, write_json

    summary_path, ranks_path = _paths(folder, result.split, keep_seen=result.keep_seen)
    arrays = io.BytesIO()
    np.savez_compressed(
        arrays,
        users=result.users,
        ranks=result.ranks,
        weights=np.array(result.weights),
        protocol=np.array(result.protocol),
    )
    summary = {"format": FORMAT, **result.summary()}
    summary["standard_errors"] = {
        name: error if np.isfinite(error) else None for name, error in result.standard_errors.items()
    }
    write_bytes(ranks_path, arrays.getvalue())
    write_json(summary_path, summary)
