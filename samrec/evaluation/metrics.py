"""HR@k, NDCG@k and MRR of one target a user, from ranks, each with its standard error over users.

HR@k (the same as Recall@k here) is 1 where rank <= k; NDCG@k is 1 / log2(1 + rank) there and 0 elsewhere; MRR is
1 / rank. Ranks may be halves (ties) and infinite (a target that cannot be hit).
"""

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from samrec.errors import ConfigError

METRICS = ("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20", "MRR")


class Score(NamedTuple):
    """A mean over users and how far chance in the choice of users moves it."""

    value: float
    standard_error: float  # sample standard deviation / sqrt(users); NaN for a single user


def metric_name(name: str) -> str:
    """The one spelling of a metric: "ndcg@10" is "NDCG@10", "recall@5" is "HR@5". Any k of at least 1 will do.

    Raises:
        ConfigError: no such metric.
    """
    upper = name.strip().upper()
    if upper == "MRR":
        return upper
    found = re.fullmatch(r"(HR|RECALL|NDCG)@([1-9][0-9]*)", upper)
    if found is None:
        raise ConfigError(f"expected a metric such as {', '.join(METRICS)}, got {name!r}")
    return f"{'NDCG' if found[1] == 'NDCG' else 'HR'}@{found[2]}"


def per_user(ranks: Float[np.ndarray, " users"], name: str) -> Float64[np.ndarray, " users"]:
    """The metric of each user by itself; its mean is the metric.

    Raises:
        ConfigError: a rank below 1 or NaN, or no such metric.
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    if not (ranks >= 1).all():  # also catches NaN
        raise ConfigError("expected ranks of at least 1, got one below or NaN")
    kind, _, k = metric_name(name).partition("@")
    if kind == "MRR":
        return 1 / ranks
    hit = (ranks <= int(k)).astype(np.float64)
    return hit if kind == "HR" else hit / np.log2(1 + ranks)


def averaged_by_owner(
    values: Float64[np.ndarray, " targets"], owners: Int64[np.ndarray, " targets"]
) -> Float64[np.ndarray, " users"]:
    """The mean of each owner's values, owners ascending; the values themselves where nobody has two."""
    distinct, places = np.unique(owners, return_inverse=True)
    if len(distinct) == len(owners):
        return values
    return np.bincount(places, weights=values) / np.bincount(places)


def scores_of(
    ranks: Float[np.ndarray, " targets"],
    names: tuple[str, ...] = METRICS,
    *,
    owners: Int64[np.ndarray, " targets"] | None = None,
) -> dict[str, Score]:
    """The metrics of these ranks, by name, in the order asked for: means over users of each user's mean.

    `owners` says whose target each is, where a user may have several.

    Raises:
        ConfigError: no ranks, a rank below 1 or NaN, or no such metric.
    """
    if not len(ranks):
        raise ConfigError("expected the ranks of at least one user, got none")
    scores = {}
    for name in names:
        values = per_user(ranks, name)
        if owners is not None:
            values = averaged_by_owner(values, owners)
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
        scores[metric_name(name)] = Score(float(values.mean()), error)
    return scores
