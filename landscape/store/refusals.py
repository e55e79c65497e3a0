"""Why a store refuses a record: other weights, another axis, direction or objective, a result that would be worse.

Each refusal is a StoreMismatch of one line that says what is held and what came. A record that stays refused can be
kept under another name or in another store, or the one held can be removed by name (`Store.remove`).
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from landscape.errors import StoreMismatch
from landscape.records import UNSET, Checkpoint, Eigenpairs, Provenance, Scalars, Surface
from landscape.store import places, schema
from landscape.store.columns import as_json, read_provenance

MeasuredKind = Literal["surfaces", "curvature", "sharpness", "densities", "traces", "subsets", "trajectories", "nodes"]
PointsKind = Literal["surfaces", "nodes"]  # records that fill point by point
MEASURED: dict[MeasuredKind, str] = {
    "surfaces": "surface",
    "curvature": "curvature",
    "sharpness": "sharpness",
    "densities": "density",
    "traces": "trace",
    "subsets": "subsets",
    "trajectories": "trajectory",
    "nodes": "nodes",
}


def same_objective(one: Provenance, other: Provenance) -> bool:
    """Whether two records are of one objective; a setting left at its default is the same as none."""
    return _objective_of(one) == _objective_of(other)


def objective_difference(one: Provenance, other: Provenance, drawn: Collection[str] = ()) -> tuple[str, str] | None:
    """The settings in which two objectives differ, as text of either; settings that are `drawn` anew play no part."""
    sides = [
        {key: value for key, value in json.loads(_objective_of(record)).items() if key not in drawn}
        for record in (one, other)
    ]
    differing = [key for key in sorted({*sides[0], *sides[1]}) if sides[0].get(key) != sides[1].get(key)]
    was, came = (", ".join(f"{key} {side.get(key, UNSET.get(key))}" for key in differing) for side in sides)
    return (was, came) if differing else None


def check_weights(
    path: Path, file: Any, checkpoint: Checkpoint, replacing: Collection[tuple[MeasuredKind, str]]
) -> None:
    """Refuse other weights under a checkpoint's name, unless all that was measured on those held may go.

    Args:
        path: of the store, for the message.
        file: the open store.
        checkpoint: what came.
        replacing: (kind, name) of records that may go; with none of them other weights are always refused.
    """
    there = file.get("checkpoints", {}).get(checkpoint.name)
    if there is None or there.attrs["hash"] == checkpoint.hash:
        return
    kept = [
        f"{MEASURED[kind]} {name!r}"
        for kind in MEASURED
        for name, group in places.groups(file, kind)
        if group.attrs["checkpoint"] == checkpoint.name and (kind, name) not in replacing
    ]
    if not replacing:
        _refuse(path, "checkpoint", checkpoint.name, "set of weights", there.attrs["hash"], checkpoint.hash)
    if kept:
        raise StoreMismatch(
            f"{path} holds {', '.join(kept)} measured on other weights of checkpoint {checkpoint.name!r}: expected "
            f"{there.attrs['hash']}, got {checkpoint.hash}; remove them by name (landscape remove) or take another "
            "store"
        )


def check_held(
    path: Path,
    held: Any,
    kind: MeasuredKind,
    name: str,
    checkpoint: tuple[str, str],
    provenance: Provenance,
    *,
    drawn: Collection[str] = (),
) -> None:
    """Refuse a record of another checkpoint (name, hash) or objective than the group that stands under its name.

    Settings of the objective that are `drawn` anew inside of one record play no part.
    """
    if held.attrs["checkpoint_hash"] != checkpoint[1]:
        was = held.attrs["checkpoint"], held.attrs["checkpoint_hash"]
        _refuse(path, MEASURED[kind], name, "checkpoint", was, checkpoint)
    _check_objective(path, held, kind, name, provenance, drawn)


def check_surface(
    path: Path,
    file: Any,
    surface: Surface,
    checkpoint_hash: str | None,
    *,
    kind: PointsKind = "surfaces",
    any_values: bool = False,
) -> bool:
    """Whether this very surface is held; refuses another one of its name. No hash: its checkpoint is not known yet.

    With `any_values` it may have other values at its points, such as another metric.
    """
    held = file.get(f"{kind}/{surface.name}")
    if held is None:
        return False
    there = schema.read_surface(held, surface.name, file["directions"])
    if checkpoint_hash is None:
        _refuse(path, "surface", surface.name, "checkpoint", there.checkpoint, surface.checkpoint)
    parts: dict[str, tuple[Any, Any]] = {
        "checkpoint": (held.attrs["checkpoint_hash"], checkpoint_hash),
        "alpha axis": (_axis(there.alpha), _axis(surface.alpha)),
        "beta axis": (_axis(there.beta), _axis(surface.beta)),
        "direction x": (there.x.hash, surface.x.hash),
        "direction y": (there.y and there.y.hash, surface.y and surface.y.hash),
        "way of measuring": (_method(there), _method(surface)),
    }
    for part, (was, came) in parts.items():
        if was != came:
            _refuse(path, "surface", surface.name, part, was, came)
    _check_objective(path, held, "surfaces", surface.name, surface.provenance)
    if not any_values and sorted(there.values) != sorted(surface.values):
        _refuse(path, "surface", surface.name, "values", sorted(there.values), sorted(surface.values))
    for axis in ("alpha", "beta"):
        if not same_axis(getattr(there, axis), getattr(surface, axis)):
            _refuse(path, "surface", surface.name, f"{axis} axis", "unequal steps", "others")
    return True


def same_axis(one: NDArray[np.float64] | None, other: NDArray[np.float64] | None) -> bool:
    """Whether two axes are one, but for rounding."""
    if one is None or other is None:
        return one is other
    step = (one[-1] - one[0]) / max(len(one) - 1, 1)
    return one.shape == other.shape and bool(np.abs(one - other).max() <= 1e-9 * abs(step))


def settings_of(pairs: Eigenpairs) -> dict[str, Any]:
    """The settings a record of eigenpairs was made with; what it does not say is inferred from what it holds."""
    inferred = {
        "top": len(pairs.labels) - 1,
        "bottom": 1,
        "tolerance": pairs.tolerance,
        "max_products": int(pairs.products.max(initial=0)),
    }
    return {**inferred, **pairs.settings}


def looser_setting(held: Eigenpairs, wanted: Scalars) -> tuple[str, Any, Any] | None:
    """The setting with which a new measurement could end worse than the record held: (name, held, wanted).

    Where all pairs converged, the products spent are enough; where one did not, the same number must be allowed.
    """
    had = settings_of(held)
    if all(wanted.get(name) == setting for name, setting in had.items()):
        return None
    spent = int(held.products.max(initial=0))
    products = min(had["max_products"], spent) if held.converged.all() else had["max_products"]
    for name, bound, sign in (
        ("top", had["top"], 1),
        ("bottom", had["bottom"], 1),
        ("tolerance", had["tolerance"], -1),
        ("max_products", products, 1),
    ):
        came = wanted.get(name, 1 if name == "bottom" else None)
        if isinstance(came, int | float) and sign * came < sign * bound:
            return name, bound, came
    return None


def check_settings(path: Path, held: Eigenpairs, wanted: Scalars) -> None:
    """Refuse, before it is made, a measurement that could end worse than the eigenpairs held."""
    _check_block(path, held, wanted)
    if (looser := looser_setting(held, wanted)) is not None:
        setting, bound, came = looser
        at = "at most" if setting == "tolerance" else "at least"
        settled = "converged" if held.converged.all() else "not all converged"
        raise StoreMismatch(
            f"{path} holds curvature {held.name!r} ({settled}) that this could make worse: expected {setting} {at} "
            f"{bound:g}, got {came:g}; ask to replace it, or take another name"
        )


def check_no_worse(path: Path, held: Eigenpairs, pairs: Eigenpairs) -> None:
    """Refuse eigenpairs of other settings that ended worse than those held, by method, labels and residuals."""
    _check_block(path, held, pairs.settings)
    if settings_of(held) == settings_of(pairs):
        return
    for k, label in enumerate(held.labels):
        if label not in pairs.labels:
            _refuse(path, "curvature", pairs.name, "choice of ends", held.labels, pairs.labels)
        new = pairs.labels.index(label)
        settled = bool(pairs.converged[new]) and pairs.tolerance <= held.tolerance
        if not settled and not pairs.residuals[new] <= held.residuals[k]:
            raise StoreMismatch(
                f"{path} holds a better {label} as curvature {pairs.name!r}: expected a residual of at most "
                f"{held.residuals[k]:.3g}, got {pairs.residuals[new]:.3g}; ask to replace it, or take another name"
            )


def _check_block(path: Path, held: Eigenpairs, wanted: Scalars) -> None:
    """Refuse the spectrum of another block; the method is free: all of them find the same pairs."""
    was, came = (settings.get("block") for settings in (held.settings, wanted))
    if was != came:
        _refuse(path, "curvature", held.name, "block", was or "all weights", came or "all weights")


def _check_objective(
    path: Path, held: Any, kind: MeasuredKind, name: str, provenance: Provenance, drawn: Collection[str] = ()
) -> None:
    if differing := objective_difference(read_provenance(held), provenance, drawn):
        _refuse(path, MEASURED[kind], name, "objective", *differing)


def _refuse(path: Path, what: str, name: str, part: str, held: Any, came: Any) -> NoReturn:
    raise StoreMismatch(
        f"{path} holds {what} {name!r} of another {part}: expected {held}, got {came}; "
        "take another name or another store, or --replace it"
    )


def _objective_of(provenance: Provenance) -> str:
    settings: Mapping[str, Any] = provenance.objective
    return as_json({key: value for key, value in settings.items() if key not in UNSET or value != UNSET[key]})


def _method(surface: Surface) -> str:
    """Exact where nothing else is said; a fall-back to exact points counts as exact."""
    method = str(surface.approximation.get("method", "exact"))
    return "exact" if method == "exact" else f"{method} (landscape remove takes it out)"


def _axis(values: NDArray[np.float64] | None) -> str:
    return "none" if values is None else f"{values[0]:g}:{values[-1]:g}:{len(values)}"
