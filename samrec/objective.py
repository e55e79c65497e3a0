"""The frozen objective of a recommender: the loss of fixed users as a function of the weights alone.

`load` opens a run folder for `landscape` (its loader is the target `samrec:RUN`); `SequenceObjective` is the same for
any live model and interactions. It is the loss of recommending: of a CL4SRec run without the contrast, which
ties users to the batch they are in. A unit is a user. Negatives are drawn once from a seed; dropout is off; L2 terms
are no part of it. `user_chunks` lays the users out.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from landscape.devices import choose_device
from landscape.errors import NonFiniteLoss
from landscape.objective import Recipe
from landscape.parameters import Layout, Params
from samrec.config import OWN_OPTIONS, loss_facts
from samrec.data.holdout import LEAVE_ONE_OUT, Holdout, part_name
from samrec.data.interactions import Interactions
from samrec.data.split import evaluation_sequences, seen_items
from samrec.errors import ConfigError, NonFiniteScores
from samrec.evaluation.metrics import averaged_by_owner, metric_name, per_user
from samrec.evaluation.ranking import full_ranks
from samrec.kept_weights import kept_path as kept_path
from samrec.kept_weights import load_weights as load_weights
from samrec.kept_weights import parse_where as parse_where
from samrec.models.losses import loss_named
from samrec.models.sasrec import SASRec, gathered
from samrec.models.second_order.sasrec import HandWritten
from samrec.models.without_graph import can_score, scores_without_graph
from samrec.row_groups import BLOCKS, row_groups
from samrec.training.checkpoint import Run
from samrec.user_chunks import TOKENS, UserChunk, user_chunks

Integers = NDArray[np.int64]


class SequenceObjective:
    """The loss of users' sequences, frozen, and full ranking as its metrics; an `Objective` of `landscape`."""

    def __init__(
        self,
        model: SASRec,
        interactions: Interactions,
        *,
        users: int | None = None,
        loss: str = "bce",
        negative_count: int | None = None,
        gbce_t: float | None = None,
        seed: int = 0,
        split: str = "train",
        metrics_split: str | None = None,
        negatives: str = "training",
        tokens: int = TOKENS,
        device: torch.device | str = "cpu",
        recipe: Recipe | None = None,
        holdout: Holdout = LEAVE_ONE_OUT,
    ) -> None:
        """Fix the data and draw the negatives.

        Args:
            model: its weights are copied; it is not changed, and dropout takes no part whatever mode it is in.
            interactions: the data.
            users: a random subset of so many users, drawn from `seed`; all by default.
            loss: "bce", "gbce" or "sampled-softmax" with negatives drawn once from `seed`, or "ce" over all items.
            negative_count: negatives of each target; the loss's own number by default, see `loss_named`.
            gbce_t: gBCE's calibration.
            seed: of the subset and of the negatives. Which negatives a user gets does not depend on `users`.
            split: "train": every target of the training sequences; "validation", "test": the one target held out.
            metrics_split: where `metrics` ranks; the split itself, or "test" for "train".
            negatives: the rule of `NegativeSampler`.
            tokens: about how many tokens a chunk has; no result depends on it.
            device: where weights and data live.
            recipe: how a worker builds the same objective; without one there are no workers.
            holdout: which interactions are held out.
        """
        self.device = torch.device(device)
        self.interactions = interactions
        self.holdout = holdout
        self.recipe = recipe or Recipe(None, {})
        self._model = copy.deepcopy(model).to(self.device).eval().requires_grad_(False)
        self.weights: Params = {name: weight.detach().clone() for name, weight in self._model.named_parameters()}
        self._loss = loss_named(loss, item_count=interactions.item_count, negative_count=negative_count, gbce_t=gbce_t)
        self.own_derivatives = HandWritten.of(self._model, self._loss)
        self.users, self._packed = user_chunks(
            interactions,
            split,
            max_length=model.max_length,
            size=model.size,
            users=users,
            seed=seed,
            negative_count=self._loss.negatives,
            negatives=negatives,
            tokens=tokens,
            device=self.device,
            holdout=holdout,
        )
        self.chunks = self._packed(self.users)
        self._metrics_split = metrics_split or ("test" if split == "train" else split)
        if self._metrics_split not in ("validation", "test"):
            raise ConfigError(f"expected metrics on validation or test, got {metrics_split!r}")
        shapes = {name: weight.shape for name, weight in self.weights.items()}
        self.layout = Layout(
            shapes,
            {"item_embedding.weight": torch.tensor([0])},
            row_groups(interactions, self.chunks, max_length=model.max_length, holdout=holdout),
            BLOCKS,
        )
        self.about: dict[str, Any] = {}  # of the checkpoint, where it comes from a run
        self.facts: dict[str, Any] = {
            "data": interactions.fingerprint,
            "data_name": interactions.name,
            "loss": loss,
            "negatives": negatives if self._loss.negatives else None,
            **loss_facts(loss, negative_count=negative_count, gbce_t=gbce_t),
            "split": part_name(holdout, split),
            "metrics_split": self._metrics_split,
            "users": len(self.users),
            "targets": int(sum(len(chunk.targets) for chunk in self.chunks)),
            "seed": seed,
        }

    def outputs(self, params: Params, chunk: UserChunk, *, differentiable_twice: bool = False) -> Tensor:
        """Scores at every target: (T, candidates), or (T, items) where every item is scored.

        The scores themselves, whatever the loss: it can then be differentiated twice, and its own curvature in them is
        known. Memory is bounded by the chunks. `differentiable_twice` bars the attention kernel that is not.
        """
        if not differentiable_twice and can_score(self._model, params):
            return scores_without_graph(self._model, params, chunk.batch, chunk.candidates)
        fused = not differentiable_twice
        return cast(
            Tensor, functional_call(self._model, dict(params), (chunk.batch, chunk.candidates), {"fused": fused})
        )

    def loss(self, z: Tensor, chunk: UserChunk) -> Float[Tensor, " units"]:
        """Each user's summed loss, added up in float64."""
        at_tokens = self._loss.at_tokens(z, chunk.targets, chunk.drawable).double()
        return torch.zeros_like(chunk.counts).index_add(0, chunk.batch.sequence, at_tokens)

    def chunks_of(self, units: Int[Tensor, " kept"]) -> list[UserChunk]:
        """These units alone, packed anew: their numbers are those of the chunks, in order; negatives stay theirs."""
        users = np.concatenate([chunk.users for chunk in self.chunks])[units.cpu().numpy()]
        return self._packed(users)

    def metrics(self, params: Params, names: Sequence[str]) -> dict[str, Float[Tensor, " units"]]:
        """Metrics such as "ndcg@10" of the same users, by full ranking with seen items masked."""
        for name in names:
            metric_name(name)
        try:
            ranks = self.ranks(params)
        except NonFiniteScores as error:  # said in the words of whoever measures
            raise NonFiniteLoss(str(error)) from None
        owners = self._held_out[0].users
        return {name: torch.from_numpy(averaged_by_owner(per_user(ranks, name), owners)) for name in names}

    def ranks(self, params: Params) -> NDArray[np.float64]:
        """The ranks of these users' held-out items: one each, in the order of `users`, but as the holdout has it.

        Under leave-last-N a user has up to N, under a time split possibly none. One ranking of these users.
        """
        self._model.load_state_dict(dict(params))
        sequences, seen = self._held_out
        return full_ranks(cast(Any, self._model), sequences, seen, self.interactions.item_count)

    @cached_property
    def _held_out(self) -> tuple["_HeldOut", tuple[Integers, Integers]]:
        sequences = evaluation_sequences(
            self.interactions,
            cast(Any, self._metrics_split),
            max_length=self._model.max_length,
            holdout=self.holdout,
        )
        seen = seen_items(self.interactions, cast(Any, self._metrics_split), holdout=self.holdout)
        rows = np.flatnonzero(np.isin(sequences.users, self.users))
        if not len(rows):
            raise ConfigError(f"expected a user with a target in {self._metrics_split}, got none among those chosen")
        kept = gathered(sequences.items, sequences.offsets, rows)
        chosen = _HeldOut(*kept, sequences.targets[rows], sequences.users[rows])
        return chosen, gathered(seen[0], seen[1], rows)


def load(
    where: str,
    *,
    users: int | None = None,
    loss: str | None = None,
    negative_count: int | None = None,
    gbce_t: float | None = None,
    seed: int = 0,
    split: str = "train",
    device: str = "auto",
    data: str | None = None,
    metrics_split: str | None = None,
    tokens: int = TOKENS,
) -> SequenceObjective:
    """Open a run folder, such as `runs/x` (its best weights), `runs/x@last` or `runs/x@epoch-40`.

    Args:
        where: the folder, with `@best`, `@last` or `@epoch-N` if wanted.
        users: see `SequenceObjective`, as for all that is not said here.
        loss: by default the one it was trained with, with its number of negatives; they follow the "training" rule
            whatever the run's own, so that any two runs are measured on the same ones.
        negative_count: negatives of each target; where a loss is named, that loss's own number by default.
        gbce_t: gBCE's calibration, by the same rule.
        seed: of the subset of users and of the negatives.
        split: whose targets the loss is of.
        device: "auto" is CUDA where there is one.
        data: the interactions by name or path, where they are no longer where the run found them.
        metrics_split: where metrics rank.
        tokens: a chunk.

    Raises:
        RunError: no run there, or of other data.
        DataError: the data cannot be found or read.
        CheckpointError: weights that do not fit.
    """
    folder, which = parse_where(where)
    run = Run(folder)
    source = data or run.config.data
    interactions = run.data(data)
    if Path(source).exists():
        source = str(Path(source).resolve())
    if loss is None:
        loss = run.config.loss
        negative_count = run.config.negative_count if negative_count is None else negative_count
        gbce_t = run.config.gbce_t if gbce_t is None else gbce_t
    settings: dict[str, Any] = {
        "users": users,
        "loss": loss,
        "seed": seed,
        "split": split,
        "device": device,
        "data": source,
        "metrics_split": metrics_split,
    }
    if tokens != TOKENS:
        settings["tokens"] = tokens
    given = {"negative_count": negative_count, "gbce_t": gbce_t}
    own = OWN_OPTIONS.get(loss, {})
    settings |= {name: value for name, value in given.items() if value is not None and value != own.get(name)}
    objective = SequenceObjective(
        run.load_model(which),
        interactions,
        users=users,
        loss=loss,
        negative_count=negative_count,
        gbce_t=gbce_t,
        seed=seed,
        split=split,
        metrics_split=metrics_split,
        tokens=tokens,
        device=choose_device(device),
        holdout=run.config.holdout,
        recipe=Recipe(f"samrec:{folder.resolve()}@{which}", settings),
    )
    objective.about = {"group": run.config.name, "rho": run.config.rho, "seed": run.config.seed}
    return objective


@dataclass(frozen=True, slots=True)
class _HeldOut:
    items: Integers
    offsets: Integers
    targets: Integers
    users: Integers
