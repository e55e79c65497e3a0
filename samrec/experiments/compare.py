"""Compare runs on everything at once: scores, both ends of the spectrum, sharpness and surfaces, into one store.

All runs get the same users, negatives, test targets and directions' seed, so that whatever differs is the weights. What
a store already holds of these very weights and settings is not computed again: an interrupted comparison goes on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape.curvature.ends import eigenpairs_of
from landscape.curvature.operators import Hessian
from landscape.describe import checkpoint_record, provenance
from landscape.display import Display, Shown
from landscape.errors import StoreMismatch
from landscape.executors.here import make_executor
from landscape.grid import Axis, Grid
from landscape.objective import loss_at
from landscape.records import Checkpoint, Eigenpairs
from landscape.sharpness.summary import sharpness_report
from landscape.store import Store
from landscape.store.refusals import looser_setting, same_objective, settings_of
from landscape.surface.resume import compute_surface, planned_surface
from samrec.data.interactions import Interactions
from samrec.errors import ConfigError
from samrec.evaluation.evaluate import Evaluation, evaluate_run
from samrec.evaluation.metrics import metric_name
from samrec.experiments.comparison_tables import differences_table, history_table, runs_table, scores_table
from samrec.experiments.measure import MeasureSettings, users_of
from samrec.experiments.measured_loss import MeasuredLoss, measured_loss
from samrec.experiments.members import Member, open_members
from samrec.experiments.table import sections_of, table_of
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
    loss: str | None = None  # see `measured_loss`
    workers: int = 1  # processes that measure points; 1 is this one
    seed: int = 0  # users, negatives, directions, starts, noise, bootstrap
    device: str = "auto"
    data: str | None = None
    tolerance: float = 1e-3
    max_products: int = 500  # of a run
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


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Shown):
    """What came out, beside the store."""

    store: Path
    members: tuple[Member, ...]
    unsettled: tuple[str, ...]  # eigenpairs that did not reach the tolerance, as "run lambda_min"
    measured_on: MeasuredLoss

    def _display(self) -> Display:
        with Store.read(self.store) as opened:
            sections = sections_of(opened)
        notes = [f"Did not settle: {', '.join(self.unsettled)}."] if self.unsettled else []
        facts = {"runs": len(self.members), "store": self.store}
        return Display("Comparison", "", facts, tuple(map(table_of, sections)), tuple(notes))


def compare_runs(
    folders: Sequence[Path], out: Path, options: Options | None = None, *, command: str = ""
) -> Comparison:
    """Compare finished runs, the first one's method being the baseline, and keep it all in the store `out`.

    Costs, for each run: one ranking of all users; up to `max_products` products of about three gradients of
    `users` users; 2 gradients and 6 + 8 `sharpness_pairs` losses of theirs; and a loss of `surface_users` for each of
    `surface_points` squared points. What `out` holds already costs nothing.

    Args:
        folders: finished runs of one data set.
        out: the store, held for writing from first to last: another comparison that writes it is refused at once.
        options: what to measure.
        command: kept in the provenance.

    Raises:
        SamrecError: runs that cannot be compared; see `open_members`.
        StoreLocked: another process is writing `out`.
        StoreMismatch: `out` holds measurements of other weights or settings under these runs' names. It is noticed
            before anything is measured or changed.
    """
    options = options or Options()
    members = open_members(folders)
    interactions = members[0].run.data(options.data)
    loss = loss_of(members, options)
    executor = make_executor(options.workers)
    unsettled: list[str] = []
    with Store.write(out) as store:
        for member in members:
            _check(store, member, interactions, loss, options)
        evaluations = {member.name: evaluate_run(member.run, "test", interactions=interactions) for member in members}
        for member in members:
            store.add_table("histories", history_table(member))
        for table in (
            runs_table(members),
            scores_table(members, evaluations),
            differences_table(members, evaluations, options.seed),
        ):
            store.add_table("comparisons", table)
        for member in members:
            unsettled += _curvature_and_sharpness(
                store, member, evaluations[member.name], interactions, loss, options, command
            )
        for member in members:
            compute_surface(
                store,
                open_objective(member, options, loss, options.surface_users, interactions),
                **_surface_of(member, options),
                executor=executor,
                command=command,
            )
    return Comparison(out, tuple(members), tuple(unsettled), loss)


def open_objective(
    member: Member, options: Options, loss: MeasuredLoss, users: int | None, interactions: Interactions
) -> SequenceObjective:
    """The frozen loss of one run on the users all runs share."""
    return load(
        f"{member.run.path}@best",
        users=users_of(MeasureSettings(users=users), interactions, member.run.config),
        **loss.options,
        seed=options.seed,
        device=options.device,
        data=options.data,
    )


def loss_of(members: Sequence[Member], options: Options) -> MeasuredLoss:
    """What curvature, sharpness and surfaces are measured on."""
    return measured_loss([member.run.config.model_dump() for member in members], options.loss)


def _check(store: Store, member: Member, interactions: Interactions, loss: MeasuredLoss, options: Options) -> None:
    """Refuse, before anything is measured, a store that holds something else under this run's name."""
    kinds = [kind for kind in ("checkpoints", "curvature", "sharpness") if member.name in store.names(kind)]
    if kinds:
        objective = open_objective(member, options, loss, options.users, interactions)
        record, origin = checkpoint_record(objective, member.name), provenance(objective)
        store.check_origin("curvature", member.name, record, origin)
        store.check_origin("sharpness", member.name, record, origin)
    if member.name in store.names("surfaces"):
        everyone = open_objective(member, options, loss, options.surface_users, interactions)
        store.check_surface(*planned_surface(everyone, **_surface_of(member, options)))


def _surface_of(member: Member, options: Options) -> dict[str, Any]:
    return {
        "name": member.name,
        "checkpoint_name": member.name,
        "grid": options.grid,
        "kind": "filter",
        "seed": options.seed,
        "metrics": options.metrics,
    }


def _curvature_and_sharpness(
    store: Store,
    member: Member,
    evaluation: Evaluation,
    interactions: Interactions,
    loss: MeasuredLoss,
    options: Options,
    command: str,
) -> list[str]:
    """Measure what the store does not hold yet, or not well enough; returns the eigenpairs that did not settle."""
    name = member.name
    objective = open_objective(member, options, loss, options.users, interactions)
    store.add_checkpoint(described(member, checkpoint_record(objective, name), evaluation))
    shared: dict[str, Any] = {"name": name, "checkpoint": name, "seed": options.seed, "command": command}
    pairs = store.eigenpairs(name) if name in store.names("curvature") else None
    report = store.sharpness(name) if name in store.names("sharpness") else None
    if pairs is None or _wants_more(pairs, options):
        pairs = eigenpairs_of(objective, tolerance=options.tolerance, max_products=options.max_products, **shared)
        try:
            store.add_eigenpairs(pairs)
            report = None
        except StoreMismatch:  # more was allowed and less came of it: what is held stays
            pairs = store.eigenpairs(name)
    if report is None or not same_objective(report.provenance, provenance(objective)):
        report = sharpness_report(objective, pairs=options.sharpness_pairs, eigenpairs=pairs, **shared)
        store.add_sharpness(report)
    return [f"{name} {label}" for label, settled in zip(pairs.labels, pairs.converged, strict=True) if not settled]


def _wants_more(held: Eigenpairs, options: Options) -> bool:
    """Whether other options could make the eigenpairs held better: a smaller tolerance, or products for those open."""
    had = settings_of(held)
    wanted = {**had, "tolerance": options.tolerance, "max_products": options.max_products}
    if looser_setting(held, wanted) is not None:
        return False
    more = options.max_products > had["max_products"] and not held.converged.all()
    return more or options.tolerance < held.tolerance


def described(member: Member, record: Checkpoint, evaluation: Evaluation) -> Checkpoint:
    """The checkpoint's record with its test scores and configuration."""
    config = {**member.run.config.model_dump(), "group": member.method, "stopped": member.stopped}
    return replace(record, metrics=dict(evaluation.metrics), config=config)


def cost_of_comparison(folders: Sequence[Path], options: Options) -> dict[str, Any]:
    """What `compare_runs` would take, from one loss and one product on this machine; nothing is written."""
    members = open_members(folders)
    interactions = members[0].run.data(options.data)
    loss = loss_of(members, options)
    everyone = open_objective(members[0], options, loss, options.surface_users, interactions)
    some = open_objective(members[0], options, loss, options.users, interactions)
    loss_seconds = _seconds(lambda: loss_at(everyone, everyone.weights))
    product = Hessian(some)
    product_seconds = _seconds(lambda: product(some.layout.flatten(some.weights)))
    points = options.grid.size * len(members)
    products = options.max_products * len(members)
    return {
        "runs": {member.name: member.method for member in members},
        "loss": f"{loss}, {loss.why}",
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
