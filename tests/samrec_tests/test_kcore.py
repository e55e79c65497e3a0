"""The k-core against dropping one at a time, and ids against counting along the file."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samrec.data.kcore import by_first_appearance, k_core
from samrec.errors import ConfigError

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=50)


def columns(rows):
    users, items = (np.array([row[side] for row in rows], dtype=np.uint32) for side in (0, 1))
    return users, items


def slow_core(rows, k):
    """Drop a single user or item that has too few, begin again, until there is none."""
    kept = list(enumerate(rows))
    while True:
        for side in (0, 1):
            names = [row[side] for _, row in kept]
            poor = next((name for name in names if names.count(name) < k), None)
            if poor is not None:
                kept = [(place, row) for place, row in kept if row[side] != poor]
                break
        else:
            return [place for place, _ in kept]


@given(pairs, st.integers(1, 5))
def test_the_core_does_not_depend_on_the_order_of_dropping(rows, k):
    assert k_core(*columns(rows), k).rows.tolist() == slow_core(rows, k)


@given(pairs, st.integers(1, 5))
def test_everything_in_the_core_has_k_and_the_core_of_the_core_is_itself(rows, k):
    users, items = columns(rows)
    core = k_core(users, items, k)
    for side in (users[core.rows], items[core.rows]):
        assert all(np.unique(side, return_counts=True)[1] >= k)
    again = k_core(users[core.rows], items[core.rows], k)
    assert (len(again.rows), again.rounds) == (len(core.rows), 0)


def test_a_chain_falls_apart_round_by_round():
    rows = [(user, item) for user in range(1, 8) for item in (user, user + 1)]  # each has two, but for the ends
    core = k_core(*columns(rows), 2)
    assert len(core.rows) == 0
    assert core.rounds > 3


def test_k_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="at least 1"):
        k_core(*columns([(0, 0)]), 0)


@given(st.lists(st.integers(0, 9), max_size=30))
def test_ids_are_given_in_the_order_of_first_appearance(codes):
    seen = {}
    expected = [seen.setdefault(code, len(seen) + 1) for code in codes]
    ids, order = by_first_appearance(np.array(codes, dtype=np.uint32))
    assert ids.tolist() == expected
    assert order.tolist() == list(seen)
