"""The loop around the step: epochs, validation, early stopping, an exact resume.

Everything random is a function of (seed, stream, epoch): the order of users, the negatives, the dropout masks. A run
killed at any moment and resumed therefore equals an unbroken one bit for bit, on the CPU with one thread count.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.progress import progress
from samrec.config import RunConfig
from samrec.data.batches import batches, micro_groups, shuffled_groups
from samrec.data.interactions import Interactions
from samrec.data.negatives import NegativeSampler
from samrec.data.split import evaluation_sequences, seen_items, training_sequences
from samrec.errors import CheckpointError, DataError, Diverged, NonFiniteScores
from samrec.evaluation.metrics import scores_of
from samrec.evaluation.ranking import rank_targets
from samrec.models.build import build_losses, build_model
from samrec.models.dropout import Dropout
from samrec.optim.base import moment_names
from samrec.optim.build import build_optimizer, build_sam
from samrec.optim.sam import Ascent, Reduce
from samrec.training.checkpoint import Position, Run, State, check_same, create_run, load_weights, without_places
from samrec.training.draws import negatives_drawn, rows_trained_on, views_drawn
from samrec.training.failed_epoch import FailedEpoch
from samrec.training.files import clear_asides, held_for_writing
from samrec.training.moments import load_moments
from samrec.training.pretrained import start_from
from samrec.training.step import Example, Step, identity
from samrec.training.stopping import reason_to_stop
from samrec.training.streams import numpy_generator, torch_generator, torch_seed

DIVERGED_AT = 2.0  # times the loss of equal scores: an epoch whose mean is above that has learnt less than nothing.
# Meant is the loss a run descends: SAM's is that of the perturbed weights, 1e8 at rho 1e6 while L(w) stays at chance.
MONITORED = ("HR@10", "NDCG@10", "NDCG@20")


class Trainer:
    """Trains one run; `train` is the way in for those who want no hold on it."""

    def __init__(
        self,
        run: Run,
        interactions: Interactions,
        *,
        device: torch.device | None = None,
        reduce: Reduce = identity,
        show: bool = True,
    ) -> None:
        self.run = run
        self.config = run.config
        self.device = device or torch.device("cpu")
        self.show = show
        self.loss, self.batch_loss = build_losses(self.config, interactions.item_count)
        self.sequences = training_sequences(
            interactions, max_length=self.config.max_length, holdout=self.config.holdout
        )
        self.validation = evaluation_sequences(
            interactions, "validation", max_length=self.config.max_length, holdout=self.config.holdout
        )
        self.seen = seen_items(interactions, "validation", holdout=self.config.holdout)
        self.sampler = NegativeSampler(interactions, rule=self.config.negatives, holdout=self.config.holdout)
        lengths = np.diff(self.sequences.offsets)
        self.trained_on = rows_trained_on(
            np.flatnonzero(lengths), fraction=self.config.data_fraction, seed=self.config.seed
        )
        if not len(self.trained_on):
            raise DataError(f"expected a sequence of four or more items to train on, got none in {interactions.source}")
        self.token_users = np.repeat(self.sequences.users, lengths)
        self.model = build_model(self.config, interactions.item_count, torch_generator(self.config.seed, "weights", 0))
        self.model.to(self.device)
        self.named = dict(self.model.named_parameters())
        self.optimizer = build_optimizer(self.config, self.model)
        self.moment_names = moment_names(partial(build_optimizer, self.config))
        self.dropout_generator = torch.Generator(self.device)
        dropout = Dropout(self.config.dropout, self.dropout_generator) if self.config.dropout else None
        steps = -(-len(self.trained_on) // self.config.batch_size)
        self.step = Step(
            self.model,
            self.batch_loss,
            self.optimizer,
            dropout,
            sam=build_sam(self.config, self.named, self.optimizer, steps_an_epoch=steps),
            replay=self.config.sam_dropout == "replayed",
            climb_by_part=self.config.sam_users is not None,
            l2=self.config.l2,
            reduce=reduce,
        )
        self.position = self._resume()

    def fit(self) -> Run:
        """Train until patience or the cap is reached. Raises Diverged after the record was kept."""
        epochs, patience = self.config.epochs, self.config.patience
        with progress(self.run.name, total=epochs, show=self.show) as advance:
            if self.position.epoch:
                advance(self.position.epoch)
            while not (reason := reason_to_stop(self.position, epochs=epochs, patience=patience)):
                try:
                    entry = self.epoch()
                except (Diverged, NonFiniteScores) as error:
                    self._finish("diverged", str(error), self.taken)
                    raise Diverged(
                        f"diverged in epoch {self.position.epoch + 1}: {error}; kept in {self.run.path}"
                    ) from None
                score = entry["validation"][self.config.stop_metric]
                advance(1, loss=f"{entry['loss']:.4f}", validation=f"{score:.4f}", best=self.position.best_epoch)
        self._finish(reason)
        return self.run

    def epoch(self) -> dict[str, Any]:
        """One pass over the training sequences, then validation; returns the line of history it leaves."""
        began = time.perf_counter()
        number = self.position.epoch + 1
        self.taken = FailedEpoch(number)
        ascents, counts = self._train_epoch(number)
        trained = time.perf_counter()
        scores = {name: value for name, (value, _) in self._validate().items() if name in self._monitored}
        score = scores[self.config.stop_metric]
        better = score > self.position.best_score
        self.position = Position(
            epoch=number,
            best_epoch=number if better else self.position.best_epoch,
            best_score=score if better else self.position.best_score,
            gradients=self.position.gradients + sum(ascent.gradients for ascent in ascents),
            seconds=self.position.seconds + time.perf_counter() - began,
        )
        entry = {
            "epoch": number,
            "loss": float(np.average([ascent.loss for ascent in ascents], weights=counts)),
            "validation": scores,
            "weight_norm": self._weight_norm(),
            "gradients": self.position.gradients,
            "training_seconds": trained - began,
            "seconds": self.position.seconds,
            **self._sam_entry(ascents, counts),
        }
        if better:
            self.run.save_best(self.model.state_dict())
        self.run.append_history(entry)
        sam = self.step.sam.state() if self.step.sam is not None else {}
        self.run.save_state(State(self.position, self.model.state_dict(), self._moments(), sam))
        return entry

    def steps(self, epoch: int) -> Iterator[tuple[Example, ...]]:
        """The batches of an epoch, each as its parts: one, or as many as micro-batches make of it."""
        examples = self.examples(epoch)
        a_step = -(-self.config.batch_size // (self.config.part_size or self.config.batch_size))
        while parts := tuple(islice(examples, a_step)):  # only the last batch of an epoch has fewer
            yield parts

    def examples(self, epoch: int) -> Iterator[Example]:
        """The packed batches of an epoch, or their micro-batches in order, with targets, negatives and views."""
        order = numpy_generator(self.config.seed, "order", epoch)
        groups = shuffled_groups(len(self.trained_on), self.config.batch_size, order)
        groups = np.where(groups >= 0, self.trained_on[groups], -1)
        if self.config.part_size:
            groups = micro_groups(groups, self.config.part_size)
        targets, max_length = self.sequences.targets, self.config.max_length
        draws = numpy_generator(self.config.seed, "negatives", epoch)
        negatives = negatives_drawn(self.sampler, self.token_users, draws, self.loss.negatives)
        views = views_drawn(
            self.sequences,
            groups,
            self.config.contrast,
            numpy_generator(self.config.seed, "views", epoch),
            max_length=max_length,
            mask_id=self.model.item_count + 1,
        )
        packed = batches(self.sequences.items, self.sequences.offsets, groups, max_length=max_length)
        for (_, places, batch), both in zip(packed, views, strict=True):
            drawn = negatives(places)
            scored = None if drawn is None else np.concatenate([targets[places, None], drawn], axis=1)
            drawable = self.sampler.drawable(self.token_users[places]) if self.loss.corrected else None
            yield Example(
                batch.to(self.device),
                torch.from_numpy(targets[places]).to(self.device),
                None if scored is None else torch.from_numpy(scored).to(self.device),
                None if drawable is None else torch.from_numpy(drawable).to(self.device),
                None if both is None else both.to(self.device),
            )

    @property
    def _monitored(self) -> set[str]:
        return {*MONITORED, self.config.stop_metric}

    def _train_epoch(self, number: int) -> tuple[list[Ascent], list[int]]:
        self.dropout_generator.manual_seed(torch_seed(self.config.seed, "dropout", number))
        self.model.train()
        ascents, counts = [], []
        for step, parts in enumerate(self.steps(number), start=1):
            try:
                ascent = self.step.take(*parts)
            except Diverged as error:
                raise Diverged(f"step {step}: {error}") from None
            ascents.append(ascent)
            counts.append(sum(len(part.targets) for part in parts))
            self.taken.add(ascent, ascent.loss, ascent.sharpness, counts[-1])
        descended = float(np.average([ascent.loss + ascent.sharpness for ascent in ascents], weights=counts))
        if descended > DIVERGED_AT * self.chance:
            where = "a loss" if self.step.sam is None else "a loss at the perturbed weights"
            raise Diverged(
                f"expected {where} below {DIVERGED_AT:g} times that of equal scores, {self.chance:.3g}, "
                f"got {descended:.3g}"
            )
        return ascents, counts

    @property
    def chance(self) -> float:
        """The loss at a token if every score were equal."""
        return self.batch_loss.chance(self.model.item_count)

    def _validate(self) -> Mapping[str, tuple[float, float]]:
        self.model.eval()
        users = self.model.encode(self.validation.items, self.validation.offsets)
        items, offsets = self.seen
        ranks = rank_targets(
            users,
            self.model.item_embedding.weight.detach(),
            self.validation.targets,
            items,
            offsets,
            self.model.item_count,
        )
        return scores_of(ranks, owners=self.validation.users)

    def _weight_norm(self) -> float:
        norms = torch._foreach_norm([parameter.detach() for parameter in self.named.values()])
        return float(torch.stack(norms).double().norm())

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
            "sharpness": float(np.average([ascent.sharpness for ascent in ascents], weights=counts)),
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
            if self.config.pretrained is not None:
                start_from(self.model, self.config.pretrained)
            return state.position
        path = self.run.path / "state.safetensors"
        load_weights(self.model, state.weights, path)
        load_moments(
            self.optimizer, self.named, self.moment_names, state.moments, called=self.config.optimizer, path=path
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
            best={"epoch": self.position.best_epoch, self.config.stop_metric: _finite(self.position.best_score)},
            cost={
                "epochs": self.position.epoch,
                "gradients": self.position.gradients + (failed.gradients if failed else 0),
                "seconds": round(self.position.seconds + (failed.seconds if failed else 0), 3),
                "threads": torch.get_num_threads(),
            },
        )


def train(
    config: RunConfig,
    interactions: Interactions,
    out: Path | str,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    show: bool = True,
    on_start: Callable[[Run], None] | None = None,
) -> Run:
    """Train a run in the folder `out`.

    Args:
        config: what to train.
        interactions: on what.
        out: the run folder; made here, or continued with `resume`.
        resume: go on from the last finished epoch. A finished run comes back as it is.
        device: the CPU by default.
        show: progress on a terminal.
        on_start: called with the run before the first epoch.

    Raises:
        RunError: there is a run already and `resume` is off, or the run there has another configuration or other data,
            or was not trained here.
        StoreLocked: another process is at work in the folder.
        ConfigError: a loss that these data do not allow; nothing is written.
        Diverged: the run left the finite numbers; its record is kept.
    """
    path = Path(out)
    with held_for_writing(path):
        new = not (resume and (path / "run.json").exists())
        run = create_run(path, config, interactions) if new else Run(path)
        if not new:
            run.check_data(interactions)
            check_same(run, without_places(run.config.model_dump()), without_places(config.model_dump()))
            if run.record["status"] == "finished":
                run.check_finished()
                return run
        if on_start:
            on_start(run)
        try:
            trainer = Trainer(run, interactions, device=device, show=show)
        except Exception:  # data too short, a model too large: nothing was trained
            if new:
                run.discard()
            raise
        try:
            return trainer.fit()
        except DataError:  # a user who has had every item
            if new and trainer.position.epoch == 0:
                run.discard()
            raise


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
