"""The path of a training in the plane that holds most of it: PCA of saved checkpoints, with what the plane leaves out.

Letters: w the origin, m_i = w_i - w over the free coordinates, G the Gram matrix m_i . m_j, s^2 and u its eigenpairs.

The plane goes through the origin, so the principal directions are those of the differences themselves, not centred: of
all planes through w it is the one that leaves least of sum ||m_i||^2 outside. A direction is x = sum u_i m_i / s, of
unit length, and is kept as that recipe. G is built from blocks: a few checkpoints are in memory at once, however many
there are and however large. Coordinates and residuals are then measured against the directions themselves in one more
pass, so that a path in a plane has residuals of rounding size.

Two warnings for reading such pictures. A random walk gives smooth curves too (Antognini and Sohl-Dickstein 2018): seen
from its end, its first two components explain 8/pi^2 and 8/(9 pi^2), 81 % and 9 %. And the surface is that of the
plane: a checkpoint far outside of it may have quite another loss than the point where it is drawn.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.describe import provenance
from landscape.directions.between import (
    PARALLEL,
    Source,
    add_difference,
    as_source,
    combination,
    difference,
    loss_of,
    place_of,
)
from landscape.directions.evidence import on_one_thread
from landscape.errors import InvalidArgument
from landscape.objective import Objective
from landscape.parameters import Params, content_hash
from landscape.progress import progress
from landscape.records import Plane, Trajectory

HELD = 4  # checkpoints of the Gram matrix in memory at once, in float64


@on_one_thread
def trajectory_of(
    objective: Objective,
    path: Sequence[str | Params | Source],
    *,
    name: str,
    checkpoint: str = "origin",
    epochs: Sequence[float] | None = None,
    held: int = HELD,
    command: str = "",
) -> Trajectory:
    """The principal plane of a path of checkpoints through the objective's weights, and where each lies in it.

    Costs a loss for each checkpoint, and K^2 / (2 held) + 3 K reads of one, K being their number.

    Args:
        objective: the frozen loss; its weights are the origin, usually the end of the path or its best point.
        path: the checkpoints in order, targets or tensors of the same layout.
        name: of the record.
        checkpoint: the origin's name.
        epochs: of each checkpoint; their number in the path by default.
        held: how many checkpoints the Gram matrix keeps in memory at once.
        command: kept in the provenance.

    Raises:
        InvalidArgument: other shapes, fewer than two checkpoints apart from the origin, or all on one line.
    """
    _check(path, epochs, held)
    sources = [as_source(one, f"point {number}") for number, one in enumerate(path)]
    layout = objective.layout
    hashes: list[str] = []

    def read(source: Source) -> Tensor:
        params = source.load()
        if len(hashes) < len(sources):  # the first pass meets them in order
            hashes.append(content_hash(params))
        return difference(objective, source, params)

    passes = len(sources) + sum(len(sources) - start for start in range(0, len(sources), held))
    with progress(f"trajectory {name}", 2 * len(sources) + passes) as advance:
        gram = gram_of(sources, read, held=held, advance=advance)
        coefficients, explained = principal_plane(gram)
        raw = torch.zeros(2, layout.size, dtype=torch.float64)
        for source, both in zip(sources, coefficients, strict=True):
            params = source.load()
            for flat, c in zip(raw, both.tolist(), strict=True):
                add_difference(flat, layout, params, objective.weights, c)
            advance(1)
        x, x_record = combination(layout, "pca", raw[0], sources, hashes, coefficients[:, 0].tolist(), norm=1.0)
        y, y_record = combination(
            layout, "pca", raw[1], sources, hashes, coefficients[:, 1].tolist(), norm=1.0, first=x
        )
        del raw
        table = _places(objective, sources, x, y, advance)
    return Trajectory(
        name=name,
        checkpoint=checkpoint,
        labels=tuple(source.name for source in sources),
        epochs=np.arange(len(sources), dtype=np.float64) if epochs is None else np.array(epochs, dtype=np.float64),
        hashes=tuple(hashes),
        coordinates=table[:, :2],
        distances=table[:, 2],
        residuals=table[:, 3],
        losses=table[:, 4],
        explained=explained,
        x=x_record,
        y=y_record,
        provenance=provenance(objective, command),
    )


def gram_of(
    sources: Sequence[Source],
    read: Callable[[Source], Tensor],
    *,
    held: int = HELD,
    advance: Callable[[int], object] = lambda _: None,
) -> NDArray[np.float64]:
    """All products m_i . m_j in float64, with at most `held` + 1 differences in memory."""
    count = len(sources)
    gram = np.zeros((count, count))
    for start in range(0, count, held):
        block: list[Tensor] = []
        for j in range(start, count):
            m = read(sources[j])
            if len(block) < held:
                block.append(m)
            for i, other in enumerate(block[: j - start + 1]):
                gram[start + i, j] = gram[j, start + i] = float(other @ m)
            advance(1)
    return gram


def principal_plane(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How the two principal directions, of unit length, are made of K differences whose products `gram` (K, K) holds.

    Returns:
        Coefficients (K, 2), signed so that the first checkpoint has no negative coordinate, and the share of the sum of
        squared distances that each of the K components explains, largest first.

    Raises:
        InvalidArgument: the differences are all zero, or all on one line.
    """
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.clip(values[::-1], 0.0, None), vectors[:, ::-1]
    if not values[0] > 0:
        raise InvalidArgument("expected a path that leaves the origin, got the origin's weights alone")
    if not values[1] > PARALLEL**2 * values[0]:
        raise InvalidArgument("expected a path that spans a plane, got checkpoints on one line with the origin")
    return vectors[:, :2] / np.sqrt(values[:2]) * np.where(vectors[0, :2] < 0, -1.0, 1.0), values / values.sum()


def plane_of(trajectory: Trajectory) -> Plane:
    """The plane of a path, to measure a surface on."""
    return Plane(trajectory.x, trajectory.y)


def _check(path: Sequence[object], epochs: Sequence[float] | None, held: int) -> None:
    if len(path) < 2:
        raise InvalidArgument(f"expected a path of at least 2 checkpoints, got {len(path)}")
    if epochs is not None and len(epochs) != len(path):
        raise InvalidArgument(f"expected an epoch for each of {len(path)} checkpoints, got {len(epochs)}")
    if held < 1:
        raise InvalidArgument(f"expected to hold at least 1 checkpoint, got {held}")


def _places(
    objective: Objective, sources: Sequence[Source], x: Tensor, y: Tensor, advance: Callable[[int], object]
) -> NDArray[np.float64]:
    """(checkpoints, 5): both coordinates, the distances from the origin and from the plane, the loss."""
    rows = []
    for source in sources:
        params = source.load()
        m = difference(objective, source, params)
        place, outside = place_of(m, x, y)
        distance = float(torch.linalg.vector_norm(m))
        rows.append((*place, distance, outside * distance, loss_of(objective, params)))
        advance(1)
    return np.array(rows, dtype=np.float64)
