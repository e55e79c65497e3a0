"""Ranks against sorting, ties, masks, refused NaN, and independence of the chunks."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samrec.errors import DataError, NonFiniteScores
from samrec.evaluation.ranking import full_ranks, rank_targets, targets_already_seen


def ranks_by_sorting(vectors, table, targets, histories, item_count, keep_seen):
    """One user at a time, one sorted list each."""
    ranks = []
    for vector, target, history in zip(vectors.double(), targets, histories, strict=True):
        scores = {item: float(vector @ table[item].double()) for item in range(1, item_count + 1)}
        if not keep_seen:
            if target in history:
                ranks.append(np.inf)
                continue
            scores = {item: score for item, score in scores.items() if item not in history}
        ordered = sorted(scores.values(), reverse=True)
        places = [place for place, score in enumerate(ordered, start=1) if score == scores[target]]
        ranks.append(np.mean(places))  # the mean place of its ties is 1 + greater + half the others
    return np.array(ranks)


def flat(histories):
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    return np.array([item for history in histories for item in history], dtype=np.int64), offsets


@st.composite
def ranking_problems(draw):
    """Small whole numbers, so that products are exact and ties common."""
    item_count, users = draw(st.integers(1, 12)), draw(st.integers(1, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = torch.from_numpy(random.integers(-2, 3, size=(users, 3))).float()
    table = torch.from_numpy(random.integers(-2, 3, size=(item_count + 2, 3))).float()
    targets = random.integers(1, item_count + 1, users)
    histories = [random.integers(1, item_count + 1, random.integers(0, 6)).tolist() for _ in range(users)]
    return vectors, table, targets, histories, item_count


@settings(max_examples=150, deadline=None)
@given(ranking_problems(), st.booleans(), st.integers(1, 9))
def test_ranks_are_those_of_sorting(problem, keep_seen, chunk):
    vectors, table, targets, histories, item_count = problem
    expected = ranks_by_sorting(vectors, table, targets, histories, item_count, keep_seen)
    ranks = rank_targets(vectors, table, targets, *flat(histories), item_count, keep_seen=keep_seen, chunk=chunk)
    np.testing.assert_array_equal(ranks, expected)


def random_problem(users=150, item_count=900, size=16, seed=0):
    random = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(users, size, generator=generator)
    table = torch.randn(item_count + 2, size, generator=generator)
    targets = random.integers(1, item_count + 1, users)
    histories = [random.integers(1, item_count + 1, random.integers(1, 9)).tolist() for _ in range(users)]
    return vectors, table, targets, histories, item_count


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_ranks_do_not_depend_on_the_chunk(chunk):
    vectors, table, targets, histories, item_count = random_problem()
    whole = rank_targets(vectors, table, targets, *flat(histories), item_count, chunk=150)
    pieces = rank_targets(vectors, table, targets, *flat(histories), item_count, chunk=chunk)
    np.testing.assert_array_equal(pieces, whole)
    np.testing.assert_array_equal(
        whole, ranks_by_sorting(vectors, table, targets, histories, item_count, keep_seen=False)
    )


@pytest.mark.parametrize("chunk", [1, 3, 150])
def test_identical_items_tie_however_the_product_is_blocked(chunk):
    vectors, table, targets, _, item_count = random_problem(size=64)
    table[451:901] = table[1:451].flip(0)  # every item has a twin
    ranks = rank_targets(vectors, table, targets, *flat([[]] * len(targets)), item_count, keep_seen=True, chunk=chunk)
    assert (ranks % 1 == 0.5).all()


def test_a_model_that_scores_everything_equally_ranks_in_the_middle():
    ranks = rank_targets(torch.zeros(1, 4), torch.ones(11, 4), np.array([3]), *flat([[]]), 9)
    assert ranks.tolist() == [5.0]


def test_padding_and_mask_id_are_no_candidates_even_when_not_finite():
    table = torch.tensor([[torch.nan], [1.0], [3.0], [2.0], [torch.inf]])
    ranks = rank_targets(torch.ones(1, 1), table, np.array([3]), *flat([[]]), 3)
    assert ranks.tolist() == [2.0]


def test_a_target_already_seen_cannot_be_hit_unless_seen_items_are_kept():
    table = torch.tensor([[0.0], [3.0], [2.0], [1.0], [0.0]])
    problem = (torch.ones(2, 1), table, np.array([2, 3]), *flat([[1, 2], [1]]), 3)
    assert rank_targets(*problem).tolist() == [np.inf, 2.0]
    assert rank_targets(*problem, keep_seen=True).tolist() == [2.0, 3.0]
    assert targets_already_seen(*problem[2:5]).tolist() == [True, False]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["candidate", "target", "user"])
def test_a_score_that_is_not_finite_is_refused(value, where):
    vectors, table, targets, histories, item_count = random_problem(users=5, item_count=20)
    histories = [[] for _ in histories]
    targets[:] = 3
    if where == "user":
        vectors[4] = value
    else:
        table[3 if where == "target" else 17] = value
    with pytest.raises(NonFiniteScores, match="expected finite scores"):
        rank_targets(vectors, table, targets, *flat(histories), item_count, chunk=2)


def test_a_seen_item_that_is_not_finite_is_no_candidate():
    table = torch.tensor([[0.0], [torch.nan], [2.0], [1.0], [0.0]])
    problem = (torch.ones(1, 1), table, np.array([3]), *flat([[1]]), 3)
    assert rank_targets(*problem).tolist() == [2.0]
    with pytest.raises(NonFiniteScores, match="for item 1"):
        rank_targets(*problem, keep_seen=True)


@pytest.mark.parametrize(
    ("targets", "histories", "expected"),
    [
        ([0], [[]], "targets between 1 and 3"),
        ([4], [[]], "targets"),
        ([1], [[4]], "seen items"),
        ([1], [[], []], "of 1 users, got 1 and 2"),
    ],
)
def test_ids_and_lengths_that_do_not_fit_are_refused(targets, histories, expected):
    with pytest.raises(DataError, match=expected):
        rank_targets(torch.ones(1, 1), torch.ones(5, 1), np.array(targets), *flat(histories), 3)


class MeanOfItems(torch.nn.Module):
    """A user is the mean of the items in the history, with dropout that must be off."""

    max_length = 50

    def __init__(self, item_count, size):
        super().__init__()
        self.item_embedding = torch.nn.Embedding(item_count + 2, size)
        self.dropout = torch.nn.Dropout(0.5)

    def encode(self, items, offsets):
        vectors = [self.item_embedding(torch.from_numpy(items[a:b])).mean(0) for a, b in itertools.pairwise(offsets)]
        return self.dropout(torch.stack(vectors))


def test_a_model_is_ranked_with_dropout_off_and_left_in_its_mode():
    _, _, targets, histories, item_count = random_problem(users=40, item_count=60)
    torch.manual_seed(0)
    model = MeanOfItems(item_count, 8)
    items, offsets = flat(histories)
    sequences = SimpleNamespace(items=items, offsets=offsets, targets=targets)

    ranks = full_ranks(model, sequences, (items, offsets), item_count, chunk=16)

    assert model.training
    table = model.item_embedding.weight.detach()
    vectors = model.eval().encode(items, offsets).detach()
    np.testing.assert_array_equal(
        ranks, ranks_by_sorting(vectors, table, targets, histories, item_count, keep_seen=False)
    )
