"""Compare runs on everything at once: scores, both ends of the spectrum, sharpness and surfaces, into one store.

All runs get the same users, negatives, test targets and directions' seed, so that whatever differs is the weights. What
a store already holds of these very weights and settings is not computed again: an interrupted comparison goes on.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from landscape.curvature.power import eigenpairs_of
from landscape.curvature.products import hessian_product
from landscape.describe import checkpoint_record, provenance
from landscape.executors.here import make_executor
from landscape.grid import Axis, Grid
from landscape.objective import loss_at
from landscape.records import Checkpoint, Table
from landscape.sharpness.summary import sharpness_report
from landscape.store import Store
from landscape.surface.resume import compute_surface
from samrec.data.interactions import Interactions
from samrec.errors import ConfigError
from samrec.evaluation.evaluate import Evaluation, evaluate_run
from samrec.evaluation.metrics import METRICS, metric_name
from samrec.evaluation.paired import PairedSeeds, PairedUsers, paired_seeds, paired_users
from samrec.experiments.members import Member, Pair, methods_of, open_members, pairs_of
from samrec.models.losses import loss_named
from samrec.objective import SequenceObjective, load

LEAST = {
    "surface_points": 2,
    "users": 1,
    "surface_users": 1,
    "workers": 1,
    "max_products": 1,
    "sharpness_pairs": 2,
    "seed": 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a comparison measures. The defaults are those of the command line."""

    surface_points: int = 21  # a side
    span: float = 1.0  # the surface covers [-span, span] twice
    users: int | None = 2048  # for curvature and sharpness; surfaces and scores take all
    surface_users: int | None = None  # all by default
    metrics: tuple[str, ...] = ()  # at every point of the surface
    loss: str | None = None  # the runs' own, or "ce" where theirs differ
    workers: int = 1  # processes that measure points; 1 is this one
    seed: int = 0  # users, negatives, directions, starts, noise, bootstrap
    device: str = "auto"
    data: str | None = None
    tolerance: float = 1e-3
    max_products: int = 500  # a pair
    sharpness_pairs: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.span < float("inf"):
            raise ConfigError(f"expected a positive span, got {self.span}")
        if not 0 < self.tolerance < 1:
            raise ConfigError(f"expected a relative tolerance between 0 and 1, got {self.tolerance}")
        for name, least in LEAST.items():
            number = getattr(self, name)
            if number is not None and number < least:
                raise ConfigError(f"expected {name.replace('_', ' ')} of at least {least}, got {number}")
        if self.loss is not None:
            loss_named(self.loss)
        for metric in self.metrics:
            metric_name(metric)

    @property
    def grid(self) -> Grid:
        """The surface's points."""
        axis = Axis(-self.span, self.span, self.surface_points)
        return Grid(axis, axis)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out, beside the store."""

    store: Path
    members: tuple[Member, ...]
    unsettled: tuple[str, ...]  # eigenpairs that did not reach the tolerance, as "run lambda_min"


def compare_runs(
    folders: Sequence[Path], out: Path, options: Options | None = None, *, command: str = ""
) -> Comparison:
    """Compare finished runs, the first one's method being the baseline, and keep it all in the store `out`.

    Raises:
        SamrecError: runs that cannot be compared; see `open_members`.
        StoreMismatch: `out` holds measurements of other weights or settings under these runs' names.
    """
    options = options or Options()
    members = open_members(folders)
    interactions = members[0].run.data(options.data)
    loss = options.loss or _common_loss(members)
    evaluations = {member.name: evaluate_run(member.run, "test", interactions=interactions) for member in members}
    with Store.write(out) as store:
        for member in members:
            store.add_table("histories", history_table(member))
        for table in (
            runs_table(members),
            scores_table(members, evaluations),
            differences_table(members, evaluations, options.seed),
        ):
            store.add_table("comparisons", table)
    unsettled = []
    for member in members:
        unsettled += _curvature_and_sharpness(
            member, evaluations[member.name], interactions, loss, out, options, command
        )
    executor = make_executor(options.workers)
    for member in members:
        compute_surface(
            out,
            open_objective(member, options, loss, options.surface_users, interactions),
            name=member.name,
            checkpoint_name=member.name,
            grid=options.grid,
            kind="filter",
            seed=options.seed,
            metrics=options.metrics,
            executor=executor,
            command=command,
        )
        with Store.write(out) as store:
            store.add_checkpoint(described(member, store.checkpoint(member.name), evaluations[member.name]))
    return Comparison(out, tuple(members), tuple(unsettled))


def open_objective(
    member: Member, options: Options, loss: str | None, users: int | None, interactions: Interactions
) -> SequenceObjective:
    """The frozen loss of one run on the users all runs share."""
    usable = int(np.count_nonzero(interactions.lengths > 3))
    users = None if users is None or users >= usable else users
    return load(
        f"{member.run.path}@best", users=users, loss=loss, seed=options.seed, device=options.device, data=options.data
    )


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
    """Every other method against the baseline, on both levels: user by user in each pair of runs, and seed by seed."""
    groups = methods_of(members)
    baseline, *others = groups
    rows: list[tuple[str, str, PairedUsers | PairedSeeds, str]] = []
    if not others:  # one method, several seeds: the first against each other one
        first = groups[baseline][0]
        for pair in (Pair(first, member) for member in groups[baseline][1:]):
            rows += _rows_of_pair(pair, evaluations, seed)
    for other in others:
        pairs = pairs_of(groups[baseline], groups[other])
        for pair in pairs:
            rows += _rows_of_pair(pair, evaluations, seed)
        if len(pairs) > 1:
            for metric in METRICS:
                differences = np.array(
                    [evaluations[p.b.name].metrics[metric] - evaluations[p.a.name].metrics[metric] for p in pairs]
                )
                rows.append((baseline, other, paired_seeds(differences), metric))
    results = [result for *_, result, _ in rows]
    return Table(
        "differences",
        {
            "a": np.array([a for a, *_ in rows]),
            "b": np.array([b for _, b, *_ in rows]),
            "metric": np.array([metric for *_, metric in rows]),
            "level": np.array([result.level for result in results]),
            "difference": np.array([r.mean if isinstance(r, PairedSeeds) else r.difference for r in results]),
            "low": np.array([result.low for result in results]),
            "high": np.array([result.high for result in results]),
            "p_value": np.array([result.p_value for result in results]),
            "smallest_p": np.array([r.smallest_p if isinstance(r, PairedSeeds) else np.nan for r in results]),
            "units": np.array([r.seeds if isinstance(r, PairedSeeds) else r.users for r in results], dtype=np.int64),
        },
        {"difference": "b - a", "confidence": 0.95, "baseline": baseline},
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
    return Table(member.name, columns, {"method": member.method, "seed": member.seed, "stopped": member.stopped})


def _rows_of_pair(pair: Pair, evaluations: dict[str, Evaluation], seed: int) -> list[tuple[str, str, PairedUsers, str]]:
    a, b = evaluations[pair.a.name], evaluations[pair.b.name]
    return [(pair.a.name, pair.b.name, paired_users(a, b, metric, seed=seed), metric) for metric in METRICS]


def _common_loss(members: Sequence[Member]) -> str | None:
    """None, each run's own, where they are one loss with one number of negatives."""
    configs = [member.run.config for member in members]
    losses = {(config.loss, config.negative_count, config.gbce_t) for config in configs}
    return None if len(losses) == 1 else "ce"


def _curvature_and_sharpness(
    member: Member,
    evaluation: Evaluation,
    interactions: Interactions,
    loss: str | None,
    out: Path,
    options: Options,
    command: str,
) -> list[str]:
    """Measure what the store does not hold yet; returns the eigenpairs that did not settle."""
    objective = open_objective(member, options, loss, options.users, interactions)
    record = described(member, checkpoint_record(objective, member.name), evaluation)
    wanted = _plain(asdict(provenance(objective, command))["objective"])
    with Store.write(out) as store:
        store.add_checkpoint(record)
        pairs = store.eigenpairs(member.name) if member.name in store.names("curvature") else None
        report = store.sharpness(member.name) if member.name in store.names("sharpness") else None
    if pairs is None or _plain(pairs.provenance.objective) != wanted or pairs.tolerance != options.tolerance:
        pairs = eigenpairs_of(
            objective,
            name=member.name,
            checkpoint=member.name,
            seed=options.seed,
            tolerance=options.tolerance,
            max_products=options.max_products,
            command=command,
        )
        with Store.write(out) as store:
            store.add_eigenpairs(pairs)
        report = None
    if report is None or _plain(report.provenance.objective) != wanted:
        report = sharpness_report(
            objective,
            name=member.name,
            checkpoint=member.name,
            pairs=options.sharpness_pairs,
            seed=options.seed,
            eigenpairs=pairs,
            command=command,
        )
        with Store.write(out) as store:
            store.add_sharpness(report)
    return [
        f"{member.name} {label}" for label, settled in zip(pairs.labels, pairs.converged, strict=True) if not settled
    ]


def described(member: Member, record: Checkpoint, evaluation: Evaluation) -> Checkpoint:
    """The checkpoint's record with its test scores and configuration."""
    config = {**member.run.config.model_dump(), "group": member.method, "stopped": member.stopped}
    return replace(record, metrics=dict(evaluation.metrics), config=config)


def cost_of_comparison(folders: Sequence[Path], options: Options) -> dict[str, Any]:
    """What `compare_runs` would take, from one loss and one product on this machine; nothing is written."""
    members = open_members(folders)
    interactions = members[0].run.data(options.data)
    loss = options.loss or _common_loss(members)
    everyone = open_objective(members[0], options, loss, options.surface_users, interactions)
    some = open_objective(members[0], options, loss, options.users, interactions)
    loss_seconds = _seconds(lambda: loss_at(everyone, everyone.weights))
    product = hessian_product(some)
    product_seconds = _seconds(lambda: product(some.layout.flatten(some.weights)))
    points = options.grid.size * len(members)
    products = 2 * options.max_products * len(members)
    return {
        "runs": {member.name: member.method for member in members},
        "surface_points": points,
        "seconds_a_point": loss_seconds,
        "surface_seconds": points * loss_seconds / options.workers,
        "products_at_most": products,
        "seconds_a_product": product_seconds,
        "curvature_seconds_at_most": products * product_seconds,
        "weights_mib": 8 * some.layout.size / 2**20,
    }


def _seconds(measure: Callable[[], object]) -> float:
    began = time.perf_counter()
    measure()
    return time.perf_counter() - began


def _plain(settings: Any) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(settings, sort_keys=True, default=str))
