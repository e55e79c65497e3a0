"""What was measured of a study's runs, as text: `measured.jsonl`, a run a line, the one source of its tables.

A line has the hash of the weights, both ends of the spectrum with residuals, every sharpness measure with its setting
and error, both losses of the common objective, and the settings they are of. Text can be kept beside code where weights
and HDF5 cannot; `study.h5` is filled from it again where it is missing. Every number reads back as the same one;
those that are not finite are the texts nan, inf and -inf. Of absolute paths the last part alone is kept.
"""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from landscape.records import (
    BlockMass,
    Checkpoint,
    Eigenpairs,
    Provenance,
    SharpnessMeasure,
    SharpnessReport,
    Table,
)
from landscape.store import Store
from landscape.store.refusals import MeasuredKind
from samrec.errors import RunError
from samrec.experiments.measured_loss import COMMON_LOSS
from samrec.training.files import write_bytes

GAPS = "generalisation"  # the table of the store's /studies
KINDS: tuple[MeasuredKind, ...] = ("curvature", "sharpness")  # what is measured on a checkpoint
ABSOLUTE = re.compile(r"(?<![\w.])/(?:[^\s/@]+/)+(?=[^\s/])")  # all of a path but its last part

Line = TypeVar("Line")


@dataclass(frozen=True, slots=True)
class Gap:
    """Both losses of one run on the common objective."""

    training_loss: float
    test_loss: float
    training_targets: int
    test_targets: int

    @property
    def gap(self) -> float:
        """Test minus training."""
        return self.test_loss - self.training_loss


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured of one run; the checkpoint's name is the run's."""

    checkpoint: Checkpoint
    eigenpairs: Eigenpairs
    sharpness: SharpnessReport
    gap: Gap


def read_measured(path: Path) -> dict[str, Measured]:
    """What a file holds, by run; nothing where there is no file. RunError names a line that cannot be read."""
    return read_lines(path, _measured)


def write_measured(path: Path, measured: Mapping[str, Measured]) -> None:
    """Write them all, whole or not at all; RunError if that cannot be."""
    write_lines(path, measured)


def read_lines(path: Path, parse: Callable[[dict[str, Any]], Line]) -> dict[str, Line]:
    """The lines of a file of JSON objects by their `run`; nothing where there is no file."""
    if not path.exists():
        return {}
    found: dict[str, Line] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}") from None
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            found[str(content.pop("run"))] = parse(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"expected the measurements of a run in line {number} of {path}, got {error!r}") from None
    return found


def write_lines(path: Path, records: Mapping[str, Any]) -> None:
    """A dataclass a line under the name of its run."""
    lines = [json.dumps({"run": run, **as_json(record)}, allow_nan=False) + "\n" for run, record in records.items()]
    write_bytes(path, "".join(lines).encode())


def as_json(value: Any) -> Any:
    """A record as JSON values, without places."""
    if dataclasses.is_dataclass(value):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return as_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return ABSOLUTE.sub("", value) if isinstance(value, str) else value


def fill(store: Store, measured: Mapping[str, Measured]) -> None:
    """Put the records into a study's store that it has none of for these weights."""
    for name, found in measured.items():
        here = name in store.names("checkpoints") and store.checkpoint(name).hash == found.checkpoint.hash
        if not here or not all(name in store.names(kind) for kind in KINDS):
            put(store, found)


def put(store: Store, found: Measured) -> None:
    """Put one run's records into a study's store, whatever it has of this name."""
    store.add_checkpoint(found.checkpoint, replacing=[(kind, found.checkpoint.name) for kind in KINDS])
    store.add_eigenpairs(found.eigenpairs, replace=True)
    store.add_sharpness(found.sharpness, replace=True)


def gaps_table(measured: Mapping[str, Measured]) -> Table:
    """Both losses and the gap as the store keeps them: a row a run, so that it takes all runs there are."""
    gaps = {run: found.gap for run, found in measured.items()}
    fields = ("training_loss", "test_loss", "gap", "training_targets", "test_targets")
    columns = {field: np.array([getattr(gap, field) for gap in gaps.values()]) for field in fields}
    about = {"loss": COMMON_LOSS, "gap": "test_loss - training_loss"}
    return Table(GAPS, {"run": np.array(list(gaps), dtype=np.str_), **columns}, about)


def _measured(content: dict[str, Any]) -> Measured:
    return Measured(
        _checkpoint(content["checkpoint"]),
        _eigenpairs(content["eigenpairs"]),
        _sharpness(content["sharpness"]),
        Gap(
            float(content["gap"]["training_loss"]),
            float(content["gap"]["test_loss"]),
            int(content["gap"]["training_targets"]),
            int(content["gap"]["test_targets"]),
        ),
    )


def _checkpoint(content: dict[str, Any]) -> Checkpoint:
    metrics = {name: float(value) for name, value in content["metrics"].items()}
    numbers = {"norm": float(content["norm"]), "loss": _number(content["loss"])}
    return Checkpoint(**{**content, **numbers, "metrics": metrics})


def _eigenpairs(content: dict[str, Any]) -> Eigenpairs:
    mass = content["mass"]
    arrays = {
        "values": np.array(content["values"], dtype=np.float64),
        "residuals": np.array(content["residuals"], dtype=np.float64),
        "converged": np.array(content["converged"], dtype=np.bool_),
        "products": np.array(content["products"], dtype=np.int64),
    }
    told = {"labels": tuple(content["labels"]), "provenance": Provenance(**content["provenance"])}
    return Eigenpairs(
        **{**content, **arrays, **told, "loss": _number(content["loss"]), "mass": None if mass is None else _mass(mass)}
    )


def _mass(content: dict[str, Any]) -> BlockMass:
    sizes, masses = np.array(content["sizes"], dtype=np.int64), np.array(content["masses"], dtype=np.float64)
    return BlockMass(tuple(content["blocks"]), sizes, int(content["dimension"]), masses)


def _sharpness(content: dict[str, Any]) -> SharpnessReport:
    measures = tuple(
        SharpnessMeasure(
            **{
                **measure,
                "value": float(measure["value"]),
                "standard_error": _number(measure["standard_error"]),
                "seconds": _number(measure["seconds"]),
            }
        )
        for measure in content["measures"]
    )
    told = {"measures": measures, "provenance": Provenance(**content["provenance"])}
    return SharpnessReport(**{**content, **told, "loss": _number(content["loss"])})


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
