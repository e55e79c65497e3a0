"""Sharpness measured into a store: kept as it grows, and never measured twice with the same settings.

Where the lines meet: an objective and a plan on one side, the store on the other.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landscape.describe import checkpoint_record, provenance
from landscape.errors import LandscapeError
from landscape.objective import Objective, check_frozen
from landscape.progress import progress
from landscape.records import Checkpoint, Eigenpairs, SharpnessMeasure, SharpnessReport
from landscape.sharpness.plan import Step, merged
from landscape.sharpness.spectral import from_eigenpairs
from landscape.store import Store
from landscape.store_refusals import same_objective

BETWEEN_SAVES = 5.0  # seconds at least between two versions of a report while it grows
SPECTRAL = ("lambda_max_norm_squared", "lambda_ratio")  # taken from the store's eigenvalues anew each time


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
    from there. Eigenvalues of the same name, weights and objective give lambda_max ||w||^2 and their ratio.

    Args:
        path: of the store; made if missing, and locked meanwhile.
        objective: the frozen loss.
        steps: of `sharpness_plan`.
        name: of the report.
        checkpoint_name: of the weights.
        replace: the record of this name goes, whatever it is of.
        command: kept in the provenance.

    Raises:
        NotFrozen, NonFiniteLoss: the objective gives no one finite loss at the checkpoint.
        StoreMismatch: the name is that of another checkpoint or objective.
    """
    centre = check_frozen(objective)
    described, origin = checkpoint_record(objective, checkpoint_name), provenance(objective, command)
    with Store.write(path) as store:
        store.check_origin("sharpness", name, described, origin, replace=replace)
        known = () if replace or name not in store.names("sharpness") else store.sharpness(name).measures
        there = tuple(measure for measure in known if measure.measure not in SPECTRAL)
        pairs = _matching(store, name, described, objective)
        spectral = merged(
            [measure for measure in known if measure.measure in SPECTRAL],
            from_eigenpairs(objective, pairs) if pairs else (),
        )
        left = [step for step in steps if not step.is_held(there)]
        found, saved = there, time.monotonic()
        going = replace

        def save() -> SharpnessReport:
            nonlocal saved, going
            report = SharpnessReport(name, checkpoint_name, (*found, *spectral), origin, centre.value)
            store.add_checkpoint(described, replacing=[("sharpness", name)] if going else ())
            store.add_sharpness(report, replace=going)
            saved, going = time.monotonic(), False
            return report

        try:
            with progress(name, total=round(sum(step.price for step in left)) or 1) as advance:
                for step in left:
                    advance(0, at=step.family)
                    found = merged(found, step.run(objective))
                    advance(round(step.price))
                    if time.monotonic() - saved > BETWEEN_SAVES:
                        save()
        except BaseException:
            if len(found) > len(there):
                save()
            raise
        return save()


def held_measures(path: Path, objective: Objective, *, name: str, checkpoint_name: str) -> tuple[SharpnessMeasure, ...]:
    """The measures a store holds under a name of this objective and these weights; none where there is no store."""
    if not path.exists():
        return ()
    store = Store.read(path)
    if name not in store.names("sharpness"):
        return ()
    report = store.sharpness(name)
    hash_there = store.checkpoint(report.checkpoint).hash
    same = same_objective(report.provenance, provenance(objective))
    return report.measures if same and hash_there == checkpoint_record(objective, checkpoint_name).hash else ()


def without_ranking(objective: Objective, steps: Sequence[Step]) -> list[Step]:
    """The steps an objective can be asked for: those of its metrics only where it has them. One pass of the metrics."""
    names = {str(wanted["metric"]) for step in steps for _, wanted in step.expected if "metric" in wanted}
    if not names:
        return list(steps)
    try:
        objective.metrics(objective.weights, sorted(names))
    except LandscapeError:
        return [step for step in steps if not step.rankings]
    return list(steps)


def _matching(store: Any, name: str, checkpoint: Checkpoint, objective: Objective) -> Eigenpairs | None:
    """Eigenpairs the store holds of the same weights and the same objective."""
    if name not in store.names("curvature") or checkpoint.name not in store.names("checkpoints"):
        return None
    pairs: Eigenpairs = store.eigenpairs(name)
    same = pairs.checkpoint == checkpoint.name and store.checkpoint(checkpoint.name).hash == checkpoint.hash
    same = same and pairs.settings.get("block") is None
    return pairs if same and same_objective(pairs.provenance, provenance(objective)) else None
