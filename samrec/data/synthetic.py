"""Interactions from a known model, so that the best score anybody can reach on them is known exactly.

Items lie in clusters of interest. A user's interest is a Markov chain over the clusters: it stays, moves on to the
next cluster, or jumps anywhere. Inside a cluster items are taken by Zipf's law, and nobody takes an item twice. An item
tells its cluster, so the next item's distribution given the history is known:

    P(item | history) is proportional to transition[cluster of the last item, cluster of item] * popularity[item],
                      over the items not yet taken

Ranking by it is Bayes-optimal for every metric that falls with the rank, and its expected HR@10 and NDCG@10 are sums
over the ten most probable items: `Synthetic.best`, no sampling involved.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from samrec.data.interactions import Attributes, Interactions
from samrec.data.split import Split, seen_items
from samrec.errors import ConfigError

SHORTEST_HISTORY, LONGEST_HISTORY, MEAN_LENGTH = 5, 50, 12
STAY, MOVE_ON = 0.35, 0.55  # the remaining share of steps jumps to a cluster drawn uniformly
ZIPF_EXPONENT = 1.0


@dataclass(frozen=True, eq=False)
class Synthetic:
    """The interactions and the truth behind them."""

    interactions: Interactions
    clusters: Int64[np.ndarray, " items"]  # of item 1, 2, ..., n; from 0
    popularity: Float64[np.ndarray, " items"]  # within the item's cluster, summing to 1 over it
    transition: Float64[np.ndarray, "clusters clusters"]  # from a row to a column
    best: dict[str, float] = field(default_factory=dict)  # expected "HR@10" and "NDCG@10" on the test split


def make_synthetic(*, users: int = 1000, items: int = 300, clusters: int = 15, seed: int = 0) -> Synthetic:
    """Draw users independently; the same arguments give the same interactions.

    Sequences have 5 to 50 items, 12 on average, with lengths drawn apart from the items. Raises ConfigError for fewer
    than 200 items (long histories need some left to take) or clusters of fewer than two items.
    """
    if users < 1 or items < 4 * LONGEST_HISTORY or not 1 <= clusters <= items // 2:
        raise ConfigError(
            f"expected users >= 1, items >= {4 * LONGEST_HISTORY} and 1 <= clusters <= items / 2, "
            f"got {users} users, {items} items, {clusters} clusters"
        )
    rng = np.random.default_rng([seed, users, items, clusters])
    cluster_of, popularity = _draw_items(rng, items, clusters)
    transition = _transition(clusters)
    lengths = np.minimum(
        SHORTEST_HISTORY - 1 + rng.geometric(1 / (MEAN_LENGTH - SHORTEST_HISTORY + 1), size=users), LONGEST_HISTORY
    )
    histories = _draw_histories(rng, lengths, cluster_of, popularity, transition)
    interactions = Interactions(
        name="synthetic",
        items=histories[histories > 0].astype(np.int32),
        offsets=np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths))),
        item_count=items,
        user_ids=np.arange(1, users + 1, dtype=np.int64),
        attributes=_draw_attributes(rng, cluster_of, clusters),
        source=f"synthetic(users={users}, items={items}, clusters={clusters}, seed={seed})",
    )
    truth = Synthetic(interactions, cluster_of, popularity, transition)
    truth.best.update(best_scores(truth, "test"))
    return truth


def next_item_probabilities(
    truth: Synthetic, split: Split, users: Int64[np.ndarray, " users"] | None = None
) -> Float64[np.ndarray, "users items"]:
    """P(item 1, 2, ..., n is the target | the history before it), a row a user; taken items have probability 0."""
    seen, offsets = seen_items(truth.interactions, split)
    chosen = np.arange(truth.interactions.users) if users is None else users
    latest = truth.clusters[seen[offsets[chosen + 1] - 1] - 1]
    weights: Float64[np.ndarray, "users items"] = truth.transition[latest][:, truth.clusters] * truth.popularity
    for row, user in enumerate(chosen):
        weights[row, seen[offsets[user] : offsets[user + 1]] - 1] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def best_scores(truth: Synthetic, split: Split, chunk: int = 512) -> dict[str, float]:
    """The expected HR@10 and NDCG@10 of the Bayes-optimal ranking, the expectation over the users' targets alone."""
    gains = 1 / np.log2(1 + np.arange(1, 11))
    hit = gain = 0.0
    for start in range(0, truth.interactions.users, chunk):
        users = np.arange(start, min(start + chunk, truth.interactions.users))
        likely = np.partition(next_item_probabilities(truth, split, users), -10, axis=1)[:, -10:]
        likely = np.sort(likely, axis=1)[:, ::-1]
        hit += float(likely.sum())
        gain += float((likely @ gains).sum())
    return {"HR@10": hit / truth.interactions.users, "NDCG@10": gain / truth.interactions.users}


def _draw_items(
    rng: np.random.Generator, items: int, clusters: int
) -> tuple[Int64[np.ndarray, " items"], Float64[np.ndarray, " items"]]:
    """Each item's cluster, sizes as equal as can be, and its Zipf share there; ids tell neither."""
    cluster_of = rng.permutation(np.arange(items, dtype=np.int64) % clusters)
    popularity = np.empty(items)
    for cluster in range(clusters):
        members = np.flatnonzero(cluster_of == cluster)
        zipf = np.arange(1, len(members) + 1) ** -ZIPF_EXPONENT
        popularity[rng.permutation(members)] = zipf / zipf.sum()
    return cluster_of, popularity


def _transition(clusters: int) -> Float64[np.ndarray, "clusters clusters"]:
    stay = np.eye(clusters)
    return STAY * stay + MOVE_ON * np.roll(stay, 1, axis=1) + (1 - STAY - MOVE_ON) / clusters


def _draw_attributes(rng: np.random.Generator, cluster_of: Int64[np.ndarray, " items"], clusters: int) -> Attributes:
    """Two an item: its cluster, and one of five shades that say nothing."""
    items = len(cluster_of)
    shades = clusters + 1 + rng.integers(0, 5, size=items)
    return Attributes(
        values=np.stack((cluster_of + 1, shades), axis=1).ravel(),
        offsets=np.concatenate((np.zeros(1, dtype=np.int64), 2 * np.arange(items + 1))),
        count=clusters + 5,
    )


def _draw_histories(
    rng: np.random.Generator,
    lengths: Int64[np.ndarray, " users"],
    cluster_of: Int64[np.ndarray, " items"],
    popularity: Float64[np.ndarray, " items"],
    transition: Float64[np.ndarray, "clusters clusters"],
) -> Int64[np.ndarray, "users steps"]:
    """A row a user, 0 after its end. Redrawing a whole step until the item is new gives the law above exactly."""
    clusters = len(transition)
    order = np.argsort(cluster_of, kind="stable")  # items grouped by cluster
    # cumulative popularity, cluster c in (c, c + 1], so that one sorted array serves all clusters
    ladder = cluster_of[order] + np.concatenate([np.cumsum(popularity[cluster_of == c]) for c in range(clusters)])
    ladder[np.cumsum(np.bincount(cluster_of))[:-1] - 1] = np.arange(1, clusters)  # against rounding
    ladder[-1] = clusters
    onward = np.cumsum(transition, axis=1)
    onward[:, -1] = 1.0

    histories = np.zeros((len(lengths), int(lengths.max())), dtype=np.int64)
    interest = rng.integers(0, clusters, size=len(lengths))  # before the first item
    for step in range(histories.shape[1]):
        pending = np.flatnonzero(lengths > step)
        while len(pending):
            cluster = (rng.random(len(pending))[:, None] >= onward[interest[pending]]).sum(axis=1)
            item = order[np.searchsorted(ladder, cluster + rng.random(len(pending)), side="right")] + 1
            is_new = ~(histories[pending, :step] == item[:, None]).any(axis=1)
            histories[pending[is_new], step] = item[is_new]
            pending = pending[~is_new]
        taken = histories[:, step] > 0
        interest[taken] = cluster_of[histories[taken, step] - 1]
    return histories
