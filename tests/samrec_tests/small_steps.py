"""Single steps of a recommender of thirty items, in one process or in two."""

import threading

import numpy as np
import torch

from samrec.data.batches import pack
from samrec.models.dropout import Dropout
from samrec.models.losses import loss_named
from samrec.models.sasrec import SASRec
from samrec.optim.sam import SAM
from samrec.training.step import Example, Step, identity


def sasrec(dtype=torch.float32):
    """The same small model every time."""
    model = SASRec(30, size=8, heads=2, layers=1, max_length=10).to(dtype)
    model.initialise(torch.Generator().manual_seed(0))
    return model


def example(sequences):
    """The sequences with targets and negatives that depend on nothing but their items."""
    rng = np.random.default_rng(0)
    flat = np.concatenate(sequences)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in sequences])])
    targets = torch.from_numpy(flat % 30 + 1)
    candidates = torch.stack([targets, torch.from_numpy((flat + rng.integers(1, 9)) % 30 + 1)], dim=1)
    return Example(pack(flat, offsets, max_length=10), targets, candidates)


SEQUENCES = [np.random.default_rng(length).integers(1, 31, size=length) for length in (3, 10, 7, 2, 5, 9)]


def step_of(model, *, rho=None, rate=0.5, replay=True, reduce=identity, family=None, **options):
    """A step of plain SGD at rate 1, with SAM around it where there is a rho; `family` are SAM's own options."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    sam = None if rho is None else SAM(dict(model.named_parameters()), optimizer, rho=rho, **(family or {}))
    dropout = Dropout(rate, torch.Generator().manual_seed(0)) if rate else None
    return Step(model, loss_named("bce"), optimizer, dropout, sam=sam, replay=replay, reduce=reduce, **options)


def in_two_processes(parts, rho, steps=1, **options):
    """Take steps on each part, summing over both as processes would; the last step's ascents."""
    barrier, sent = threading.Barrier(2, timeout=30), {}
    models = [sasrec(torch.float64), sasrec(torch.float64)]
    ascents = {}

    def run(rank):
        def summed(tensors):
            sent[rank] = [tensor.clone() for tensor in tensors]
            barrier.wait()
            for mine, theirs in zip(tensors, sent[1 - rank], strict=True):
                mine += theirs
            barrier.wait()

        step = step_of(models[rank], rho=rho, rate=0, reduce=summed, **options)
        for _ in range(steps):
            ascents[rank] = step.take(example(parts[rank]))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return models, ascents
