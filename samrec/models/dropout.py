"""Dropout whose masks can be replayed: SAM's second pass must see the same thinned network as its first.

Masks come from random bits, not from one Bernoulli draw an entry, which took 30 % of a training epoch on the CPU. At
rate 0.5 one bit decides an entry, eight entries a look-up in a table of all bytes (25 times faster). At other rates it
is 16 bits an entry (6 times): the rate is then a multiple of 1/65536 (0.2 is off by 3e-6), and kept entries are divided
by the share that is really kept, so that the expectation is exact.
"""

import torch
from torch import Tensor

STEPS = 1 << 16


class Dropout:
    """Draws masks from its own generator, and plays those of the last fresh pass back on request."""

    def __init__(self, rate: float, generator: torch.Generator) -> None:
        self.rate = rate
        self._generator = generator
        self._threshold = round(rate * STEPS) - STEPS // 2  # of a signed 16-bit number: that or more is kept
        self._scale = STEPS / (STEPS // 2 - self._threshold)
        self._masks: list[Tensor] = []
        self._next: int | None = None  # where a replay stands; None while drawing
        self._before: Tensor | None = None  # the generator's state before the pass, where masks are not kept

    def draw(self, *, keep: bool = True) -> None:
        """Forget the masks: the next pass draws fresh ones.

        With `keep` a replay is free and the masks take memory until then (some 3 MB for 256 users of Beauty); without,
        a replay draws them again from where the generator stood.
        """
        self._masks.clear()
        self._next = None
        self._before = None if keep else self._generator.get_state()

    def replay(self) -> None:
        """The next pass uses the masks of the last one, in the order they were drawn."""
        if self._before is None:
            self._next = 0
        else:
            self._generator.set_state(self._before)

    def __call__(self, x: Tensor) -> Tensor:
        """Zero each entry with probability `rate` and divide the rest by the share kept."""
        return x if self.rate == 0 else x * self._mask(x)

    def added_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """residual + dropout(x), in one go."""
        return residual + x if self.rate == 0 else torch.addcmul(residual, x, self._mask(x))

    def _mask(self, x: Tensor) -> Tensor:
        if self._next is not None:
            mask = self._masks[self._next]
            self._next += 1
            return mask
        mask = self._halved(x) if self.rate == 0.5 else self._fresh(x)
        if self._before is None:
            self._masks.append(mask)
        return mask

    def _halved(self, x: Tensor) -> Tensor:
        octets = self._words(x, 64).view(torch.uint8).int()
        entries = _entries_of_octets(x).index_select(0, octets)
        return entries.view(-1)[: x.numel()].view(x.shape)

    def _fresh(self, x: Tensor) -> Tensor:
        kept = self._words(x, 4).view(torch.int16)[: x.numel()].view(x.shape) >= self._threshold
        return kept.to(x.dtype).mul_(self._scale)

    def _words(self, x: Tensor, entries_a_word: int) -> Tensor:
        words = torch.empty(-(-x.numel() // entries_a_word), dtype=torch.int64, device=x.device)
        return words.random_(-(2**63), None, generator=self._generator)


def _entries_of_octets(like: Tensor) -> Tensor:
    """(256, 8): for each byte its eight bits as 0 or 2."""
    bits = torch.arange(256, device=like.device)[:, None] >> torch.arange(8, device=like.device) & 1
    return (2 * bits).to(like.dtype)
