"""What the lists of recommendations are like, beside whether they hit: coverage, inequality, popularity.

All of it comes from every user's k best items, a chunk of users at a time; what is kept is one count an item and a few
sums, so memory does not grow with the users.

    coverage     share of all items that anybody is recommended
    Gini         inequality of the recommendations over all items: 0 all equally often, towards 1 a few get them all
    popularity   interactions in training, averaged over a list, then over lists; the same of the histories
    lift         (popularity of the lists - of the histories) / of the histories: the change of group average
                 popularity of Abdollahpouri et al. 2019, "The unfairness of popularity bias in recommendation"
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int64

from landscape.progress import progress
from samrec.errors import ConfigError, DataError
from samrec.evaluation.held_out import HeldOut
from samrec.evaluation.scoring import Encoder
from samrec.evaluation.top_items import top_items


@dataclass(frozen=True, slots=True)
class BeyondAccuracy:
    """Properties of the lists of k; standard errors are over lists."""

    k: int
    lists: int  # one a target; under leave-one-out one a user
    coverage: float
    recommended_items: int  # distinct ones
    gini: float
    popularity: float
    popularity_standard_error: float
    history_popularity: float
    history_popularity_standard_error: float
    popularity_lift: float
    popularity_lift_standard_error: float  # of a ratio of means, to first order


def check_k(k: int, item_count: int) -> None:
    """Refuse lists that cannot be: ConfigError."""
    if not 1 <= k <= item_count:
        raise ConfigError(f"expected lists of 1 to {item_count} items, as many as there are, got {k}")


def beyond_accuracy(
    model: Encoder, held_out: HeldOut, *, k: int = 10, keep_seen: bool = False, chunk: int | None = None
) -> BeyondAccuracy:
    """Measure the lists of k that full ranking gives; see `top_items` for the arguments.

    The histories are all that came before a target. Costs about as much as a full ranking.

    Raises:
        NonFiniteScores: a candidate's score is NaN or infinite.
        ConfigError: k is not 1 to the number of items.
        DataError: a history or a list without an item.
    """
    check_k(k, held_out.interactions.item_count)
    popularity = held_out.popularity.astype(np.float64)
    sequences, seen, item_count = held_out.sequences, held_out.seen, held_out.interactions.item_count
    counts = np.zeros(item_count + 1, dtype=np.int64)
    lists = len(sequences)
    if lists < 1 or not (np.diff(seen[1]) > 0).all():
        raise DataError("expected histories of at least one item each")
    sums = np.zeros(2)  # of a user's list and of the history
    products = np.zeros((2, 2))
    with progress("top items", total=lists) as advance:
        inputs = sequences.items, sequences.offsets
        for best in top_items(model, inputs, seen, item_count, k, keep_seen=keep_seen, chunk=chunk):
            found = (best.items > 0).sum(axis=1)
            if not found.all():
                raise DataError(f"expected a candidate for every user, got none for user row {best.start}")
            counts += np.bincount(best.items.ravel(), minlength=len(counts))
            bounds = seen[1][best.start : best.start + len(best.items) + 1]
            of_history = np.add.reduceat(popularity[seen[0][bounds[0] : bounds[-1]]], bounds[:-1] - bounds[0])
            means = np.stack([popularity[best.items].sum(axis=1) / found, of_history / np.diff(bounds)])
            sums += means.sum(axis=1)
            products += means @ means.T
            advance(len(best.items))
    mean = sums / lists
    covariance = (products / lists - np.outer(mean, mean)) / max(lists - 1, 1)  # of the means
    if lists == 1:
        covariance = np.full((2, 2), np.nan)
    ratio = mean[0] / mean[1] if mean[1] else np.nan
    slope = np.array([1.0, -ratio]) / mean[1] if mean[1] else np.full(2, np.nan)
    variances = [covariance[0, 0], covariance[1, 1], slope @ covariance @ slope]
    errors = [float(np.sqrt(np.maximum(variance, 0))) for variance in variances]
    recommended = int(np.count_nonzero(counts[1:]))
    return BeyondAccuracy(
        k=k,
        lists=lists,
        coverage=recommended / item_count,
        recommended_items=recommended,
        gini=gini(counts[1:]),
        popularity=float(mean[0]),
        popularity_standard_error=errors[0],
        history_popularity=float(mean[1]),
        history_popularity_standard_error=errors[1],
        popularity_lift=float(ratio - 1),
        popularity_lift_standard_error=errors[2],
    )


def gini(counts: Int[np.ndarray, " items"]) -> float:
    """Half the mean absolute difference of two items' counts, relative to the mean count.

    Raises:
        ConfigError: a negative count, or none above 0.
    """
    if not len(counts) or int(counts.min()) < 0 or not counts.any():
        raise ConfigError("expected counts of 0 or more, one above 0, got others")
    ordered: Int64[np.ndarray, " items"] = np.sort(counts.astype(np.int64))
    number = len(ordered)
    weighted = float((2 * np.arange(1, number + 1) - number - 1) @ ordered)
    return weighted / (number * float(ordered.sum()))
