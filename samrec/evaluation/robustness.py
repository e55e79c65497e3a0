"""Scores under histories that are not what the model was promised: noise in them, or only their newest items.

The targets, the candidates and the items left out stay those of the clean ranking; only what the model reads changes.
So every difference is paired, target by target, with the clean rank. Noise items are drawn uniformly outside the user's
whole sequence, each place of a history meets noise with the probability asked for, and a larger share adds to the
places of a smaller one (one draw for all shares), which makes the shares comparable.

    replace    the item at the place gives way to a noise item
    insert     a noise item comes after the place; what then exceeds the model's length falls off the old end
    truncate   only the newest n items are read
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from samrec.data.negatives import NegativeSampler
from samrec.errors import ConfigError
from samrec.evaluation.evaluate import ranks_of
from samrec.evaluation.held_out import HeldOut
from samrec.evaluation.metrics import METRICS, Score, averaged_by_owner, per_user, scores_of
from samrec.evaluation.protocol import ALL, Candidates, conditions_of, fingerprint
from samrec.evaluation.scoring import Encoder

How = Literal["replace", "insert"]
_STREAM = 23  # apart from what else is drawn from a seed


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the model reads instead, and what it must predict as before."""

    items: Int64[np.ndarray, " tokens"]
    offsets: Int64[np.ndarray, " rows"]
    targets: Int64[np.ndarray, " sequences"]


@dataclass(frozen=True, slots=True)
class Perturbed:
    """Scores under one perturbation, and how far they are from the clean ones."""

    kind: str  # "replace", "insert" or "truncate"
    amount: float  # share of noise, or items kept
    changed: float  # share of the inputs that are not the clean ones
    metrics: dict[str, float]
    differences: dict[str, float]  # perturbed - clean
    standard_errors: dict[str, float]  # of the differences, paired, over users
    ranks: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Robustness:
    """The clean scores and those under each perturbation, of the same targets in the same order."""

    protocol: str
    conditions: dict[str, str]
    users: NDArray[np.int64]
    metrics: dict[str, float]
    standard_errors: dict[str, float]
    ranks: NDArray[np.float64]
    perturbed: tuple[Perturbed, ...]


def robustness(
    model: Encoder,
    parts: HeldOut,
    *,
    noise: Sequence[float] = (),
    truncate: Sequence[int] = (),
    how: How = "replace",
    seed: int = 0,
    keep_seen: bool = False,
    candidates: Candidates = ALL,
    metrics: tuple[str, ...] = METRICS,
) -> Robustness:
    """Rank once on the clean histories and once for each share of noise and each length.

    Args:
        model: see `full_ranks`.
        parts: what is held out.
        noise: shares of noise, from 0 to 1.
        truncate: how many of the newest items are read.
        how: noise replaces items, or is inserted after them.
        seed: of the noise.
        keep_seen: rank items of the (clean) history too.
        candidates: what the targets are ranked among.
        metrics: which.

    Raises:
        ConfigError: nothing asked for, a share outside 0..1, a length below 1, or a length the model cannot read.
        NonFiniteScores: see `full_ranks`.
    """
    _check(noise, truncate, how, model.max_length)
    clean = ranks_of(model, parts, keep_seen=keep_seen, candidates=candidates, title="clean")
    owners = parts.sequences.users
    perturbed = []
    asked: list[tuple[str, float]] = [(how, share) for share in noise] + [("truncate", kept) for kept in truncate]
    asked = list(dict.fromkeys(asked))  # each once
    for kind, amount in asked:
        is_noise = kind != "truncate"
        inputs = noisy(parts, amount, how=how, seed=seed) if is_noise else truncated(parts, int(amount))
        ranks = ranks_of(
            model,
            parts,
            keep_seen=keep_seen,
            candidates=candidates,
            sequences=inputs,
            title=f"{kind} {amount:g}",
        )
        scores = scores_of(ranks, metrics, owners=owners)
        differences = {name: _paired(ranks, clean, name, owners) for name in metrics}
        perturbed.append(
            Perturbed(
                kind,
                amount,
                changed=float(_changed(parts, inputs).mean()),
                metrics={name: score.value for name, score in scores.items()},
                differences={name: score.value for name, score in differences.items()},
                standard_errors={name: score.standard_error for name, score in differences.items()},
                ranks=ranks,
            )
        )
    scores = scores_of(clean, metrics, owners=owners)
    conditions = conditions_of(parts.interactions.fingerprint, parts.name, keep_seen=keep_seen, candidates=candidates)
    return Robustness(
        protocol=fingerprint(conditions),
        conditions=conditions,
        users=parts.users,
        metrics={name: score.value for name, score in scores.items()},
        standard_errors={name: score.standard_error for name, score in scores.items()},
        ranks=clean,
        perturbed=tuple(perturbed),
    )


def _paired(ranks: np.ndarray, clean: np.ndarray, metric: str, owners: np.ndarray) -> Score:
    """The mean difference over users and its standard error."""
    values = averaged_by_owner(per_user(ranks, metric) - per_user(clean, metric), owners)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    return Score(float(values.mean()), error)


def noisy(parts: HeldOut, share: float, *, how: How = "replace", seed: int = 0) -> Inputs:
    """The inputs with noise at about this share of their places; no loop over users."""
    sequences = parts.sequences
    lengths = sequences.lengths
    owners = np.repeat(np.arange(len(lengths)), lengths)
    rng = np.random.default_rng([seed, _STREAM])
    met = rng.random(len(sequences.items)) < share
    sampler = NegativeSampler(parts.interactions, rule="s3rec")
    drawn = sampler.draw(rng, sequences.users[owners])[:, 0]  # for every place, so that shares share their noise
    if how == "replace":
        return Inputs(np.where(met, drawn, sequences.items), sequences.offsets, sequences.targets)
    after = np.flatnonzero(met) + 1
    items = np.insert(sequences.items, after, drawn[met])
    grown = lengths + np.bincount(owners[met], minlength=len(lengths))
    return _newest(items, grown, parts.max_length, sequences.targets)


def truncated(parts: HeldOut, newest: int) -> Inputs:
    """The newest items of each input alone."""
    sequences = parts.sequences
    return _newest(sequences.items, sequences.lengths, newest, sequences.targets)


def _newest(
    items: Int64[np.ndarray, " tokens"],
    lengths: Int64[np.ndarray, " sequences"],
    newest: int,
    targets: Int64[np.ndarray, " sequences"],
) -> Inputs:
    before_the_end = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(items))  # 1 for the newest
    kept = before_the_end <= newest
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(np.minimum(lengths, newest))))
    return Inputs(items[kept], offsets, targets)


def _changed(parts: HeldOut, inputs: Inputs) -> np.ndarray:
    """For each sequence, whether what is read is not what was."""
    clean = parts.sequences
    lengths = np.diff(inputs.offsets)
    changed: np.ndarray = lengths != clean.lengths
    same = np.flatnonzero(~changed)
    owners = np.repeat(np.arange(len(same)), lengths[same])
    within = np.arange(len(owners)) - np.repeat(np.cumsum(lengths[same]) - lengths[same], lengths[same])
    ours = inputs.items[inputs.offsets[same][owners] + within]
    theirs = clean.items[clean.offsets[same][owners] + within]
    changed[same[owners[ours != theirs]]] = True
    return changed


def _check(noise: Sequence[float], truncate: Sequence[int], how: str, max_length: int) -> None:
    if not noise and not truncate:
        raise ConfigError("expected shares of noise or numbers of items to keep, got neither")
    if how not in get_args(How):
        raise ConfigError(f"expected noise that replaces or inserts ({', '.join(get_args(How))}), got {how!r}")
    for share in noise:
        if not 0 <= share <= 1:
            raise ConfigError(f"expected a share of noise from 0 to 1, got {share:g}")
    for kept in truncate:
        if not 1 <= kept <= max_length:
            raise ConfigError(f"expected to keep 1 to {max_length} items, what the model reads, got {kept}")
