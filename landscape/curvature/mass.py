"""Where the sharpness lives: how much of an eigenvector lies in each block of the weights.

The mass of a unit vector v in a block b is the sum over b of v_i^2, the share of a step along v that moves this block.
Beside it stands the block's share of all coordinates, which is the mass of a vector that lives everywhere alike: twice
that share is a vector twice as concentrated there. Costs nothing beyond the eigenvectors.
"""

from collections.abc import Sequence

import numpy as np

from landscape.blocks import mask_of, masks_of_all
from landscape.parameters import Layout, Vector
from landscape.records import BlockMass


def mass_of(layout: Layout, vectors: Sequence[Vector], *, block: str | None = None) -> BlockMass:
    """The mass of each vector in every block of the layout and every row group that has free coordinates.

    Args:
        layout: names the blocks.
        vectors: unit vectors over the free coordinates, or over those of `block`.
        block: the one the vectors belong to; all blocks that share coordinates with it are listed.
    """
    masks = masks_of_all(layout)
    if block is not None:
        inside = mask_of(layout, block)
        masks = {name: mask[inside] for name, mask in masks.items() if (mask & inside).any()}
    masses = []
    for vector in vectors:
        square = vector.square().cpu()
        masses.append([float(square[mask].sum()) for mask in masks.values()])
    return BlockMass(
        tuple(masks),
        np.array([int(mask.sum()) for mask in masks.values()], dtype=np.int64),
        len(next(iter(masks.values()))),
        np.array(masses, dtype=np.float64).reshape(len(vectors), len(masks)),
    )
