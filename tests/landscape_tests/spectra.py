"""Symmetric operators whose eigenvalues are known."""

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
