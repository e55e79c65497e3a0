"""Scalars of a training for TensorBoard, where its package is installed: an epoch a step, a folder a run.

What is written is what `history.jsonl` holds, with the learning rate beside it. A run that is resumed writes the epochs
before again and takes back what an earlier session wrote, so that curves never double.
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from samrec.errors import ConfigError, RunError
from samrec.stage_config import StageConfig
from samrec.training.files import check_folder

NAMES = {
    "loss": "loss",
    "weight_norm": "weight norm",
    "sharpness": "SAM/sharpness of the step",
    "gradient_norm": "SAM/gradient norm",
    "rho": "SAM/rho",
}
GROUPS = {"validation": "validation", "losses": "losses"}  # of history, by the group of tags


def scalars_of(entry: Mapping[str, Any], config: StageConfig) -> dict[str, float]:
    """The scalars of an epoch's line of history, by tag."""
    found = {tag: entry[name] for name, tag in NAMES.items() if entry.get(name) is not None}
    if config.sam:
        found.setdefault(NAMES["rho"], config.rho)
    for group, prefix in GROUPS.items():
        found |= {f"{prefix}/{name}": value for name, value in entry.get(group, {}).items()}
    return {**found, "learning rate": config.learning_rate}


@contextmanager
def scalars_in(
    folder: Path | str | None, run: str, config: StageConfig
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that takes epochs' lines of history and writes them into `folder/run`; does nothing without a folder.

    Nothing is written before the first epoch.

    Raises:
        ConfigError: the package is missing.
        RunError: the folder cannot be written.
    """
    if folder is None:
        yield lambda _: None
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("expected the package tensorboard to write its scalars, found none: pip install tensorboard")
    place = Path(folder) / run
    check_folder(place)
    writers: list[Any] = []

    def tell(entry: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        epoch = int(entry["epoch"])
        try:
            if not writers:
                writers.append(SummaryWriter(str(place), purge_step=epoch))
            for tag, value in scalars_of(entry, config).items():
                writers[0].add_scalar(tag, value, epoch)
            writers[0].flush()
        except OSError as error:
            raise RunError(f"cannot write TensorBoard's scalars in {place}: {error.strerror or error}") from None

    try:
        yield tell
    finally:
        for writer in writers:
            writer.close()
