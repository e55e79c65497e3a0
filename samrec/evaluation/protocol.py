"""The conditions of a score: what must match for two results to stand in one table, and the name that says so.

Two protocols exist and are never mixed. "all items": the target is ranked among every item. "N sampled ...": among N
negatives drawn from a seed. Data, split, seen-item rule, ties and candidates make up one fingerprint; results of
different fingerprints are refused wherever they would meet.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from samrec.errors import ConfigError, ProtocolMismatch

EvaluationSplit = Literal["validation", "test"]
ALL_ITEMS = "all items"


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a target is ranked among: all items, or so many sampled negatives and the target itself."""

    sampled: int | None = None  # negatives; None: all items
    seed: int = 0  # of the negatives

    def __post_init__(self) -> None:
        if self.sampled is not None and self.sampled < 1:
            raise ConfigError(f"expected at least 1 sampled negative, got {self.sampled}")
        if self.seed < 0:
            raise ConfigError(f"expected a seed of 0 or more, got {self.seed}")

    def __str__(self) -> str:
        """As protocols and tables say it."""
        if self.sampled is None:
            return ALL_ITEMS
        return f"{self.sampled} sampled uniformly outside the user's sequence, seed {self.seed}"

    @property
    def ending(self) -> str:
        """Of file names; nothing for full ranking."""
        return "" if self.sampled is None else f"-sampled{self.sampled}-seed{self.seed}"


ALL = Candidates()


def conditions_of(data: str, split: str, *, keep_seen: bool, candidates: Candidates = ALL) -> dict[str, str]:
    """All that must match for two results to stand in one table; `split` as in `leave-one-out, test`."""
    return {
        "data": data,
        "split": split,
        "seen": seen_rule(keep_seen),
        "ties": "half of the others",
        "candidates": str(candidates),
    }


def fingerprint(conditions: Mapping[str, str]) -> str:
    """SHA-256 of the conditions."""
    return hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()


def seen_rule(keep_seen: bool) -> str:
    """The word for it in file names and protocols."""
    return "kept" if keep_seen else "masked"


def refuse_other_protocol(a: Mapping[str, str], b: Mapping[str, str]) -> None:
    """Raise ProtocolMismatch that names the conditions in which two results differ."""
    different = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    if different:
        told = ", ".join(f"{name} ({_short(a.get(name))} and {_short(b.get(name))})" for name in different)
        raise ProtocolMismatch(
            f"expected results of one protocol (data, split, seen items, ties, candidates), got different {told}"
        )


def _short(value: str | None) -> str:
    is_hash = value is not None and len(value) == 64 and " " not in value
    return "none" if value is None else value[:12] if is_hash else value
