"""Sharpness measured into a store: kept as it grows, and never measured twice with the same settings.

Where the lines meet: an objective and a plan on one side, the store on the other.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from landscape.blocks import mask_of
from landscape.describe import checkpoint_record, provenance
from landscape.errors import InvalidArgument, LandscapeError
from landscape.objective import Objective, check_frozen
from landscape.parameters import content_hash
from landscape.progress import progress
from landscape.records import SharpnessMeasure, SharpnessReport
from landscape.sharpness.relative_flatness import table_of
from landscape.sharpness.spectra_measured import weight_norm
from landscape.sharpness.spectral import COMPANIONS, closest, stored_measures
from landscape.sharpness.step import Step, updated
from landscape.store import Store
from landscape.store.refusals import same_objective

BETWEEN_SAVES = 5.0  # seconds at least between two versions of a report while it grows


def compute_sharpness(
    path: Path | str,
    objective: Objective,
    steps: Sequence[Step],
    *,
    name: str,
    checkpoint_name: str,
    replace: bool = False,
    command: str = "",
) -> SharpnessReport:
    """Take the steps that the report of this name has not yet, add them to it, and return all of it.

    Every few seconds the report goes to the store, and once more when it ends or is interrupted; the same call goes on
    from there. Eigenvalues and traces that the store holds of the same weights and objective (of `landscape curvature`
    and `landscape trace`) are taken from there where they are at least as close as asked for; lambda_max ||w||^2 and
    lambda_1 / lambda_5 are always added where it holds eigenvalues.

    Args:
        path: of the store; made if missing, and locked meanwhile.
        objective: the frozen loss.
        steps: of `sharpness_plan`.
        name: of the report.
        checkpoint_name: of the weights.
        replace: the record of this name goes, whatever it is of.
        command: kept in the provenance.

    Raises:
        InvalidArgument: a block, table or metric that the objective does not have; nothing is measured then.
        NotFrozen, NonFiniteLoss: the objective gives no one finite loss at the checkpoint.
        StoreMismatch: the name is that of another checkpoint or objective.
    """
    check_steps(objective, steps)
    centre = check_frozen(objective)
    described, origin = checkpoint_record(objective, checkpoint_name), provenance(objective, command)
    with Store.write(path) as store:
        store.check_origin("sharpness", name, described, origin, replace=replace)
        known = () if replace or name not in store.names("sharpness") else store.sharpness(name).measures
        there = with_stored(store, objective, known, steps)
        left = [step for step in steps if not step.is_held(there)]
        found, saved = there, time.monotonic()
        going = replace

        def save() -> SharpnessReport:
            nonlocal saved, going
            report = SharpnessReport(name, checkpoint_name, found, origin, centre.value)
            store.add_checkpoint(described, replacing=[("sharpness", name)] if going else ())
            store.add_sharpness(report, replace=going)
            saved, going = time.monotonic(), False
            return report

        try:
            with progress(name, total=round(sum(step.price for step in left)) or 1) as advance:
                for step in left:
                    advance(0, at=step.family)
                    found = updated(found, step.run(objective))
                    advance(round(step.price))
                    if time.monotonic() - saved > BETWEEN_SAVES:
                        save()
        except BaseException:
            if found != there:
                save()
            raise
        return save()


def held_measures(
    path: Path, objective: Objective, steps: Sequence[Step], *, name: str, checkpoint_name: str
) -> tuple[SharpnessMeasure, ...]:
    """What the steps would find in a store of this objective and these weights; nothing where there is no store."""
    if not path.exists():
        return ()
    store = Store.read(path)
    known: tuple[SharpnessMeasure, ...] = ()
    if name in store.names("sharpness"):
        report = store.sharpness(name)
        hash_there = store.checkpoint(report.checkpoint).hash
        same = same_objective(report.provenance, provenance(objective))
        same = same and hash_there == checkpoint_record(objective, checkpoint_name).hash
        known = report.measures if same else ()
    return with_stored(store, objective, known, steps)


def with_stored(
    store: Store, objective: Objective, known: Sequence[SharpnessMeasure], steps: Sequence[Step]
) -> tuple[SharpnessMeasure, ...]:
    """A report's measures and those of the store's spectra that the steps want, or that any eigenvalues give."""
    found = stored_measures(
        store, content_hash(objective.weights), provenance(objective), lambda block: weight_norm(objective, block)
    )
    used = [one for one in found if _is_companion(one) or any(step.wants(one) for step in steps)]
    return closest(known, used)


def _is_companion(measure: SharpnessMeasure) -> bool:
    return measure.measure in COMPANIONS and measure.setting.get("block") is None


def possible_steps(objective: Objective, steps: Sequence[Step]) -> list[Step]:
    """The steps an objective can be asked for: of metrics only where it has them, of a table only where a block has it.

    One pass of the metrics.
    """
    possible = [step for step in steps if step.family != "relative-flatness" or _has_table(objective, step)]
    try:
        _check_metrics(objective, possible)
    except LandscapeError:
        return [own for step in possible if (own := step.unranked if step.rankings else step) is not None]
    return possible


def check_steps(objective: Objective, steps: Sequence[Step]) -> None:
    """Refuse before anything is measured what a step would refuse at its turn. One pass of the metrics.

    Raises:
        InvalidArgument: no such block, table or metric.
    """
    for block in dict.fromkeys(step.block for step in steps):
        if block is not None:
            mask_of(objective.layout, block)
    for step in steps:
        if step.family == "relative-flatness":
            table_of(objective.layout, _table(step), step.block)
    _check_metrics(objective, steps)


def _check_metrics(objective: Objective, steps: Sequence[Step]) -> None:
    names = {str(wanted["metric"]) for step in steps for _, wanted in step.expected if "metric" in wanted}
    if names:
        objective.metrics(objective.weights, sorted(names))


def _has_table(objective: Objective, step: Step) -> bool:
    """Whether there is a table to be taken; one that was named and is not there stays, to be refused."""
    try:
        table_of(objective.layout, _table(step), step.block)
    except InvalidArgument:
        return _table(step) is not None
    return True


def _table(step: Step) -> str | None:
    table: str | None = step.expected[0][1].get("table")
    return table
