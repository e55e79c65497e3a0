"""When two configurations are one: the fingerprint of all that decides what a run becomes."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from samrec.data.holdout import LEAVE_ONE_OUT


def fingerprint(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content as JSON with sorted keys; where data and pre-training lie does not count.

    Leave-one-out and S3-Rec's inner sigmoid go without saying, as in runs made when there was nothing else.
    """
    kept = without_places(content)
    if kept.get("split") == LEAVE_ONE_OUT.name:
        del kept["split"]
    if kept.get("inner_sigmoid") is True:
        del kept["inner_sigmoid"]
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def without_places(content: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the paths in it."""
    kept = {name: value for name, value in content.items() if name != "data"}
    if isinstance(kept.get("pretrained"), dict):
        kept["pretrained"] = {name: value for name, value in kept["pretrained"].items() if name != "run"}
    return kept
