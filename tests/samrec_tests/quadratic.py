"""1/2 w.Aw over four named parameters, where a step of any member of SAM's family is known in closed form."""

import math

import torch
from torch import nn

from samrec.optim.sam import SAM, Passes

RHO, RATE = 0.3, 0.1
NAMES = ("item_embedding.weight", "position_embedding.weight", "input_norm.weight", "blocks.0.query.weight")
SHAPES = ((3, 1), (1, 3), (3,), (3, 1))  # tables and matrices, and a gain of one axis


class Quadratic:
    """The parameters, its passes, and the points they were taken at."""

    def __init__(self, dtype=torch.float64, shapes=SHAPES):
        generator = torch.Generator().manual_seed(0)
        half = torch.randn(12, 12, generator=generator, dtype=dtype)
        self.A = half @ half.T / 12
        start = [torch.randn(3, generator=generator, dtype=dtype) for _ in NAMES]
        self.named = {
            name: nn.Parameter(values.view(shape)) for name, shape, values in zip(NAMES, shapes, start, strict=True)
        }
        self.points = []

    @property
    def w(self):
        return flat(self.named.values()).detach()

    @property
    def g(self):
        return self.A @ self.w

    def sam(self, rho=RHO, **options):
        return SAM(self.named, torch.optim.SGD(self.named.values(), lr=RATE), rho=rho, **options)

    def closure(self, spoil=None, A=None):
        """A pass over the whole loss, or over one with another matrix."""

        def run():
            self.points.append(self.w)
            w = flat(self.named.values())
            loss = 0.5 * w @ (self.A if A is None else A) @ w
            gradients = torch.autograd.grad(loss, list(self.named.values()))
            for parameter, gradient in zip(self.named.values(), gradients, strict=True):
                parameter.grad = gradient
            if spoil:
                self.named[spoil].grad.view(-1)[0] = math.nan
            return loss.item()

        return run

    def passes(self, **options):
        """Both passes over the same loss."""
        return Passes(self.closure(**options), self.closure(**options))


def flat(tensors):
    """All tensors as one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
