"""What each record looks like inside the HDF5 file: groups, datasets with dimension scales, attributes.

    /                    format, format_version, created, versions
    /checkpoints/NAME    hash, norm, parameters, metrics, config
    /directions/ID       kind, seed, policy, hash, norm, orthogonal_to, cosine, skipped_filters; vector where it is kept
    /surfaces/NAME       alpha, beta, status, loss, ...; checkpoint, checkpoint_hash, x, y (direction ids), centre, ...;
                         marks, group, approximation where there are any
    /nodes/NAME          the same, at the nodes that the surface NAME is interpolated from; most of them never needed
    /curvature/NAME      label, values, residuals, converged, products; block, mass; checkpoint, ..., centre_loss,
                         method, settings, product_error of inexact products; the groups inside: `spectra`
    /sharpness/NAME      measure, setting, value, standard_error, cost, note, seconds; checkpoint, ..., centre_loss
    /trajectories/NAME   coordinates, distance, residual, loss, epoch, label, hash, explained; x, y (direction ids), ...
    /comparisons/NAME, /histories/NAME, /studies/NAME    one dataset a column

Mappings are JSON text in attributes; every array has dimension scales, so xarray opens each group with named axes;
columns and attributes are written by `columns`. The first stores kept one loss, the
last measured, with the checkpoint (attribute `loss`) and no `centre`, `centre_loss` or `settings`: they are read so.
"""

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np

from landscape.errors import InvalidArgument
from landscape.records import (
    BlockMass,
    Checkpoint,
    Direction,
    Eigenpairs,
    Mark,
    SharpnessMeasure,
    SharpnessReport,
    Status,
    Surface,
    Table,
    Trajectory,
)
from landscape.store.columns import (
    as_json,
    as_text,
    check_name,
    read_column,
    read_number,
    read_provenance,
    write_column,
    write_columns,
    write_number,
    write_origin,
)

Group = Any  # h5py.Group; h5py carries no types
RESERVED = ("alpha", "beta", "status")


def write_checkpoint(group: Group, checkpoint: Checkpoint) -> None:
    """Fill an empty group."""
    for key in ("hash", "norm", "parameters"):
        group.attrs[key] = getattr(checkpoint, key)
    write_number(group, "loss", checkpoint.loss)
    group.attrs["metrics"], group.attrs["config"] = as_json(checkpoint.metrics), as_json(checkpoint.config)


def read_checkpoint(group: Group, name: str) -> Checkpoint:
    """The record in a group."""
    attrs = group.attrs
    return Checkpoint(
        name=name,
        hash=str(attrs["hash"]),
        norm=float(attrs["norm"]),
        parameters=int(attrs["parameters"]),
        metrics=json.loads(attrs["metrics"]),
        config=json.loads(attrs["config"]),
        loss=read_number(group, "loss"),
    )


def direction_id(direction: Direction) -> str:
    """The name of a direction inside a store: the same record gets the same one."""
    return hashlib.sha256(as_json(_about(direction)).encode()).hexdigest()[:16]


def _about(direction: Direction) -> dict[str, Any]:
    """All but the vector, for which the hash speaks."""
    return {key: value for key, value in dataclasses.asdict(direction).items() if key != "vector"}


def write_direction(group: Group, direction: Direction) -> None:
    """Fill an empty group; what is None is left out."""
    for key, value in _about(direction).items():
        if value is not None:
            group.attrs[key] = as_json(value) if key == "policy" else value
    if direction.vector is not None:
        group.create_dataset("vector", data=direction.vector.astype("<f4")).make_scale("coordinate")


def read_direction(group: Group) -> Direction:
    """The record in a group."""
    attrs = group.attrs
    return Direction(
        kind=str(attrs["kind"]),
        seed=int(attrs["seed"]),
        policy=json.loads(attrs["policy"]),
        hash=str(attrs["hash"]),
        norm=float(attrs["norm"]),
        orthogonal_to=str(attrs["orthogonal_to"]) if "orthogonal_to" in attrs else None,
        cosine=float(attrs["cosine"]) if "cosine" in attrs else None,
        skipped_filters=int(attrs["skipped_filters"]),
        vector=group["vector"][...].astype(np.float32) if "vector" in group else None,
    )


def write_surface(group: Group, surface: Surface, checkpoint_hash: str) -> None:
    """Fill an empty group with preallocated contiguous arrays, holding the points the record already has."""
    axes = {"alpha": surface.alpha} if surface.beta is None else {"alpha": surface.alpha, "beta": surface.beta}
    for axis, values in axes.items():
        group.create_dataset(axis, data=np.asarray(values, dtype="<f8")).make_scale(axis)
    status = group.create_dataset("status", data=np.asarray(surface.status, dtype=np.uint8))
    status.attrs["flag_values"] = np.array([int(flag) for flag in Status], dtype=np.uint8)
    status.attrs["flag_meanings"] = " ".join(flag.name.lower() for flag in Status)
    pending = surface.status == Status.PENDING
    for name, array in surface.values.items():
        check_name(name, "a value")
        if name in RESERVED:
            raise InvalidArgument(f"expected a value with a name other than {', '.join(RESERVED)}, got {name!r}")
        group.create_dataset(name, data=np.where(pending, np.nan, array).astype("<f8"))
    for name in ("status", *surface.values):
        if group[name].shape != surface.shape:
            raise InvalidArgument(f"expected {name} of shape {surface.shape}, got {group[name].shape}")
        for number, axis in enumerate(axes):
            group[name].dims[number].attach_scale(group[axis])
    group.attrs["values"], group.attrs["centre"] = as_json(list(surface.values)), as_json(surface.centre)
    if surface.approximation:
        group.attrs["approximation"] = as_json(surface.approximation)
    group.attrs["x"] = direction_id(surface.x)
    if surface.y is not None:
        group.attrs["y"] = direction_id(surface.y)
    if surface.marks:
        group.attrs["marks"] = as_json([dataclasses.asdict(mark) for mark in surface.marks])
    if surface.group:
        group.attrs["group"] = surface.group
    write_origin(group, surface.checkpoint, checkpoint_hash, surface.provenance)


def read_surface(group: Group, name: str, directions: Group) -> Surface:
    """The record in a group. Status is read first: what it calls done is then already in the values."""
    status = group["status"][...]
    pending = status == Status.PENDING
    values = {key: group[key][...] for key in value_names(group)}
    for array in values.values():
        array[pending] = np.nan
    return Surface(
        name=name,
        checkpoint=str(group.attrs["checkpoint"]),
        alpha=group["alpha"][...],
        beta=group["beta"][...] if "beta" in group else None,
        status=status,
        values=values,
        x=read_direction(directions[group.attrs["x"]]),
        y=read_direction(directions[group.attrs["y"]]) if "y" in group.attrs else None,
        provenance=read_provenance(group),
        centre=json.loads(group.attrs.get("centre", "{}")),
        marks=tuple(Mark(**mark) for mark in json.loads(group.attrs.get("marks", "[]"))),
        group=str(group.attrs.get("group", "")),
        approximation=json.loads(group.attrs.get("approximation", "{}")),
    )


def value_names(group: Group) -> list[str]:
    """The values a surface has at each point, in the order they were given."""
    names: list[str] = json.loads(group.attrs["values"])
    return names


def write_eigenpairs(group: Group, pairs: Eigenpairs, checkpoint_hash: str) -> None:
    """Fill an empty group."""
    columns = {key: getattr(pairs, key) for key in ("values", "residuals", "converged", "products")}
    write_columns(group, columns, ("label", np.array(pairs.labels, dtype=object)))
    group.attrs["method"], group.attrs["tolerance"] = pairs.method, pairs.tolerance
    group.attrs["settings"] = as_json(pairs.settings)
    _write_mass(group, pairs.mass)
    write_number(group, "centre_loss", pairs.loss)
    write_number(group, "product_error", pairs.product_error)
    write_origin(group, pairs.checkpoint, checkpoint_hash, pairs.provenance)


def read_eigenpairs(group: Group, name: str) -> Eigenpairs:
    """The record in a group."""
    return Eigenpairs(
        name=name,
        checkpoint=str(group.attrs["checkpoint"]),
        method=str(group.attrs["method"]),
        labels=tuple(read_column(group["label"]).tolist()),
        values=read_column(group["values"]),
        residuals=read_column(group["residuals"]),
        converged=read_column(group["converged"]),
        products=read_column(group["products"]),
        tolerance=float(group.attrs["tolerance"]),
        provenance=read_provenance(group),
        loss=read_number(group, "centre_loss"),
        settings=json.loads(group.attrs.get("settings", "{}")),
        mass=_read_mass(group),
        product_error=read_number(group, "product_error"),
    )


def _write_mass(group: Group, mass: BlockMass | None) -> None:
    """Add to a group of eigenpairs where they live."""
    if mass is None:
        return
    write_column(group, "block", np.array(mass.blocks, dtype=object)).make_scale("block")
    table = write_column(group, "mass", mass.masses)
    table.dims[0].attach_scale(group["label"])
    table.dims[1].attach_scale(group["block"])
    write_column(group, "block_size", mass.sizes).dims[0].attach_scale(group["block"])
    group.attrs["dimension"] = mass.dimension


def _read_mass(group: Group) -> BlockMass | None:
    """Where the eigenvectors of a group live, if it says so."""
    if "mass" not in group:
        return None
    blocks = tuple(read_column(group["block"]).tolist())
    return BlockMass(blocks, group["block_size"][...], int(group.attrs["dimension"]), group["mass"][...])


def write_sharpness(group: Group, report: SharpnessReport, checkpoint_hash: str) -> None:
    """Fill an empty group; a standard error of None is a NaN that `exact` explains."""
    measures = report.measures
    errors = [np.nan if m.standard_error is None else m.standard_error for m in measures]
    columns = {
        "measure": as_text([m.measure for m in measures]),
        "setting": as_text([as_json(m.setting) for m in measures]),
        "value": np.array([m.value for m in measures], dtype=np.float64),
        "standard_error": np.array(errors, dtype=np.float64),
        "exact": np.array([m.standard_error is None for m in measures], dtype=np.bool_),
        "cost": np.array([m.cost for m in measures], dtype=np.int64),
        "note": as_text([m.note for m in measures]),
        "seconds": np.array([np.nan if m.seconds is None else m.seconds for m in measures], dtype=np.float64),
    }
    write_columns(group, columns, ("row", np.arange(len(measures))))
    write_number(group, "centre_loss", report.loss)
    write_origin(group, report.checkpoint, checkpoint_hash, report.provenance)


def read_sharpness(group: Group, name: str) -> SharpnessReport:
    """The record in a group."""
    keys = ("measure", "setting", "value", "standard_error", "exact", "cost", "note")
    columns = [read_column(group[key]).tolist() for key in keys]
    clocks = read_column(group["seconds"]).tolist() if "seconds" in group else [np.nan] * len(columns[0])
    measures = tuple(
        SharpnessMeasure(
            measure,
            json.loads(setting),
            value,
            None if exact else error,
            cost,
            note,
            None if np.isnan(spent) else spent,
        )
        for measure, setting, value, error, exact, cost, note, spent in zip(*columns, clocks, strict=True)
    )
    loss = read_number(group, "centre_loss")
    return SharpnessReport(name, str(group.attrs["checkpoint"]), measures, read_provenance(group), loss)


def write_trajectory(group: Group, trajectory: Trajectory, checkpoint_hash: str) -> None:
    """Fill an empty group; coordinates have a row a checkpoint and a column a direction."""
    columns = {
        "label": as_text(trajectory.labels),
        "hash": as_text(trajectory.hashes),
        "distance": trajectory.distances,
        "residual": trajectory.residuals,
        "loss": trajectory.losses,
        "epoch": trajectory.epochs,
    }
    write_columns(group, columns, ("point", np.arange(len(trajectory.labels))))
    group.create_dataset("axis", data=np.arange(2)).make_scale("axis")
    places = group.create_dataset("coordinates", data=np.asarray(trajectory.coordinates, dtype="<f8"))
    for number, axis in enumerate(("point", "axis")):
        places.dims[number].attach_scale(group[axis])
    group.create_dataset("explained", data=trajectory.explained).make_scale("explained")
    group.attrs["x"], group.attrs["y"] = direction_id(trajectory.x), direction_id(trajectory.y)
    write_origin(group, trajectory.checkpoint, checkpoint_hash, trajectory.provenance)


def read_trajectory(group: Group, name: str, directions: Group) -> Trajectory:
    """The record in a group."""
    return Trajectory(
        name=name,
        checkpoint=str(group.attrs["checkpoint"]),
        labels=tuple(read_column(group["label"]).tolist()),
        hashes=tuple(read_column(group["hash"]).tolist()),
        epochs=read_column(group["epoch"]),
        coordinates=group["coordinates"][...],
        distances=read_column(group["distance"]),
        residuals=read_column(group["residual"]),
        losses=read_column(group["loss"]),
        explained=group["explained"][...],
        x=read_direction(directions[group.attrs["x"]]),
        y=read_direction(directions[group.attrs["y"]]),
        provenance=read_provenance(group),
    )


def write_table(group: Group, table: Table) -> None:
    """Fill an empty group: numbers, truth values and text; anything else raises InvalidArgument."""
    lengths = {key: np.shape(column) for key, column in table.columns.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise InvalidArgument(f"expected columns of one length in table {table.name!r}, got shapes {lengths}")
    rows, scale = next(iter(lengths.values()), (0,))[0], "row"
    while scale in table.columns:
        scale += "_"
    for key in table.columns:
        check_name(key, "a column")
    write_columns(group, table.columns, (scale, np.arange(rows)))
    group.attrs["columns"], group.attrs["attributes"] = as_json(list(table.columns)), as_json(table.attributes)


def read_table(group: Group, name: str) -> Table:
    """The record in a group, columns in the order they were given."""
    columns = {key: read_column(group[key]) for key in json.loads(group.attrs["columns"])}
    return Table(name, columns, json.loads(group.attrs["attributes"]))
