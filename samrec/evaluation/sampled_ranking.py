"""The rank of every target among a few sampled items: a protocol of its own, never to be mixed with full ranking.

Kang and McAuley (2018) and many after them rank against 99 or 100 sampled negatives, which is faster, gives scores
several times as high and can order two models the other way round (Krichene and Rendle 2020). Here the negatives of a
user are different items drawn uniformly outside the user's whole sequence, held-out items included; they depend on the
seed and on the order of the users alone, so two models of the same data and seed meet the same ones.
"""

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from samrec.data.negatives import NegativeSampler
from samrec.errors import DataError, NonFiniteScores
from samrec.evaluation.ranking import Ids, Offsets, targets_already_seen
from samrec.evaluation.scoring import (
    LARGEST_CHUNK,
    Advance,
    Encoder,
    EvaluationSequences,
    candidate_table,
    check_ids,
    evaluating,
    rounding,
    silently,
    spans,
    user_vectors,
)

CUSTOMARY = 99  # negatives
_STREAM = 17  # apart from what else is drawn from a seed


def sampled_ranks(
    model: Encoder,
    sequences: EvaluationSequences,
    users: Int[np.ndarray, " users"],
    seen: tuple[Ids, Offsets],
    sampler: NegativeSampler,
    *,
    size: int = CUSTOMARY,
    seed: int = 0,
    keep_seen: bool = False,
    chunk: int = LARGEST_CHUNK,
    advance: Advance = silently,
) -> Float64[np.ndarray, " users"]:
    """Rank every target among itself and `size` negatives; ties count half as in full ranking.

    Args:
        model: see `full_ranks`.
        sequences: inputs and targets.
        users: whose sequences they are, rows of the sampler's interactions.
        seen: the items before each target; one that was seen already cannot be hit unless `keep_seen`.
        sampler: of the rule "s3rec", which leaves out a user's whole sequence.
        size: negatives a target.
        seed: of the negatives.
        keep_seen: rank targets that were seen already.
        chunk: users scored at once; memory is about 8 bytes times this times the negatives times the vectors' size.
        advance: told how many users are done.

    Raises:
        NonFiniteScores: the score of a target or a negative is NaN or infinite.
        DataError: sequences that do not fit each other, or a user with fewer items left to draw.
    """
    count = len(sequences.targets)
    if not len(sequences.offsets) - 1 == len(users) == len(seen[1]) - 1 == count:
        raise DataError(f"expected {count:,} sequences, users and histories, one a target, got others")
    if sampler.rule != "s3rec":
        raise DataError(f"expected negatives outside the whole sequence (rule s3rec), got the rule {sampler.rule}")
    check_ids("targets", np.asarray(sequences.targets), sampler.item_count)
    rng = np.random.default_rng([seed, _STREAM])
    ranks = np.empty(count, dtype=np.float64)
    with evaluating(model):
        table = candidate_table(model.item_embedding.weight, sampler.item_count)
        for start, stop, vectors in user_vectors(model, sequences.items, sequences.offsets):
            negatives = sampler.draw_distinct(rng, users[start:stop], size)
            candidates = np.concatenate([np.asarray(sequences.targets)[start:stop, None], negatives], axis=1)
            for first, last in spans(stop - start, chunk):
                ranks[start + first : start + last] = _ranks_among(
                    vectors[first:last].to(table.device).double(), table, candidates[first:last], start + first
                )
                advance(last - first)
    if not keep_seen:
        ranks[targets_already_seen(sequences.targets, *seen)] = np.inf
    return ranks


def _ranks_among(vectors: Tensor, table: Tensor, candidates: np.ndarray, start: int) -> np.ndarray:
    """Ranks of the first candidate of each row."""
    rows = table[torch.from_numpy(candidates - 1).to(table.device)]
    scores = torch.bmm(rows, vectors[:, :, None]).squeeze(-1)
    finite = torch.isfinite(scores)
    if not bool(finite.all()):
        row, column = (~finite).nonzero()[0].tolist()
        what = "the target" if column == 0 else f"item {candidates[row, column]}"
        raise NonFiniteScores(
            f"expected finite scores, got {scores[row, column].item()} for {what} of user row {start + row}"
        )
    own = scores[:, :1]
    slack = rounding(table.shape[1]) * rows.norm(dim=2).amax(dim=1, keepdim=True) * vectors.norm(dim=1, keepdim=True)
    greater = (scores > own + slack).sum(dim=1)
    as_good = (scores >= own - slack).sum(dim=1)
    ranks: np.ndarray = (1 + greater + (as_good - greater - 1) / 2).double().cpu().numpy()
    return ranks
