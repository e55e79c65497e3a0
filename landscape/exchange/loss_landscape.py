"""Surfaces of tomgoldstein/loss-landscape (Li et al. 2018), read and written.

Its file holds `xcoordinates`, in 2D `ycoordinates`, and `train_loss` and `train_acc` (percent) of shape (x, y). Two
things about it are easily got wrong:

- **Axes.** It fills the flat array in the order of `numpy.meshgrid(x, y)`: entry k was measured at x[k % len(x)],
  y[k // len(x)]. For a square grid `train_loss[i, j]` is therefore at (x[j], y[i]); for any other grid the array's
  shape means nothing, and only the flat order does.
- **-1 is "not computed".** Loss and accuracy are -1 until both are measured. A point is taken as missing where both are
  exactly -1, or the loss where there is no accuracy. Other values, zero and negative ones too, are what was measured.

Kept bit for bit there and back: axes, values, which points are missing. Lost: directions, checkpoint, provenance.
"""

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import InvalidArgument
from landscape.exchange.imported import Imported, imported_surface
from landscape.records import Status, Surface

MISSING = -1.0
COORDINATES = ("xcoordinates", "ycoordinates")


def read_loss_landscape(file: Path, *, name: str, series: str = "train", command: str = "") -> Imported:
    """The surface in a file, as one named `name` on a checkpoint of that name that is not there.

    Args:
        file: as `plot_surface.py` leaves it.
        name: of the record.
        series: "train" for `train_loss` and `train_acc`, "test", ...
        command: kept in the provenance.

    Raises:
        InvalidArgument: no HDF5 file, or one without coordinates, without this series, or of shapes that do not fit.
    """
    try:
        with h5py.File(file, "r") as opened:
            found = {key: opened[key] for key in opened if isinstance(opened[key], h5py.Dataset)}
            arrays = {key: np.asarray(dataset[...]) for key, dataset in found.items() if dataset.dtype.kind in "fiu"}
            told = opened.get("dir_file")
            facts = {} if told is None else {"dir_file": _text(told[()])}
    except OSError as problem:
        raise InvalidArgument(f"expected an HDF5 file of loss-landscape, got {file}: {problem}") from problem
    loss_name, accuracy_name = f"{series}_loss", f"{series}_acc"
    if "xcoordinates" not in arrays or loss_name not in arrays:
        raise InvalidArgument(
            f"expected xcoordinates and {loss_name} in {file}, got {', '.join(sorted(arrays)) or 'no arrays'}"
        )
    x = arrays["xcoordinates"].astype(np.float64)
    y = arrays["ycoordinates"].astype(np.float64) if "ycoordinates" in arrays else None
    size = len(x) * (1 if y is None else len(y))
    others = [key for key in arrays if key not in (*COORDINATES, loss_name) and _is_of(key, series, accuracy_name)]
    kept = {"loss": arrays[loss_name], **{key: arrays[key] for key in others if arrays[key].size == size}}
    if kept["loss"].size != size:
        raise InvalidArgument(f"expected {size} losses in {file}, one a point, got {kept['loss'].size}")
    values = {key: _by_axes(array.astype(np.float64), x, y) for key, array in kept.items()}
    pending = values["loss"] == MISSING
    if accuracy_name in values:
        pending &= values[accuracy_name] == MISSING
    form = "loss-landscape"
    return imported_surface(
        file, name=name, form=form, alpha=x, beta=y, pending=pending, values=values, facts=facts, command=command
    )


def loss_landscape_bytes(surface: Surface, *, series: str = "train") -> bytes:
    """The content of such a file; every other value of the surface stands in it under its own name.

    Raises:
        InvalidArgument: a measured loss is exactly -1 with no accuracy to tell it from a missing one.
    """
    done = surface.status != Status.PENDING
    accuracy = f"{series}_acc"
    if accuracy not in surface.values and (surface.values["loss"][done] == MISSING).any():
        raise InvalidArgument(
            f"expected no loss of exactly -1 in surface {surface.name}, which means 'not computed' in a loss-landscape "
            "file, got one; export it as csv"
        )
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file["dir_file"] = f"{surface.x.kind} directions, seed {surface.x.seed}, of {surface.checkpoint}"
        file["xcoordinates"] = surface.alpha
        if surface.beta is not None:
            file["ycoordinates"] = surface.beta
        for key, array in surface.values.items():
            shown = np.where(done, array, MISSING)
            file[f"{series}_loss" if key == "loss" else key] = shown.T.reshape(surface.shape)
    return image.getvalue()


def looks_like_one(file: Path) -> bool:
    """Whether a file is HDF5 with this tool's coordinates."""
    if not h5py.is_hdf5(file):
        return False
    with h5py.File(file, "r") as opened:
        return "xcoordinates" in opened


def _by_axes(array: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """(alpha, beta) out of the flat order of meshgrid."""
    flat = array.reshape(-1)
    return flat if y is None else np.ascontiguousarray(flat.reshape(len(y), len(x)).T)


def _is_of(key: str, series: str, accuracy: str) -> bool:
    """Values of this series; another one's losses and accuracies have missing points of their own."""
    return key == accuracy or not key.endswith(("_loss", "_acc")) or key.startswith(f"{series}_")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
