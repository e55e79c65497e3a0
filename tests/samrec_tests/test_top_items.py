"""The best items against a full sort in Python, ties by id, whatever the chunk."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samrec_tests.tiny_models import SumOfItems, scores_in_a_loop, some_model

from samrec.errors import ConfigError, DataError, NonFiniteScores
from samrec.evaluation.top_items import top_items


def flat(histories):
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    return np.array([item for history in histories for item in history], dtype=np.int64), offsets


def best_by_sorting(model, history, k, keep_seen):
    scores = scores_in_a_loop(model, history)
    allowed = [item for item in range(1, len(scores) + 1) if keep_seen or item not in history]
    ordered = sorted(allowed, key=lambda item: (-scores[item - 1], item))[:k]
    missing = min(k, len(scores)) - len(ordered)
    return ordered + [0] * missing, [scores[item - 1] for item in ordered] + [-np.inf] * missing


def gathered(model, histories, item_count, k, **options):
    pieces = list(top_items(model, flat(histories), flat(histories), item_count, k, **options))
    assert [piece.start for piece in pieces] == np.cumsum([0, *(len(piece.items) for piece in pieces)])[:-1].tolist()
    return np.concatenate([piece.items for piece in pieces]), np.concatenate([piece.scores for piece in pieces])


histories = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=9), min_size=1, max_size=7)


@settings(max_examples=150)
@given(histories, st.integers(0, 99), st.integers(1, 15), st.booleans(), st.integers(1, 8))
def test_the_best_items_are_those_of_a_full_sort(rows, seed, k, keep_seen, chunk):
    model = some_model(12, seed=seed, high=1)
    items, scores = gathered(model, rows, 12, k, keep_seen=keep_seen, chunk=chunk)
    expected = [best_by_sorting(model, row, k, keep_seen) for row in rows]
    assert items.tolist() == [items for items, _ in expected]
    assert scores.tolist() == [scores for _, scores in expected]


@pytest.mark.parametrize("chunk", [1, 3, 64, 1000])
def test_twins_go_by_id_and_nothing_depends_on_the_chunk(chunk):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(601, 64, generator=generator)
    table[301:601] = table[1:301].flip(0)  # every item has a twin of another id
    model = SumOfItems(table)
    rows = [np.random.default_rng(user).integers(1, 601, 5).tolist() for user in range(150)]
    items, scores = gathered(model, rows, 600, 20, keep_seen=True, chunk=chunk)
    whole, exact = gathered(model, rows, 600, 20, keep_seen=True, chunk=150)
    np.testing.assert_array_equal(items, whole)
    np.testing.assert_array_equal(scores, exact)
    assert (items[:, 0::2] + items[:, 1::2] == 601).all()
    assert (items[:, 0::2] < items[:, 1::2]).all()
    assert (scores[:, 0::2] == scores[:, 1::2]).all()


@pytest.mark.parametrize("chunk", [1, 37, 150])
def test_copies_of_one_vector_go_by_id_though_the_product_rounds_its_columns_differently(chunk):
    table = torch.randn(1, 61, generator=torch.Generator().manual_seed(0)).repeat(602, 1)  # 61: no kernel's own width
    vectors = torch.randn(602, 61, generator=torch.Generator().manual_seed(1))
    model = SumOfItems(table)
    model.encode = lambda items, _: vectors[torch.from_numpy(items)]
    rows = [[user] for user in range(1, 151)]
    items, _ = gathered(model, rows, 601, 1, keep_seen=True, chunk=chunk)
    assert items.tolist() == [[1]] * 150


def test_a_model_that_scores_everything_equally_recommends_the_lowest_ids():
    model = SumOfItems(np.zeros((201, 4)))
    items, _ = gathered(model, [[2, 3], [9]], 200, 5)
    assert items.tolist() == [[1, 4, 5, 6, 7], [1, 2, 3, 4, 5]]


def test_the_model_is_left_in_its_mode_and_the_caller_with_gradients():
    model = some_model(12)
    for _ in top_items(model, flat([[1], [2]]), flat([[1], [2]]), 12, 3, chunk=1):
        assert model.training
        assert torch.is_grad_enabled()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_candidate_without_a_finite_score_is_refused_and_a_seen_item_is_none(value):
    model = some_model(12)
    model.item_embedding.weight[5] = value
    with pytest.raises(NonFiniteScores, match="for item 5 of user row 1"):
        list(top_items(model, flat([[1], [2]]), flat([[5], [2]]), 12, 3, chunk=1))
    only_seen = list(top_items(model, flat([[1], [2]]), flat([[5], [5]]), 12, 12))
    assert 5 not in only_seen[0].items


def test_misuse_is_named():
    model = some_model(12)
    with pytest.raises(ConfigError, match="at least 1 item"):
        list(top_items(model, flat([[1]]), flat([[1]]), 12, 0))
    with pytest.raises(DataError, match="for each of 1 sequences, got 2"):
        list(top_items(model, flat([[1]]), flat([[1], [2]]), 12, 3))
    with pytest.raises(DataError, match="between 1 and 12, got 13"):
        list(top_items(model, flat([[1]]), flat([[13]]), 12, 3))
