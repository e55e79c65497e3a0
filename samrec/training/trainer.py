"""Training of a recommender: epochs over users, validation, early stopping; the loop itself is `loop`'s.

The order of users, the negatives, the views and the dropout masks are functions of (seed, stream, epoch).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samrec.config import RunConfig
from samrec.data.batches import batches, micro_groups, shuffled_groups
from samrec.data.interactions import Interactions
from samrec.data.negatives import NegativeSampler
from samrec.data.split import evaluation_sequences, seen_items, training_sequences
from samrec.errors import ConfigError, DataError
from samrec.evaluation.metrics import scores_of
from samrec.evaluation.ranking import rank_targets
from samrec.models.build import build_losses, build_model
from samrec.optim.sam import Reduce
from samrec.training.checkpoint import Run, create_run
from samrec.training.draws import negatives_drawn, rows_trained_on, views_drawn
from samrec.training.loop import Loop, run_in
from samrec.training.pretrained import start_from
from samrec.training.run_folder import Position
from samrec.training.step import Example, identity
from samrec.training.stopping import reason_to_stop
from samrec.training.streams import numpy_generator, torch_generator

MONITORED = ("HR@10", "NDCG@10", "NDCG@20")


class Trainer(Loop[Run]):
    """Trains one run; `train` is the way in for those who want no hold on it."""

    def __init__(
        self,
        run: Run,
        interactions: Interactions,
        *,
        device: torch.device | None = None,
        reduce: Reduce = identity,
        show: bool = True,
        keep_every: int | None = None,
    ) -> None:
        self.config = run.config
        self.keep_every = keep_every
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
        super().__init__(
            run,
            self.model,
            self.batch_loss,
            steps_an_epoch=-(-len(self.trained_on) // self.config.batch_size),
            device=device,
            reduce=reduce,
            show=show,
            climb_by_part=self.config.sam_users is not None,
        )

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
    def chance(self) -> float:
        """The loss at a token if every score were equal."""
        return self.batch_loss.chance(self.model.item_count)

    def reason_to_stop(self) -> str | None:
        """Patience, or the cap."""
        return reason_to_stop(self.position, epochs=self.config.epochs, patience=self.config.patience)

    def looked_at(self) -> dict[str, Any]:
        """The scores on validation that are watched."""
        monitored = {*MONITORED, self.config.stop_metric}
        return {"validation": {name: value for name, (value, _) in self._validate().items() if name in monitored}}

    def judged(self, position: Position, looked_at: Mapping[str, Any]) -> Position:
        """Keep the weights of an epoch that is better than all before, and of every `keep_every`-th."""
        if self.keep_every and position.epoch % self.keep_every == 0:
            self.run.save_epoch(position.epoch, self.model.state_dict())
        score = looked_at["validation"][self.config.stop_metric]
        if not score > position.best_score:
            return position
        self.run.save_best(self.model.state_dict())
        return replace(position, best_epoch=position.epoch, best_score=score)

    def verdict(self) -> dict[str, Any]:
        """The best epoch and its score."""
        score = self.position.best_score
        return {
            "best": {
                "epoch": self.position.best_epoch,
                self.config.stop_metric: score if np.isfinite(score) else None,
            }
        }

    def shown(self, entry: Mapping[str, Any]) -> dict[str, str]:
        """The loss, and the score against the best one."""
        score = entry["validation"][self.config.stop_metric]
        return {**super().shown(entry), "validation": f"{score:.4f}", "best": str(self.position.best_epoch)}

    def begin(self) -> None:
        """S3-Rec begins where its pre-training ended."""
        if self.config.pretrained is not None:
            start_from(self.model, self.config.pretrained)
        if self.keep_every:
            self.run.save_epoch(0, self.model.state_dict())

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


def train(
    config: RunConfig,
    interactions: Interactions,
    out: Path | str,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    show: bool = True,
    on_start: Callable[[Run], None] | None = None,
    keep_every: int | None = None,
    tensorboard: Path | str | None = None,
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
        keep_every: keep the weights of the start and of every so many epochs in files of their own, epoch-N. What the
            run was begun with where it is resumed without.
        tensorboard: write the scalars of every epoch into the folder of the run's name there; takes that package.

    Raises:
        RunError: there is a run already and `resume` is off, or the run there has another configuration or other data,
            or was not trained here.
        StoreLocked: another process is at work in the folder.
        ConfigError: a loss that these data do not allow, `keep_every` below 1, or no package tensorboard; nothing is
            written.
        Diverged: the run left the finite numbers; its record is kept.
    """
    path = Path(out)
    if keep_every is not None and keep_every < 1:
        raise ConfigError(f"expected to keep every 1 or more epochs, got every {keep_every}")
    kept = {} if keep_every is None else {"keep_every": keep_every}

    def trainer(run: Run) -> Trainer:
        if kept and run.record.get("keep_every") != keep_every:
            run.update(**kept)
        return Trainer(run, interactions, device=device, show=show, keep_every=run.record.get("keep_every"))

    return run_in(
        path,
        config,
        interactions,
        resume=resume,
        create=lambda: create_run(path, config, interactions, **kept),
        reopen=lambda: Run(path),
        loop=trainer,
        on_start=on_start,
        tensorboard=tensorboard,
    )
