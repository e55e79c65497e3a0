"""One step of pre-training: the four losses of a batch, weighted and summed, one gradient or SAM's two."""

from collections.abc import Callable, Mapping

import torch

from samrec.data.pretraining import PretrainBatch
from samrec.errors import Diverged
from samrec.models.dropout import Dropout
from samrec.models.s3rec import S3Rec
from samrec.optim.gradients import check_finite
from samrec.optim.sam import SAM, Ascent, Passes, Reduce
from samrec.training.step import identity


class PretrainStep:
    """Takes batches and moves the weights."""

    def __init__(
        self,
        model: S3Rec,
        weights: Mapping[str, float],
        optimizer: torch.optim.Optimizer,
        dropout: Dropout | None,
        *,
        sam: SAM | None,
        replay: bool = True,
        reduce: Reduce = identity,
    ) -> None:
        """Put a step together.

        Args:
            model: what is trained.
            weights: of each loss that takes part.
            optimizer: what takes the gradient; SAM's base.
            dropout: None for none.
            sam: None for one gradient a step.
            replay: SAM's second pass sees the dropout masks of its first.
            reduce: sums tensors over processes in place: the loss, every gradient.
        """
        self.model = model
        self.weights = weights
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

    def take(self, batch: PretrainBatch) -> tuple[Ascent, dict[str, float]]:
        """One step on the sum of the weighted losses; also the sum of each loss over the batch, before the step.

        Raises Diverged on a loss or a gradient that is not finite.
        """
        sums: dict[str, float] = {}
        first = self._pass(batch, sums, replay=False)
        if self.sam is None:
            loss = first()
            check_finite(self.parameters)
            self.optimizer.step()
            return Ascent(loss, 0.0, 0.0, {}), sums
        return self.sam.step(Passes(first, self._pass(batch, {}, replay=self.replay))), sums

    def _pass(self, batch: PretrainBatch, sums: dict[str, float], *, replay: bool) -> Callable[[], float]:
        def run() -> float:
            if self.dropout is not None:
                (self.dropout.replay if replay else self.dropout.draw)()
            self.optimizer.zero_grad(set_to_none=True)
            losses = self.model(batch, dropout=self.dropout)
            total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
            torch.autograd.backward(total)
            told = torch.stack([total.detach(), *(loss.detach() for loss in losses.values())])
            self.reduce([told, *(parameter.grad for parameter in self.parameters if parameter.grad is not None)])
            if not torch.isfinite(told[0]):  # after the sum over processes: all of them stop, none waits
                found = zip(losses, told[1:].tolist(), strict=True)
                raise Diverged(f"expected finite losses, got {', '.join(f'{name} {value}' for name, value in found)}")
            sums.update(zip(losses, told[1:].tolist(), strict=True))
            return told[0].item()

        return run
