"""Strata against masks written out in a loop, and standard errors where a user has several targets."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samrec_tests.shared import interactions_of
from samrec_tests.small_runs import data
from samrec_tests.tiny_models import some_parts

from samrec.errors import ConfigError
from samrec.evaluation.held_out import held_out
from samrec.evaluation.metrics import per_user
from samrec.evaluation.strata import NOT_IN_TRAINING, strata_by_head, strata_by_length, strata_by_popularity
from samrec.models.sasrec import SASRec
from samrec.objective import SequenceObjective


def ranks_for(parts, seed=0):
    return np.random.default_rng(seed).integers(1, 30, len(parts.targets)).astype(float)


def assert_stratum(stratum, ranks, members):
    assert stratum.targets == stratum.users == len(members)
    for name in ("HR@10", "NDCG@20", "MRR"):
        values = per_user(ranks[members], name)
        assert stratum.metrics[name] == pytest.approx(values.mean())
        error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        assert stratum.standard_errors[name] == pytest.approx(error, nan_ok=True)


def test_bands_of_length_count_the_whole_history_before_the_target():
    parts = some_parts(users=90, longest=14, max_length=4)
    ranks = ranks_for(parts)
    bands = {"under 3": range(3), "3": [3], "4 to 8": range(4, 9), "9 and more": range(9, 99)}
    strata = strata_by_length(ranks, parts, edges=(3, 4, 9))
    assert [stratum.name for stratum in strata] == list(bands)
    for stratum in strata:
        members = [u for u in range(90) if len(parts.interactions.sequence(u)) - 1 in bands[stratum.name]]
        assert_stratum(stratum, ranks, members)


def popularity_in_a_loop(interactions):
    counts = [0] * (interactions.item_count + 1)
    for user in range(interactions.users):
        for item in interactions.sequence(user)[:-2]:
            counts[item] += 1
    return counts


@settings(max_examples=40)
@given(st.integers(0, 999), st.integers(1, 8), st.integers(3, 60))
def test_bands_of_popularity_hold_every_target_once_and_ties_together(seed, bands, users):
    parts = some_parts(users=users, item_count=60, longest=8, seed=seed)
    ranks = ranks_for(parts, seed)
    popularity = popularity_in_a_loop(parts.interactions)
    strata = strata_by_popularity(ranks, parts, bands=bands)
    assert sum(stratum.targets for stratum in strata) == users
    assert len([stratum for stratum in strata if stratum.name != NOT_IN_TRAINING]) <= bands
    for stratum in strata:
        low, _, high = stratum.name.partition(" to ")
        allowed = [0] if stratum.name == NOT_IN_TRAINING else range(int(low), int(high or low) + 1)
        members = [u for u in range(users) if popularity[parts.interactions.sequence(u)[-1]] in allowed]
        assert_stratum(stratum, ranks, members)


def test_bands_of_popularity_are_of_equal_size_where_nothing_ties():
    rows = [[item] * item + [1, item] for item in range(1, 21)]  # item i is i times in training
    parts = held_out(interactions_of(rows), "test", 50)
    strata = strata_by_popularity(np.ones(20), parts, bands=4)
    expected = [("1 to 5", 5), ("6 to 10", 5), ("11 to 15", 5), ("16 to 20", 5)]
    assert [(stratum.name, stratum.targets) for stratum in strata] == expected


def test_head_and_tail_are_those_of_the_objective():
    model = SASRec(data().item_count, size=8, layers=1, max_length=6)
    groups = SequenceObjective(model, data()).layout.row_groups
    parts = held_out(data(), "test", 6)
    ranks = ranks_for(parts)
    strata = {stratum.name: stratum for stratum in strata_by_head(ranks, parts)}
    for name in ("head", "tail"):
        rows = groups[name]["item_embedding.weight"].tolist()
        assert_stratum(strata[name], ranks, [u for u, target in enumerate(parts.targets) if target in rows])
    assert sum(stratum.targets for stratum in strata.values()) == len(ranks)


def test_misuse_is_named():
    parts = some_parts()
    with pytest.raises(ConfigError, match="rising lengths"):
        strata_by_length(ranks_for(parts), parts, edges=(5, 5))
    with pytest.raises(ConfigError, match="at least 1 band"):
        strata_by_popularity(ranks_for(parts), parts, bands=0)
    with pytest.raises(ConfigError, match="a rank for each of 40 targets, got 2"):
        strata_by_head(np.ones(2), parts)


def test_of_a_user_with_several_targets_in_a_stratum_the_mean_counts_once():
    parts = some_parts(users=3)
    sequences = replace(parts.sequences, users=np.array([0, 0, 2]))
    ranks = np.array([1.0, 11.0, 1.0])
    stratum = strata_by_length(ranks, replace(parts, sequences=sequences), edges=(1,))[0]
    assert (stratum.targets, stratum.users, stratum.metrics["HR@10"]) == (3, 2, 0.75)
    assert stratum.standard_errors["HR@10"] == pytest.approx(np.std([0.5, 1.0], ddof=1) / np.sqrt(2))
