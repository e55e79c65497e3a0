"""Records about an objective: which checkpoint it stands on, and where its numbers come from."""

import datetime
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from landscape.objective import Objective
from landscape.parameters import content_hash
from landscape.records import Checkpoint, Provenance


def checkpoint_record(objective: Objective, name: str, *, metrics: Sequence[str] = ()) -> Checkpoint:
    """The checkpoint an objective stands on. No loss is taken; one pass for the metrics where asked.

    An objective may have `about`, JSON values of its checkpoint that are kept as its configuration: the `group` that
    figures colour and the verdict compares by, the `seed` that pairs it with others.
    """
    found = objective.metrics(objective.weights, metrics) if metrics else {}
    return Checkpoint(
        name=name,
        hash=content_hash(objective.weights),
        norm=float(torch.linalg.vector_norm(objective.layout.flatten(objective.weights))),
        parameters=objective.layout.size,
        metrics={metric: float(found[metric].double().mean()) for metric in metrics},
        config=dict(getattr(objective, "about", {})),
    )


def provenance(objective: Objective, command: str = "") -> Provenance:
    """Target, settings and size of the objective, versions, and the time now.

    An objective may have `facts`, a mapping of JSON values (a data hash, ...) that are kept with its settings. The
    device is left out: it is no part of what is measured.
    """
    facts: Mapping[str, Any] = getattr(objective, "facts", {})
    counts = [chunk.counts for chunk in objective.chunks]
    settings = {key: value for key, value in objective.recipe.settings.items() if key != "device"}
    size = {"units": sum(len(count) for count in counts), "targets": sum(float(count.sum()) for count in counts)}
    return Provenance(
        target=objective.recipe.target or "",
        objective=settings | size | dict(facts),
        versions={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "samrec": importlib.metadata.version("samrec"),
        },
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
    )
