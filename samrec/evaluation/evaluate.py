"""A run's scores on validation or test, kept with the run together with the rank of every user.

`evaluation-test-masked.json` holds the scores and the protocol, `ranks-test-masked.npz` the ranks behind them ("kept"
where seen items stay candidates; "-sampled99-seed0" at the end where 99 negatives were). Both are written aside and
renamed, and both name the weights they come from, so that a pair broken by a kill between the two renames is noticed.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from landscape.display import Display, Shown, SortableTable
from samrec.data.holdout import LEAVE_ONE_OUT, Holdout
from samrec.errors import RunError
from samrec.evaluation.metrics import scores_of
from samrec.evaluation.protocol import ALL, Candidates, EvaluationSplit, conditions_of, fingerprint, seen_rule

if TYPE_CHECKING:
    import torch

    from samrec.data.interactions import Interactions
    from samrec.evaluation.held_out import HeldOut
    from samrec.evaluation.scoring import Encoder, EvaluationSequences
    from samrec.training.checkpoint import Run

FORMAT = 1


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation(Shown):
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
    users: NDArray[np.int64]  # whose the targets are, by their ids in the data
    ranks: NDArray[np.float64]  # of the same targets
    candidates: Candidates = ALL  # what the targets were ranked among

    def _display(self) -> Display:
        rows = tuple((name, value, self.standard_errors[name]) for name, value in self.metrics.items())
        facts = {"split": self.split, "targets": len(self.ranks), "seen items": seen_rule(self.keep_seen)}
        table = SortableTable("", ("metric", "value", "standard error"), rows)
        return Display("Evaluation", self.run, {**facts, "among": str(self.candidates)}, (table,))

    def summary(self) -> dict[str, Any]:
        """Everything but users and ranks, as JSON values."""
        return {
            "run": self.run,
            "split": self.split,
            "seen": seen_rule(self.keep_seen),
            "candidates": str(self.candidates),
            "metrics": dict(self.metrics),
            "standard_errors": dict(self.standard_errors),
            "users": len(np.unique(self.users)),
            "targets": len(self.ranks),
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
    candidates: Candidates = ALL,
    interactions: "Interactions | None" = None,
    device: "torch.device | None" = None,
    keep: bool = True,
) -> Evaluation:
    """Rank every user's target with the run's best weights, and keep the result in its folder.

    Args:
        run: a run folder with weights.
        split: which targets.
        keep_seen: rank items of the history too.
        candidates: all items, or a number of sampled negatives: another protocol, kept in other files.
        interactions: the run's data where it is open already; looked for by the name in the run's config otherwise.
        device: where to compute; the CPU by default.
        keep: write the result into the folder.

    Raises:
        NonFiniteScores: a target or candidate has no finite score; nothing is written then.
        RunError: the folder cannot be read or written.
    """
    from landscape.parameters import content_hash

    model = run.load_model("best")
    weights = content_hash(model.state_dict())
    if interactions is None:
        interactions = run.data()
    else:
        run.check_data(interactions)
    if device is not None:
        model.to(device)
    result = evaluate_model(
        model,
        interactions,
        split,
        keep_seen=keep_seen,
        candidates=candidates,
        run=run.name,
        weights=weights,
        holdout=run.config.holdout,
    )
    if keep:
        keep_evaluation(result, run.path)
    return result


def evaluate_model(
    model: "Encoder",
    interactions: "Interactions",
    split: EvaluationSplit = "test",
    *,
    keep_seen: bool = False,
    candidates: Candidates = ALL,
    run: str = "",
    weights: str = "",
    holdout: Holdout = LEAVE_ONE_OUT,
) -> Evaluation:
    """Rank every user's target with this model; nothing is written. One ranking of all users.

    Args:
        model: dropout is off meanwhile, whatever mode it is in.
        interactions: the data it was trained on.
        split: which targets.
        keep_seen: rank items of the history too.
        candidates: what a target is ranked against.
        run: name that the result carries.
        weights: hash of the weights that the result carries.
        holdout: which rule holds targets back.

    Raises:
        ConfigError: a split without held-out targets.
        NonFiniteScores: a target or candidate has no finite score.
    """
    from samrec.evaluation.held_out import held_out
    from samrec.evaluation.ranking import targets_already_seen

    parts = held_out(interactions, split, model.max_length, holdout=holdout)
    ranks = ranks_of(model, parts, keep_seen=keep_seen, candidates=candidates)
    scores = scores_of(ranks, owners=parts.sequences.users)
    conditions = conditions_of(interactions.fingerprint, parts.name, keep_seen=keep_seen, candidates=candidates)
    return Evaluation(
        run=run,
        weights=weights,
        split=split,
        keep_seen=keep_seen,
        metrics={name: score.value for name, score in scores.items()},
        standard_errors={name: score.standard_error for name, score in scores.items()},
        targets_seen=float(targets_already_seen(parts.targets, *parts.seen).mean()),
        protocol=fingerprint(conditions),
        conditions=conditions,
        users=parts.users,
        ranks=ranks,
        candidates=candidates,
    )


def ranks_of(
    model: "Encoder",
    parts: "HeldOut",
    *,
    keep_seen: bool = False,
    candidates: Candidates = ALL,
    sequences: "EvaluationSequences | None" = None,
    title: str = "ranking",
) -> NDArray[np.float64]:
    """The rank of each held-out target under either protocol, with a progress bar.

    `sequences` are other inputs for the same targets: histories with noise, or cut short. Candidates stay the same.
    """
    from landscape.progress import progress
    from samrec.data.negatives import NegativeSampler
    from samrec.evaluation.ranking import full_ranks
    from samrec.evaluation.sampled_ranking import sampled_ranks

    read = parts.sequences if sequences is None else sequences
    with progress(title, total=len(parts.targets)) as advance:
        if candidates.sampled is None:
            items = parts.interactions.item_count
            return full_ranks(model, read, parts.seen, items, keep_seen=keep_seen, advance=advance)
        return sampled_ranks(
            model,
            read,
            parts.sequences.users,
            parts.seen,
            NegativeSampler(parts.interactions, rule="s3rec"),
            size=candidates.sampled,
            seed=candidates.seed,
            keep_seen=keep_seen,
            advance=advance,
        )


def read_evaluation(
    run: Path,
    split: EvaluationSplit = "test",
    *,
    keep_seen: bool = False,
    candidates: Candidates = ALL,
) -> Evaluation:
    """What `evaluate_run` kept in this folder.

    Raises:
        RunError: nothing was kept, it cannot be read, or scores and ranks come from different weights.
    """
    summary_path, ranks_path = _paths(Path(run), split, keep_seen=keep_seen, candidates=candidates)
    if not summary_path.is_file() or not ranks_path.is_file():
        raise RunError(f"expected an evaluation in {run}, found no {summary_path.name}: run samrec evaluate first")
    try:
        summary = json.loads(summary_path.read_text(encoding="utf-8"))
        with np.load(ranks_path, allow_pickle=False) as arrays:
            weights, protocol = str(arrays["weights"]), str(arrays["protocol"])
            users = np.cumsum(arrays["user_steps"]) if "user_steps" in arrays else arrays["users"]  # as it was first
            ranks = arrays["ranks"].astype(np.float64)
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
            candidates=candidates,
        )
    except (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile) as error:
        raise RunError(f"cannot read the evaluation in {run}: {error}") from None
    if (weights, protocol, len(ranks)) != (
        result.weights,
        result.protocol,
        summary.get("targets", summary["users"]),
    ):
        raise RunError(f"the scores and ranks in {run} belong to different evaluations: run samrec evaluate again")
    return result


def _paths(run: Path, split: str, *, keep_seen: bool, candidates: Candidates) -> tuple[Path, Path]:
    ending = f"{split}-{seen_rule(keep_seen)}{candidates.ending}"
    return run / f"evaluation-{ending}.json", run / f"ranks-{ending}.npz"


def keep_evaluation(result: Evaluation, folder: Path) -> None:
    """Write scores and ranks into the folder; NotWritable or another RunError if that cannot be."""
    from samrec.training.files import write_bytes, write_json

    summary_path, ranks_path = _paths(folder, result.split, keep_seen=result.keep_seen, candidates=result.candidates)
    arrays = io.BytesIO()
    np.savez_compressed(
        arrays,
        user_steps=np.diff(result.users, prepend=0),  # nearly all 1: a third of the file less
        ranks=result.ranks.astype(np.float32),  # halves of whole numbers: exact
        weights=np.array(result.weights),
        protocol=np.array(result.protocol),
    )
    summary = {"format": FORMAT, **result.summary()}
    summary["standard_errors"] = {
        name: error if np.isfinite(error) else None for name, error in result.standard_errors.items()
    }
    write_bytes(ranks_path, arrays.getvalue())
    write_json(summary_path, summary)
