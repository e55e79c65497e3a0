"""The direction of a record, drawn again in this or another process, or refused where it is another one."""

import torch

from landscape.directions import between, eigenvectors, gaussian
from landscape.directions.evidence import Named, check_same, on_one_thread, settled
from landscape.errors import InvalidArgument
from landscape.objective import Objective
from landscape.parameters import Layout, Params
from landscape.records import RANDOM, Direction


@on_one_thread
def redraw(
    record: Direction,
    layout: Layout,
    weights: Params,
    *,
    orthogonal_to: Params | None = None,
    objective: Objective | None = None,
) -> Named:
    """The direction of a record, drawn again, float64 on the CPU.

    From its seed, from the vector kept with it, or from its recipe: checkpoints read again, an eigenvector solved for
    again. Only the last is dear, and needs the objective.

    Raises:
        StoreMismatch: the redraw is another direction: other weights, another library's random numbers.
        InvalidArgument: a first direction without a second one, or an unknown kind.
    """
    if (record.orthogonal_to is None) != (orthogonal_to is None):
        raise InvalidArgument("expected the first direction with a second one and only then")
    if record.kind in RANDOM:
        direction, drawn = gaussian.draw_direction(
            layout, weights, kind=record.kind, seed=record.seed, orthogonal_to=orthogonal_to, **record.policy
        )
        check_same(drawn, record, f"{record.kind} direction of seed {record.seed}")
        return direction
    if record.vector is not None:
        if record.vector.shape != (layout.size,):
            raise InvalidArgument(f"expected a direction of {layout.size:,} coordinates, got {record.vector.shape}")
        flat = torch.from_numpy(record.vector).double()
    elif record.kind in between.KINDS:
        flat = between.combined(record, layout, weights)
    elif record.kind == eigenvectors.KIND:
        flat = eigenvectors.solved_again(record, objective)
    else:
        raise InvalidArgument(f"expected a known kind of direction, got {record.kind!r}")
    first = None if orthogonal_to is None else layout.flatten(orthogonal_to).cpu()
    flat, drawn = settled(flat, kind=record.kind, seed=record.seed, policy=record.policy, norm=record.norm, first=first)
    check_same(drawn, record, f"{record.kind} direction")
    return layout.unflatten(flat)
