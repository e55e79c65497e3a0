"""What a comparison hands to its store as tables: runs, scores, differences on two levels, training curves.

Runs of one seed are paired; methods that share no seed are not, and a note says so. No model is needed here: all comes
from the run folders' records and from ranks already taken.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.records import Table
from samrec.evaluation.evaluate import Evaluation
from samrec.evaluation.metrics import METRICS
from samrec.evaluation.paired import (
    PairedSeeds,
    PairedUsers,
    UnpairedSeeds,
    paired_seeds,
    paired_users,
    unpaired_seeds,
)
from samrec.experiments.members import Member, Pair, methods_of, pairs_of, without_partner

Row = tuple[str, str, PairedUsers | PairedSeeds | UnpairedSeeds, str]  # a, b, what b - a is, of which metric


def runs_table(members: Sequence[Member]) -> Table:
    """Who was compared: method, seed, how long it was trained and what stopped it."""
    records = [member.run.record for member in members]
    costs = [record.get("cost") or {} for record in records]
    return Table(
        "runs",
        {
            "run": np.array([member.name for member in members]),
            "method": np.array([member.method for member in members]),
            "seed": np.array([member.seed for member in members], dtype=np.int64),
            "best_epoch": np.array([(record.get("best") or {}).get("epoch", -1) for record in records], dtype=np.int64),
            "epochs": np.array([cost.get("epochs", -1) for cost in costs], dtype=np.int64),
            "gradients": np.array([cost.get("gradients", -1) for cost in costs], dtype=np.int64),
            "seconds": np.array([cost.get("seconds", np.nan) for cost in costs], dtype=np.float64),
            "stopped": np.array([member.stopped or "unknown" for member in members]),
        },
        {"folders": {member.name: str(member.run.path) for member in members}, "not_known": -1},
    )


def scores_table(members: Sequence[Member], evaluations: dict[str, Evaluation]) -> Table:
    """Test scores of every run, a row a metric, with standard errors over users."""
    rows = [(member, name) for member in members for name in METRICS]
    first = evaluations[members[0].name]
    return Table(
        "scores",
        {
            "checkpoint": np.array([member.name for member, _ in rows]),
            "method": np.array([member.method for member, _ in rows]),
            "seed": np.array([member.seed for member, _ in rows], dtype=np.int64),
            "metric": np.array([name for _, name in rows]),
            "value": np.array([evaluations[member.name].metrics[name] for member, name in rows]),
            "standard_error": np.array([evaluations[member.name].standard_errors[name] for member, name in rows]),
        },
        {"level": "users", "protocol": first.protocol, "conditions": dict(first.conditions), "users": len(first.users)},
    )


def differences_table(members: Sequence[Member], evaluations: dict[str, Evaluation], seed: int) -> Table:
    """Every other method against the baseline, on both levels: user by user in each pair of runs, and seed by seed.

    Runs of the same seed are paired, and seeds without a partner are named in the attribute `notes`. Methods that share
    no seed are compared user by user between the first run of each, and unpaired over seeds.
    """
    groups = methods_of(members)
    baseline, *others = groups
    rows: list[Row] = []
    notes: list[str] = []
    if not others:  # one method, several seeds: the first against each other one
        first, *rest = groups[baseline]
        rows += [row for member in rest for row in _rows_of_pair(Pair(first, member), evaluations, seed)]
    for other in others:
        compared = _over_pairs if pairs_of(groups[baseline], groups[other]) else _without_pairs
        more, told = compared(groups, baseline, other, evaluations, seed)
        rows += more
        notes += told
    results = [result for *_, result, _ in rows]
    return Table(
        "differences",
        {
            "a": np.array([a for a, *_ in rows]),
            "b": np.array([b for _, b, *_ in rows]),
            "metric": np.array([metric for *_, metric in rows]),
            "level": np.array([result.level for result in results]),
            "difference": np.array([r.difference if isinstance(r, PairedUsers) else r.mean for r in results]),
            "low": np.array([result.low for result in results]),
            "high": np.array([result.high for result in results]),
            "p_value": np.array([result.p_value for result in results]),
            "smallest_p": np.array([r.smallest_p if isinstance(r, PairedSeeds) else np.nan for r in results]),
            "units": np.array([r.users if isinstance(r, PairedUsers) else r.seeds for r in results], dtype=np.int64),
        },
        {
            "difference": "b - a",
            "confidence": 0.95,
            "baseline": baseline,
            "headline": ["NDCG@10", "HR@10"],
            "notes": notes,
        },
    )


def history_table(member: Member) -> Table:
    """The run's training curve: an epoch a row."""
    entries = member.run.history()
    columns: dict[str, Any] = {"epoch": np.array([entry["epoch"] for entry in entries], dtype=np.int64)}
    for key in ("loss", "weight_norm", "sharpness", "gradients", "seconds"):
        if entries and key in entries[0]:
            columns[key] = np.array([entry[key] for entry in entries], dtype=np.float64)
    for metric in entries[0]["validation"] if entries else ():
        columns[f"validation {metric}"] = np.array([e["validation"][metric] for e in entries], dtype=np.float64)
    best = member.run.record.get("best") or {}
    about = {"method": member.method, "seed": member.seed, "stopped": member.stopped}
    kept = {"best_epoch": best.get("epoch", -1), "kept_by": member.run.config.stop_metric}
    return Table(member.name, columns, {**about, **kept})


def _over_pairs(
    groups: dict[str, list[Member]], baseline: str, other: str, evaluations: dict[str, Evaluation], seed: int
) -> tuple[list[Row], list[str]]:
    """Runs of one seed user by user, and seed by seed where there are several; with notes on what was left out."""
    pairs = pairs_of(groups[baseline], groups[other])
    rows = [row for pair in pairs for row in _rows_of_pair(pair, evaluations, seed)]
    if len(pairs) > 1:
        for metric in METRICS:
            differences = np.array(
                [evaluations[p.b.name].metrics[metric] - evaluations[p.a.name].metrics[metric] for p in pairs]
            )
            rows.append((baseline, other, paired_seeds(differences), metric))
    return rows, _dropped(groups, baseline, other)


def _without_pairs(
    groups: dict[str, list[Member]], baseline: str, other: str, evaluations: dict[str, Evaluation], seed: int
) -> tuple[list[Row], list[str]]:
    """Of methods that share no seed the first runs, user by user, and the seeds unpaired where both have several."""
    alone = Pair(groups[baseline][0], groups[other][0])
    rows = _rows_of_pair(alone, evaluations, seed)
    if min(len(groups[baseline]), len(groups[other])) > 1:
        for metric in METRICS:
            before, after = (
                np.array([evaluations[member.name].metrics[metric] for member in groups[method]])
                for method in (baseline, other)
            )
            rows.append((baseline, other, unpaired_seeds(before, after), metric))
    note = (
        f"{baseline} and {other} share no seed: of their runs, {alone.a.name} (seed {alone.a.seed}) and "
        f"{alone.b.name} (seed {alone.b.seed}) are compared on the same users, and no seeds are paired."
    )
    return rows, [note]


def _rows_of_pair(pair: Pair, evaluations: dict[str, Evaluation], seed: int) -> list[Row]:
    a, b = evaluations[pair.a.name], evaluations[pair.b.name]
    return [(pair.a.name, pair.b.name, paired_users(a, b, metric, seed=seed), metric) for metric in METRICS]


def _dropped(groups: dict[str, list[Member]], baseline: str, other: str) -> list[str]:
    """A note on the seeds of two methods that take part in no difference, if there are any."""
    told = [
        f"{', '.join(map(str, seeds))} of {method}"
        for method, partner in ((baseline, other), (other, baseline))
        if (seeds := without_partner(groups[method], groups[partner]))
    ]
    return [f"Without a partner of their seed, and in no difference: seed {' and '.join(told)}."] if told else []
