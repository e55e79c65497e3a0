"""A linear layer over duals: y = x W^T + b.

Letters: g the slope in y, a dot the derivative along a direction.

    y.  = x. W^T + x W.^T + b.        slope in x: g W, g. W + g W.        slope in W: g^T x, g.^T x + g^T x.

Eight products of matrices for one direction where the gradient takes three; each further direction takes six. A sum of
two products is one pass over memory: the second adds the first to what it writes.
"""

import torch
from torch import Tensor

from samrec.models.linear import ONE_DNN, taken_by_one_dnn
from samrec.models.second_order.duals import Dual, Pull, Weight


def linear(x: Dual, weight: Weight, bias: Weight, plus: Dual | None = None) -> tuple[Dual, Pull]:
    """From (T, D) to (T, N), with `plus` (T, N) added; its slope is that of the output itself."""
    y = affine(x.value, weight.value, bias.value, None if plus is None else plus.value)
    along = []
    for column, tangent in enumerate(x.along):
        other = None if plus is None else plus.along[column]
        shift = bias.along[column] if bias.along else None
        if weight.along:
            other, shift = affine(x.value, weight.along[column], shift, other), None
        along.append(affine(tangent, weight.value, shift, other))

    def pull(g: Dual) -> Dual:
        if weight.wanted:
            pairs = zip(g.along, x.along, strict=False)
            changes = [inner(tangent, x.value, inner(g.value, other)) for tangent, other in pairs]
            weight.leave(changes or [inner(g.value, x.value)])
        if bias.wanted:
            bias.leave([one.sum(0) for one in g.along or [g.value]])
        transposed = weight.value.T
        back = []
        for column, tangent in enumerate(g.along):
            other = affine(g.value, weight.along[column].T) if weight.along else None
            back.append(affine(tangent, transposed, None, other))
        return Dual(affine(g.value, transposed), back)

    return Dual(y, along), pull


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None, plus: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias + plus."""
    if taken_by_one_dnn(x):
        found: Tensor = (
            ONE_DNN(x, weight, bias, "none", [], "") if plus is None else ONE_DNN.binary(x, plus, weight, bias, "add")
        )
        return found
    if plus is None:
        return torch.nn.functional.linear(x, weight, bias)
    return torch.addmm(plus if bias is None else plus + bias, x, weight.T)


def inner(a: Tensor, b: Tensor, plus: Tensor | None = None) -> Tensor:
    """a^T b + plus, for (T, M) and (T, N)."""
    if a.shape[1] > b.shape[1]:
        return inner(b, a, None if plus is None else plus.T.contiguous()).T
    return affine(a.T, b.T, None, plus)
