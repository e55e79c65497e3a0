"""One step, in training and in pre-training: a batch in one or more parts, one gradient of its loss or SAM's two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from samrec.data.batches import PackedBatch
from samrec.errors import ConfigError, Diverged
from samrec.models.dropout import Dropout
from samrec.optim.base import Penalty
from samrec.optim.gradients import check_finite
from samrec.optim.sam import SAM, Ascent, Passes, Reduce

Descended = Callable[[Any, Any, float, Dropout | None], Tensor]  # model, part, count of the batch: its loss


@runtime_checkable
class Part(Protocol):
    """A batch, or a part of one."""

    @property
    def count(self) -> int:
        """How many targets or prefixes it has."""
        ...


@dataclass(frozen=True, slots=True)
class Example:
    """A batch of a recommender, or a part of one, with its targets and candidates."""

    batch: PackedBatch
    targets: Tensor  # (T,)
    candidates: Tensor | None  # (T, 1 + negatives), the target first; None scores every item
    drawable: Tensor | None = None  # (T,) how many items a negative could be, where the loss corrects for it
    views: PackedBatch | None = None  # CL4SRec: sequences 2i and 2i + 1 are views of the batch's i-th

    @property
    def count(self) -> int:
        """T."""
        return len(self.targets)


def identity(tensors: list[Tensor]) -> None:
    """The `reduce` hook of a single process: sums over processes are the sums themselves."""
    del tensors


class Step:
    """Takes batches and moves the weights."""

    def __init__(
        self,
        model: nn.Module,
        loss: Descended,
        optimizer: torch.optim.Optimizer,
        dropout: Dropout | None,
        *,
        sam: SAM | None,
        replay: bool = True,
        climb_by_part: bool = False,
        l2: float = 0.0,
        terms: Sequence[str] = (),
        reduce: Reduce = identity,
    ) -> None:
        """Put a step together.

        Args:
            model: what is trained.
            loss: of a batch, or of a part of one by its share: one number, or that and a number for each of `terms`
                behind it, which are told and not descended.
            optimizer: what takes the gradient; SAM's base.
            dropout: None for none.
            sam: None for one gradient a step.
            replay: SAM's second pass sees the dropout masks of its first.
            climb_by_part: m-SAM: every part of a batch climbs alone, and so does every process.
            l2: coefficient of the L2 term, which is no part of the loss that is told.
            terms: what the loss tells beside what it descends.
            reduce: sums tensors over processes in place: the count of targets, the loss, every gradient.
        """
        if climb_by_part and sam is None:
            raise ConfigError("expected SAM where every part of a batch climbs alone, got none")
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.dropout = dropout
        self.sam = sam
        self.replay = replay
        self.climb_by_part = climb_by_part
        self.penalty = Penalty(model, l2)
        self.terms = tuple(terms)
        self.told: dict[str, float] = {}  # each of them in the last batch, at the weights before the step
        self.reduce = reduce
        self.parameters = list(model.parameters())

    def gradients_in(self, steps: int) -> int:
        """Gradients of a batch that the run's first `steps` steps take."""
        return steps if self.sam is None else self.sam.gradients_in(steps)

    def take(self, *parts: Part) -> Ascent:
        """One step on a batch, whole or in parts; without SAM an `Ascent` that did not climb.

        The parts' gradients are summed, so that the step is that of the whole batch: to rounding without dropout.
        With dropout every part draws masks of its own, one after the other: the same in distribution, and the same
        bits each time the step is taken, also in SAM's second pass. Memory is that of the largest part.

        Raises Diverged on a gradient that is not finite.
        """
        count = torch.tensor(float(sum(part.count for part in parts)), dtype=torch.float64)
        self.reduce([count])
        self.told = dict.fromkeys(self.terms, 0.0)
        if self.sam is None:
            loss = self._pass(parts, count.item(), first=True)()
            check_finite(self.parameters)
            self.optimizer.step()
            return Ascent(loss, 0.0, 0.0, {})
        if self.climb_by_part:
            return self.sam.step(*(self._passes([part], count.item()) for part in parts), reduce=self.reduce)
        return self.sam.step(self._passes(parts, count.item()))

    def _passes(self, parts: Sequence[Part], count: float) -> Passes:
        return Passes(self._pass(parts, count, first=True), self._pass(parts, count, first=False))

    def _pass(self, parts: Sequence[Part], count: float, *, first: bool) -> Callable[[], float]:
        def run() -> float:
            if self.dropout is not None:
                if self.replay and not first:
                    self.dropout.replay()
                else:
                    self.dropout.draw(keep=len(parts) == 1)
            self.optimizer.zero_grad(set_to_none=True)
            found: list[Tensor] = []
            for part in parts:
                values = self.loss(self.model, part, count, self.dropout)
                torch.autograd.backward(values[0] if self.terms else values)
                found.append(values.detach().double().view(-1))
            sums = sum(found[1:], found[0])
            if self.climb_by_part:  # summed over processes after the climbs
                self.penalty.add_gradients(parts[0].count / count)
            else:
                self.reduce([sums, *(parameter.grad for parameter in self.parameters if parameter.grad is not None)])
                if not torch.isfinite(sums[0]):  # after the sum over processes: all of them stop, none waits
                    of = [f"{name} {value}" for name, value in zip(self.terms, sums[1:].tolist(), strict=True)]
                    raise Diverged(f"expected a finite loss, got {sums[0].item()}" + f" of {', '.join(of)}" * bool(of))
                self.penalty.add_gradients()
            loss, *others = sums.tolist()
            if first:
                self.told = {name: self.told[name] + other for name, other in zip(self.terms, others, strict=True)}
            return float(loss)

        return run
