"""How often an item occurs in training, and which items are the head: one definition for objectives and scores.

The head is the most popular fifth of the items that training sequences read or predict, each occurrence counted as
often as it is read or predicted.
"""

import numpy as np
from jaxtyping import Int64

from samrec.data.split import Sequences

HEAD_SHARE = 0.2  # of the items seen in training, the most popular ones


def training_popularity(training_items: Int64[np.ndarray, " items"], item_count: int) -> Int64[np.ndarray, " ids"]:
    """Interactions of each item in the training parts (`seen_items` of "train"), by id; entry 0 is 0."""
    return np.bincount(training_items, minlength=item_count + 1)


def head_and_tail(
    training: Sequences, item_count: int
) -> tuple[Int64[np.ndarray, " head"], Int64[np.ndarray, " tail"]]:
    """Ids of the head and of the other items of the training sequences, ascending; of equal counts the lower id leads.

    The sequences are cut to the model's `max_length`: what its inputs are cut off is no part of its training.
    """
    seen = np.bincount(np.concatenate([training.items, training.targets]), minlength=item_count + 2)
    order = np.argsort(-seen, kind="stable")[: np.count_nonzero(seen)]
    cut = round(HEAD_SHARE * len(order))
    return np.sort(order[:cut]), np.sort(order[cut:])
