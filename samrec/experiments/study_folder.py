"""A study on disk: study.json with its definition, a run folder for every cell and seed, one sweep at a time.

A folder is opened by the definition it was made with: another one is refused with the first difference. Seeds may be
added, never taken away. A definition written before a field of the configuration existed still fits: the field's
default is filled in.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from landscape.errors import StoreError
from landscape.store.files import WriterLock
from samrec.config import Pretrained, RunConfig, make_config
from samrec.errors import ConfigError, RunError
from samrec.experiments.cells import Cell, Study
from samrec.fingerprints import without_places
from samrec.training.checkpoint import Run
from samrec.training.files import check_folder, clear_asides, read_json, write_json

FORMAT = "samrec study 1"
DEFINITION = "study.json"
STORE = "study.h5"
MEASURED = "measured.jsonl"
ROBUST = "robust.jsonl"
LARGEST_SEED = 2**63 - 1  # as a store holds it


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that a study asks for."""

    name: str  # of its folder
    cell: str  # the label of its cell
    config: RunConfig

    @property
    def seed(self) -> int:
        """Of everything random in it."""
        return self.config.seed


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The definition and where its runs lie."""

    path: Path
    study: Study
    seeds: tuple[int, ...]
    data: str  # fingerprint of the interactions

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """Seed by seed, so that every cell has its first run before any has its second.

        Raises ConfigError where a cell of S3-Rec has no pre-training of a seed.
        """
        return tuple(
            PlannedRun(f"{cell.slug}-seed-{seed}", cell.label, cell.of_seed(seed))
            for seed in self.seeds
            for cell in self.study.cells
        )

    @property
    def store(self) -> Path:
        """What figures draw; made again from the text files where it is missing."""
        return self.path / STORE

    @property
    def measured(self) -> Path:
        """What was measured of its runs."""
        return self.path / MEASURED

    @property
    def robust(self) -> Path:
        """Its runs' scores on noisy and shortened histories."""
        return self.path / ROBUST

    def run(self, planned: PlannedRun) -> Run | None:
        """The run folder, if it was begun.

        Raises:
            RunError: what is there is another run: of another configuration or other data.
        """
        folder = self.path / planned.name
        if not (folder / "run.json").exists():
            return None
        found = Run(folder)
        there, asked = deciding_fields(found.config), deciding_fields(planned.config)
        if other := [
            f"{name} {there[name]!r} there, {asked[name]!r} asked" for name in asked if there[name] != asked[name]
        ]:
            raise RunError(f"expected in {folder} the run its study defines, got another: {'; '.join(other)}")
        if (data := found.record["fingerprints"]["data"]) != self.data:
            raise RunError(f"expected in {folder} a run on the study's data ({self.data[:12]}), got {data[:12]}")
        return found


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Be the only one at work in a study's folder, made if it is not there.

    Raises:
        RunError: somebody else is, or the folder cannot be written or is a run's.
    """
    check_folder(path)
    if (path / "run.json").exists():
        raise RunError(f"expected a folder for a study, got that of a run: {path}")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {path}: {error.strerror or error}") from None
    try:
        lock = WriterLock(path.resolve() / DEFINITION, "folder")
    except StoreError as error:
        raise RunError(f"expected one sweep at a time in {path}: {error}") from None
    try:
        yield
    finally:
        lock.release()


def define(path: Path, study: Study, seeds: Sequence[int], data: str, *, extend: bool = False) -> StudyFolder:
    """Write the definition into the folder, or check that the one there is the same. Call it while `held`.

    Args:
        path: the study's folder.
        study: what to run.
        seeds: over which seeds; those there and these, where `extend` is on.
        data: fingerprint of the interactions.
        extend: let seeds be added.

    Raises:
        ConfigError: no seeds, one of them twice or out of range, or one that a cell of S3-Rec has no pre-training of.
        RunError: the folder holds another study.
    """
    check_seeds(seeds)
    wanted = StudyFolder(path, study, tuple(seeds), data)
    clear_asides(path)
    if (path / DEFINITION).exists():
        there = open_study(path)
        if difference := _difference(there, wanted):
            raise RunError(f"expected in {path} the study it was made with, got another definition: {difference}")
        new = tuple(seed for seed in seeds if seed not in there.seeds)
        if not extend and set(seeds) != set(there.seeds):
            raise RunError(
                f"expected in {path} the seeds it was made with, {_listed(there.seeds)}, got {_listed(seeds)}"
                + ("; --extend adds some" if new else "")
            )
        wanted = StudyFolder(path, _with_starts_of(there.study, study), there.seeds + new, data)
        if not new:
            return wanted
    assert wanted.runs  # raises where one cannot be
    write_json(path / DEFINITION, _as_json(wanted))
    return wanted


def check_seeds(seeds: Sequence[int]) -> None:
    """Refuse seeds that no study can have."""
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed <= LARGEST_SEED for seed in seeds):
        raise ConfigError(
            f"expected different seeds from 0 to {LARGEST_SEED}, at least one, "
            f"got {', '.join(map(str, seeds)) or 'none'}"
        )


def open_study(path: Path) -> StudyFolder:
    """The study a folder was made with.

    Raises:
        RunError: no study there, or one that cannot be read.
    """
    if not (path / DEFINITION).exists():
        raise RunError(f"expected a study in {path}, found no {DEFINITION}")
    record = read_json(path / DEFINITION)
    if record.get("format") != FORMAT:
        raise RunError(f"expected a study of format {FORMAT!r} in {path}, got {record.get('format')!r}")
    try:
        cells = tuple(
            Cell(
                c["label"],
                make_config(**c["config"]),
                c["against"],
                c["setting"],
                c["line"],
                {int(seed): Pretrained(**start) for seed, start in c.get("starts", {}).items()},
            )
            for c in record["cells"]
        )
        notes = tuple(str(note) for note in record.get("notes", ()))
        study = Study(record["study"], record["question"], cells, record["axis"], notes)
        return StudyFolder(path, study, tuple(record["seeds"]), record["data"])
    except ConfigError as error:
        raise RunError(f"{path / DEFINITION}: {error}") from None
    except (KeyError, TypeError) as error:
        raise RunError(f"cannot read the study in {path / DEFINITION}: {error!r}") from None


def _as_json(folder: StudyFolder) -> dict[str, Any]:
    study = folder.study
    return {
        "format": FORMAT,
        "study": study.name,
        "question": study.question,
        "axis": study.axis,
        "varies": list(study.varies),
        "notes": list(study.notes),
        "cells": [
            {
                "label": cell.label,
                "against": cell.against,
                "setting": cell.setting,
                "line": cell.line,
                "config": cell.config.model_dump(),
                "starts": {seed: start.model_dump() for seed, start in cell.starts.items()},
            }
            for cell in study.cells
        ],
        "seeds": list(folder.seeds),
        "data": folder.data,
    }


def _difference(there: StudyFolder, asked: StudyFolder) -> str | None:
    """The first thing in which two definitions differ, seeds aside."""
    for what, old, new in (
        ("study", there.study.name, asked.study.name),
        ("data", there.data[:12], asked.data[:12]),
        ("cells", [cell.label for cell in there.study.cells], [cell.label for cell in asked.study.cells]),
    ):
        if old != new:
            return f"{what} {_listed(old)} there, {_listed(new)} asked"
    for old_cell, new_cell in zip(there.study.cells, asked.study.cells, strict=True):
        old_fields, new_fields = deciding_fields(old_cell.config), deciding_fields(new_cell.config)
        if old_cell.starts or new_cell.starts:  # the config's own is the first of them
            for fields, cell in ((old_fields, old_cell), (new_fields, new_cell)):
                fields["pretrained"] = cell.config.without_seed["pretrained"]
            for seed in there.seeds:
                old_start, new_start = (_start(cell, seed) for cell in (old_cell, new_cell))
                if None not in (old_start, new_start) and old_start != new_start:
                    return f"pre-training of seed {seed} of {new_cell.label}: {old_start} there, {new_start} asked"
        for name in new_fields:
            if name != "seed" and old_fields[name] != new_fields[name]:
                return f"{name} of {new_cell.label}: {old_fields[name]!r} there, {new_fields[name]!r} asked"
    return None


def _start(cell: Cell, seed: int) -> str | None:
    """The hash of what the cell's run of this seed starts from; None if it has nothing of the seed."""
    start = cell.starts.get(seed) if cell.starts else cell.config.pretrained
    return start.sha256[:12] if start else None


def _with_starts_of(there: Study, asked: Study) -> Study:
    """The study asked for, its cells with what those there start from at other seeds."""
    cells = [
        replace(new, starts={**old.starts, **new.starts}) if new.starts else new
        for old, new in zip(there.cells, asked.cells, strict=True)
    ]
    return replace(asked, cells=tuple(cells))


def deciding_fields(config: RunConfig) -> dict[str, Any]:
    """All that decides what a run becomes; where files lie does not."""
    return without_places(config.model_dump())


def _listed(values: str | Sequence[object]) -> str:
    return values if isinstance(values, str) else ", ".join(map(str, values))
