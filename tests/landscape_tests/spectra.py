"""Symmetric operators: one whose eigenvalues are known, and any dense matrix."""

import torch


class Spectrum:
    """A symmetric operator with these eigenvalues and a bulk of small ones, rotated; it counts its products."""

    def __init__(self, values, *, bulk=0.01, size=200, scale=1.0):
        generator = torch.Generator().manual_seed(3)
        rest = bulk * (2 * torch.rand(size - len(values), generator=generator, dtype=torch.float64) - 1)
        self.values = scale * torch.cat([torch.tensor(values, dtype=torch.float64), rest])
        self.basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
        self.size, self.products = size, 0

    def __call__(self, v):
        self.products += 1
        return self.basis @ (self.values * (self.basis.T @ v))

    @property
    def ends(self):
        return self.values.max().item(), self.values.min().item()


def symmetric(size, seed=0):
    half = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (half + half.T) / 2


class Dense:
    """A matrix as an operator that counts its products, several at once or one by one."""

    def __init__(self, matrix):
        self.matrix, self.products = matrix, 0

    def __call__(self, v):
        self.products += 1
        return self.matrix @ v

    def matmat(self, V):
        self.products += V.shape[1]
        return self.matrix @ V
