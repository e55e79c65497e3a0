"""Coverage, Gini and popularity against counting in loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samrec_tests.tiny_models import scores_in_a_loop, some_model, some_parts

from samrec.errors import ConfigError
from samrec.evaluation.beyond_accuracy import beyond_accuracy, gini


def lists_in_a_loop(model, parts, k, keep_seen):
    lists = []
    for user in range(parts.interactions.users):
        history = parts.interactions.sequence(user)[:-1].tolist()
        scores = scores_in_a_loop(model, history)
        allowed = [item for item in range(1, len(scores) + 1) if keep_seen or item not in history]
        lists.append(sorted(allowed, key=lambda item: (-scores[item - 1], item))[:k])
    return lists


@pytest.mark.parametrize("keep_seen", [False, True])
@pytest.mark.parametrize("k", [1, 5, 25, 30])
def test_all_of_it_is_what_counting_gives(k, keep_seen):
    parts = some_parts(repeats=True, max_length=5)
    model = some_model(30, max_length=5)
    found = beyond_accuracy(model, parts, k=k, keep_seen=keep_seen, chunk=7)

    lists = lists_in_a_loop(model, parts, k, keep_seen)
    histories = [parts.interactions.sequence(user)[:-1].tolist() for user in range(parts.interactions.users)]
    training = [item for user in range(parts.interactions.users) for item in parts.interactions.sequence(user)[:-2]]
    flat = [item for items in lists for item in items]
    of_lists = np.array([np.mean([training.count(item) for item in items]) for items in lists])
    of_histories = np.array([np.mean([training.count(item) for item in items]) for items in histories])

    assert found.recommended_items == len(set(flat))
    assert found.coverage == len(set(flat)) / 30
    assert found.gini == pytest.approx(gini_in_a_loop([flat.count(item) for item in range(1, 31)]))
    assert found.popularity == pytest.approx(of_lists.mean())
    assert found.popularity_standard_error == pytest.approx(of_lists.std(ddof=1) / np.sqrt(len(lists)))
    assert found.history_popularity == pytest.approx(of_histories.mean())
    assert found.history_popularity_standard_error == pytest.approx(of_histories.std(ddof=1) / np.sqrt(len(lists)))
    ratio = of_lists.mean() / of_histories.mean()
    residuals = (of_lists - ratio * of_histories) / of_histories.mean()
    assert found.popularity_lift == pytest.approx(ratio - 1)
    assert found.popularity_lift_standard_error == pytest.approx(residuals.std(ddof=1) / np.sqrt(len(lists)))


@pytest.mark.parametrize("chunk", [1, 3, 40, 1000])
def test_nothing_depends_on_the_chunk(chunk):
    parts, model = some_parts(), some_model(30)
    pieces, whole = beyond_accuracy(model, parts, chunk=chunk), beyond_accuracy(model, parts)
    for name in whole.__slots__:
        assert getattr(pieces, name) == pytest.approx(getattr(whole, name), rel=1e-12), name


def gini_in_a_loop(counts):
    differences = [abs(a - b) for a in counts for b in counts]
    return np.mean(differences) / (2 * np.mean(counts))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20).filter(any))
def test_gini_is_half_the_relative_mean_difference(counts):
    assert gini(np.array(counts)) == pytest.approx(gini_in_a_loop(counts), abs=1e-12)


def test_gini_is_0_where_all_get_the_same_and_nears_1_where_one_gets_all():
    assert gini(np.full(9, 4)) == 0
    assert gini(np.array([0] * 99 + [7])) == pytest.approx(0.99)
    with pytest.raises(ConfigError, match="one above 0"):
        gini(np.zeros(3, dtype=int))
