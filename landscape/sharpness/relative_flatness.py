"""Relative flatness of one table W of weights (Petzka et al. 2021): curvature weighed by the sizes of its rows.

Letters: W a tensor as rows x columns, H the Hessian of the mean loss in W, Y (columns x columns) iid of unit variance.

    sum over rows s, t of <W_s, W_t> tr(H_st)  =  E vec(WY) . H vec(WY)

Rows are along the first axis, as filters are. Petzka et al. measure the weights of one layer; the factor of two
rows makes it the same for W and c W where the function allows that. Y has random signs for entries.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from landscape.blocks import mask_of
from landscape.curvature.operators import Hessian
from landscape.errors import InvalidArgument
from landscape.objective import Objective
from landscape.parameters import Layout
from landscape.product_error import product_note
from landscape.records import SharpnessMeasure
from landscape.sharpness.m_sharpness import mean_and_error


def relative_flatness(
    objective: Objective, table: str | None = None, *, block: str | None = None, probes: int = 20, seed: int = 0
) -> SharpnessMeasure:
    """The expectation over Y and its standard error over probes. One Hessian-vector product a probe.

    Args:
        objective: the frozen loss.
        table: name of a tensor with two or more axes; the largest such one in the block by default.
        block: what `landscape.blocks.mask_of` takes; only those of the table's rows (or entries) that lie in it count,
            as with the head items of an item table. All of the table by default.
        probes: draws of Y, at least 2. The error speaks of them alone: the data is taken as fixed.
        seed: of Y.

    Raises:
        InvalidArgument: no such tensor or block, a block with no free weight of the table or of any tensor with two
            axes, or fewer than two probes.
    """
    if probes < 2:
        raise InvalidArgument(f"expected at least 2 probes, for a standard error, got {probes}")
    layout = objective.layout
    name = table_of(layout, table, block)
    product = Hessian(objective)
    W = objective.weights[name].detach().double()
    rows = W.reshape(len(W), -1)
    kept = None if block is None else mask_of(layout, block).to(W.device)
    others = {other: torch.zeros(shape, dtype=torch.float64) for other, shape in layout.shapes.items() if other != name}
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(probes):
        signs = torch.randint(0, 2, (rows.shape[1], rows.shape[1]), generator=generator).double() * 2 - 1
        mixed = (rows @ signs.to(rows.device)).reshape(W.shape)
        v = layout.flatten({**{other: zero.to(W.device) for other, zero in others.items()}, name: mixed})
        v = v if kept is None else v * kept
        values.append(torch.dot(v, product(v)).item())
    setting: dict[str, float | int | str | bool | None] = {"table": name, "probes": probes, "seed": seed}
    setting |= {} if block is None else {"block": block}
    note = product_note(product.relative_error)
    return SharpnessMeasure("relative_flatness", setting, *mean_and_error(values), 3 * probes, note)


def table_of(layout: Layout, table: str | None, block: str | None) -> str:
    """The tensor that relative flatness is of: as named, or the largest with two axes and a free weight in the block.

    Raises:
        InvalidArgument: there is none, in one line that says what is needed.
    """
    tables = [name for name, shape in layout.shapes.items() if len(shape) >= 2]
    if not tables:
        raise InvalidArgument("expected a tensor with two or more axes for relative flatness, got a layout with none")
    if table is not None and table not in tables:
        raise InvalidArgument(f"expected a table out of {', '.join(tables)}, got {table!r}")
    parts = zip(layout.sizes, torch.split(_mask(layout, block), list(layout.sizes.values())), strict=True)
    inside = {name: int(part.sum()) for name, part in parts if name in tables and part.any()}
    if not inside or (table is not None and table not in inside):
        wanted = "a tensor with two or more axes" if table is None else table
        raise InvalidArgument(
            f"expected a block with free weights of {wanted} for relative flatness, got "
            f"{'all weights' if block is None else repr(block)}"
        )
    return max(inside, key=lambda one: inside[one]) if table is None else table


def _mask(layout: Layout, block: str | None) -> Bool[Tensor, " free"]:
    return torch.ones(layout.size, dtype=torch.bool) if block is None else mask_of(layout, block)
