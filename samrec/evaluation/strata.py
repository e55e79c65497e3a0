"""Scores of parts of the users: by length of the history, and by how popular the target was in training.

A stratum is a set of targets that is known before any model is: the same for every run of one data set and split, so
strata of two runs can stand beside each other. Empty ones are left out. The metrics of a protocol stay that protocol's.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from samrec.errors import ConfigError
from samrec.evaluation.held_out import HeldOut
from samrec.evaluation.metrics import METRICS, scores_of

LENGTHS = (1, 5, 10, 20, 50)  # where bands of history length begin
Ranks = Float[np.ndarray, " targets"]
BANDS = 5  # of popularity, each with about as many targets
NOT_IN_TRAINING = "not in training"


@dataclass(frozen=True, slots=True)
class Stratum:
    """Scores of some of the targets; of a user with several of them, their mean."""

    name: str
    targets: int
    users: int  # who they are of
    metrics: dict[str, float]
    standard_errors: dict[str, float]  # over the users of this stratum


def strata_by_length(
    ranks: Ranks, held_out: HeldOut, *, edges: Sequence[int] = LENGTHS, metrics: tuple[str, ...] = METRICS
) -> list[Stratum]:
    """By the number of items before the target; a band begins at each of `edges`, what is below the first is its own.

    Raises ConfigError unless edges rise.
    """
    if not len(edges) or any(b <= a for a, b in itertools.pairwise(edges)):
        raise ConfigError(f"expected rising lengths where bands begin, got {', '.join(map(str, edges)) or 'none'}")
    band = np.searchsorted(edges, held_out.lengths, side="right")
    names = [f"under {edges[0]}"]
    names += [str(a) if b == a + 1 else f"{a} to {b - 1}" for a, b in itertools.pairwise(edges)]
    names.append(f"{edges[-1]} and more")
    return _strata(ranks, held_out, [(name, band == number) for number, name in enumerate(names)], metrics)


def strata_by_head(ranks: Ranks, held_out: HeldOut, *, metrics: tuple[str, ...] = METRICS) -> list[Stratum]:
    """Targets of the head (the most popular fifth of the items seen in training), of the tail, and in neither.

    What a model's length cuts off is not seen in training here, and users of a single training item have no sequence.
    """
    in_head, in_tail = (np.isin(held_out.targets, items) for items in held_out.head_and_tail)
    parts = [("head", in_head), ("tail", in_tail), (NOT_IN_TRAINING, ~(in_head | in_tail))]
    return _strata(ranks, held_out, parts, metrics)


def strata_by_popularity(
    ranks: Ranks, held_out: HeldOut, *, bands: int = BANDS, metrics: tuple[str, ...] = METRICS
) -> list[Stratum]:
    """By the target's interactions in training: quantile bands, the least popular first.

    Each has about as many targets as the other; targets of one popularity stay together, so bands may be fewer. Those
    that occur nowhere in training are a stratum of their own.

    Raises:
        ConfigError: fewer than one band.
    """
    if bands < 1:
        raise ConfigError(f"expected at least 1 band of popularity, got {bands}")
    popularity = held_out.popularity[held_out.targets]
    known = np.sort(popularity[popularity > 0])
    parts: list[tuple[str, np.ndarray]] = [(NOT_IN_TRAINING, popularity == 0)]
    if len(known):
        begins = np.unique(known[(np.arange(bands) * len(known)) // bands])
        ends = np.append(begins[1:] - 1, known[-1])
        for low, high in zip(begins.tolist(), ends.tolist(), strict=True):
            name = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            parts.append((name, (popularity >= low) & (popularity <= high)))
    return _strata(ranks, held_out, parts, metrics)


def _strata(
    ranks: np.ndarray,
    held_out: HeldOut,
    parts: Sequence[tuple[str, Bool[np.ndarray, " targets"]]],
    metrics: tuple[str, ...],
) -> list[Stratum]:
    if len(ranks) != len(held_out.targets):
        raise ConfigError(f"expected a rank for each of {len(held_out.targets):,} targets, got {len(ranks):,}")
    found = []
    for name, members in parts:
        if members.any():
            owners = held_out.sequences.users[members]
            scores = scores_of(ranks[members], metrics, owners=owners)
            found.append(
                Stratum(
                    name,
                    int(members.sum()),
                    len(np.unique(owners)),
                    {metric: score.value for metric, score in scores.items()},
                    {metric: score.standard_error for metric, score in scores.items()},
                )
            )
    return found
