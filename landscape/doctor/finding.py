"""What a finding is: its name, the records it is of, its evidence and the next step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that makes a picture or a number odd."""

    finding: str  # a name for it
    record: str  # KIND/NAME, several where they were compared
    says: str  # in one line
    evidence: Mapping[str, Any] = field(default_factory=dict)
    next: str = ""  # what to do
