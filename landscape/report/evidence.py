"""Where the numbers of records come from, as a reader looks it up: what all share is said once."""

from collections.abc import Iterable, Mapping
from typing import Any

from landscape.plots.caption import approximation_note
from landscape.plots.scale import short
from landscape.records import Direction, Provenance
from landscape.report.parts import Evidence


def shared_first(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """What all records share said once, before what is each one's own."""
    each = list(evidence)
    if len(each) < 2:
        return tuple(each)
    shared = {key: value for key, value in each[0].facts.items() if all(e.facts.get(key) == value for e in each)}
    own = [Evidence(e.name, {key: value for key, value in e.facts.items() if key not in shared}) for e in each]
    return (Evidence("All of them", shared), *(e for e in own if e.facts))


def evidence_of(
    name: str, origin: Provenance, *directions: Direction | None, approximation: Mapping[str, Any] | None = None
) -> Evidence:
    """The target, command, settings and versions of one record, its directions, and how it was interpolated."""
    facts = {"target": origin.target, "command": origin.command, "measured": origin.created}
    facts |= {f"objective: {key}": str(value) for key, value in origin.objective.items() if value is not None}
    for axis, direction in zip(("x", "y"), directions, strict=False):
        if direction is not None:
            cosine = "" if direction.cosine is None else f", cosine {direction.cosine:.1e}"
            facts[f"direction {axis}"] = (
                f"{direction.kind}, seed {direction.seed}, norm {short(direction.norm)}{cosine}, {direction.hash[:12]}"
            )
    if approximation:
        facts["interpolated"] = approximation_note(approximation)
    facts |= {f"version: {key}": value for key, value in origin.versions.items()}
    return Evidence(name, {key: value for key, value in facts.items() if value})
