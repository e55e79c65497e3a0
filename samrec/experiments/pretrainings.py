"""The pre-trainings that S3-Rec's cells of a study start from, by the share of the data they saw and by their seed.

A pre-training on all of the data serves every seed of a study; where there are several of them, each serves its own.
One on a smaller share serves the one seed that drew this share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samrec.config import Pretrained
from samrec.data.interactions import Interactions
from samrec.errors import ConfigError, RunError
from samrec.training.files import read_json
from samrec.training.pretrain_run import FORMAT, PretrainRun
from samrec.training.pretrained import find_pretrained


@dataclass(frozen=True, slots=True)
class Pretrainings:
    """What is there to start from."""

    by_share: Mapping[float, Mapping[int, Pretrained]] = field(default_factory=dict)  # share -> seed -> pre-training

    def fields(self, share: float) -> dict[str, Any]:
        """The fields of a configuration on this share that starts from the first of them; ConfigError if none is there.

        With the seed that drew the share, where it is not all of the data.
        """
        if share not in self.by_share:
            known = ", ".join(f"{one:g}" for one in sorted(self.by_share)) or "none"
            raise ConfigError(f"expected a pre-training on data_fraction {share} for S3-Rec, got those on {known}")
        seed, first = next(iter(self.by_share[share].items()))
        return {"pretrained": first} | ({} if share == 1 else {"seed": seed})

    def starts(self, share: float) -> Mapping[int, Pretrained]:
        """Those of each seed; empty where one serves every seed, or none is there."""
        found = self.by_share.get(share, {})
        return {} if share == 1 and len(found) == 1 else found


NONE = Pretrainings()


def read_pretrainings(paths: Sequence[Path], interactions: Interactions, *, shape: Mapping[str, int]) -> Pretrainings:
    """Read pre-training runs, or folders of them.

    Args:
        paths: of runs, or of folders that hold such runs among other things.
        interactions: must be what they were trained on.
        shape: size, heads, layers and max_length, which must be theirs.

    Raises:
        ConfigError: two of one share and seed, or of one share with different settings.
        RunError: no pre-training in a folder, or one that does not fit, see `find_pretrained`.
    """
    found: dict[float, dict[int, Pretrained]] = {}
    for run in [run for path in paths for run in _runs_in(path)]:
        told, seed = find_pretrained(run, interactions, shape=shape), PretrainRun(run).config.seed
        same = found.setdefault(told.data_fraction, {})
        if seed in same:
            raise ConfigError(
                f"expected one pre-training of a share and seed, got two of {told.data_fraction:g} and seed {seed}: "
                f"{same[seed].run} and {told.run}"
            )
        for other in same.values():
            if (other.recipe, other.epochs) != (told.recipe, told.epochs):
                raise ConfigError(
                    f"expected pre-trainings on data_fraction {told.data_fraction:g} that differ in their seed alone, "
                    f"got others in {other.run} and {told.run}"
                )
        same[seed] = told
    return Pretrainings({share: dict(sorted(found[share].items())) for share in sorted(found)})


def _runs_in(path: Path) -> list[Path]:
    if (path / "run.json").exists() or not path.is_dir():
        return [path]
    records = sorted(path.glob("*/run.json"))
    runs = [record.parent for record in records if read_json(record).get("format") == FORMAT]
    if not runs:
        raise RunError(f"expected a pre-training run, or runs of it in the folders there, got none in {path}")
    return runs
