"""The loop around the step, in training and in pre-training: epochs, an exact resume, an end that is on record.

Everything random is a function of (seed, stream, epoch). A run killed at any moment and resumed therefore equals an
unbroken one bit for bit, on the CPU with one thread count. What a stage descends, when it stops and what it looks at
beside the loss is its own; weights, moments, SAM's state, history and the record are kept here, the same way for both.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from landscape.progress import progress
from samrec.data.interactions import Interactions
from samrec.errors import CheckpointError, DataError, Diverged, NonFiniteScores
from samrec.fingerprints import without_places
from samrec.models.dropout import Dropout
from samrec.models.encoder import Trunk
from samrec.optim.base import moment_names
from samrec.optim.build import build_optimizer, build_sam
from samrec.optim.sam import Ascent, Reduce
from samrec.stage_config import StageConfig
from samrec.training.checkpoint import check_same, load_weights
from samrec.training.failed_epoch import FailedEpoch
from samrec.training.files import clear_asides, held_for_writing
from samrec.training.moments import load_moments
from samrec.training.pretrained import HEADS
from samrec.training.run_folder import Position, RunFolder, State
from samrec.training.step import Descended, Part, Step
from samrec.training.streams import torch_seed
from samrec.training.tensorboard import scalars_in

DIVERGED_AT = 2.0  # times the loss of equal scores: an epoch whose mean is above that has learnt less than nothing.
# Meant is the loss a run descends: SAM's is that of the perturbed weights, 1e8 at rho 1e6 while L(w) stays at chance.

R = TypeVar("R", bound=RunFolder)


class Loop(ABC, Generic[R]):
    """Trains one run; a stage says what its batches are, when it stops and what it looks at."""

    summed = False  # a batch's loss is a sum over its targets or prefixes, not their mean

    def __init__(
        self,
        run: R,
        model: Trunk,
        loss: Descended,
        *,
        steps_an_epoch: int,
        device: torch.device | None,
        reduce: Reduce,
        show: bool,
        terms: Sequence[str] = (),
        climb_by_part: bool = False,
    ) -> None:
        """Put model, optimizer and step together, and go to where the run was.

        Args:
            run: its folder.
            model: with the weights a run begins with.
            loss: what is descended, and `terms` it tells beside; see `Step`.
            steps_an_epoch: batches.
            device: the CPU by default.
            reduce: sums tensors over processes in place.
            show: progress on a terminal.
            terms: names of what the loss tells.
            climb_by_part: m-SAM.
        """
        self.run = run
        self._config = config = run.config
        self.device = device or torch.device("cpu")
        self.show = show
        self.steps_an_epoch = steps_an_epoch
        self._model = model.to(self.device)
        self.named: dict[str, nn.Parameter] = dict(model.named_parameters())
        self.optimizer = build_optimizer(config, model)
        self.moment_names = moment_names(partial(build_optimizer, config))
        self.dropout_generator = torch.Generator(self.device)
        self.step = Step(
            model,
            loss,
            self.optimizer,
            Dropout(config.dropout, self.dropout_generator) if config.dropout else None,
            sam=build_sam(config, self.named, self.optimizer, steps_an_epoch=steps_an_epoch),
            replay=config.sam_dropout == "replayed",
            climb_by_part=climb_by_part,
            l2=config.l2,
            terms=terms,
            reduce=reduce,
        )
        self.position = self._resume()

    # What a stage says

    @abstractmethod
    def steps(self, epoch: int) -> Iterator[tuple[Part, ...]]:
        """The batches of an epoch, each as its parts."""

    @abstractmethod
    def reason_to_stop(self) -> str | None:
        """Why the run ends where it is; None to go on."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The loss a target or prefix, over the epoch that has just been taken, if every score were equal."""

    @abstractmethod
    def looked_at(self) -> dict[str, Any]:
        """What the epoch that has just been taken is judged by, as its line of history keeps it."""

    def begin(self) -> None:
        """Give a run that has no epoch yet other weights than its random ones."""

    def after_step(self, parts: tuple[Part, ...]) -> None:
        """Count along with the steps of an epoch."""

    def judged(self, position: Position, looked_at: Mapping[str, Any]) -> Position:
        """The position with the best epoch in it; keeps that one's weights."""
        del looked_at
        return position

    def verdict(self) -> dict[str, Any]:
        """What the record says of the end beside its reason and cost."""
        return {}

    def shown(self, entry: Mapping[str, Any]) -> dict[str, str]:
        """What stands behind the progress bar."""
        return {"loss": f"{entry['loss']:.4f}"}

    def moved(self, moments: Mapping[str, Tensor]) -> Mapping[str, nn.Parameter]:
        """The parameters that these moments must be there for."""
        del moments
        return self.named

    # What both share

    def fit(self, told: Callable[[Mapping[str, Any]], None] = lambda _: None) -> R:
        """Train until there is a reason to stop, `told` of each line of history. Raises Diverged, its record kept."""
        for entry in self.run.history():
            told(entry)
        total = self._config.epochs * self.steps_an_epoch
        with progress(self.run.name, total=total, show=self.show) as advance:
            if self.position.epoch:
                advance(self.position.epoch * self.steps_an_epoch)
            while not (reason := self.reason_to_stop()):
                try:
                    entry = self.epoch(lambda: advance(1))
                except (Diverged, NonFiniteScores) as error:
                    self._finish("diverged", str(error), self.taken)
                    raise Diverged(
                        f"diverged in epoch {self.position.epoch + 1}: {error}; kept in {self.run.path}"
                    ) from None
                told(entry)
                advance(0, epoch=f"{self.position.epoch}/{self._config.epochs}", **self.shown(entry))
        self._finish(reason)
        return self.run

    def epoch(self, told: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """One pass over the data, `told` of each step, and a look at what came of it: the line of history it leaves."""
        began = time.perf_counter()
        number = self.position.epoch + 1
        self.taken = FailedEpoch(number)
        ascents, counts = self._take_steps(number, told)
        trained = time.perf_counter()
        looked_at = self.looked_at()
        position = replace(
            self.position,
            epoch=number,
            gradients=self.position.gradients + sum(ascent.gradients for ascent in ascents),
            seconds=self.position.seconds + time.perf_counter() - began,
        )
        entry = {
            "epoch": number,
            "loss": self._mean([ascent.loss for ascent in ascents], counts),
            **looked_at,
            "weight_norm": self._weight_norm(),
            "gradients": position.gradients,
            "training_seconds": trained - began,
            "seconds": position.seconds,
            **self._sam_entry(ascents, counts),
        }
        self.position = self.judged(position, looked_at)
        self.run.append_history(entry)
        sam = self.step.sam.state() if self.step.sam is not None else {}
        self.run.save_state(State(self.position, self._model.state_dict(), self._moments(), sam))
        return entry

    def _take_steps(self, number: int, told: Callable[[], None]) -> tuple[list[Ascent], list[int]]:
        self.dropout_generator.manual_seed(torch_seed(self._config.seed, "dropout", number))
        self._model.train()
        ascents, counts = [], []
        for step, parts in enumerate(self.steps(number), start=1):
            try:
                ascent = self.step.take(*parts)
            except Diverged as error:
                raise Diverged(f"step {step}: {error}") from None
            ascents.append(ascent)
            counts.append(sum(part.count for part in parts))
            self.taken.add(ascent, counts[-1], summed=self.summed)
            self.after_step(parts)
            told()
        descended = self._mean([ascent.loss + ascent.sharpness for ascent in ascents], counts)
        if descended > DIVERGED_AT * self.chance:
            where = "a loss" if self.step.sam is None else "a loss at the perturbed weights"
            raise Diverged(
                f"expected {where} below {DIVERGED_AT:g} times that of equal scores, {self.chance:.3g}, "
                f"got {descended:.3g}"
            )
        return ascents, counts

    def _mean(self, of_batches: Sequence[float], counts: Sequence[int]) -> float:
        """Over all targets or prefixes of these batches."""
        if self.summed:
            return sum(of_batches) / sum(counts)
        return float(np.average(of_batches, weights=counts))

    def _weight_norm(self) -> float:
        trunk = [w.detach() for name, w in self.named.items() if not name.startswith(HEADS)]
        return float(torch.stack(torch._foreach_norm(trunk)).double().norm())

    def _sam_entry(self, ascents: list[Ascent], counts: list[int]) -> dict[str, Any]:
        if self.step.sam is None:
            return {}
        entry: dict[str, Any] = {"rho": ascents[-1].rho} if self.step.sam.schedule is not None else {}
        climbs = [(ascent, count) for ascent, count in zip(ascents, counts, strict=True) if ascent.shares]
        if not climbs:  # an epoch of fewer steps than a period has
            return entry | {"sharpness": None, "gradient_norm": None, "shares": {}}
        ascents, counts = [ascent for ascent, _ in climbs], [count for _, count in climbs]
        blocks = sorted({block for ascent in ascents for block in ascent.shares})
        return entry | {
            "sharpness": self._mean([ascent.sharpness for ascent in ascents], counts),
            "gradient_norm": float(np.mean([ascent.norm for ascent in ascents])),
            "shares": {block: float(np.mean([a.shares.get(block, 0.0) for a in ascents])) for block in blocks},
        }

    def _moments(self) -> dict[str, Tensor]:
        moments = {}
        for name, parameter in self.named.items():
            for key in self.moment_names:
                if (value := self.optimizer.state[parameter].get(key)) is not None:
                    moments[f"{name}/{key}"] = value
        return moments

    def _resume(self) -> Position:
        clear_asides(self.run.path)
        state = self.run.state()
        self.run.cut_history(state.position.epoch)
        self.run.begin_state()
        if not state.weights:
            self.begin()
            return state.position
        path = self.run.path / "state.safetensors"
        load_weights(self._model, state.weights, path)
        load_moments(
            self.optimizer,
            self.moved(state.moments),
            self.moment_names,
            state.moments,
            called=self._config.optimizer,
            path=path,
        )
        if self.step.sam is not None:
            try:
                self.step.sam.load_state(state.sam)
            except CheckpointError as error:
                raise CheckpointError(f"{error} in {path}") from None
        return state.position

    def _finish(self, reason: str, message: str = "", failed: FailedEpoch | None = None) -> None:
        self.run.update(
            status="diverged" if reason == "diverged" else "finished",
            stopped=reason,
            message=message,
            failed_epoch=failed.record() if failed else None,
            **self.verdict(),
            cost={
                "epochs": self.position.epoch,
                "gradients": self.position.gradients + (failed.gradients if failed else 0),
                "seconds": round(self.position.seconds + (failed.seconds if failed else 0), 3),
                "threads": torch.get_num_threads(),
            },
        )


def run_in(
    path: Path,
    config: StageConfig,
    interactions: Interactions,
    *,
    resume: bool,
    create: Callable[[], R],
    reopen: Callable[[], R],
    loop: Callable[[R], Loop[R]],
    on_start: Callable[[R], None] | None,
    tensorboard: Path | str | None,
    check_finished: Callable[[R], None] = lambda run: run.check_finished(),
) -> R:
    """Take the run in a folder to its end, as the only one at work there.

    Args:
        path: the folder.
        config: what to train; of a run that is there it must be the configuration.
        interactions: on what; of a run that is there it must be the data.
        resume: go on with the run that is there, if one is.
        create: makes the folder.
        reopen: opens it, after checks of its own; called only with `resume`.
        loop: sets a trainer up; where that fails nothing was trained, and a folder made for it goes again.
        on_start: called with the run before.
        tensorboard: a folder for scalars, see `scalars_in`.
        check_finished: of a run that is there and finished.

    Returns:
        The run; a finished one as it is.
    """
    scalars = scalars_in(tensorboard, path.resolve().name, config)
    with scalars as told, held_for_writing(path):
        new = not (resume and (path / "run.json").exists())
        run = create() if new else reopen()
        if not new:
            run.check_data(interactions)
            check_same(run, without_places(run.config.model_dump()), without_places(config.model_dump()))
            if run.record["status"] == "finished":
                check_finished(run)
                for entry in run.history():
                    told(entry)
                return run
        if on_start:
            on_start(run)
        try:
            trainer = loop(run)
        except Exception:  # data too short, a model too large
            if new:
                run.discard()
            raise
        try:
            return trainer.fit(told)
        except DataError:  # a user who has had every item
            if new and trainer.position.epoch == 0:
                run.discard()
            raise
