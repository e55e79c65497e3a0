"""Counts screened in float32 are those of float64 scores, however near scores lie to each other."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from samrec.evaluation import counting
from samrec.evaluation.counting import Chunk, Counter
from samrec.evaluation.scoring import rounding


def counts_one_by_one(vectors, table, columns, masked):
    """Every pair by itself, in Python's floats."""
    scores = np.array([[np.dot(user, item) for item in table.numpy()] for user in vectors.numpy()])
    longest = np.linalg.norm(table.numpy(), axis=1).max()
    greater, equal = [], []
    for row, (user, column) in enumerate(zip(vectors.numpy(), columns.tolist(), strict=True)):
        others = [
            scores[row, item] - scores[row, column]
            for item in range(len(table))
            if item != column and row * len(table) + item not in masked
        ]
        slack = rounding(table.shape[1]) * longest * np.linalg.norm(user)
        greater.append(sum(other > slack for other in others))
        equal.append(sum(abs(other) <= slack for other in others))
    return greater, equal


def problem(users=6, items=300, size=16, seed=0, spread=1.0):
    """Items around one another: the smaller the spread, the nearer all scores of a user are."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(users, size, generator=generator).double()
    table = torch.randn(size, generator=generator) + spread * torch.randn(items, size, generator=generator)
    table[items // 2 :: 7] = table[: items // 2 : 3][: len(table[items // 2 :: 7])]  # some have twins
    columns = torch.randint(items, (users,), generator=generator)
    return Chunk(0, vectors, columns, None), table.double()


def through_float64(counter, monkeypatch):
    """How often a chunk goes through float64 as a whole."""
    taken = []
    exactly = counter._exactly
    monkeypatch.setattr(counter, "_exactly", lambda *chunk: taken.append(1) or exactly(*chunk))
    return taken


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.sampled_from([1.0, 1e-2, 1e-4, 1e-6, 1e-8, 0.0]), st.booleans())
def test_counts_are_those_of_pair_by_pair(seed, spread, mask):
    chunk, table = problem(seed=seed, spread=spread)
    if mask:
        places = np.random.default_rng(seed).choice(6 * 300, 90)
        chunk = Chunk(0, chunk.vectors, chunk.columns, torch.from_numpy(places))
    masked = set() if chunk.masked is None else set(chunk.masked.tolist())
    own = {row * 300 + column for row, column in enumerate(chunk.columns.tolist())}
    assume(not own & masked)  # a target that is no candidate has no rank
    expected = counts_one_by_one(chunk.vectors, table, chunk.columns, masked)
    found = Counter(table, 6)(chunk)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("scale", [1e-42, 1e-12, 1.0, 1e12])
def test_scales_change_no_count_and_need_no_float64(scale, monkeypatch):
    chunk, table = problem()
    expected = counts_one_by_one(chunk.vectors, table, chunk.columns, set())
    counter = Counter(table * scale, 6)
    taken = through_float64(counter, monkeypatch)
    np.testing.assert_array_equal(counter(chunk), expected)
    assert bool(taken) == (scale == 1e-42)  # less than float32 tells apart


def test_scores_too_large_for_float32_are_counted_in_float64(monkeypatch):
    chunk, table = problem()
    expected = counts_one_by_one(chunk.vectors, table, chunk.columns, set())
    counter = Counter(table * 1e60, 6)
    taken = through_float64(counter, monkeypatch)
    np.testing.assert_array_equal(counter(chunk), expected)
    assert taken


def test_where_all_scores_are_near_float64_takes_the_chunk(monkeypatch):
    chunk, table = problem(spread=1e-7)
    counter = Counter(table, 6)
    taken = through_float64(counter, monkeypatch)
    np.testing.assert_array_equal(counter(chunk), counts_one_by_one(chunk.vectors, table, chunk.columns, set()))
    assert taken


def test_a_kernel_of_lower_precision_is_noticed(monkeypatch):
    chunk, table = problem(users=32)
    monkeypatch.setattr(counting, "_product", lambda table, _: lambda x: (x.bfloat16() @ table.bfloat16().T).float())
    counter = Counter(table, 32)
    taken = through_float64(counter, monkeypatch)
    np.testing.assert_array_equal(counter(chunk), counts_one_by_one(chunk.vectors, table, chunk.columns, set()))
    assert taken


def test_without_onednn_the_counts_are_the_same(monkeypatch):
    chunk, table = problem()
    monkeypatch.setattr(counting, "is_there", lambda: False)
    expected = counts_one_by_one(chunk.vectors, table, chunk.columns, set())
    np.testing.assert_array_equal(Counter(table, 6)(chunk), expected)
