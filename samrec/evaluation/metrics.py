"""HR@k, NDCG@k and MRR from ranks, each with its standard error over users.

HR@k (the same as Recall@k here) is 1 where rank <= k; NDCG@k is 1 / log2(1 + rank) there and 0 elsewhere; MRR is
1 / rank. Ranks may be halves (ties) and infinite (a target that cannot be hit).
"""

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from samrec.errors import ConfigError

METRICS = ("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20", "MRR")


class Score(NamedTuple):
    """A mean over users and how far chance in the choice of users moves it."""

    value: float
    standard_error: float  # over users; NaN for a single one


def metric_name(name: str) -> str:
    """The one spelling of a metric: "ndcg@10" is "NDCG@10", "recall@5" is "HR@5". Any k of at least 1 will do."""
    upper = name.strip().upper()
    if upper == "MRR":
        return upper
    found = re.fullmatch(r"(HR|RECALL|NDCG)@([1-9][0-9]*)", upper)
    if found is None:
        raise ConfigError(f"expected a metric such as {', '.join(METRICS)}, got {name!r}")
    return f"{'NDCG' if found[1] == 'NDCG' else 'HR'}@{found[2]}"


def per_user(ranks: Float[np.ndarray, " users"], name: str) -> Float64[np.ndarray, " users"]:
    """The metric of each user by itself; its mean is the metric."""
    ranks = np.asarray(ranks, dtype=np.float64)
    if not (ranks >= 1).all():  # also catches NaN
        raise ConfigError("expected ranks of at least 1, got one below or NaN")
    kind, _, k = metric_name(name).partition("@")
    if kind == "MRR":
        return 1 / ranks
    hit = (ranks <= int(k)).astype(np.float64)
    return hit if kind == "HR" else hit / np.log2(1 + ranks)


def scores_of(
    ranks: Float[np.ndarray, " targets"],
    names: tuple[str, ...] = METRICS,
    *,
    users: Int[np.ndarray, " targets"] | None = None,
) -> dict[str, Score]:
    """The metrics of these ranks, by name, in the order asked for.

    `users` says whose each target is where a user may have several; the metric stays the mean over targets.
    """
    if not len(ranks):
        raise ConfigError("expected the ranks of at least one user, got none")
    scores = {}
    for name in names:
        values = per_user(ranks, name)
        scores[metric_name(name)] = Score(float(values.mean()), standard_error(values, users))
    return scores


def standard_error(values: Float[np.ndarray, " targets"], users: Int[np.ndarray, " targets"] | None = None) -> float:
    """How far chance in the choice of users moves the mean of these values; NaN for a single user.

    One value a user: the sample standard deviation / sqrt(users). Several: users are drawn with all they have, and the
    mean is a ratio of their sums (Cochran 1977, Sampling Techniques, chapter 6).
    """
    number = len(values)
    if users is not None:
        owners = np.unique(users, return_inverse=True)[1]
        count = int(owners.max(initial=-1)) + 1
        if count < number:
            sums = np.bincount(owners, weights=values - values.mean())
            return float(np.sqrt(sums @ sums * count / (count - 1)) / number) if count > 1 else float("nan")
    return float(values.std(ddof=1) / np.sqrt(number)) if number > 1 else float("nan")
