"""One training step: a packed batch, its loss over valid targets, one gradient or SAM's two."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from samrec.data.batches import PackedBatch
from samrec.errors import Diverged
from samrec.models.dropout import Dropout
from samrec.models.losses import BatchLoss
from samrec.models.sasrec import SASRec
from samrec.optim.sam import SAM, Ascent, Reduce, check_finite


@dataclass(frozen=True, slots=True)
class Example:
    """A batch with its targets and candidates."""

    batch: PackedBatch
    targets: Tensor  # (T,)
    candidates: Tensor | None  # (T, 1 + negatives), the target first; None scores every item
    drawable: Tensor | None = None  # (T,) how many items a negative could be, where the loss corrects for it
    views: PackedBatch | None = None  # CL4SRec: sequences 2i and 2i + 1 are views of the batch's i-th


def identity(tensors: list[Tensor]) -> None:
    """The `reduce` hook of a single process: sums over processes are the sums themselves."""
    del tensors


class Step:
    """Takes examples and moves the weights."""

    def __init__(
        self,
        model: SASRec,
        loss: BatchLoss,
        optimizer: torch.optim.Optimizer,
        dropout: Dropout | None,
        *,
        sam: SAM | None,
        replay: bool = True,
        reduce: Reduce = identity,
    ) -> None:
        """`reduce` sums tensors over processes in place: the count of targets, the loss, every gradient."""
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.dropout = dropout
        self.sam = sam
        self.replay = replay
        self.reduce = reduce
        self.parameters = list(model.parameters())

    @property
    def gradients(self) -> int:
        """Backward passes a step."""
        return 1 if self.sam is None else 2

    def take(self, example: Example) -> Ascent:
        """One step; without SAM an `Ascent` that did not climb. Raises Diverged on a gradient that is not finite."""
        count = torch.tensor(float(len(example.targets)), dtype=torch.float64)
        self.reduce([count])
        first = self._pass(example, count.item(), replay=False)
        if self.sam is None:
            loss = first()
            check_finite(self.parameters)
            self.optimizer.step()
            return Ascent(loss, 0.0, 0.0, {})
        return self.sam.step(first, self._pass(example, count.item(), replay=self.replay))

    def _pass(self, example: Example, count: float, *, replay: bool) -> Callable[[], float]:
        def run() -> float:
            if self.dropout is not None:
                (self.dropout.replay if replay else self.dropout.draw)()
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.model, example, count, self.dropout)
            if not torch.isfinite(loss):
                raise Diverged(f"expected a finite loss, got {loss.item()}")
            torch.autograd.backward(loss)
            total = loss.detach().clone()
            self.reduce([total, *(parameter.grad for parameter in self.parameters if parameter.grad is not None)])
            return total.item()

        return run
