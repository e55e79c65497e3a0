"""Records of whole spectra: densities, traces, both ends of the spectrum on smaller data.

Each keeps the numbers of every probe or draw, so that its spread can be drawn and more of them added later.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from landscape.display import Display, Shown, SortableTable
from landscape.estimates import Floats, mean_and_error, moments, root_and_error
from landscape.product_error import as_notes
from landscape.records import Provenance, Scalars


@dataclass(frozen=True, slots=True, repr=False)
class Density(Shown):
    """A spectral density as nodes and weights of every probe, by stochastic Lanczos quadrature."""

    name: str
    checkpoint: str
    nodes: Floats  # (probes, steps) ascending, in units of an eigenvalue; NaN where a probe ended early
    weights: Floats  # (probes, steps); each row sums to 1
    residuals: Floats  # (probes, steps) ||Hv - theta v|| of each node's Ritz vector
    dimension: int  # n, eigenvalues altogether
    products: int  # operator products spent
    provenance: Provenance
    loss: float | None = None  # the objective at w
    settings: Scalars = field(default_factory=dict)  # steps, seed, block, coordinates
    product_error: float | None = None  # see `landscape.product_error`; None where products are exact to rounding

    @property
    def probes(self) -> int:
        """How many there are."""
        return len(self.nodes)

    @property
    def trace(self) -> tuple[float, float]:
        """n times the mean eigenvalue, and its standard error over probes."""
        return mean_and_error(self.dimension * moments(self.nodes, self.weights, 1))

    @property
    def frobenius_norm(self) -> tuple[float, float]:
        """The root of n times the mean squared eigenvalue, and its standard error over probes."""
        return root_and_error(self.dimension * moments(self.nodes, self.weights, 2))

    @property
    def negative(self) -> tuple[float, float]:
        """Share of the sum of |eigenvalues| that is negative, as far as the nodes resolve it, and its standard error.

        A ratio of two means over probes, its error by the delta method.
        """
        size = moments(np.abs(self.nodes), self.weights, 1)
        below = moments(np.where(self.nodes < 0, -self.nodes, 0.0), self.weights, 1)
        total = float(size.mean())
        if total == 0:
            return 0.0, 0.0
        ratio = float(below.mean()) / total
        return ratio, mean_and_error(below - ratio * size)[1] / total

    def end(self, sign: int) -> tuple[float, float]:
        """The outermost node over all probes above (sign 1) or below (-1), and its residual."""
        place = np.nanargmax(sign * self.nodes)
        return float(self.nodes.flat[place]), float(self.residuals.flat[place])

    def _display(self) -> Display:
        settings = self.settings
        facts = {"checkpoint": self.checkpoint, "loss": self.loss, "eigenvalues": self.dimension}
        facts |= {"probes": self.probes, "steps": settings.get("steps"), "block": settings.get("block")}
        facts |= {"coordinates": settings.get("coordinates")}
        estimates = {"trace": self.trace, "Frobenius norm": self.frobenius_norm, "negative share": self.negative}
        outermost = {"outermost above": self.end(1), "outermost below": self.end(-1)}
        rows = [(name, value, error, "standard error") for name, (value, error) in estimates.items()]
        rows += [(name, value, residual, "residual") for name, (value, residual) in outermost.items()]
        return Display(
            "Density",
            self.name,
            facts,
            (SortableTable("", ("", "value", "±", "which is a"), tuple(rows)),),
            as_notes(self.product_error),
        )


@dataclass(frozen=True, slots=True, repr=False)
class Trace(Shown):
    """Traces and Frobenius norms with their standard errors, of the whole and by block, raw and relative to |w|."""

    name: str
    checkpoint: str
    quantities: tuple[str, ...]  # "trace" or "frobenius_norm", a row each
    blocks: tuple[str, ...]  # a row's block, "all" for all coordinates of the record
    coordinates: tuple[str, ...]  # "raw", in units of loss per squared parameter, or "relative", in units of loss
    sizes: NDArray[np.int64]  # (rows,) free coordinates of each block
    samples: Floats  # (rows, probes) of z.Hz over the block, of |Hz|^2 for a norm
    products: int  # operator products spent
    provenance: Provenance
    loss: float | None = None
    settings: Scalars = field(default_factory=dict)  # method, seed, block, relative; Hutch++ its probes
    product_error: float | None = None  # see `landscape.product_error`; None where products are exact to rounding

    @property
    def probes(self) -> int:
        """How many there are."""
        return len(self.samples.T)

    @property
    def estimates(self) -> tuple[tuple[float, float], ...]:
        """A value and its standard error over probes for each row."""
        roots = {"trace": mean_and_error, "frobenius_norm": root_and_error}
        return tuple(roots[kind](row) for kind, row in zip(self.quantities, self.samples, strict=True))

    def estimate(self, quantity: str, *, block: str = "all", coordinates: str = "raw") -> tuple[float, float]:
        """Value and standard error of one row; KeyError where there is none."""
        rows = list(zip(self.quantities, self.blocks, self.coordinates, strict=True))
        if (quantity, block, coordinates) not in rows:
            raise KeyError(f"no {quantity} of {block} in {coordinates} coordinates")
        return self.estimates[rows.index((quantity, block, coordinates))]

    def _display(self) -> Display:
        facts = {"checkpoint": self.checkpoint, "loss": self.loss, "by": self.settings.get("method")}
        names = (quantity.replace("_", " ") for quantity in self.quantities)
        columns = zip(names, self.blocks, self.coordinates, self.estimates, strict=True)
        rows = tuple((quantity, block, frame, value, error) for quantity, block, frame, (value, error) in columns)
        table = SortableTable("", ("", "block", "coordinates", "value", "standard error"), rows)
        return Display("Trace", self.name, {**facts, "probes": self.probes}, (table,), as_notes(self.product_error))


def trace_differences(one: Trace, other: Trace) -> dict[tuple[str, str], tuple[float, float]]:
    """The other's trace minus the one's for each (block, coordinates), with its standard error, paired over probes.

    Two Hessians seen by the same probes differ by far less than either error says. Empty where the probes are others:
    another seed, method, block or size.
    """
    sizes, rows = [], []
    for record in (one, other):
        columns = zip(record.quantities, record.blocks, record.coordinates, record.samples, strict=True)
        rows.append({(block, frame): samples for kind, block, frame, samples in columns if kind == "trace"})
        sizes.append(dict(zip(record.blocks, record.sizes.tolist(), strict=True)))
    if dict(one.settings) != dict(other.settings) or sizes[0] != sizes[1]:
        return {}
    paired = min(one.probes, other.probes)
    return {key: mean_and_error(rows[1][key][:paired] - rows[0][key][:paired]) for key in rows[0] if key in rows[1]}


@dataclass(frozen=True, slots=True, repr=False)
class Subsets(Shown):
    """Both ends of the spectrum on random subsets of the data: how much they depend on its size and draw."""

    name: str
    checkpoint: str
    users: NDArray[np.int64]  # (rows,) units of data taken
    seeds: NDArray[np.int64]  # (rows,) of the subset and of whatever else the objective draws
    losses: Floats  # (rows,) the objective at w
    values: Floats  # (rows, 2) lambda_max and lambda_min
    residuals: Floats  # (rows, 2)
    converged: NDArray[np.bool_]  # (rows, 2)
    products: NDArray[np.int64]  # (rows,)
    provenance: Provenance  # of the last row, but for users and seed
    settings: Scalars = field(default_factory=dict)  # method, tolerance, max_products
    product_error: float | None = None  # see `landscape.product_error`; None where products are exact to rounding

    def _display(self) -> Display:
        columns = (self.users, self.seeds, self.losses, *self.values.T, *self.residuals.T)
        rows = tuple(zip(*(column.tolist() for column in columns), strict=True))
        shown = ("users", "seed", "loss", "λmax", "λmin", "residual of λmax", "of λmin")
        facts = {"checkpoint": self.checkpoint, "draws": len(rows), "settled": bool(self.converged.all())}
        return Display("Subsets", self.name, facts, (SortableTable("", shown, rows),), as_notes(self.product_error))
