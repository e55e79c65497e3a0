"""The folder of a pre-training run: run.json, history.jsonl, state.safetensors. Its last weights are its result."""

import hashlib
from functools import cached_property
from pathlib import Path

from samrec.data.interactions import Interactions
from samrec.errors import RunError
from samrec.fingerprints import fingerprint
from samrec.pretrain_config import PretrainConfig, make_pretrain_config
from samrec.training.checkpoint import create_folder
from samrec.training.run_folder import RunFolder
from samrec.training.run_records import PretrainingEpoch, Record

FORMAT = "samrec pretraining 1"


class PretrainRun(RunFolder):
    """A pre-training run."""

    format = FORMAT
    record_kind = Record
    epoch_kind = PretrainingEpoch

    @cached_property
    def config(self) -> PretrainConfig:
        """The resolved configuration."""
        return self.configured(make_pretrain_config)

    @property
    def recipe(self) -> str:
        """The fingerprint in which two seeds of one pre-training agree."""
        return fingerprint(self.config.without_seed)

    def check_attributes(self, interactions: Interactions) -> None:
        """Refuse other item attributes than the run's own, where it uses any."""
        expected, found = self.record.get("attributes"), attributes_hash(self.config, interactions)
        if expected != found:
            raise RunError(
                f"expected the item attributes {self.path} was trained on ({(expected or 'none')[:12]}), "
                f"got others ({(found or 'none')[:12]})"
            )


def create_pretrain_run(path: Path | str, config: PretrainConfig, interactions: Interactions) -> PretrainRun:
    """Make the folder and its run.json; RunError if a run is there already."""
    attributes = attributes_hash(config, interactions)
    return create_folder(PretrainRun, path, config, interactions, attributes=attributes, losses=list(config.weights))


def attributes_hash(config: PretrainConfig, interactions: Interactions) -> str | None:
    """SHA-256 of the items' attributes; None where no loss looks at them or there are none."""
    attributes = interactions.attributes
    if attributes is None or not (config.aap or config.map):
        return None
    digest = hashlib.sha256(attributes.offsets.astype("<i8").tobytes())
    digest.update(attributes.values.astype("<i8").tobytes())
    return digest.hexdigest()
