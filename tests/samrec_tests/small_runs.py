"""Runs small enough to train in a fraction of a second, and what is compared of two of them."""

import json
from functools import cache

from samrec.config import make_config
from samrec.data.synthetic import make_synthetic
from samrec.models.build import build_model
from samrec.training.checkpoint import Run, create_run
from samrec.training.files import read_tensors
from samrec.training.streams import torch_generator
from samrec.training.trainer import Trainer, train

SECONDS = ("seconds", "training_seconds")


@cache
def data(seed=0):
    """Sixty users; another seed gives other data of the same size."""
    return make_synthetic(users=60, items=200, clusters=10, seed=seed).interactions


def config(**changes):
    """A small model, three steps an epoch."""
    small = {"data": "synthetic", "size": 8, "layers": 1, "max_length": 16, "batch_size": 20, "epochs": 4}
    return make_config(**{**small, **changes})


def trainer(path, reduce=None, **changes):
    """A trainer of a new run that was not started."""
    hooks = {} if reduce is None else {"reduce": reduce}
    return Trainer(create_run(path, config(**changes), data()), data(), **hooks)


def fresh_weights(made):
    """The weights a run of this configuration begins with."""
    return build_model(made, data().item_count, torch_generator(made.seed, "weights", 0)).state_dict()


def trained(path, *, resume=False, **changes):
    """A finished run."""
    return train(config(**changes), data(), path, resume=resume)


def history(run):
    """The history without what a clock said."""
    return [{name: value for name, value in entry.items() if name not in SECONDS} for entry in run.history()]


def position(run):
    """How far the run came, without what a clock said."""
    metadata = read_tensors(run.path / "state.safetensors")[1]
    return {name: value for name, value in json.loads(metadata["position"]).items() if name not in SECONDS}


def assert_same_tensors(ours, theirs):
    """Every tensor equal in every bit."""
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype, name
        assert tensor.numpy().tobytes() == theirs[name].numpy().tobytes(), name


def assert_same_runs(one, other):
    """Bit for bit but for clocks and folders: weights, moments, history, and what the record says."""
    one, other = Run(one.path), Run(other.path)
    for name in ("best.safetensors", "state.safetensors"):
        assert_same_tensors(read_tensors(one.path / name)[0], read_tensors(other.path / name)[0])
    assert history(one) == history(other)
    assert position(one) == position(other)
    for field in ("config", "fingerprints", "status", "stopped", "best"):
        assert one.record[field] == other.record[field]
    assert one.record["cost"]["gradients"] == other.record["cost"]["gradients"]


def leftovers(path):
    """Files of a run folder that no run should have."""
    own = {"run.json", "history.jsonl", "best.safetensors", "state.safetensors"}
    return sorted(entry.name for entry in path.iterdir() if entry.name not in own)
