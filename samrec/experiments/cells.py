"""A study: its question and its cells, each to be run over several seeds.

The first cell is the baseline. A cell is compared with the one it is `against`, which differs from it in what the
question asks about. The baseline is against none, and so are cells that stand in for it elsewhere on the axis, as the
plain one of each other share of the data does.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from samrec.config import Pretrained, RunConfig, make_config
from samrec.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting of a study, to be run once a seed."""

    label: str  # what tables call it
    config: RunConfig  # with the base's seed
    against: str | None = None  # the label of the cell it is compared with, if with any
    setting: float | None = None  # its place on the study's axis
    line: str = ""  # cells of one line differ along the axis alone
    starts: Mapping[int, Pretrained] = field(default_factory=dict)  # S3-Rec's of each seed; empty: the config's for all

    def of_seed(self, seed: int) -> RunConfig:
        """The configuration of its run of this seed; ConfigError where S3-Rec has nothing to start from."""
        start = self.starts.get(seed, self.config.pretrained)
        if self.starts and seed not in self.starts:
            raise ConfigError(
                f"expected a pre-training of seed {seed} for {self.label}, got those of seeds "
                f"{', '.join(map(str, self.starts))}"
            )
        return make_config(**{**self.config.model_dump(), "seed": seed, "pretrained": start})

    @property
    def slug(self) -> str:
        """The label as part of a folder's name."""
        return re.sub(r"[^a-z0-9.]+", "-", self.label.lower().replace("e+", "e")).strip("-.")


@dataclass(frozen=True, slots=True)
class Study:
    """An experiment: its question and its cells."""

    name: str
    question: str
    cells: tuple[Cell, ...]
    axis: str | None = None  # the field figures have on their horizontal axis
    notes: tuple[str, ...] = ()  # what this base leaves out of it, and why

    def __post_init__(self) -> None:
        slugs = Counter(cell.slug for cell in self.cells)
        if twice := [slug for slug, count in slugs.items() if count > 1]:
            raise ConfigError(
                f"expected settings that differ in study {self.name}, got {twice[0]} {slugs[twice[0]]} times"
            )
        labels = [cell.label for cell in self.cells]
        assert all(cell.against is None or cell.against in labels for cell in self.cells)

    @property
    def baseline(self) -> Cell:
        """What the question is asked against."""
        return self.cells[0]

    def labels_of(self, names: Collection[str]) -> tuple[str, ...]:
        """The labels of the cells named so, by label or slug, in the study's order; ConfigError for a stranger."""
        known = [name for cell in self.cells for name in (cell.label, cell.slug)]
        if strangers := [name for name in names if name not in known]:
            raise ConfigError(
                f"expected settings of the study {self.name} out of {', '.join(cell.slug for cell in self.cells)}, "
                f"got {strangers[0]}"
            )
        return tuple(cell.label for cell in self.cells if cell.label in names or cell.slug in names)

    @property
    def varies(self) -> tuple[str, ...]:
        """The fields in which its cells differ."""
        every = [cell.config.without_seed for cell in self.cells]
        return tuple(name for name in every[0] if len({repr(fields[name]) for fields in every}) > 1)
