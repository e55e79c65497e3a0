"""Where real data lies on a machine that has it, sequences for tests that need none, and the settings of every loss."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from samrec.data.interactions import Interactions

SHARED = Path(__file__).resolve().parents[3] / "shared"
DATA = SHARED / "data"

LOSSES = {
    "bce": {"loss": "bce"},
    "bce of 3": {"loss": "bce", "negative_count": 3},
    "gbce": {"loss": "gbce", "negative_count": 3, "gbce_t": 0.5},
    "sampled-softmax": {"loss": "sampled-softmax", "negative_count": 3},
    "ce": {"loss": "ce"},
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def real_file(name):
    """The path of a real file; the test is skipped, with the reason, where there is none."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"needs the real data file {path}")
    return path


def interactions_of(rows, item_count=None, user_ids=None):
    """Interactions with these sequences."""
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    offsets = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    ids = np.arange(1, len(rows) + 1) if user_ids is None else np.array(user_ids)
    return Interactions("made", items, offsets, item_count or int(items.max()), ids.astype(np.int64))


def rows_of(flat, offsets):
    """Flat array and offsets as a list of lists."""
    return [flat[start:end].tolist() for start, end in pairwise(offsets)]


def sequences(max_item=9, max_users=6, max_length=12):
    """Lists of sequences of three or more items, repeats included."""
    return st.lists(st.lists(st.integers(1, max_item), min_size=3, max_size=max_length), min_size=1, max_size=max_users)
