"""A surface that grows: wider or finer axes that contain the old ones, and the points measured before kept.

A point is carried over where both of its coordinates are those of the new axes but for rounding. Everything else that
makes a surface (checkpoint, directions, objective, values) must be the same, as for going on with it.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from landscape.errors import StoreMismatch
from landscape.records import Status, Surface
from landscape.store import Store
from landscape.store.refusals import same_axis

Floats = NDArray[np.float64]


def carried_over(store: Store, wanted: Surface) -> Surface | None:
    """The wanted surface with the points that the store holds under its name; None if it holds none, or its very axes.

    Raises:
        StoreMismatch: the surface held is of another checkpoint, direction, objective or value, has a coordinate that
            the wanted axes have not, or was interpolated.
    """
    if wanted.name not in store.names("surfaces"):
        return None
    held = store.surface(wanted.name)
    if same_axis(held.alpha, wanted.alpha) and same_axis(held.beta, wanted.beta):
        return None
    alone = replace(
        wanted,
        alpha=held.alpha,
        beta=held.beta if wanted.beta is not None else None,
        status=held.status,
        values=dict.fromkeys(wanted.values, np.full(held.shape, np.nan)),
    )
    store.check_surface(alone, store.checkpoint(held.checkpoint))
    places = [_places(held, wanted, axis) for axis in ("alpha", "beta") if getattr(wanted, axis) is not None]
    inside = np.ix_(*places)
    status = np.full(wanted.shape, Status.PENDING, dtype=np.uint8)
    status[inside] = held.status
    values = {name: np.full(wanted.shape, np.nan) for name in wanted.values}
    for name, array in values.items():
        array[inside] = held.values[name]
    return replace(wanted, status=status, values=values, centre={**held.centre, **wanted.centre})


def _places(held: Surface, wanted: Surface, axis: str) -> NDArray[np.int64]:
    """Where the held coordinates lie on the wanted axis."""
    old, new = getattr(held, axis), getattr(wanted, axis)
    nearest = np.abs(new[None, :] - old[:, None]).argmin(axis=1)
    step = (new[-1] - new[0]) / (len(new) - 1)
    missing = old[np.abs(new[nearest] - old) > 1e-9 * step]
    if len(missing):
        raise StoreMismatch(
            f"expected an {axis} axis that contains the {len(old)} points of surface {held.name!r}, got one without "
            f"{missing[0]:g}: extend by whole steps, or refine to k (points - 1) + 1 points"
        )
    return np.asarray(nearest, dtype=np.int64)
