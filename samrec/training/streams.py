"""Random streams: everything random in a run is a function of (seed, stream, epoch).

Resuming therefore needs no generator's state, and an epoch can be repeated alone. A stream's number is part of what
runs with one seed have in common and never changes.
"""

import numpy as np
import torch

STREAMS = {"weights": 0, "order": 1, "negatives": 2, "dropout": 3, "views": 4, "masks": 5, "segments": 6, "fraction": 7}


def numpy_generator(seed: int, stream: str, epoch: int) -> np.random.Generator:
    """For draws made with NumPy."""
    return np.random.default_rng([seed, STREAMS[stream], epoch])


def torch_seed(seed: int, stream: str, epoch: int) -> int:
    """For a generator that is there already."""
    return int(np.random.SeedSequence([seed, STREAMS[stream], epoch]).generate_state(1, np.uint64)[0] >> 1)


def torch_generator(seed: int, stream: str, epoch: int) -> torch.Generator:
    """For draws made on the CPU with torch."""
    return torch.Generator().manual_seed(torch_seed(seed, stream, epoch))
