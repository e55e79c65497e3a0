"""Pre-training runs small enough for a fraction of a second, and packed batches taken apart again."""

import json

import numpy as np
from samrec_tests.small_runs import SECONDS, assert_same_tensors, data

from samrec.data.interactions import Attributes, Interactions
from samrec.data.pretraining import PretrainData
from samrec.pretrain_config import make_pretrain_config
from samrec.training.files import read_tensors
from samrec.training.pretrain import PreTrainer, pretrain
from samrec.training.pretrain_run import create_pretrain_run

ITEMS, ATTRIBUTES = 12, 5
OWN = {1: [1], 2: [2, 3], 3: [], 4: [5, 1], 5: [4], 6: [4, 4, 2], 7: [1, 2, 3, 4, 5], 8: [3]}  # of the others: none
ROWS = [[1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 2, 11], [5, 4, 12], [7, 8, 9, 1, 2], [3, 6, 8, 4, 10, 5]]


def tiny(rows=ROWS, own=OWN, items=ITEMS):
    """A few users of a dozen items with attributes, one of them told twice."""
    lists = [own.get(item, []) for item in range(items + 1)]
    attributes = Attributes(
        np.array([value for values in lists for value in values], dtype=np.int64),
        np.concatenate(([0], np.cumsum([len(values) for values in lists]))).astype(np.int64),
        max((value for values in lists for value in values), default=0),
    )
    return Interactions(
        name="tiny",
        items=np.array([item for row in rows for item in row], dtype=np.int32),
        offsets=np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64),
        item_count=items,
        user_ids=np.arange(1, len(rows) + 1, dtype=np.int64),
        attributes=attributes,
    )


def drawn(interactions, size=100, seed=0, **options):
    """The batches of an epoch."""
    generators = [np.random.default_rng([seed, stream]) for stream in range(3)]
    order, masks, segments = generators
    return list(PretrainData(interactions, **options).batches(size, order=order, masks=masks, segments=segments))


def rows_of(batch):
    """The sequences of a packed batch as lists."""
    ids = batch.items.view(-1)[batch.slots].tolist()
    rows = [[] for _ in batch.last]
    for sequence, item in zip(batch.sequence.tolist(), ids, strict=True):
        rows[sequence].append(item)
    return rows


def config(**changes):
    """A small model, seven steps an epoch."""
    small = {"data": "synthetic", "size": 8, "layers": 1, "max_length": 16, "epochs": 3}
    return make_pretrain_config(**{**small, **changes})


def trainer(path, reduce=None, **changes):
    """A trainer of a new run that was not started."""
    hooks = {} if reduce is None else {"reduce": reduce}
    return PreTrainer(create_pretrain_run(path, config(**changes), data()), data(), **hooks)


def pretrained(path, *, resume=False, interactions=None, **changes):
    """A finished run."""
    return pretrain(config(**changes), interactions or data(), path, resume=resume)


def history(run):
    """The history without what a clock said."""
    return [{name: value for name, value in entry.items() if name not in SECONDS} for entry in run.history()]


def assert_same_pretraining(one, other):
    """Bit for bit but for clocks and folders: weights, moments, history, and what the record says."""
    (ours, told), (theirs, said) = (read_tensors(run.path / "state.safetensors") for run in (one, other))
    assert_same_tensors(ours, theirs)
    ours_at, theirs_at = json.loads(told["position"]), json.loads(said["position"])
    assert {**ours_at, "seconds": 0} == {**theirs_at, "seconds": 0}
    assert history(one) == history(other)
    for field in ("config", "fingerprints", "attributes", "losses", "status", "stopped"):
        assert one.record[field] == other.record[field]
