"""Named parts of a recommender's weights: blocks of tensors, and rows that are popular, rare or untouched by a loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samrec.data.holdout import LEAVE_ONE_OUT, Holdout
from samrec.data.interactions import Interactions
from samrec.data.popularity import head_and_tail
from samrec.data.split import training_sequences

BLOCKS = {
    "item table": ("item_embedding.*",),
    "positions": ("position_embedding.*",),
    "attention": ("blocks.*.query.*", "blocks.*.key.*", "blocks.*.value.*", "blocks.*.output.*"),
    "feed-forward": ("blocks.*.expand.*", "blocks.*.contract.*"),
    "norms": ("*_norm.*",),
}


def row_groups(
    interactions: Interactions, chunks: Sequence[Any], *, max_length: int, holdout: Holdout = LEAVE_ONE_OUT
) -> dict[str, Mapping[str, Tensor]]:
    """Rows of the item table by popularity in training, and all rows on which a loss does not depend.

    "head": the most popular fifth of the items seen in training; "tail": the other items seen there. "untouched":
    the mask row and every item that is no input, target or negative of the chunks (none of the items where every item
    is scored), and the positions that no sequence there reaches. The padding row is frozen and in no group.
    """
    items = interactions.item_count
    head, tail = head_and_tail(training_sequences(interactions, max_length=max_length, holdout=holdout), items)
    touched = np.zeros(items + 2, dtype=np.bool_)
    touched[0] = True
    reached = np.zeros(max_length, dtype=np.bool_)
    for chunk in chunks:
        touched[chunk.batch.items.cpu().numpy()] = True
        occupied = chunk.batch.items.cpu().numpy() > 0
        reached[chunk.batch.positions.cpu().numpy()[occupied]] = True
        if chunk.candidates is None:
            touched[1 : items + 1] = True
        else:
            touched[chunk.candidates.cpu().numpy()] = True
    table, positions = "item_embedding.weight", "position_embedding.weight"
    return {
        "head": {table: torch.from_numpy(head)},
        "tail": {table: torch.from_numpy(tail)},
        "untouched": {
            table: torch.from_numpy(np.flatnonzero(~touched)),
            positions: torch.from_numpy(np.flatnonzero(~reached)),
        },
    }
