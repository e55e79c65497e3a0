"""Sampled ranking against sorting a user's own candidates, one at a time."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samrec_tests.tiny_models import scores_in_a_loop, some_interactions, some_model, some_parts

from samrec.data.negatives import NegativeSampler
from samrec.errors import ConfigError, DataError, NonFiniteScores, ProtocolMismatch
from samrec.evaluation.evaluate import evaluate_model, ranks_of
from samrec.evaluation.paired import paired_users
from samrec.evaluation.protocol import ALL, Candidates, conditions_of, fingerprint
from samrec.evaluation.sampled_ranking import sampled_ranks
from samrec.models.sasrec import gathered


class Recording(NegativeSampler):
    """Remembers what was drawn."""

    drawn: list

    def draw_distinct(self, rng, users, size):
        self.drawn = super().draw_distinct(rng, users, size)
        return self.drawn


def ranked(model, parts, **options):
    sampler = Recording(parts.interactions, rule="s3rec")
    ranks = sampled_ranks(model, parts.sequences, parts.sequences.users, parts.seen, sampler, **options)
    return ranks, sampler.drawn


@settings(max_examples=60)
@given(st.integers(0, 999), st.integers(1, 15), st.booleans(), st.integers(1, 50))
def test_ranks_are_those_of_sorting_the_target_among_its_negatives(seed, size, keep_seen, chunk):
    parts = some_parts(seed=seed, repeats=True)
    model = some_model(30, seed=seed)
    ranks, drawn = ranked(model, parts, size=size, seed=seed, keep_seen=keep_seen, chunk=chunk)
    for user, (rank, negatives) in enumerate(zip(ranks, drawn, strict=True)):
        sequence = parts.interactions.sequence(user).tolist()
        assert len(set(negatives.tolist())) == size
        assert not set(negatives.tolist()) & set(sequence)
        scores = scores_in_a_loop(model, sequence[:-1])
        own = scores[sequence[-1] - 1]
        others = [scores[item - 1] for item in negatives]
        expected = 1 + sum(other > own for other in others) + sum(other == own for other in others) / 2
        assert rank == (np.inf if sequence[-1] in sequence[:-1] and not keep_seen else expected)


def test_two_models_of_one_seed_meet_the_same_negatives_and_another_seed_gives_others():
    parts = some_parts()
    first = ranked(some_model(30, seed=0), parts, size=9, seed=4)[1]
    np.testing.assert_array_equal(first, ranked(some_model(30, seed=1), parts, size=9, seed=4, chunk=7)[1])
    assert not np.array_equal(first, ranked(some_model(30, seed=0), parts, size=9, seed=5)[1])


def test_every_other_item_as_a_negative_is_full_ranking():
    parts = some_parts(users=30, longest=6)
    model = some_model(30)
    full = ranks_of(model, parts)  # of a sequence without repeats all but the target are masked
    sampler = NegativeSampler(parts.interactions, rule="s3rec")
    for length in np.unique(parts.interactions.lengths).tolist():
        users = np.flatnonzero(parts.interactions.lengths == length)
        items, offsets = gathered(parts.sequences.items, parts.sequences.offsets, users)
        sequences = SimpleNamespace(items=items, offsets=offsets, targets=parts.targets[users])
        ranks = sampled_ranks(model, sequences, users, gathered(*parts.seen, users), sampler, size=30 - length)
        np.testing.assert_array_equal(ranks, full[users])


def test_the_two_protocols_have_names_and_are_never_compared():
    model, interactions = some_model(30), some_interactions()
    full = evaluate_model(model, interactions)
    sampled = evaluate_model(model, interactions, candidates=Candidates(9))
    other_seed = evaluate_model(model, interactions, candidates=Candidates(9, seed=1))
    assert sampled.summary()["candidates"] == "9 sampled uniformly outside the user's sequence, seed 0"
    assert full.summary()["candidates"] == full.conditions["candidates"] == "all items"
    with pytest.raises(ProtocolMismatch, match=r"candidates \(all items and 9 sampled"):
        paired_users(full, sampled)
    with pytest.raises(ProtocolMismatch, match=r"seed 0 and 9 sampled .* seed 1"):
        paired_users(sampled, other_seed)


def test_the_fingerprint_of_full_ranking_is_what_kept_evaluations_have():
    conditions = {
        "data": "d",
        "split": "leave-one-out, test",
        "seen": "masked",
        "ties": "half of the others",
        "candidates": "all items",
    }
    made = conditions_of("d", "leave-one-out, test", keep_seen=False, candidates=ALL)
    assert fingerprint(made) == fingerprint(conditions)


def test_misuse_is_named():
    parts = some_parts()
    with pytest.raises(DataError, match="expected 25 items to draw for every user, got"):
        ranked(some_model(30), parts, size=25)
    with pytest.raises(DataError, match="rule s3rec"):
        sampled_ranks(
            some_model(30), parts.sequences, parts.sequences.users, parts.seen, NegativeSampler(parts.interactions)
        )
    with pytest.raises(ConfigError, match="at least 1 sampled"):
        Candidates(0)
    model = some_model(30)
    model.item_embedding.weight[:] = torch.nan
    with pytest.raises(NonFiniteScores, match="for the target of user row 0"):
        ranked(model, parts, size=5)
