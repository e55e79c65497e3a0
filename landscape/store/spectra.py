"""What a store holds of whole spectra: how they look in the file, and when one may take the place of another.

    /curvature/NAME/density    probe, step; nodes, weights, residuals (probe, step); dimension, products, settings, ...
    /curvature/NAME/trace      row, probe; samples (row, probe); quantity, block, coordinates, size, value, ...
    /curvature/NAME/subsets    row, end; users, seed, loss, products; values, residuals, converged (row, end)

More of the same replaces less: probes of a density or trace, draws of subsets. Anything else is refused.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from landscape.errors import StoreMismatch
from landscape.records import Checkpoint, Provenance, Scalars
from landscape.spectra import Density, Subsets, Trace
from landscape.store import files, places, refusals
from landscape.store.columns import (
    as_json,
    read_column,
    read_number,
    read_provenance,
    write_column,
    write_number,
    write_origin,
)

Record = TypeVar("Record")
SpectraKind = Literal["densities", "traces", "subsets"]
DRAWN = (
    "users",
    "seed",
    "units",
    "targets",
    "batches",
)  # facts of an objective that differ between the rows of one record of subsets


class SpectraInStore:
    """The part of a `Store` that reads and adds records of whole spectra."""

    path: Path
    _record: Callable[[Any, str, Callable[[Any, str], Any]], Any]
    _changed: Callable[[Any, str], AbstractContextManager[tuple[Any, Any]]]
    _checkpoint_hash: Callable[[Any, str], str]

    def density(self, name: str) -> Density:
        """A spectral density. Raises StoreError for an unknown name, as all of these do."""
        return self._record("densities", name, read_density)  # type: ignore[no-any-return]

    def trace(self, name: str) -> Trace:
        """Traces and Frobenius norms."""
        return self._record("traces", name, read_trace)  # type: ignore[no-any-return]

    def subsets(self, name: str) -> Subsets:
        """Both ends of the spectrum on random subsets of the data."""
        return self._record("subsets", name, read_subsets)  # type: ignore[no-any-return]

    def spectrum_to_extend(
        self,
        kind: SpectraKind,
        name: str,
        checkpoint: Checkpoint,
        provenance: Provenance,
        settings: Scalars,
        *,
        replace: bool = False,
    ) -> Any:
        """The record under this name that a measurement with these settings goes on with, None where there is none.

        Raises:
            StoreMismatch: what stands there is of other weights, another objective or other settings, and `replace`
                was not asked for; or other measurements stand on other weights of the checkpoint's name.
        """
        with files.opened(self.path) as file:
            refusals.check_weights(self.path, file, checkpoint, [(kind, name)] if replace else ())
            held = places.held(file, kind, name)
            if held is None or replace:
                return None
            came = checkpoint.name, checkpoint.hash
            refusals.check_held(self.path, held, kind, name, came, provenance, drawn=drawn(kind))
            record = READERS[kind](held, name)
        check_more_of_the_same(self.path, kind, record, settings, None)
        return record

    def add_density(self, density: Density, *, replace: bool = False) -> None:
        """Add a density, or replace one of the same weights, objective and settings with no more probes.

        Raises:
            StoreMismatch: another stands under this name, and `replace` was not asked for.
        """
        self._add("densities", density, read_density, write_density, replace)

    def add_trace(self, trace: Trace, *, replace: bool = False) -> None:
        """Add traces, or replace those of the same weights, objective and settings with no more probes.

        Raises:
            StoreMismatch: others stand under this name, and `replace` was not asked for.
        """
        self._add("traces", trace, read_trace, write_trace, replace)

    def add_subsets(self, subsets: Subsets, *, replace: bool = False) -> None:
        """Add ends on subsets, or replace those of the same weights and settings if every draw of theirs is there.

        Raises:
            StoreMismatch: others stand under this name, and `replace` was not asked for.
        """
        self._add("subsets", subsets, read_subsets, write_subsets, replace)

    def _add(
        self,
        kind: SpectraKind,
        record: Any,
        read: Callable[[Any, str], Any],
        write: Callable[[Any, Any, str], None],
        replace: bool,
    ) -> None:
        with self._changed(kind, record.name) as (file, held):
            checkpoint_hash = self._checkpoint_hash(file, record.checkpoint)
            if held is not None and not replace:
                came = record.checkpoint, checkpoint_hash
                refusals.check_held(self.path, held, kind, record.name, came, record.provenance, drawn=drawn(kind))
                check_more_of_the_same(self.path, kind, read(held, record.name), record.settings, _amount(record))
            write(places.fresh(file, kind, record.name), record, checkpoint_hash)


def check_more_of_the_same(path: Path, kind: SpectraKind, held: Any, settings: Any, amount: set[Any] | None) -> None:
    """Refuse other settings than those of the record held, and less than it has; None: it will be taken along."""
    if dict(held.settings) != dict(settings):
        keys = sorted({*held.settings, *settings})
        differing = [key for key in keys if held.settings.get(key) != settings.get(key)]
        was, came = (", ".join(f"{key} {side.get(key)}" for key in differing) for side in (held.settings, settings))
        raise StoreMismatch(
            f"{path} holds {refusals.MEASURED[kind]} {held.name!r} of other settings: expected {was}, got {came}; ask "
            "to replace it, or take another name"
        )
    if amount is not None and not amount >= _amount(held):
        what = "draws" if kind == "subsets" else "probes"
        raise StoreMismatch(
            f"{path} holds more of {refusals.MEASURED[kind]} {held.name!r}: expected at least {len(_amount(held))} "
            f"{what}, got {len(amount)}; ask to replace it, or take another name"
        )


def _amount(record: Any) -> set[Any]:
    """What a record has of what there can be more of."""
    if isinstance(record, Subsets):
        return set(zip(record.users.tolist(), record.seeds.tolist(), strict=True))
    return set(range(record.probes))


def drawn(kind: str) -> tuple[str, ...]:
    """Settings of an objective that are drawn anew inside of one record of this kind."""
    return DRAWN if kind == "subsets" else ()


def write_density(group: Any, density: Density, checkpoint_hash: str) -> None:
    """Fill an empty group."""
    axes = {"probe": np.arange(density.probes), "step": np.arange(density.nodes.shape[1])}
    tables = {key: getattr(density, key) for key in ("nodes", "weights", "residuals")}
    _write_tables(group, axes, tables)
    group.attrs["dimension"] = density.dimension
    _write_rest(group, density, checkpoint_hash)


def read_density(group: Any, name: str) -> Density:
    """The record in a group."""
    return Density(
        name,
        str(group.attrs["checkpoint"]),
        nodes=group["nodes"][...],
        weights=group["weights"][...],
        residuals=group["residuals"][...],
        dimension=int(group.attrs["dimension"]),
        **_read_rest(group),
    )


def write_trace(group: Any, trace: Trace, checkpoint_hash: str) -> None:
    """Fill an empty group; values and errors are there for other readers, the samples say it all."""
    rows = len(trace.quantities)
    _write_tables(group, {"row": np.arange(rows), "probe": np.arange(trace.probes)}, {"samples": trace.samples})
    value, error = (np.array(column, dtype=np.float64) for column in zip(*trace.estimates, strict=True))
    columns = {
        "quantity": np.array(trace.quantities, dtype=object),
        "block": np.array(trace.blocks, dtype=object),
        "coordinates": np.array(trace.coordinates, dtype=object),
        "size": trace.sizes,
        "value": value,
        "standard_error": error,
    }
    _write_along(group, "row", columns)
    _write_rest(group, trace, checkpoint_hash)


def read_trace(group: Any, name: str) -> Trace:
    """The record in a group."""
    return Trace(
        name,
        str(group.attrs["checkpoint"]),
        quantities=tuple(read_column(group["quantity"]).tolist()),
        blocks=tuple(read_column(group["block"]).tolist()),
        coordinates=tuple(read_column(group["coordinates"]).tolist()),
        sizes=group["size"][...],
        samples=group["samples"][...],
        **_read_rest(group),
    )


def write_subsets(group: Any, subsets: Subsets, checkpoint_hash: str) -> None:
    """Fill an empty group."""
    ends = np.array(["lambda_max", "lambda_min"], dtype=object)
    tables = {key: getattr(subsets, key) for key in ("values", "residuals", "converged")}
    _write_tables(group, {"row": np.arange(len(subsets.users)), "end": ends}, tables)
    columns = {"users": subsets.users, "seed": subsets.seeds, "loss": subsets.losses, "products": subsets.products}
    _write_along(group, "row", columns)
    group.attrs["settings"] = as_json(subsets.settings)
    write_number(group, "product_error", subsets.product_error)
    write_origin(group, subsets.checkpoint, checkpoint_hash, subsets.provenance)


def read_subsets(group: Any, name: str) -> Subsets:
    """The record in a group."""
    return Subsets(
        name,
        str(group.attrs["checkpoint"]),
        users=group["users"][...],
        seeds=group["seed"][...],
        losses=group["loss"][...],
        values=group["values"][...],
        residuals=group["residuals"][...],
        converged=read_column(group["converged"]),
        products=group["products"][...],
        provenance=read_provenance(group),
        settings=json.loads(group.attrs["settings"]),
        product_error=read_number(group, "product_error"),
    )


READERS: dict[SpectraKind, Callable[[Any, str], Any]] = {
    "densities": read_density,
    "traces": read_trace,
    "subsets": read_subsets,
}


def _write_tables(group: Any, axes: Mapping[str, NDArray[Any]], tables: Mapping[str, NDArray[Any]]) -> None:
    for axis, values in axes.items():
        write_column(group, axis, values).make_scale(axis)
    for key, table in tables.items():
        dataset = write_column(group, key, np.asarray(table))
        for number, axis in enumerate(axes):
            dataset.dims[number].attach_scale(group[axis])


def _write_along(group: Any, axis: str, columns: Mapping[str, NDArray[Any]]) -> None:
    for key, column in columns.items():
        write_column(group, key, np.asarray(column)).dims[0].attach_scale(group[axis])


def _write_rest(group: Any, record: Density | Trace, checkpoint_hash: str) -> None:
    group.attrs["products"], group.attrs["settings"] = record.products, as_json(record.settings)
    write_number(group, "centre_loss", record.loss)
    write_number(group, "product_error", record.product_error)
    write_origin(group, record.checkpoint, checkpoint_hash, record.provenance)


def _read_rest(group: Any) -> dict[str, Any]:
    provenance: Provenance = read_provenance(group)
    return {
        "products": int(group.attrs["products"]),
        "provenance": provenance,
        "loss": read_number(group, "centre_loss"),
        "settings": json.loads(group.attrs["settings"]),
        "product_error": read_number(group, "product_error"),
    }
