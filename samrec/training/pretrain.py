"""S3-Rec's first stage: epochs over all prefixes, the four losses in the history; the loop itself is `loop`'s.

The order of prefixes, masks and negatives, segments and dropout are functions of (seed, stream, epoch). Nothing is
validated on the way, as in the S3-Rec code: the last weights are the result.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landscape.memory import peak_memory_mib
from samrec.data.interactions import Interactions
from samrec.data.pretraining import PretrainBatch, PretrainData
from samrec.data.split import training_sequences
from samrec.errors import DataError
from samrec.models.s3rec import OF_ATTRIBUTES, OF_MASKED, S3Rec, WeightedLosses
from samrec.optim.sam import Reduce
from samrec.pretrain_config import PretrainConfig
from samrec.training.checkpoint import load_weights
from samrec.training.draws import rows_trained_on
from samrec.training.loop import Loop, run_in
from samrec.training.pretrain_run import PretrainRun, create_pretrain_run
from samrec.training.step import Part, identity
from samrec.training.streams import numpy_generator, torch_generator


class PreTrainer(Loop[PretrainRun]):
    """Pre-trains one run; `pretrain` is the way in for those who want no hold on it."""

    summed = True

    def __init__(
        self,
        run: PretrainRun,
        interactions: Interactions,
        *,
        device: torch.device | None = None,
        reduce: Reduce = identity,
        show: bool = True,
    ) -> None:
        self.config = config = run.config
        self.data = PretrainData(
            interactions,
            max_length=config.max_length,
            mask=config.mask,
            negatives=config.negatives,
            masked=any(name in config.weights for name in OF_MASKED),
            attributes=any(name in config.weights for name in OF_ATTRIBUTES),
            segments="sp" in config.weights,
            users=users_seen(config, interactions),
        )
        if set(config.weights) == {"sp"} and self.data.prefixes.lengths().max() < 2:
            raise DataError(
                f"expected a user of two or more training items for SP alone, got none in {interactions.name}"
            )
        self.model = build_pretrain_model(config, interactions, torch_generator(config.seed, "weights", 0))
        self.losses = WeightedLosses(config.weights)
        super().__init__(
            run,
            self.model,
            self.losses,
            steps_an_epoch=-(-len(self.data.prefixes) // config.batch_size),
            device=device,
            reduce=reduce,
            show=show,
            terms=tuple(config.weights),
        )

    def steps(self, epoch: int) -> Iterator[tuple[PretrainBatch]]:
        """The batches of an epoch that some loss has something in: SP alone has nothing in single items."""
        self.sums = dict.fromkeys(self.config.weights, 0.0)
        self.counts = dict.fromkeys(self.config.weights, 0)
        return ((batch,) for batch in self.batches(epoch) if batch.masked or batch.segments)

    def batches(self, epoch: int) -> Iterator[PretrainBatch]:
        """The batches of an epoch."""
        seed = self.config.seed
        drawn = self.data.batches(
            self.config.batch_size,
            order=numpy_generator(seed, "order", epoch),
            masks=numpy_generator(seed, "masks", epoch),
            segments=numpy_generator(seed, "segments", epoch),
        )
        return (batch.to(self.device) for batch in drawn)

    def after_step(self, parts: tuple[Part, ...]) -> None:
        """Add up each loss and the terms it is a sum of."""
        (batch,) = parts
        assert isinstance(batch, PretrainBatch)
        for name, loss in self.step.told.items():
            self.sums[name] += loss
            self.counts[name] += batch.counts[name]

    @property
    def chance(self) -> float:
        """The loss a prefix if every score were equal."""
        attributes = self.model.attribute_embedding.num_embeddings if set(OF_ATTRIBUTES) & set(self.counts) else 0
        return self.losses.chance(self.counts, attributes) / self.taken.count

    def reason_to_stop(self) -> str | None:
        """The cap alone."""
        return "cap" if self.position.epoch >= self.config.epochs else None

    def looked_at(self) -> dict[str, Any]:
        """Each loss a term."""
        return {"losses": {name: self.sums[name] / max(self.counts[name], 1) for name in self.sums}}

    def shown(self, entry: Mapping[str, Any]) -> dict[str, str]:
        """Each loss."""
        return {name: f"{loss:.4f}" for name, loss in entry["losses"].items()}

    def moved(self, moments: Mapping[str, Tensor]) -> Mapping[str, nn.Parameter]:
        """Those that have had a gradient: SP's have none while all prefixes are single items."""
        moved = {key.rpartition("/")[0] for key in moments}
        return {name: parameter for name, parameter in self.named.items() if not moved or name in moved}


def users_seen(config: PretrainConfig, interactions: Interactions) -> NDArray[np.int64] | None:
    """The users whose training parts pre-training sees: those that training of this fraction and seed learns from.

    None for all of the data, users of a single training item included, as in the S3-Rec code.
    """
    if config.data_fraction == 1:
        return None
    users = training_sequences(interactions, max_length=config.max_length).users
    return users[rows_trained_on(np.arange(len(users)), fraction=config.data_fraction, seed=config.seed)]


def build_pretrain_model(
    config: PretrainConfig, interactions: Interactions, generator: torch.Generator | None = None
) -> S3Rec:
    """The configured model; initialised if a generator is given. Its trunk starts as a SASRec of the same seed does."""
    model = S3Rec(
        interactions.item_count,
        interactions.attributes.count if interactions.attributes is not None else 0,
        losses=config.weights,
        inner_sigmoid=config.inner_sigmoid,
        size=config.size,
        heads=config.heads,
        layers=config.layers,
        max_length=config.max_length,
    )
    if generator is not None:
        model.initialise(generator)
    return model


def pretrain(
    config: PretrainConfig,
    interactions: Interactions,
    out: Path | str,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    show: bool = True,
    on_start: Callable[[PretrainRun], None] | None = None,
    tensorboard: Path | str | None = None,
) -> PretrainRun:
    """Pre-train a run in the folder `out`.

    Args:
        config: what to train.
        interactions: on what; with item attributes, unless the weights of AAP and MAP are 0.
        out: the run folder; made here, or continued with `resume`.
        resume: go on from the last finished epoch. A finished run comes back as it is.
        device: the CPU by default.
        show: progress on a terminal.
        on_start: called with the run before the first epoch.
        tensorboard: write the scalars of every epoch into the folder of the run's name there; takes that package.

    Raises:
        ConfigError: scalars are asked for and the package is missing; nothing is written.
        DataError: no item attributes, or a single user.
        RunError: there is a run already and `resume` is off, or the run there has another configuration or other data.
        StoreLocked: another process is at work in the folder.
        Diverged: the run left the finite numbers; its record is kept.
    """
    path = Path(out)

    def reopen() -> PretrainRun:
        run = PretrainRun(path)
        run.check_data(interactions)
        run.check_attributes(interactions)
        return run

    def check_finished(run: PretrainRun) -> None:
        run.check_finished()
        model = build_pretrain_model(config, interactions)
        load_weights(model, run.state().weights, path / "state.safetensors")

    return run_in(
        path,
        config,
        interactions,
        resume=resume,
        create=lambda: create_pretrain_run(path, config, interactions),
        reopen=reopen,
        loop=lambda run: PreTrainer(run, interactions, device=device, show=show),
        on_start=on_start,
        tensorboard=tensorboard,
        check_finished=check_finished,
    )


def estimate_pretrain_cost(
    config: PretrainConfig, interactions: Interactions, *, device: torch.device
) -> dict[str, Any]:
    """Steps, gradients, seconds and memory of a run. Takes a few steps in a folder that is thrown away."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        trainer = PreTrainer(create_pretrain_run(folder, config, interactions), interactions, device=device, show=False)
        batches = trainer.batches(1)
        trainer.step.take(next(batches))
        began, taken = time.perf_counter(), 0
        for batch in islice(batches, 8):
            taken += trainer.step.take(batch).gradients
        seconds = (time.perf_counter() - began) / max(taken, 1)
    lengths = trainer.data.prefixes.lengths()
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.named.values()),
        "prefixes": len(lengths),
        "tokens_an_epoch": int(lengths.sum()),
        "steps_an_epoch": trainer.steps_an_epoch,
        "gradients": trainer.step.gradients_in(trainer.steps_an_epoch * config.epochs),
        "seconds_an_epoch": round(trainer.step.gradients_in(trainer.steps_an_epoch) * seconds, 2),
        "dry_run_peak_memory_mib": round(peak_memory_mib()),
    }
