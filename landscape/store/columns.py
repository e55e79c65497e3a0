"""How single things are kept in an HDF5 group: columns with their axis, numbers, settings as JSON, provenance.

Text is variable-length UTF-8. Truth values are int8 with the attribute dtype="bool", the way xarray writes them.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape.errors import InvalidArgument
from landscape.records import Provenance

Group = Any  # h5py.Group; h5py carries no types


def read_provenance(group: Group) -> Provenance:
    """Where a group's numbers come from."""
    return Provenance(**json.loads(group.attrs["provenance"]))


def as_json(value: Any) -> str:
    """Canonical JSON text: sorted keys, NumPy numbers and paths allowed. Raises InvalidArgument for anything else."""
    try:
        return json.dumps(value, sort_keys=True, default=_plain)
    except (TypeError, ValueError) as problem:
        raise InvalidArgument(f"expected settings that fit in JSON: {problem}") from problem


def check_name(name: str, what: str) -> None:
    """Refuse a name that HDF5 would read as a path."""
    if not name or "/" in name or "\0" in name or name in {".", ".."}:
        raise InvalidArgument(f"expected {what} named without a slash, got {name!r}")


def write_origin(group: Group, checkpoint: str, checkpoint_hash: str, provenance: Provenance) -> None:
    """What every measurement carries: readable scalars, and the whole provenance as JSON."""
    group.attrs["checkpoint"], group.attrs["checkpoint_hash"] = checkpoint, checkpoint_hash
    group.attrs["target"], group.attrs["created"] = provenance.target, provenance.created
    group.attrs["provenance"] = as_json(dataclasses.asdict(provenance))


def write_number(group: Group, key: str, number: float | None) -> None:
    """An attribute, left out for None."""
    if number is not None:
        group.attrs[key] = number


def read_number(group: Group, key: str) -> float | None:
    """An attribute, None where it was left out."""
    return float(group.attrs[key]) if key in group.attrs else None


def write_columns(group: Group, columns: Mapping[str, Any], scale: tuple[str, NDArray[Any]]) -> None:
    """Columns along one axis, whose name and values `scale` gives."""
    write_column(group, *scale).make_scale(scale[0])
    for key, column in columns.items():
        write_column(group, key, np.asarray(column)).dims[0].attach_scale(group[scale[0]])


def write_column(group: Group, key: str, column: NDArray[Any]) -> Any:
    """A dataset of numbers, truth values or text; anything else raises InvalidArgument."""
    if column.dtype.kind == "b":
        dataset = group.create_dataset(key, data=column.astype(np.int8))
        dataset.attrs["dtype"] = "bool"
        return dataset
    if column.dtype.kind in "UOT":
        if not all(isinstance(entry, str) for entry in column.tolist()):
            raise InvalidArgument(f"expected numbers or text in column {key!r}, got {column.tolist()[:3]}")
        return group.create_dataset(key, data=column.astype(object), dtype=h5py.string_dtype())
    if column.dtype.kind not in "iuf":
        raise InvalidArgument(f"expected numbers or text in column {key!r}, got type {column.dtype}")
    return group.create_dataset(key, data=column)


def read_column(dataset: Any) -> NDArray[Any]:
    """What `write_column` wrote."""
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[...], dtype=np.str_)
    values: NDArray[Any] = dataset[...]
    return values.astype(np.bool_) if dataset.attrs.get("dtype") == "bool" else values


def as_text(entries: Sequence[str]) -> NDArray[Any]:
    """A column of text."""
    return np.array(entries, dtype=object)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r}")
