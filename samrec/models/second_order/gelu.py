"""Exact GELU over duals.

y = u Phi(u) with Phi the normal distribution and phi its density: y' = Phi + u phi and y'' = (2 - u^2) phi.
"""

import math

import torch

from samrec.models.second_order.duals import Dual, Pull


def gelu(u: Dual) -> tuple[Dual, Pull]:
    """Elementwise. The density is a power of two: PyTorch's `exp` takes four times as long on the CPU."""
    slope = torch.ops.aten.gelu_backward(
        torch.ones((), dtype=u.value.dtype, device=u.value.device).expand_as(u.value), u.value
    )

    def pull(g: Dual) -> Dual:
        back = g.value * slope
        along = []
        if g.along:
            square = u.value.square()
            bend = torch.exp2(square * (-0.5 * math.log2(math.e)))
            bend.mul_(square.neg_().add_(2)).mul_(g.value).mul_(1 / math.sqrt(2 * math.pi))
            along = [
                (g_along * slope).addcmul_(bend, tangent) for g_along, tangent in zip(g.along, u.along, strict=True)
            ]
        return Dual(back, along)

    return Dual(torch.nn.functional.gelu(u.value), [slope * tangent for tangent in u.along]), pull
