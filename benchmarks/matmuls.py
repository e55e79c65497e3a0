"""The limit: nothing but the trunk's matrix products, in the shapes of given packed batches."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from samrec.models.sasrec import SASRec


def matmuls(model: SASRec, shapes: Sequence[tuple[int, int]], *, backward: bool) -> Callable[[], None]:
    """A function that multiplies all matrices of the blocks once, for batches of (rows, width).

    Forward: query, key, value in one, attention scores, attention output, output, expand, contract. Backward: the two
    products that each of them needs. Outputs are written into memory that is there already.
    """
    size, heads, layers = model.size, model.blocks[0].heads, len(model.blocks)
    products = {shape: _products(*shape, size, heads, backward) for shape in set(shapes)}

    def run() -> None:
        for shape in shapes:
            for _ in range(layers):
                for multiply, a, b, out in products[shape]:
                    multiply(a, b, out=out)

    return run


Product = tuple[Callable[..., Tensor], Tensor, Tensor, Tensor]


def _products(rows: int, width: int, size: int, heads: int, backward: bool) -> list[Product]:
    tokens = rows * width
    found: list[Product] = []
    for inputs, outputs in ((size, 3 * size), (size, size), (size, 4 * size), (4 * size, size)):
        x, weight, y = torch.randn(tokens, inputs), torch.randn(outputs, inputs), torch.randn(tokens, outputs)
        found.append((torch.mm, x, weight.T, torch.empty(tokens, outputs)))
        if backward:
            found.append((torch.mm, y, weight, torch.empty(tokens, inputs)))
            found.append((torch.mm, y.T, x, torch.empty(outputs, inputs)))
    q, k, v = torch.randn(3, rows * heads, width, size // heads)
    weights = torch.randn(rows * heads, width, width)
    scores, mixed = torch.empty_like(weights), torch.empty_like(q)
    found += [(torch.bmm, q, k.mT, scores), (torch.bmm, weights, v, mixed)]
    if backward:  # of the scores for q and k, of the output for the weights and v
        found += [(torch.bmm, weights, k, mixed), (torch.bmm, weights.mT, q, mixed)]
        found += [(torch.bmm, q, v.mT, scores), (torch.bmm, weights.mT, q, mixed)]
    return found
