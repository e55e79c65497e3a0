"""From the options of a command to directions and a grid: what each kind wants, and how far to look by default.

Default axes hold every marked point with room around it; along eigenvectors they reach to where the parabola of the
eigenvalue has moved the loss by the loss itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landscape.cli.measuring import name_of
from landscape.errors import InvalidArgument
from landscape.grid import Axis, Grid, auto_points, is_auto, parse_axis
from landscape.records import RANDOM

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.records import Plane, Trajectory

KINDS = (*RANDOM, "eigenvector", "between", "through", "pca")
MARGIN = 0.25  # of the marks' extent, to either side
LINE_POINTS, PLANE_POINTS = 51, 25


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Directions as asked for, checked before any target is opened."""

    kind: str = "filter"
    x: str | None = None
    y: str | None = None
    points: int | None = None
    to: str | None = None
    other: str | None = None  # --and
    eigenvectors: str | None = None
    block: str | None = None
    seed: int = 0
    seeds: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidArgument(f"expected kind to be one of {', '.join(KINDS)}, got {self.kind!r}")
        needed = {"--to": (self.to, ("between", "through")), "--and": (self.other, ("through",))}
        for option, (value, kinds) in needed.items():
            if value is None and self.kind in kinds:
                raise InvalidArgument(f"expected {option} TARGET with --directions {self.kind}, got none")
            if value is not None and self.kind not in kinds:
                raise InvalidArgument(f"expected {option} with {' or '.join(kinds)} directions, got {self.kind}")
        if self.eigenvectors is not None and self.kind != "eigenvector":
            raise InvalidArgument(f"expected --eigenvectors with eigenvector directions, got {self.kind}")
        if self.block is not None and self.kind not in (*RANDOM, "eigenvector"):
            raise InvalidArgument(f"expected --block with {', '.join((*RANDOM, 'eigenvector'))}, got {self.kind}")
        if self.points is not None and self.points < 2:
            raise InvalidArgument(f"expected at least 2 points on an axis, got {self.points}")
        if self.seeds is not None and (self.kind not in RANDOM or self.dimensions == 2):
            raise InvalidArgument(f"expected --seeds for lines along {', '.join(RANDOM)} directions")
        if self.dimensions == 2 and self.kind == "eigenvector" and len(self.which) < 2:
            raise InvalidArgument(f"expected two eigenvectors for a plane, got {', '.join(self.which)}")
        for axis in (self.x, self.y):
            if axis is not None and not is_auto(axis):
                parse_axis(axis)
            auto_points(axis, 2)
        if self.seeds is not None:
            parse_seeds(self.seeds)

    @property
    def is_drawn(self) -> bool:
        """Whether a seed and the policies say all."""
        return self.kind in RANDOM

    @property
    def dimensions(self) -> int:
        """Of the surface."""
        two = self.kind == "through" or (
            self.kind == "eigenvector" and self.eigenvectors is not None and "," in self.eigenvectors
        )
        return 2 if two or self.y is not None else 1

    @property
    def which(self) -> tuple[str, ...]:
        """The eigenvectors."""
        if self.eigenvectors is not None:
            return tuple(part for part in self.eigenvectors.split(",") if part.strip())
        return ("top-1", "bottom-1") if self.y is not None else ("top-1",)

    @property
    def each_seed(self) -> tuple[int, ...]:
        """Of `--seeds`; empty without."""
        return () if self.seeds is None else parse_seeds(self.seeds)

    def grid(self, bounds: Sequence[tuple[float, float]] = ((-1.0, 1.0), (-1.0, 1.0))) -> Grid:
        """The axes given, and those within these bounds where none were."""
        axes = []
        for text, (low, high) in zip((self.x, self.y), bounds, strict=False):
            default = self.points or (LINE_POINTS if self.dimensions == 1 or self.is_drawn else PLANE_POINTS)
            if self.points is None and self.kind == "between" and self.dimensions == 1:
                default = 31  # a step of .05: both ends are points
            if text is None or is_auto(text):
                axes.append(Axis(low, high, auto_points(text, default)))
            else:
                axes.append(parse_axis(text))
        return Grid(axes[0], axes[1] if self.dimensions == 2 else None)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read "0,1,2"; InvalidArgument for anything but different whole numbers from 0."""
    try:
        found = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        found = ()
    if not found or min(found) < 0 or len(set(found)) < len(found):
        raise InvalidArgument(f"expected different seeds separated by commas for --seeds, got {text!r}")
    return found


def plane_and_grid(
    wanted: Wanted, objective: "Objective", *, checkpoint: str, target: str, store: Path, command: str
) -> "tuple[Plane | None, Grid]":
    """Find the directions that no seed draws, and axes that hold their marks. None for those a seed draws.

    PCA leaves its trajectory in the store; eigenvectors that the store holds already are not solved for again.
    """
    if wanted.is_drawn:
        return None, wanted.grid()
    if wanted.kind == "eigenvector":
        plane = _eigenvectors(wanted, objective, store, checkpoint)
        return plane, wanted.grid(_reaches(plane, objective))
    if wanted.kind == "pca":
        from landscape.trajectory import plane_of

        path = stored_trajectory(store, objective, [target], name=checkpoint, checkpoint=checkpoint, command=command)
        return plane_of(path), wanted.grid(bounds_of_path(path, wanted.dimensions))
    from landscape.directions.between import Source, line_between, plane_through

    assert wanted.to is not None
    to = Source(name_of(wanted.to), wanted.to)
    if wanted.kind == "between":
        plane = line_between(objective, to, origin=checkpoint)
        return plane, wanted.grid([_with_room([0.0, 1.0]), (-1.0, 1.0)])
    assert wanted.other is not None
    plane = plane_through(objective, to, Source(name_of(wanted.other), wanted.other), origin=checkpoint)
    places = [(mark.alpha, mark.beta) for mark in plane.marks]
    return plane, wanted.grid(square_around(places))


def stored_trajectory(
    store: Path, objective: "Objective", targets: Sequence[str], *, name: str, checkpoint: str, command: str
) -> "Trajectory":
    """The path in the store, or measured and put there: of the checkpoints a run kept, or of several targets in order.

    The same path of the same origin and objective is not measured again.
    """
    from landscape.describe import checkpoint_record, provenance
    from landscape.directions.between import Source
    from landscape.store import Store
    from landscape.store.refusals import same_objective
    from landscape.targets import kept_path
    from landscape.trajectory import trajectory_of

    path = kept_path(targets[0]) if len(targets) == 1 else list(enumerate(targets))
    record = checkpoint_record(objective, checkpoint)
    sources = [Source(name_of(target), target) for _, target in path]
    with Store.write(store) as writer:
        writer.check_origin("trajectories", name, record, provenance(objective))
        if name in writer.names("trajectories"):
            held = writer.trajectory(name)
            same = list(held.x.policy["checkpoints"]) == [source.target for source in sources]
            if same and same_objective(held.provenance, provenance(objective)):
                return held
        found = trajectory_of(
            objective,
            sources,
            name=name,
            checkpoint=checkpoint,
            epochs=[epoch for epoch, _ in path],
            command=command,
        )
        writer.add_checkpoint(record)
        writer.add_trajectory(found)
    return found


def bounds_of_path(path: "Trajectory", dimensions: int = 2) -> list[tuple[float, float]]:
    """Axes that hold the projections and the origin."""
    places = [(0.0, 0.0), *map(tuple, path.coordinates.tolist())]
    if dimensions == 1:
        return [_with_room([alpha for alpha, _ in places])]
    return square_around(places)


def square_around(places: Sequence[tuple[float, ...]]) -> list[tuple[float, float]]:
    """Two axes of one length, so that distances look alike along both, with room around these places."""
    spans = [_with_room([place[axis] for place in places]) for axis in (0, 1)]
    half = max(high - low for low, high in spans) / 2
    return [_rounded((low + high) / 2 - half, (low + high) / 2 + half) for low, high in spans]


def _with_room(numbers: Sequence[float]) -> tuple[float, float]:
    low, high = min(numbers), max(numbers)
    room = MARGIN * (high - low)
    return _rounded(low - room, high + room)


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Outwards to a hundredth of the span's power of ten; a number there already stays."""
    unit = 10.0 ** (math.floor(math.log10(high - low)) - 2)
    return math.floor(low / unit + 1e-9) * unit, math.ceil(high / unit - 1e-9) * unit


def _eigenvectors(wanted: Wanted, objective: "Objective", store: Path, checkpoint: str) -> "Plane":
    from landscape.directions.eigenvectors import held_plane, plane_of_eigenvectors
    from landscape.progress import progress
    from landscape.store import Store

    options: dict[str, Any] = {"seed": wanted.seed, "block": wanted.block}
    if store.exists():
        held = held_plane(Store.read(store).directions(), objective, wanted.which, **options)
        if held is not None:
            return held
    with progress(f"eigenvectors of {checkpoint}", None) as advance:
        return plane_of_eigenvectors(objective, wanted.which, advance=advance, **options)


def _reaches(plane: "Plane", objective: "Objective") -> list[tuple[float, float]]:
    from landscape.directions.eigenvectors import default_reach
    from landscape.objective import loss_at

    loss = loss_at(objective, objective.weights).value
    reaches = [default_reach(one, loss) for one in (plane.x, plane.y) if one is not None]
    return [(-reach, reach) for reach in reaches]
