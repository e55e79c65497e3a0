"""S3-Rec's first stage: epochs over all prefixes, the four losses in the history, an exact resume.

Everything random is a function of (seed, stream, epoch): the order of prefixes, masks and negatives, segments, dropout.
A run killed at any moment and resumed therefore equals an unbroken one bit for bit, on the CPU with one thread count.
Nothing is validated on the way, as in the S3-Rec code: the last weights are the result.
"""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from landscape.memory import peak_memory_mib
from landscape.progress import progress
from samrec.data.interactions import Interactions
from samrec.data.pretraining import PretrainBatch, PretrainData
from samrec.data.split import training_sequences
from samrec.errors import Diverged
from samrec.models.dropout import Dropout
from samrec.models.s3rec import OF_ATTRIBUTES, OF_MASKED, S3Rec
from samrec.optim.sam import SAM, Ascent, Reduce
from samrec.pretrain_config import PretrainConfig
from samrec.training.checkpoint import Position, State, check_same, load_weights
from samrec.training.draws import rows_trained_on
from samrec.training.failed_epoch import FailedEpoch
from samrec.training.files import clear_asides, held_for_writing
from samrec.training.moments import load_moments
from samrec.training.pretrain_run import PretrainRun, create_pretrain_run
from samrec.training.pretrain_step import PretrainStep
from samrec.training.step import identity
from samrec.training.streams import numpy_generator, torch_generator, torch_seed

DIVERGED_AT = 2.0  # times the loss of equal scores, as in training
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # Adam's state of a parameter


class PreTrainer:
    """Pre-trains one run; `pretrain` is the way in for those who want no hold on it."""

    def __init__(
        self,
        run: PretrainRun,
        interactions: Interactions,
        *,
        device: torch.device | None = None,
        reduce: Reduce = identity,
        show: bool = True,
    ) -> None:
        self.run = run
        self.config = config = run.config
        self.device = device or torch.device("cpu")
        self.show = show
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
        self.model = build_pretrain_model(config, interactions, torch_generator(config.seed, "weights", 0))
        self.model.to(self.device).train()
        self.named = dict(self.model.named_parameters())
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate, fused=True)
        self.dropout_generator = torch.Generator(self.device)
        self.step = PretrainStep(
            self.model,
            config.weights,
            self.optimizer,
            Dropout(config.dropout, self.dropout_generator) if config.dropout else None,
            sam=SAM(self.named, self.optimizer, rho=config.rho, group=config.sam_group) if config.sam else None,
            replay=config.sam_dropout == "replayed",
            reduce=reduce,
        )
        self.position = self._resume()

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return -(-len(self.data.prefixes) // self.config.batch_size)

    def fit(self) -> PretrainRun:
        """Train to the last epoch. Raises Diverged after the record was kept."""
        with progress(self.run.name, total=self.config.epochs * self.steps, show=self.show) as advance:
            if self.position.epoch:
                advance(self.position.epoch * self.steps)
            while self.position.epoch < self.config.epochs:
                try:
                    entry = self.epoch(lambda: advance(1))
                except Diverged as error:
                    self._finish("diverged", str(error), self.taken)
                    raise Diverged(
                        f"diverged in epoch {self.position.epoch + 1}: {error}; kept in {self.run.path}"
                    ) from None
                advance(0, **{name: f"{loss:.4f}" for name, loss in entry["losses"].items()})
        self._finish("cap")
        return self.run

    def epoch(self, after_step: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """One pass over all prefixes; returns the line of history it leaves."""
        began = time.perf_counter()
        number = self.position.epoch + 1
        self.taken = FailedEpoch(number)
        self.dropout_generator.manual_seed(torch_seed(self.config.seed, "dropout", number))
        sums = dict.fromkeys(self.config.weights, 0.0)
        counts = dict.fromkeys(self.config.weights, 0)
        ascents = []
        for step, batch in enumerate(self.batches(number), start=1):
            try:
                ascent, losses = self.step.take(batch)
            except Diverged as error:
                raise Diverged(f"step {step}: {error}") from None
            ascents.append(ascent)
            size = batch.prefixes
            self.taken.add(ascent, ascent.loss / size, ascent.sharpness / size, size, gradients=self.step.gradients)
            for name, loss in losses.items():
                sums[name] += loss
                counts[name] += batch.counts[name]
            after_step()
        self._check(ascents, counts)
        self.position = Position(
            epoch=number,
            gradients=self.position.gradients + self.step.gradients * len(ascents),
            seconds=self.position.seconds + time.perf_counter() - began,
        )
        entry = {
            "epoch": number,
            "loss": sum(ascent.loss for ascent in ascents) / len(self.data.prefixes),
            "losses": {name: sums[name] / max(counts[name], 1) for name in sums},
            "weight_norm": self._weight_norm(),
            "gradients": self.position.gradients,
            "seconds": self.position.seconds,
            **self._sam_entry(ascents),
        }
        self.run.append_history(entry)
        self.run.save_state(State(self.position, self.model.state_dict(), self._moments()))
        return entry

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

    def _check(self, ascents: list[Ascent], counts: dict[str, int]) -> None:
        """Raise Diverged after an epoch that has learnt less than nothing: equal scores give log 2 a term."""
        terms = {name: self.model.attribute_embedding.num_embeddings for name in OF_ATTRIBUTES if name in counts}
        weights = self.config.weights
        chance = sum(weights[name] * counts[name] * terms.get(name, 1) for name in counts) * math.log(2)
        descended = sum(ascent.loss + ascent.sharpness for ascent in ascents)
        if descended > DIVERGED_AT * chance:
            where = "a loss" if self.step.sam is None else "a loss at the perturbed weights"
            raise Diverged(
                f"expected {where} below {DIVERGED_AT:g} times that of equal scores, {chance:.3g}, got {descended:.3g}"
            )

    def _weight_norm(self) -> float:
        """Of what fine-tuning takes: the trunk with its tables."""
        trunk = [
            w.detach() for name, w in self.named.items() if not name.startswith(("heads.", "attribute_embedding."))
        ]
        return float(torch.stack(torch._foreach_norm(trunk)).double().norm())

    def _sam_entry(self, ascents: list[Ascent]) -> dict[str, Any]:
        if self.step.sam is None:
            return {}
        blocks = sorted({block for ascent in ascents for block in ascent.shares})
        return {
            "sharpness": sum(ascent.sharpness for ascent in ascents) / len(self.data.prefixes),
            "gradient_norm": float(np.mean([ascent.norm for ascent in ascents])),
            "shares": {block: float(np.mean([a.shares.get(block, 0.0) for a in ascents])) for block in blocks},
        }

    def _moments(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": value
            for name, parameter in self.named.items()
            for key, value in self.optimizer.state[parameter].items()
        }

    def _resume(self) -> Position:
        clear_asides(self.run.path)
        state = self.run.state()
        self.run.cut_history(state.position.epoch)
        self.run.begin_state()
        if not state.weights:
            return state.position
        path = self.run.path / "state.safetensors"
        load_weights(self.model, state.weights, path)
        moved = {key.rpartition("/")[0] for key in state.moments}  # others never had a gradient: SP's of single items
        with_moments = {name: parameter for name, parameter in self.named.items() if not moved or name in moved}
        load_moments(self.optimizer, with_moments, MOMENTS, state.moments, called="Adam", path=path)
        return state.position

    def _finish(self, reason: str, message: str = "", failed: FailedEpoch | None = None) -> None:
        self.run.update(
            status="diverged" if reason == "diverged" else "finished",
            stopped=reason,
            message=message,
            failed_epoch=failed.record() if failed else None,
            cost={
                "epochs": self.position.epoch,
                "gradients": self.position.gradients + (failed.gradients if failed else 0),
                "seconds": round(self.position.seconds + (failed.seconds if failed else 0), 3),
                "threads": torch.get_num_threads(),
            },
        )


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

    Raises:
        DataError: no item attributes, or a single user.
        RunError: there is a run already and `resume` is off, or the run there has another configuration or other data.
        StoreLocked: another process is at work in the folder.
        Diverged: the run left the finite numbers; its record is kept.
    """
    path = Path(out)
    with held_for_writing(path):
        new = not (resume and (path / "run.json").exists())
        run = create_pretrain_run(path, config, interactions) if new else PretrainRun(path)
        if not new:
            run.check_data(interactions)
            run.check_attributes(interactions)
            check_same(run, run.config.model_dump(exclude={"data"}), config.model_dump(exclude={"data"}))
            if run.record["status"] == "finished":
                run.check_finished()
                model = build_pretrain_model(config, interactions)
                load_weights(model, run.state().weights, path / "state.safetensors")
                return run
        if on_start:
            on_start(run)
        try:
            trainer = PreTrainer(run, interactions, device=device, show=show)
        except Exception:  # no attributes, a model too large: nothing was trained
            if new:
                run.discard()
            raise
        return trainer.fit()


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
        for batch in batches:
            trainer.step.take(batch)
            taken += 1
            if taken == 8:
                break
        seconds = (time.perf_counter() - began) / max(taken, 1)
    lengths = trainer.data.prefixes.lengths()
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.named.values()),
        "prefixes": len(lengths),
        "tokens_an_epoch": int(lengths.sum()),
        "steps_an_epoch": trainer.steps,
        "gradients": trainer.steps * trainer.step.gradients * config.epochs,
        "seconds_an_epoch": round(trainer.steps * seconds, 2),
        "dry_run_peak_memory_mib": round(peak_memory_mib()),
    }
