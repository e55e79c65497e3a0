"""Dropout whose masks can be replayed: SAM's second pass must see the same thinned network as its first."""

import torch
from torch import Tensor


class Dropout:
    """Draws masks from its own generator, keeps those of the last fresh pass, and plays them back on request."""

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        self.rate = rate
        self._generator = generator
        self._masks: list[Tensor] = []
        self._next: int | None = None  # where a replay stands; None while drawing

    def draw(self) -> None:
        """Forget the masks: the next pass draws fresh ones."""
        self._masks.clear()
        self._next = None

    def replay(self) -> None:
        """The next pass uses the masks of the last one, in the order they were drawn."""
        self._next = 0

    def __call__(self, x: Tensor) -> Tensor:
        """Zero each entry with probability `rate` and divide the rest by 1 - rate."""
        if self.rate == 0:
            return x
        if self._next is not None:
            mask = self._masks[self._next]
            self._next += 1
        else:
            keep = 1 - self.rate
            mask = torch.empty_like(x, requires_grad=False).bernoulli_(keep, generator=self._generator).div_(keep)
            self._masks.append(mask)
        return x * mask
