"""How often an item occurs in training, and which items are the head: one definition for objectives and scores.

Popularity is counted over training parts, s[:-2]; the head is the most popular fifth of the items that training
sequences read or predict, each occurrence counted as often as it is read or predicted.
"""

import numpy as np
from jaxtyping import Int64

from samrec.data.interactions import Interactions
from samrec.data.split import seen_items, training_sequences

HEAD_SHARE = 0.2  # of the items seen in training, the most popular ones


def training_popularity(interactions: Interactions) -> Int64[np.ndarray, " ids"]:
    """Interactions of each item in the training parts, by id; entry 0 and items that occur nowhere there are 0."""
    return np.bincount(seen_items(interactions, "train")[0], minlength=interactions.item_count + 1)


def head_and_tail(
    interactions: Interactions, max_length: int = 50
) -> tuple[Int64[np.ndarray, " head"], Int64[np.ndarray, " tail"]]:
    """Ids of the head and of the other items of the training sequences, ascending; equal counts go by id.

    `max_length` is that of the model: what its inputs are cut off is no part of its training.
    """
    train = training_sequences(interactions, max_length=max_length)
    seen = np.bincount(np.concatenate([train.items, train.targets]), minlength=interactions.item_count + 2)
    order = np.argsort(-seen, kind="stable")[: np.count_nonzero(seen)]
    cut = round(HEAD_SHARE * len(order))
    return np.sort(order[:cut]), np.sort(order[cut:])
