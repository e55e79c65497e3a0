"""Models whose scores a test can work out by hand."""

import numpy as np
import torch
from samrec_tests.shared import interactions_of

from samrec.evaluation.held_out import held_out


class SumOfItems(torch.nn.Module):
    """A user is the sum of the items read; whole numbers in the table keep every score exact, and ties common."""

    def __init__(self, table, max_length=50):
        super().__init__()
        self.item_embedding = torch.nn.Embedding.from_pretrained(torch.as_tensor(table, dtype=torch.float32))
        self.dropout = torch.nn.Dropout(0.5)  # must be off
        self.max_length = max_length

    def encode(self, items, offsets):
        lengths = torch.from_numpy(np.diff(offsets))
        owners = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
        vectors = torch.zeros(len(lengths), self.item_embedding.embedding_dim)
        vectors = vectors.index_add(0, owners, self.item_embedding(torch.from_numpy(items)))
        return self.dropout(vectors)


def scores_in_a_loop(model, history):
    """The score of item 1, 2, ... after this history, in Python."""
    table = model.item_embedding.weight.tolist()
    user = [sum(column) for column in zip(*(table[item] for item in history[-model.max_length :]), strict=True)]
    return [sum(u * e for u, e in zip(user, row, strict=True)) for row in table[1:]]


def some_model(item_count, seed=0, size=3, high=3, max_length=50):
    """Small whole numbers; no mask row, so that the table has item_count + 1 rows."""
    table = np.random.default_rng(seed).integers(-high, high + 1, size=(item_count + 1, size))
    return SumOfItems(table, max_length)


def some_interactions(users=40, item_count=30, longest=12, seed=0, repeats=False):
    """Random sequences of three items and more."""
    rng = np.random.default_rng(seed)
    rows = [
        rng.choice(np.arange(1, item_count + 1), rng.integers(3, longest + 1), replace=repeats).tolist()
        for _ in range(users)
    ]
    return interactions_of(rows, item_count)


def some_parts(split="test", max_length=50, **changes):
    """What is held out of random sequences."""
    return held_out(some_interactions(**changes), split, max_length)
