"""Noise and truncation against loops over users, and differences paired with the clean ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samrec_tests.shared import rows_of
from samrec_tests.tiny_models import some_model, some_parts

from samrec.errors import ConfigError
from samrec.evaluation.evaluate import ranks_of
from samrec.evaluation.metrics import per_user
from samrec.evaluation.protocol import Candidates
from samrec.evaluation.robustness import noisy, robustness, truncated

seeds = st.integers(0, 999)


def read(inputs):
    return rows_of(inputs.items, inputs.offsets)


@settings(max_examples=50)
@given(seeds, st.integers(1, 12))
def test_truncated_histories_are_the_newest_items(seed, newest):
    parts = some_parts(seed=seed, repeats=True, max_length=8)
    assert read(truncated(parts, newest)) == [row[-newest:] for row in read(parts.sequences)]


@settings(max_examples=50)
@given(seeds, st.sampled_from([0.0, 0.2, 0.7, 1.0]))
def test_replaced_items_come_from_outside_the_sequence_and_the_others_stay(seed, share):
    parts = some_parts(seed=seed, max_length=8)
    rows, clean = read(noisy(parts, share, seed=seed)), read(parts.sequences)
    for user, (row, before) in enumerate(zip(rows, clean, strict=True)):
        own = parts.interactions.sequence(user).tolist()
        assert len(row) == len(before)
        assert all(new == old or new not in own for new, old in zip(row, before, strict=True))
        assert share > 0 or row == before
        assert share < 1 or not set(row) & set(own)


@settings(max_examples=50)
@given(seeds, st.sampled_from([0.0, 0.2, 0.7, 1.0]))
def test_inserted_items_push_out_the_oldest_and_the_order_stays(seed, share):
    parts = some_parts(seed=seed, max_length=8)
    rows, clean = read(noisy(parts, share, how="insert", seed=seed)), read(parts.sequences)
    for user, (row, before) in enumerate(zip(rows, clean, strict=True)):
        own = set(parts.interactions.sequence(user).tolist())
        kept = [item for item in row if item in own]
        assert kept == before[len(before) - len(kept) :]
        assert len(row) == 8 or kept == before
        assert share > 0 or row == before
        if share == 1:  # noise after every item
            assert [item in own for item in reversed(row)] == [place % 2 == 1 for place in range(len(row))]


def test_noise_meets_the_share_asked_for_is_uniform_and_grows_with_it():
    parts = some_parts(users=3000, item_count=40)
    clean = parts.sequences.items
    small, large = (noisy(parts, share, seed=3).items for share in (0.1, 0.3))
    changed = small != clean
    assert changed.mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / len(clean)))
    assert (large != clean).mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / len(clean)))
    np.testing.assert_array_equal(large[changed], small[changed])
    assert np.bincount(large[large != clean], minlength=41)[1:].std() < 0.15 * (large != clean).sum() / 40
    np.testing.assert_array_equal(noisy(parts, 0.1, seed=3).items, small)
    assert not np.array_equal(noisy(parts, 0.1, seed=4).items, small)


def test_differences_are_paired_with_the_clean_ranks_and_candidates_stay():
    parts, model = some_parts(users=60, max_length=8), some_model(30, max_length=8)
    found = robustness(model, parts, noise=[0.3], truncate=[2], how="insert", seed=1)
    clean = ranks_of(model, parts)
    np.testing.assert_array_equal(found.ranks, clean)
    inputs = [noisy(parts, 0.3, how="insert", seed=1), truncated(parts, 2)]
    assert [(one.kind, one.amount) for one in found.perturbed] == [("insert", 0.3), ("truncate", 2)]
    for one, changed in zip(found.perturbed, inputs, strict=True):
        ranks = ranks_of(model, parts, sequences=changed)
        np.testing.assert_array_equal(one.ranks, ranks)
        rows = zip(read(changed), read(parts.sequences), strict=True)
        assert one.changed == pytest.approx(np.mean([row != before for row, before in rows]))
        for name in ("HR@10", "NDCG@10"):
            difference = per_user(ranks, name) - per_user(clean, name)
            assert one.differences[name] == pytest.approx(difference.mean())
            assert one.standard_errors[name] == pytest.approx(difference.std(ddof=1) / np.sqrt(60))
            assert one.metrics[name] - found.metrics[name] == pytest.approx(one.differences[name])


def test_no_noise_and_the_whole_length_change_nothing_under_either_protocol():
    parts, model = some_parts(), some_model(30)
    for candidates in (Candidates(), Candidates(9)):
        found = robustness(model, parts, noise=[0.0], truncate=[50], candidates=candidates)
        for one in found.perturbed:
            assert (one.changed, set(one.differences.values())) == (0, {0.0})
            np.testing.assert_array_equal(one.ranks, found.ranks)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "got neither"),
        ({"noise": [1.5]}, "share of noise from 0 to 1, got 1.5"),
        ({"noise": [float("nan")]}, "share of noise"),
        ({"truncate": [0]}, "keep 1 to 50 items"),
        ({"truncate": [51]}, "keep 1 to 50 items"),
    ],
)
def test_misuse_is_named(options, expected):
    with pytest.raises(ConfigError, match=expected):
        robustness(some_model(30), some_parts(), **options)
