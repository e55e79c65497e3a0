"""Named blocks of a model's weights: which free coordinates a measure, a direction or an eigenvector may have.

A block is one of the layout's own ("item table", "attention"), a row group ("rows:head", the head items wherever they
have rows), or a pattern over tensor names with the wildcards of the shell ("blocks.0.*"). Blocks of the layout cover
every tensor once, so that shares over them sum to one; row groups and patterns may overlap.
"""

import contextlib
import fnmatch
from collections.abc import Mapping

import torch
from jaxtyping import Bool
from torch import Tensor

from landscape.errors import InvalidArgument
from landscape.parameters import Layout

ROWS = "rows:"  # what the name of a row group begins with
OTHER = "other"  # the block of tensors that no pattern of the layout names


def tensors_of_blocks(layout: Layout) -> dict[str, tuple[str, ...]]:
    """The tensors of each of the layout's blocks, every tensor in the first block that names it.

    A layout without blocks of its own has one for each module at the top: the first part of a tensor's name.
    """
    if not layout.blocks:
        tops = dict.fromkeys(name.split(".")[0] for name in layout.shapes)
        return {top: tuple(name for name in layout.shapes if name.split(".")[0] == top) for top in tops}
    owner = {name: _first_match(name, layout.blocks) for name in layout.shapes}
    found = {block: tuple(name for name in layout.shapes if owner[name] == block) for block in (*layout.blocks, OTHER)}
    return {block: names for block, names in found.items() if names}


def mask_of(layout: Layout, block: str) -> Bool[Tensor, " free"]:
    """Which free coordinates belong to a block, on the CPU. One pass over the weights in float32.

    Raises:
        InvalidArgument: nothing is called so, or nothing in it is free.
    """
    if block.startswith(ROWS):
        mask = _rows_mask(layout, block)
    else:
        own = tensors_of_blocks(layout)
        names = own.get(block) or tuple(fnmatch.filter(layout.shapes, block))
        if not names:
            groups = [ROWS + group for group in layout.row_groups]
            raise InvalidArgument(
                f"expected a block out of {', '.join([*own, *groups])}, or a pattern of tensor names, got {block!r}"
            )
        mask = _flat(layout, {name: torch.ones(layout.shapes[name], dtype=torch.bool) for name in names})
    if not mask.any():
        raise InvalidArgument(f"expected a block with free coordinates, got none in {block!r}")
    return mask


def masks_of_all(layout: Layout) -> dict[str, Bool[Tensor, " free"]]:
    """The mask of every block of the layout and of every row group that has free coordinates, on the CPU."""
    names = [*tensors_of_blocks(layout), *(ROWS + group for group in layout.row_groups)]
    masks = {}
    for name in names:
        with contextlib.suppress(InvalidArgument):  # nothing free in it
            masks[name] = mask_of(layout, name)
    return masks


def _rows_mask(layout: Layout, block: str) -> Tensor:
    group = block.removeprefix(ROWS)
    if group not in layout.row_groups:
        known = ", ".join(ROWS + name for name in layout.row_groups) or "none"
        raise InvalidArgument(f"expected a row group out of {known}, got {block!r}")
    masks = {}
    for name, rows in layout.row_groups[group].items():
        masks[name] = torch.zeros(layout.shapes[name], dtype=torch.bool)
        masks[name][rows.cpu()] = True
    return _flat(layout, masks)


def _flat(layout: Layout, masks: Mapping[str, Tensor]) -> Tensor:
    full = {name: masks[name].float() if name in masks else torch.zeros(shape) for name, shape in layout.shapes.items()}
    return layout.flatten(full, dtype=torch.float32) > 0


def _first_match(name: str, blocks: Mapping[str, tuple[str, ...]]) -> str:
    for block, patterns in blocks.items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            return block
    return OTHER
