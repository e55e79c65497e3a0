"""The weights of a run folder alone, without its data: what directions between checkpoints and paths are made of.

`landscape` finds both functions beside the loader `samrec:RUN`, in the loader's own module.
"""

from pathlib import Path

from torch import Tensor

from samrec.errors import RunError
from samrec.training.checkpoint import Run


def parse_where(where: str) -> tuple[Path, str]:
    """The run folder and which of its weights, from `FOLDER` or `FOLDER@WHICH`."""
    if Path(where).is_dir() or "@" not in where:
        return Path(where), "best"
    folder, _, which = where.rpartition("@")
    return Path(folder), which


def load_weights(where: str) -> dict[str, Tensor]:
    """The weights of `RUN`, `RUN@last` or `RUN@epoch-N` by name, on the CPU."""
    folder, which = parse_where(where)
    return {name: weight.detach() for name, weight in Run(folder).load_model(which).named_parameters()}


def kept_path(where: str) -> list[tuple[int, str]]:
    """The path of a run's training: (epoch, where) of the epochs it kept and of its best one, in order.

    Raises:
        RunError: it kept none.
    """
    folder, _ = parse_where(where)
    run = Run(folder)
    path = {epoch: f"{folder}@epoch-{epoch}" for epoch in run.kept_epochs}
    if not path:
        raise RunError(f"expected epochs kept in {folder}, got none: train with samrec train --keep-every N")
    path[run.state().position.best_epoch] = f"{folder}@best"
    return sorted(path.items())
