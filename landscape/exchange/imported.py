"""A surface that somebody else measured, as a record: no checkpoint is behind it, and it says so.

What a file does not tell (weights, their norm, how directions were drawn, on which data) is NaN or "not known", never a
guess. Figures draw it; nothing can be measured on from it.
"""

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.errors import InvalidArgument
from landscape.records import Checkpoint, Direction, Provenance, Status, Surface

IMPORTED = "imported"  # the kind of its directions


@dataclass(frozen=True, slots=True)
class Imported:
    """A surface and what stands in the place of its checkpoint; add both to a store, the checkpoint first."""

    checkpoint: Checkpoint
    surface: Surface


def imported_surface(
    file: Path,
    *,
    name: str,
    form: str,
    alpha: NDArray[np.float64],
    beta: NDArray[np.float64] | None,
    pending: NDArray[np.bool_],
    values: Mapping[str, NDArray[np.float64]],
    facts: Mapping[str, Any],
    command: str = "",
) -> Imported:
    """Make the record; `values` has a "loss", all in the shape (alpha,) or (alpha, beta).

    Raises:
        InvalidArgument: an axis that does not grow or holds something else than numbers.
    """
    for axis, numbers in (("first", alpha), ("second", beta)):
        if numbers is not None and not (len(numbers) > 1 and (np.diff(numbers) > 0).all()):
            raise InvalidArgument(
                f"expected two or more growing numbers on the {axis} axis of {file}, got {_shown(numbers)}"
            )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    finite = np.logical_and.reduce([np.isfinite(a) for key, a in values.items() if key != "standard_error"])
    status = np.where(pending, Status.PENDING, np.where(finite, Status.DONE, Status.NON_FINITE)).astype(np.uint8)
    directions = [
        Direction(IMPORTED, 0, {"known": False, **facts}, f"{axis} of {digest}", float("nan")) for axis in ("x", "y")
    ]
    place: list[Any] = [np.flatnonzero(axis == 0) for axis in (alpha, beta) if axis is not None]
    centre = {}
    if all(len(found) for found in place):
        at = tuple(int(found[0]) for found in place)
        if status[at] == Status.DONE:
            centre = {key: float(array[at]) for key, array in values.items()}
    return Imported(
        Checkpoint(
            name,
            hash=f"none: imported from {digest}",
            norm=float("nan"),
            parameters=0,
            config={"imported": file.name, "format": form, "known": "no checkpoint, only its surface"},
        ),
        Surface(
            name=name,
            checkpoint=name,
            alpha=alpha,
            beta=beta,
            status=status,
            values={key: np.where(pending, np.nan, array) for key, array in values.items()},
            x=directions[0],
            y=None if beta is None else directions[1],
            provenance=Provenance(
                target="",
                objective={"imported": file.name, "sha256": digest},
                created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                command=command,
            ),
            centre=centre,
        ),
    )


def _shown(numbers: NDArray[np.float64]) -> str:
    return f"{len(numbers)}: " + ", ".join(f"{number:g}" for number in numbers[:4])
