"""What keeps records from being compared: unlike norms, objectives or directions."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from landscape.doctor.finding import Finding
from landscape.records import RANDOM, UNSET, Checkpoint, Direction, Eigenpairs, Provenance, SharpnessReport, Surface

UNLIKE = 1.1  # ratio of norms ||w|| from which raw measures are not compared
OF_A_CHECKPOINT = ("model", "fixed_tensors", "frozen_parameters")  # facts that differ with the checkpoint, not the loss
OF_A_SOLVER = ("curvature_tolerance", "max_products", "solver_seed")  # how a ratio map found its eigenvalues


@dataclass(frozen=True)
class Contents:
    """What is looked at."""

    checkpoints: Mapping[str, Checkpoint]
    surfaces: Sequence[Surface]
    eigenpairs: Sequence[Eigenpairs]
    sharpness: Sequence[SharpnessReport]


def unlike_norms(contents: Contents) -> Iterator[Finding]:
    """Raw measures of checkpoints whose weights differ in size."""
    for kind, records in (("sharpness", contents.sharpness), ("curvature", contents.eigenpairs)):
        norms = {r.name: _norm(contents, r.checkpoint) for r in records}
        known = {name: norm for name, norm in norms.items() if norm is not None and norm > 0}
        if len(known) > 1 and max(known.values()) > UNLIKE * min(known.values()):
            yield Finding(
                "raw values at unlike norms",
                ", ".join(f"{kind}/{name}" for name in known),
                f"the checkpoints' norms go from {min(known.values()):.4g} to {max(known.values()):.4g}: raw {kind} is "
                "not comparable between them",
                {"norms": known},
                "compare what scaling leaves alone: measures relative to |w|, lambda_max times norm squared",
            )


def unlike_objectives(contents: Contents) -> Iterator[Finding]:
    """Records that one figure would draw together, of unlike losses."""
    lines = [surface for surface in contents.surfaces if len(surface.shape) == 1]
    planes = [surface for surface in contents.surfaces if len(surface.shape) == 2]
    for kind, records in (
        ("surfaces", lines),
        ("surfaces", planes),
        ("curvature", contents.eigenpairs),
        ("sharpness", contents.sharpness),
    ):
        of = {record.name: _loss_facts(record.provenance) for record in records}
        unlike = sorted(
            {key for one, other in itertools.combinations(of.values(), 2) for key in _differing(one, other)}
        )
        if unlike:
            values = {key: {name: facts.get(key) for name, facts in of.items()} for key in unlike}
            yield Finding(
                "unlike objectives",
                ", ".join(f"{kind}/{name}" for name in of),
                f"not of one loss: {', '.join(unlike)} differ, so one scale says nothing about them",
                values,
                "measure all of them with the same data, loss, split and seed, or draw them apart (--surface, --name)",
            )


def unpaired_directions(contents: Contents) -> Iterator[Finding]:
    """Two checkpoints with surfaces along random directions, none of which are drawn alike."""
    for dimensions in (1, 2):
        surfaces = [s for s in contents.surfaces if len(s.shape) == dimensions and s.x.kind in RANDOM]
        drawn = {surface.name: _drawn(surface.x, surface.y) for surface in surfaces}
        records = ", ".join(f"surfaces/{name}" for name in drawn)
        of: dict[str, set[str]] = {}
        for surface in surfaces:
            of.setdefault(surface.checkpoint, set()).add(drawn[surface.name])
        if any(one.isdisjoint(other) for one, other in itertools.combinations(of.values(), 2)):
            yield Finding(
                "directions drawn unlike",
                records,
                "surfaces differ in kind, seed or policy of their directions: the pictures are not paired",
                {"directions": {name: json.loads(text) for name, text in drawn.items()}},
                "measure them with one --directions and one --seed, or compare none of them",
            )
            continue
        raw = [surface for surface in surfaces if surface.x.kind == "raw"]
        norms = {s.name: norm for s in raw if (norm := _norm(contents, s.checkpoint)) is not None and norm > 0}
        if len(norms) > 1 and max(norms.values()) > UNLIKE * min(norms.values()):
            yield Finding(
                "directions of unlike units",
                records,
                "raw directions through checkpoints of unlike norms: a step of 1 is a share of its own in each",
                {"norms": norms},
                "take --directions filter, in which 1 is the norm of each filter",
            )


def _norm(contents: Contents, checkpoint: str) -> float | None:
    there = contents.checkpoints.get(checkpoint)
    return None if there is None else there.norm


def _loss_facts(provenance: Provenance) -> dict[str, Any]:
    return {
        key: value
        for key, value in provenance.objective.items()
        if key not in (*OF_A_CHECKPOINT, *OF_A_SOLVER) and (key not in UNSET or value != UNSET[key])
    }


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [key for key in {*one, *other} if one.get(key) != other.get(key)]


def _drawn(x: Direction, y: Direction | None) -> str:
    pair = [(one.kind, one.seed, dict(one.policy)) for one in (x, y) if one is not None]
    return json.dumps(pair, sort_keys=True, default=str)


CHECKS = (unlike_norms, unlike_objectives, unpaired_directions)
