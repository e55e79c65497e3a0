"""Which configurations count as the same: fingerprints that neither places nor options that came later change.

A run made before an option existed has the fingerprint of one that leaves it at its default.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from samrec.data.holdout import LEAVE_ONE_OUT
from samrec.pretrain_config import PretrainConfig

UNSAID_OF_PRETRAINING = (
    *("inner_sigmoid", "data_fraction", "optimizer", "momentum", "weight_decay", "l2", "sam_period", "sam_between"),
    *("sam_alpha", "asam", "asam_eta", "rho_schedule", "rho_epochs", "rho_factor"),
)  # where they are at their defaults


PRETRAINING_TOLD = ("run", "gradients", "seconds")  # which decide nothing


def fingerprint(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content as JSON with sorted keys; where data and pre-training lie does not count.

    Leave-one-out, and of pre-training the defaults of what its first configuration did not have, go without saying, as
    in runs made when there was nothing else.
    """
    kept = without_places(content)
    if kept.get("split") == LEAVE_ONE_OUT.name:
        del kept["split"]
    if "mip" in kept:  # a pre-training's
        for name in UNSAID_OF_PRETRAINING:
            if kept.get(name) == PretrainConfig.model_fields[name].default:
                kept.pop(name, None)
    if isinstance(kept.get("pretrained"), dict) and kept["pretrained"].get("fraction_seed") is None:
        share = ("data_fraction", "fraction_seed")
        kept["pretrained"] = {name: value for name, value in kept["pretrained"].items() if name not in share}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def without_places(content: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the paths in it, and without what its pre-training took: the weights' hash says all."""
    kept = {name: value for name, value in content.items() if name != "data"}
    if isinstance(kept.get("pretrained"), dict):
        kept["pretrained"] = {name: value for name, value in kept["pretrained"].items() if name not in PRETRAINING_TOLD}
    return kept
