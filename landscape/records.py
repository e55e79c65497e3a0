"""What a measurement leaves behind: frozen records of plain NumPy values, handed from computing to store to plots.

No record knows how it was computed or how it is drawn; each says in brief what it is of, how far it is, and its numbers
with their errors, for a prompt or a notebook. NaN and infinity are values like any other; whether a point has
been measured at all is said by `status` alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape.display import Display, Shown, SortableTable
from landscape.product_error import as_notes
from landscape.sharpness.measure import Scalars as Scalars
from landscape.sharpness.measure import SharpnessMeasure as SharpnessMeasure
from landscape.sharpness.names import eigenvalue_name, family_of, is_invariant, radius_text

RANDOM = ("filter", "layer", "raw")  # kinds of directions that a seed draws, at any checkpoint
# Settings of a target that were left alone: one that is missing and one at its value here are the same.
UNSET: Mapping[str, Any] = {
    "users": None,
    "loss": None,
    "seed": 0,
    "split": "train",
    "device": "auto",
    "data": None,
}


class Status(IntEnum):
    """What is known of a grid point."""

    PENDING = 0  # not measured yet; the values there mean nothing
    DONE = 1  # measured, every value finite
    NON_FINITE = 2  # measured, and a NaN or an infinity was the answer


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a number comes from: enough to compute it again."""

    target: str  # `loader:where` as given
    objective: Mapping[str, Any] = field(default_factory=dict)  # loss, data hash, users, seed, ... (JSON values)
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""  # ISO 8601, UTC
    command: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Checkpoint(Shown):
    """A point in weight space, without its weights."""

    name: str
    hash: str  # SHA-256 over names, shapes and values
    norm: float  # ||w|| over the free coordinates
    parameters: int  # number of free coordinates
    metrics: Mapping[str, float] = field(default_factory=dict)  # a surface keeps those of its own data as `centre`
    config: Mapping[str, Any] = field(default_factory=dict)
    loss: float | None = None  # of the objective measured last; in stores from before records kept their own

    def _display(self) -> Display:
        facts = {"parameters": self.parameters, "‖w‖": self.norm, "loss": self.loss, **self.metrics}
        return Display("Checkpoint", self.name, {**facts, "hash": self.hash[:12]})


@dataclass(frozen=True, slots=True)
class Direction:
    """How to draw a direction again, and the evidence that the redraw is the same."""

    kind: str  # "filter", "raw", ...
    seed: int
    policy: Mapping[str, Any]  # biases, norms, untouched rows (JSON values)
    hash: str  # SHA-256 over the float32 values of its free coordinates
    norm: float
    orthogonal_to: str | None = None  # hash of the direction it was made orthogonal to
    cosine: float | None = None  # with that direction, over the free coordinates
    skipped_filters: int = 0  # filters of one element, left at zero in a second direction
    vector: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)  # (free,) where it is kept


@dataclass(frozen=True, slots=True)
class Mark:
    """A named point of a line or a plane: a checkpoint, at its own place or at its projection."""

    name: str
    alpha: float
    beta: float = 0.0  # 0 on a line
    loss: float | None = None  # of the checkpoint itself, which may lie beside the plane
    outside: float = 0.0  # its distance from the plane as a share of its distance from the origin


@dataclass(frozen=True, slots=True)
class Plane:
    """The directions of a line (y None) or a plane, and the points worth marking in it."""

    x: Direction
    y: Direction | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Surface(Shown):
    """The loss, and perhaps metrics, at w + alpha x (+ beta y).

    In 1D `beta` and `y` are None and every array has shape (alpha,); in 2D shape (alpha, beta).
    """

    name: str
    checkpoint: str  # the name of its Checkpoint
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64] | None
    status: NDArray[np.uint8]
    values: Mapping[str, NDArray[np.float64]]  # "loss", "standard_error", and one per metric, by its name
    x: Direction
    y: Direction | None
    provenance: Provenance
    centre: Mapping[str, float] = field(default_factory=dict)  # the values at w, by name: "loss", and the metrics
    marks: tuple[Mark, ...] = ()
    group: str = ""  # lines of several seeds that belong together share it
    approximation: Mapping[str, Any] = field(default_factory=dict)  # how it was interpolated and how far off it may be

    @property
    def shape(self) -> tuple[int, ...]:
        """(alpha,) or (alpha, beta)."""
        return (len(self.alpha),) if self.beta is None else (len(self.alpha), len(self.beta))

    @property
    def is_finished(self) -> bool:
        """Whether every point has been measured."""
        return bool((self.status != Status.PENDING).all())

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with axes alpha and beta, every value, and the status; needs xarray, from `notebook`."""
        import xarray

        axes = {"alpha": self.alpha} if self.beta is None else {"alpha": self.alpha, "beta": self.beta}
        arrays = {name: (tuple(axes), array) for name, array in (*self.values.items(), ("status", self.status))}
        attributes = {"name": self.name, "checkpoint": self.checkpoint, "target": self.provenance.target}
        return xarray.Dataset(arrays, coords=axes, attrs=attributes)

    def _display(self) -> Display:
        from landscape.plots.caption import approximation_note

        measured = self.status != Status.PENDING
        directions = self.x.kind if self.y is None else " and ".join(dict.fromkeys((self.x.kind, self.y.kind)))
        facts = {
            "checkpoint": self.checkpoint,
            "points": " × ".join(map(str, self.shape)),
            "measured": "all" if measured.all() else f"{int(measured.sum()):,} of {measured.size:,}",
            "directions": f"{directions}, seed {self.x.seed}",
        }
        rows = []
        for name, values in self.values.items():
            there = values[measured]
            finite = there[np.isfinite(there)]
            ends = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
            rows.append((name.replace("_", " "), self.centre.get(name), *ends, len(there) - len(finite)))
        columns = ("value", "at the checkpoint", "lowest", "highest", "not finite")
        tables = [SortableTable("", columns, tuple(rows))]
        if self.marks:
            marks = tuple((mark.name, mark.alpha, mark.beta, mark.loss, mark.outside) for mark in self.marks)
            tables.append(SortableTable("", ("mark", "α", "β", "its own loss", "outside of the plane"), marks))
        note = approximation_note(self.approximation)
        return Display("Surface", self.name, facts, tuple(tables), (note,) if note else ())


@dataclass(frozen=True, slots=True)
class BlockMass:
    """Where eigenvectors live: the sum of their squared coordinates in each block, beside the block's size.

    Blocks of the layout cover every coordinate once and their masses sum to 1; row groups lie inside of them.
    """

    blocks: tuple[str, ...]
    sizes: NDArray[np.int64]  # (blocks,) free coordinates of each
    dimension: int  # free coordinates altogether
    masses: NDArray[np.float64]  # (eigenpairs, blocks)

    @property
    def shares(self) -> NDArray[np.float64]:
        """(blocks,) share of the coordinates that each block has: the mass of a vector that lives everywhere alike."""
        return np.asarray(self.sizes / self.dimension)


@dataclass(frozen=True, slots=True, repr=False)
class Eigenpairs(Shown):
    """Approximate Hessian eigenvalues with the evidence for each, largest first, named by sign and end."""

    name: str
    checkpoint: str
    method: str  # "lanczos", "power", "lobpcg"
    labels: tuple[str, ...]  # "lambda_max", "lambda_2", ..., "lambda_min_2", "lambda_min"
    values: NDArray[np.float64]  # Rayleigh quotients, in units of loss per squared parameter
    residuals: NDArray[np.float64]  # ||Hv - theta v||: a true eigenvalue lies within this of theta
    converged: NDArray[np.bool_]
    products: NDArray[np.int64]  # operator products spent on each; the same ones where all are found together
    tolerance: float
    provenance: Provenance
    loss: float | None = None  # the objective at w; None in stores from before it was kept
    settings: Scalars = field(default_factory=dict)  # top, tolerance, seed, max_products, and what was not left alone:
    # bottom, block, confirm, warm_start; empty in such stores
    mass: BlockMass | None = None  # where the eigenvectors live; None in stores from before it was kept
    product_error: float | None = None  # see `landscape.product_error`; None where products are exact to rounding

    def _display(self) -> Display:
        facts = {"checkpoint": self.checkpoint, "loss": self.loss, "by": self.method}
        facts |= {"block": self.settings.get("block"), "products": int(self.products.max(initial=0))}
        labels = map(eigenvalue_name, self.labels)
        columns = (labels, self.values.tolist(), self.residuals.tolist(), self.converged.tolist())
        table = SortableTable("", ("", "value", "residual", "settled"), tuple(zip(*columns, strict=True)))
        note = "An eigenvalue lies within the residual of each value."
        return Display("Eigenpairs", self.name, facts, (table,), (note, *as_notes(self.product_error)))


@dataclass(frozen=True, slots=True, repr=False)
class SharpnessReport(Shown):
    """All sharpness measures taken of one checkpoint in one call."""

    name: str
    checkpoint: str
    measures: tuple[SharpnessMeasure, ...]
    provenance: Provenance
    loss: float | None = None  # the objective at w; None in stores from before it was kept

    def _display(self) -> Display:
        rows = tuple(
            (family_of(m), radius_text(m), "invariant" if is_invariant(m) else "raw", m.value, m.standard_error, m.note)
            for m in self.measures
        )
        columns = ("measure", "radius", "under re-scaling", "value", "standard error", "note")
        facts = {"checkpoint": self.checkpoint, "loss": self.loss, "numbers": len(rows)}
        return Display("Sharpness", self.name, facts, (SortableTable("", columns, rows),))


@dataclass(frozen=True, slots=True, repr=False)
class Trajectory(Shown):
    """The checkpoints of a training, in order, seen from a plane through the one that is the origin.

    A row a checkpoint. x and y are the principal directions of the differences from the origin, of unit length.
    """

    name: str
    checkpoint: str  # the origin's name
    labels: tuple[str, ...]  # where each came from
    epochs: NDArray[np.float64]  # (checkpoints,) or their number in the path
    hashes: tuple[str, ...]
    coordinates: NDArray[np.float64]  # (checkpoints, 2) of the projections
    distances: NDArray[np.float64]  # (checkpoints,) from the origin
    residuals: NDArray[np.float64]  # (checkpoints,) from the plane
    losses: NDArray[np.float64]  # (checkpoints,) at the checkpoints themselves
    explained: NDArray[np.float64]  # (components,) shares of the sum of squared distances, largest first
    x: Direction
    y: Direction
    provenance: Provenance

    @property
    def outside(self) -> NDArray[np.float64]:
        """Each checkpoint's distance from the plane as a share of its distance from the origin; 0 at the origin."""
        away = self.distances > 0
        return np.where(away, self.residuals / np.where(away, self.distances, 1.0), 0.0)

    def _display(self) -> Display:
        x, y = self.explained[:2].tolist()
        facts = {"origin": self.checkpoint, "checkpoints": len(self.labels), "explained": f"{x:.1%} and {y:.1%}"}
        columns = (self.epochs, *self.coordinates.T, self.losses, self.outside)
        rows = tuple(zip(*(column.tolist() for column in columns), strict=True))
        table = SortableTable("", ("epoch", "α", "β", "loss", "outside of the plane"), rows)
        return Display("Trajectory", self.name, facts, (table,))


@dataclass(frozen=True, slots=True, repr=False)
class Table(Shown):
    """Named columns of equal length, numbers or strings: comparisons, histories, studies."""

    name: str
    columns: Mapping[str, NDArray[Any]]
    attributes: Mapping[str, Any] = field(default_factory=dict)  # JSON values

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row at a time: plain Python values by column."""
        for row in zip(*(column.tolist() for column in self.columns.values()), strict=True):
            yield dict(zip(self.columns, row, strict=True))

    def _display(self) -> Display:
        rows = tuple(zip(*(column.tolist() for column in self.columns.values()), strict=True))
        names = tuple(name.replace("_", " ") for name in self.columns)
        return Display("Table", self.name, {"rows": len(rows)}, (SortableTable("", names, rows),))
