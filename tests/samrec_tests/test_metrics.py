"""Metrics from ranks: by hand, against a loop, and the spelling of their names."""

import math

import numpy as np
import pytest

from samrec.errors import ConfigError
from samrec.evaluation.metrics import METRICS, metric_name, per_user, scores_of


def metric_in_a_loop(rank, name):
    kind, _, k = name.partition("@")
    if kind == "MRR":
        return 1 / rank
    if rank > int(k):
        return 0.0
    return 1.0 if kind == "HR" else 1 / math.log2(1 + rank)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_those_of_a_loop_over_users(name):
    ranks = np.concatenate([np.arange(1, 40), np.arange(1, 40) + 0.5, [np.inf]])
    expected = [metric_in_a_loop(rank, name) for rank in ranks.tolist()]
    np.testing.assert_allclose(per_user(ranks, name), expected, rtol=1e-15)


def test_scores_by_hand():
    scores = scores_of(np.array([1.0, 3.0, 10.5, np.inf]))
    assert scores["HR@10"].value == 0.5
    assert scores["HR@20"].value == 0.75
    assert scores["NDCG@5"].value == pytest.approx((1 + 0.5) / 4)
    assert scores["MRR"].value == pytest.approx((1 + 1 / 3 + 1 / 10.5) / 4)
    assert scores["HR@10"].standard_error == pytest.approx(math.sqrt(1 / 3) / 2)


def test_the_standard_error_is_the_spread_of_the_metric_over_samples_of_users():
    random = np.random.default_rng(0)
    samples = [scores_of(random.integers(1, 40, 400).astype(float))["NDCG@10"] for _ in range(400)]
    spread = np.std([score.value for score in samples])
    assert samples[0].standard_error == pytest.approx(spread, rel=0.15)


def test_one_user_has_a_value_and_no_standard_error():
    score = scores_of(np.array([2.0]))["HR@5"]
    assert score.value == 1
    assert math.isnan(score.standard_error)


def test_names_are_read_in_any_case_and_spelled_in_one():
    assert [metric_name(name) for name in ("ndcg@10", "recall@5", "Mrr", "hr@100")] == [
        "NDCG@10",
        "HR@5",
        "MRR",
        "HR@100",
    ]


@pytest.mark.parametrize("name", ["HR", "HR@0", "AUC", "NDCG@-1", "MRR@5", ""])
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError, match="expected a metric such as"):
        metric_name(name)


@pytest.mark.parametrize("rank", [0.0, 0.5, np.nan])
def test_a_rank_below_one_is_refused(rank):
    with pytest.raises(ConfigError, match="ranks of at least 1"):
        per_user(np.array([1.0, rank]), "MRR")


def test_no_users_have_no_scores():
    with pytest.raises(ConfigError, match="at least one user"):
        scores_of(np.array([]))
