"""Two records of one name, checkpoint and objective become one that holds what either holds, or are refused by name.

Each function takes the path of the store that came second, for its refusals, and returns the record held itself where
the other has nothing to add.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from landscape.errors import StoreMismatch
from landscape.product_error import largest_of
from landscape.records import Eigenpairs, Mark, SharpnessReport, Status, Surface
from landscape.sharpness.spectral import SPECTRAL, identity_of, uncertainty_of
from landscape.spectra import Density, Subsets, Trace
from landscape.store import refusals
from landscape.store.columns import as_json

Probed = TypeVar("Probed", Density, Trace)
BY_PROBE: tuple[tuple[type, Callable[[Any], dict[str, NDArray[np.float64]]]], ...] = (
    (Density, lambda d: {"nodes": d.nodes, "weights": d.weights, "residuals": d.residuals}),
    (Trace, lambda t: {"samples": t.samples.T}),
)
DRAWS = ("users", "seeds", "losses", "values", "residuals", "converged", "products")  # columns of subsets


def same(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Equal in every bit that counts; a NaN equals a NaN."""
    if one.dtype.kind != "f":
        return np.asarray(one == other)
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))


def join_checkpoints(path: Path, held: Any, came: Any, name: str) -> None:
    """Metrics and settings of both, into the group held; equal weights, and no name with two values.

    Raises:
        StoreMismatch: other weights, or a name with two values.
    """
    if held.attrs["hash"] != came.attrs["hash"]:
        raise StoreMismatch(
            f"expected the weights {held.attrs['hash'][:12]} as checkpoint {name!r}, got {came.attrs['hash'][:12]} in "
            f"{path}"
        )
    for key in ("metrics", "config"):
        one, other = json.loads(held.attrs[key]), json.loads(came.attrs[key])
        held.attrs[key] = as_json(_union(path, f"checkpoint {name!r}", one, other))


def joined_reports(path: Path, what: str, held: SharpnessReport, came: SharpnessReport) -> SharpnessReport:
    """The measures of both reports; one that both hold must have one value and error, whatever it took.

    Of a spectrum, whose numbers have one truth however they are found, the better known one stays.

    Raises:
        StoreMismatch: a number that both hold differs.
    """
    there = {identity_of(measure): measure for measure in held.measures}
    for measure in came.measures:
        known = there.setdefault(identity_of(measure), measure)
        if measure.measure in SPECTRAL:
            there[identity_of(measure)] = min(known, measure, key=uncertainty_of)
            continue
        for part in ("value", "standard_error"):
            was, new = getattr(known, part), getattr(measure, part)
            if was != new and not (was != was and new != new):
                settings = ", ".join(f"{key} {value}" for key, value in measure.setting.items())
                kind = "" if part == "value" else " with the standard error"
                raise StoreMismatch(
                    f"expected {measure.measure} ({settings}){kind} {was!r} in {what}, got {new!r} in {path}"
                )
    loss = _one_loss(path, what, held, came)
    if tuple(there.values()) == held.measures and loss == held.loss:
        return held
    return replace(held, measures=tuple(there.values()), loss=loss)


def joined_eigenpairs(path: Path, what: str, held: Eigenpairs, came: Eigenpairs) -> Eigenpairs:
    """The same pairs, found in the same way; where the eigenvectors live from the one that says so.

    Raises:
        StoreMismatch: other methods, labels, numbers or places of the eigenvectors.
    """
    if held.method != came.method:
        raise StoreMismatch(f"expected {what} by {held.method}, got {came.method} in {path}: rename or remove one")
    check_settings(path, what, refusals.settings_of(held), refusals.settings_of(came))
    if held.labels != came.labels:
        raise StoreMismatch(f"expected {', '.join(held.labels)} of {what}, got {', '.join(came.labels)} in {path}")
    for part in ("values", "residuals", "converged", "products"):
        one, other = getattr(held, part), getattr(came, part)
        if len(places := np.flatnonzero(~same(one, other))):
            k = places[0]
            raise StoreMismatch(
                f"expected {held.labels[k]} of {what} with {part} {one[k]}, got {other[k]} in {path}: rename or remove "
                "one"
            )
    loss = _one_loss(path, what, held, came)
    mass = came.mass if held.mass is None else held.mass
    if held.mass is not None and came.mass is not None:
        both = held.mass.masses, came.mass.masses
        if held.mass.blocks != came.mass.blocks or not same(*both).all():
            raise StoreMismatch(f"expected the eigenvectors of {what} in one place, got another in {path}")
    error = largest_of(held.product_error, came.product_error)
    if mass is held.mass and (loss, error) == (held.loss, held.product_error):
        return held
    return replace(held, mass=mass, loss=loss, product_error=error)


def joined_probes(path: Path, what: str, held: Probed, came: Probed) -> Probed:
    """The record with more probes of two whose common ones are equal.

    Raises:
        StoreMismatch: other rows, or other numbers of the probes that both hold.
    """
    check_settings(path, what, held.settings, came.settings)
    if isinstance(held, Trace) and isinstance(came, Trace):
        rows = [list(zip(t.quantities, t.blocks, t.coordinates, t.sizes.tolist(), strict=True)) for t in (held, came)]
        if rows[0] != rows[1]:
            raise StoreMismatch(
                f"expected the {len(rows[0])} rows of {what}, got others in {path}: rename or remove one"
            )
    common = min(held.probes, came.probes)
    arrays = next(read for kind, read in BY_PROBE if isinstance(held, kind))
    for part, one in arrays(held).items():
        other = arrays(came)[part]
        if one.shape[1:] != other.shape[1:] or not same(one[:common], other[:common]).all():
            raise StoreMismatch(
                f"expected equal {part} of the first {common} probes of {what}, got others in {path}: rename or remove "
                "one"
            )
    loss = _one_loss(path, what, held, came)
    more = came if came.probes > held.probes else held
    error = largest_of(held.product_error, came.product_error)
    return more if (more.loss, more.product_error) == (loss, error) else replace(more, loss=loss, product_error=error)


def joined_subsets(path: Path, what: str, held: Subsets, came: Subsets) -> Subsets:
    """The draws of both, in the order of users and seeds; a draw that both hold must have equal numbers.

    Raises:
        StoreMismatch: other numbers of a draw that both hold.
    """
    check_settings(path, what, held.settings, came.settings)
    there = {draw: row for row, draw in enumerate(_draws(held))}
    new = []
    for row, draw in enumerate(_draws(came)):
        if draw not in there:
            new.append(row)
            continue
        for part in DRAWS:
            one, other = (np.asarray(getattr(r, part)[k]) for r, k in ((held, there[draw]), (came, row)))
            if not same(one, other).all():
                raise StoreMismatch(
                    f"expected {part} {one.tolist()} of {draw[0]} users, seed {draw[1]}, in {what}, got "
                    f"{other.tolist()} in {path}"
                )
    error = largest_of(held.product_error, came.product_error)
    if not new:
        return held if error == held.product_error else replace(held, product_error=error)
    columns: dict[str, Any] = {part: np.concatenate([getattr(held, part), getattr(came, part)[new]]) for part in DRAWS}
    order = np.lexsort([columns["seeds"], columns["users"]])
    columns = {part: column[order] for part, column in columns.items()}
    return replace(held, **columns, product_error=error)


def _draws(subsets: Subsets) -> list[tuple[int, int]]:
    return list(zip(subsets.users.tolist(), subsets.seeds.tolist(), strict=True))


class JoinedSurface:
    """One surface out of several stores: each brings points, or other values at the same points."""

    def __init__(self, what: str, first: Surface) -> None:
        self._what, self._first = what, first
        self._values = {name: array.copy() for name, array in first.values.items()}
        self._known = dict.fromkeys(first.values, first.status != Status.PENDING)
        self._non_finite = first.status == Status.NON_FINITE
        self._centre, self._marks = dict(first.centre), {mark.name: mark for mark in first.marks}
        self._group = first.group
        self.added = 0  # points at which a later store brought something

    def add(self, path: Path, came: Surface) -> None:
        """Take what another store holds of the same surface.

        Raises:
            StoreMismatch: a value at a point, at the centre or of a mark that contradicts one held.
        """
        if dict(self._first.approximation) != dict(came.approximation):
            raise StoreMismatch(f"expected {self._what} interpolated in one way in all stores, got another in {path}")
        done, added = came.status != Status.PENDING, np.zeros(came.shape, dtype=np.bool_)
        for name, numbers in came.values.items():
            held = self._values.setdefault(name, np.full(came.shape, np.nan))
            known = self._known.setdefault(name, np.zeros(came.shape, dtype=np.bool_))
            if (differing := known & done & ~same(held, numbers)).any():
                index = tuple(np.argwhere(differing)[0].tolist())
                raise StoreMismatch(
                    f"expected {name} {float(held[index])!r} at {_place(came, index)} of {self._what}, got "
                    f"{float(numbers[index])!r} in {path}"
                )
            new = done & ~known
            held[new] = numbers[new]
            self._known[name] = known | new
            added |= new
        self._non_finite |= came.status == Status.NON_FINITE
        self._centre = _union(path, f"the centre of {self._what}", self._centre, came.centre)
        marks: Mapping[str, Mark] = {mark.name: mark for mark in came.marks}
        self._marks = _union(path, f"the marks of {self._what}", self._marks, marks)
        if self._group and came.group and self._group != came.group:
            raise StoreMismatch(f"expected {self._what} in the group {self._group!r}, got {came.group!r} in {path}")
        self._group = self._group or came.group
        self.added += int(added.sum())

    def surface(self) -> Surface:
        """The whole of it.

        Raises:
            StoreMismatch: points that have some of the values and not the others.
        """
        known = np.stack(list(self._known.values()))
        if (torn := known.any(axis=0) & ~known.all(axis=0)).any():
            index = tuple(np.argwhere(torn)[0].tolist())
            have, lack = (
                [name for name, there in self._known.items() if there[index] == side] for side in (True, False)
            )
            raise StoreMismatch(
                f"expected all values at every measured point of {self._what}, got {', '.join(have)} without "
                f"{', '.join(lack)} at {int(torn.sum())} of them, the first {_place(self._first, index)}: measure the "
                "missing ones first"
            )
        status = np.where(known.all(axis=0), Status.DONE, Status.PENDING).astype(np.uint8)
        status[self._non_finite] = Status.NON_FINITE
        return replace(
            self._first,
            values=self._values,
            status=status,
            centre=self._centre,
            marks=tuple(self._marks.values()),
            group=self._group,
        )


def check_settings(path: Path, what: str, held: Mapping[str, Any], came: Mapping[str, Any]) -> None:
    """Refuse a record made with other settings, and say which.

    Raises:
        StoreMismatch: a setting differs.
    """
    if dict(held) == dict(came):
        return
    differing = [key for key in sorted({*held, *came}) if held.get(key) != came.get(key)]
    was, new = (", ".join(f"{key} {side.get(key)}" for key in differing) for side in (held, came))
    raise StoreMismatch(f"expected {what} with {was}, got {new} in {path}: rename or remove one")


def _union(path: Path, what: str, held: Mapping[str, Any], came: Mapping[str, Any]) -> dict[str, Any]:
    """All entries of both; one that both have must be the same."""
    for entry in sorted(held.keys() & came.keys()):
        one, other = held[entry], came[entry]
        if one != other and not (one != one and other != other):
            raise StoreMismatch(f"expected {entry} {one} of {what}, got {other} in {path}")
    return {**held, **came}


def _one_loss(path: Path, what: str, held: Any, came: Any) -> float | None:
    """The loss at the checkpoint, from whichever says it."""
    losses = [{} if record.loss is None else {"the loss": record.loss} for record in (held, came)]
    return _union(path, what, losses[0], losses[1]).get("the loss")


def _place(surface: Surface, index: tuple[int, ...]) -> str:
    axes = [axis for axis in (surface.alpha, surface.beta) if axis is not None]
    return "(" + ", ".join(f"{axis[k]:g}" for axis, k in zip(axes, index, strict=True)) + ")"
