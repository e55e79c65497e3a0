"""A smooth line or plane from few points: nested Chebyshev nodes, a degree raised until it is enough, a stated error.

Letters: alpha a coordinate on [mid - h, mid + h], t in [-1, 1] its parameter, n a degree, T_k Chebyshev polynomials.

Nodes are Chebyshev-Lobatto in t, and alpha = mid + h asin(p t) / asin(p) (Kosloff and Tal-Ezer 1993): with p = 0.7 the
nodes lie 10 % closer together in the middle, where a checkpoint is and relative errors are largest, and less crowded
at the ends. On a trained SASRec 13 x 13 nodes were off by .004 % of the range, instead of .006 %, and where the loss is
below twice its minimum by 1.4 % of its rise, instead of 2.0 %; p = 0.9 was worse. Degrees are 6, 12, 24, ... for each
axis apart: every node is one of the next degree too. Where the slopes at a node in the middle are known, one polynomial
an axis is added that vanishes at all nodes and gives those slopes; there it took the 1.4 % to 0.5 %.

The error is not bounded but estimated: twice the largest seen at held-out points (nodes of the next degree, so that
raising it wastes none), and no less than the last coefficients of each axis.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial import chebyshev as series
from numpy.typing import NDArray

from landscape.errors import InvalidArgument

Floats = NDArray[np.float64]
Places = NDArray[np.int64]  # (points, axes) indices into the finest nodes of each axis
Sample = Callable[[Places], Mapping[str, Floats]]  # places -> the values there, by name

FIRST_DEGREE = 6
DOUBLINGS = {1: 3, 2: 2}  # of the first degree, by number of axes: 48 on a line, 24 x 24 on a plane
HELD_OUT = {1: 8, 2: 24}  # points that only judge
NEAR_CENTRE = {1: 2, 2: 8}  # of them, those nearest to the middle
STRETCH = 0.7  # p
SAFETY = 2.0  # times the largest error at a held-out point
NEAR = 20.0  # tolerated relative error near the centre is so many times the tolerance of the range
LEAST_FALL = 2.4  # the error of a smooth function falls by far more when the degree doubles; that of |x| halves


@dataclass(frozen=True, slots=True)
class Nodes:
    """The finest nodes of each axis, of which those of lower degrees are every 2nd, 4th, ..."""

    spans: tuple[tuple[float, float], ...]  # (start, stop) of each axis

    @property
    def finest(self) -> int:
        """The highest degree there are nodes and held-out points for, one doubling above the last that is tried."""
        return int(FIRST_DEGREE * 2 ** (DOUBLINGS[len(self.spans)] + 1))

    @property
    def axes(self) -> tuple[Floats, ...]:
        """Coordinates along each axis, (finest + 1,) and ascending, the ends and a middle at zero exact."""
        n = self.finest
        t = np.sin(np.pi * (2 * np.arange(n + 1) - n) / (2 * n))  # antisymmetric, exactly 0 in the middle
        u = np.arcsin(STRETCH * t) / math.asin(STRETCH)
        axes = []
        for start, stop in self.spans:
            axis = (start + stop) / 2 + (stop - start) / 2 * u
            axis[0], axis[-1] = start, stop
            axes.append(axis)
        return tuple(axes)

    @property
    def are_centred(self) -> bool:
        """Whether the origin is the node in the middle."""
        return all(start == -stop for start, stop in self.spans)

    def places(self, degrees: Sequence[int]) -> Places:
        """The nodes of these degrees, in C order."""
        steps = [np.arange(0, self.finest + 1, self.finest // degree) for degree in degrees]
        return np.stack([plane.reshape(-1) for plane in np.meshgrid(*steps, indexing="ij")], axis=1).astype(np.int64)

    def held_out(self, degrees: Sequence[int]) -> Places:
        """Nodes of twice the degrees but not of them: some nearest to the middle, the rest spread over all."""
        dimensions = len(degrees)
        finer = self.places([2 * degree for degree in degrees])
        own = np.all(finer % [self.finest // degree for degree in degrees] == 0, axis=1)
        finer = finer[~own]
        distance = np.abs(finer - self.finest / 2).max(axis=1) + 1e-3 * np.abs(finer - self.finest / 2).sum(axis=1)
        nearest = np.argsort(distance, kind="stable")[: NEAR_CENTRE[dimensions]]
        rest = np.setdiff1d(np.arange(len(finer)), nearest)
        spread = (finer[rest] / self.finest * [7548.776662466927, 5698.402909980532][:dimensions]).sum(axis=1) % 1.0
        others = rest[np.argsort(spread, kind="stable")[: HELD_OUT[dimensions] - len(nearest)]]
        return np.asarray(finer[np.concatenate([nearest, others])])

    def parameters(self, axis: int, coordinates: Floats) -> Floats:
        """t of coordinates along an axis."""
        start, stop = self.spans[axis]
        u = (coordinates - (start + stop) / 2) / ((stop - start) / 2)
        if np.abs(u).max(initial=0.0) > 1 + 1e-9:
            raise InvalidArgument(f"expected coordinates within {start:g} to {stop:g}, got {coordinates}")
        return np.asarray(np.sin(np.clip(u, -1.0, 1.0) * math.asin(STRETCH)) / STRETCH)


@dataclass(frozen=True, slots=True)
class Interpolant:
    """A Chebyshev series in the parameters of one or two axes."""

    nodes: Nodes
    degrees: tuple[int, ...]
    coefficients: Floats  # (n + 1,) or (n + 1, m + 1); one more an axis where slopes were given

    def on(self, *axes: Floats) -> Floats:
        """Values on the grid of these axes."""
        values = self.coefficients
        for number, axis in enumerate(axes):
            t = self.nodes.parameters(number, np.asarray(axis, dtype=np.float64))
            values = np.moveaxis(
                np.tensordot(series.chebvander(t, values.shape[number] - 1), values, (1, number)), 0, number
            )
        return np.asarray(values)

    def at(self, places: Places) -> Floats:
        """Values at nodes of any degree."""
        axes = self.nodes.axes
        t = [self.nodes.parameters(number, axis[places[:, number]]) for number, axis in enumerate(axes)]
        if len(t) == 1:
            return np.asarray(series.chebval(t[0], self.coefficients))
        return np.asarray(series.chebval2d(t[0], t[1], self.coefficients))

    def tails(self) -> tuple[float, ...]:
        """For each axis how much its last two polynomials of the nodes' degree can add anywhere."""
        kept = self.coefficients[tuple(slice(0, degree + 1) for degree in self.degrees)]
        others = [tuple(k for k in range(kept.ndim) if k != axis) for axis in range(kept.ndim)]
        sizes = [np.abs(kept).sum(axis=other) if other else np.abs(kept) for other in others]
        return tuple(float(size[-2:].max()) for size in sizes)


def interpolant(
    nodes: Nodes, degrees: tuple[int, ...], values: Floats, slopes: Sequence[float] | None = None
) -> Interpolant:
    """The series through values at all nodes of these degrees.

    Args:
        nodes: of the finest degree.
        degrees: of each axis.
        values: in the C order of `nodes.places(degrees)`.
        slopes: derivatives along each axis at the origin, which must be the node in the middle; not used otherwise.
    """
    coefficients = values.reshape([degree + 1 for degree in degrees])
    for axis, degree in enumerate(degrees):
        coefficients = np.moveaxis(np.tensordot(_transform(degree), coefficients, (1, axis)), 0, axis)
    found = Interpolant(nodes, degrees, coefficients)
    if slopes is None or not nodes.are_centred:
        return found
    padded = np.pad(coefficients, [(0, 1)] * len(degrees))
    for axis, (degree, slope) in enumerate(zip(degrees, slopes, strict=True)):
        # T_{n+1} - T_{n-1} is zero at all nodes and has the derivative 2 n (-1)^{n/2} in the middle
        a_parameter = slope * STRETCH * nodes.spans[axis][1] / math.asin(STRETCH)
        missing = (a_parameter - _slope_in_the_middle(coefficients, axis)) / (2 * degree * (-1) ** (degree // 2))
        for order, sign in ((degree + 1, 1.0), (degree - 1, -1.0)):
            index = [0] * len(degrees)
            index[axis] = order
            padded[tuple(index)] += sign * missing
    return Interpolant(nodes, degrees, padded)


def usual_points(dimensions: int) -> int:
    """How many points most lines (1) and planes (2) need: nodes of the second degree tried, and the held-out ones."""
    return int((2 * FIRST_DEGREE + 1) ** dimensions + HELD_OUT[dimensions])


@dataclass(frozen=True, slots=True)
class Fit:
    """Interpolants of all values asked for, and the evidence for them; or why there are none."""

    interpolants: Mapping[str, Interpolant]
    degrees: tuple[int, ...]
    points: int  # nodes and held-out points taken
    held_out: int
    errors: Mapping[str, float] = field(default_factory=dict)  # largest error anywhere, in the value's own unit
    near_error: float | None = None  # of the rise near the centre, relative to it; None where that is not inside
    why_not: str = ""  # empty where the tolerance was met


def fit(
    sample: Sample,
    nodes: Nodes,
    *,
    tolerance: float,
    most: int,
    slopes: Mapping[str, Sequence[float]] | None = None,
    twice: float | None = None,
) -> Fit:
    """Raise the degrees until every value is known to within the tolerance, or say why that cannot be.

    Args:
        sample: measures values at nodes, given by their places; asked for a place more than once, so it should keep
            what it measured. Values to be interpolated are those it returns, by name; "loss" judges errors near the
            centre, and "variance" judges nothing, its error is only stated.
        nodes: of the spans wanted.
        tolerance: of the error anywhere, relative to the range of the values.
        most: give up rather than take so many points.
        slopes: for values whose derivatives at the origin are known, those along each axis.
        twice: the loss at the origin, where that lies inside: wherever the loss is below twice that, its error may be
            at most 20 times the tolerance of (its rise + the tolerance times the range), at the held-out points.

    Raises:
        InvalidArgument: a tolerance that is not between 0 and 1.
    """
    if not 0 < tolerance < 1:
        raise InvalidArgument(f"expected a relative tolerance between 0 and 1, got {tolerance}")
    dimensions = len(nodes.spans)
    degrees = (FIRST_DEGREE,) * dimensions
    before = math.inf
    while True:
        own, judges = nodes.places(degrees), nodes.held_out(degrees)
        points = len(own) + len(judges)
        if points >= most:
            return _none(degrees, points, f"{points:,} nodes would be no fewer than the {most:,} points themselves")
        values = sample(np.concatenate([own, judges]))
        if any(not np.isfinite(column).all() for column in values.values()):
            return _none(degrees, points, "NaN or infinity among the nodes")
        found = {
            name: interpolant(nodes, degrees, column[: len(own)], (slopes or {}).get(name))
            for name, column in values.items()
        }
        errors, shares = {}, {}
        rough = [0.0] * dimensions
        for name, column in values.items():
            tails = found[name].tails()
            seen = np.abs(found[name].at(judges) - column[len(own) :])
            errors[name] = max(SAFETY * float(seen.max()), *tails)
            wanted = tolerance * float(np.ptp(column)) + 1e-12 * float(np.abs(column).max())
            if name != "variance":
                shares[name] = errors[name] / wanted if wanted else 0.0
                rough = [max(old, tail / wanted if wanted else 0.0) for old, tail in zip(rough, tails, strict=True)]
        near = None if twice is None else _near_error(values, found, own, judges, twice, tolerance)
        worst = max(*shares.values(), *([] if near is None else [near / (NEAR * tolerance)]), 0.0)
        if worst <= 1:
            return Fit(found, degrees, points, len(judges), errors, near)
        if worst > before / LEAST_FALL:
            return _none(
                degrees, points, f"not smooth: the error fell from {before:.2g} to {worst:.2g} times the tolerance"
            )
        before = worst
        raised = [2 * n if part > 0.25 else n for n, part in zip(degrees, rough, strict=True)]
        degrees = tuple(raised) if tuple(raised) != degrees else tuple(2 * n for n in degrees)
        if max(degrees) >= nodes.finest:
            return _none(degrees, points, f"not within the tolerance by degree {nodes.finest // 2}")


def _none(degrees: tuple[int, ...], points: int, why: str) -> Fit:
    return Fit({}, degrees, points, 0, why_not=why)


def _near_error(
    values: Mapping[str, Floats],
    found: Mapping[str, Interpolant],
    own: Places,
    judges: Places,
    twice: float,
    tolerance: float,
) -> float | None:
    """Twice the largest error of the loss at held-out points below twice the centre's, relative to its rise there."""
    loss = values["loss"][len(own) :]
    near = loss <= 2 * twice
    if not near.any():
        return None
    rise = np.maximum(loss[near] - twice, 0.0) + tolerance * float(np.ptp(values["loss"]))
    return SAFETY * float((np.abs(found["loss"].at(judges)[near] - loss[near]) / rise).max()) if rise.all() else 0.0


def _transform(degree: int) -> Floats:
    """From values at the nodes of a degree, ascending, to the coefficients: a discrete cosine transform."""
    ends = np.ones(degree + 1)
    ends[[0, -1]] = 0.5
    k = np.arange(degree + 1)
    cosines = np.cos(np.pi * np.outer(k, degree - k) / degree)
    return np.asarray(2.0 / degree * ends[:, None] * cosines * ends[None, :])


def _slope_in_the_middle(coefficients: Floats, axis: int) -> float:
    """The derivative by the parameter of one axis where all parameters are zero."""
    slope = series.chebder(coefficients, axis=axis)
    return float(series.chebval(0.0, slope) if slope.ndim == 1 else series.chebval2d(0.0, 0.0, slope))
