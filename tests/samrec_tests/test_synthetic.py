"""The synthetic data follow their law, and their best score is the one a sampled oracle approaches."""

import numpy as np
import pytest
from samrec_tests.shared import rows_of
from scipy.stats import chisquare

from samrec.data.synthetic import best_scores, make_synthetic, next_item_probabilities
from samrec.errors import ConfigError

SMALL = {"users": 400, "items": 200, "clusters": 8}


@pytest.fixture(scope="module")
def truth():
    return make_synthetic(**SMALL, seed=3)


def probabilities_in_a_loop(truth, history):
    latest = truth.clusters[history[-1] - 1]
    weights = np.array(
        [
            0.0 if item in history else truth.transition[latest, truth.clusters[item - 1]] * truth.popularity[item - 1]
            for item in range(1, truth.interactions.item_count + 1)
        ]
    )
    return weights / weights.sum()


@pytest.mark.parametrize(("split", "place"), [("validation", 2), ("test", 1)])
def test_next_item_probabilities_equal_the_law_written_out(truth, split, place):
    users = np.array([0, 7, 399])
    told = next_item_probabilities(truth, split, users)
    for row, user in enumerate(users.tolist()):
        history = truth.interactions.sequence(user)[:-place].tolist()
        np.testing.assert_allclose(told[row], probabilities_in_a_loop(truth, history), rtol=1e-12)


def test_the_best_score_equals_ranking_every_possible_target(truth):
    hits = gains = 0.0
    for row in rows_of(truth.interactions.items, truth.interactions.offsets)[:60]:
        likely = probabilities_in_a_loop(truth, row[:-1])
        ranks = np.empty(len(likely), dtype=int)
        ranks[np.argsort(-likely, kind="stable")] = np.arange(1, len(likely) + 1)
        hits += sum(p for p, rank in zip(likely, ranks, strict=True) if rank <= 10)
        gains += sum(p / np.log2(1 + rank) for p, rank in zip(likely, ranks, strict=True) if rank <= 10)
    some = next_item_probabilities(truth, "test", np.arange(60))
    assert np.sort(some, axis=1)[:, -10:].sum() == pytest.approx(hits, rel=1e-12)
    whole = best_scores(truth, "test")
    assert whole == pytest.approx(best_scores(truth, "test", chunk=7), rel=1e-12)
    top = -np.sort(-next_item_probabilities(truth, "test"), axis=1)[:, :10]
    assert whole["HR@10"] == pytest.approx(top.sum(axis=1).mean(), rel=1e-12)
    assert (-np.sort(-some, axis=1)[:, :10] / np.log2(np.arange(2, 12))).sum() == pytest.approx(gains, rel=1e-12)


def test_an_oracle_scores_on_the_drawn_targets_what_is_expected_of_it():
    truth = make_synthetic(users=8000, items=200, clusters=8, seed=1)
    targets = truth.interactions.items[truth.interactions.offsets[1:] - 1]
    likely = next_item_probabilities(truth, "test")
    own = likely[np.arange(len(targets)), targets - 1]
    assert (own > 0).all()
    ranks = 1 + (likely > own[:, None]).sum(axis=1)
    hit = ranks <= 10
    gain = np.where(hit, 1 / np.log2(1 + ranks), 0)
    for name, scores in (("HR@10", hit), ("NDCG@10", gain)):
        assert abs(scores.mean() - truth.best[name]) < 4 * scores.std() / np.sqrt(len(scores))


def test_every_step_follows_the_law_items_already_taken_included():
    truth = make_synthetic(users=8000, items=200, clusters=8, seed=2)
    likely = next_item_probabilities(truth, "validation")
    targets = truth.interactions.items[truth.interactions.offsets[1:] - 2]
    below = np.where(np.arange(200) < (targets - 1)[:, None], likely, 0).sum(axis=1)
    own = likely[np.arange(len(targets)), targets - 1]
    # where in its own step of the cumulative law a draw lies is uniform, whatever the law
    places = below + own * np.random.default_rng(0).random(len(targets))
    assert chisquare(np.histogram(places, bins=20, range=(0, 1))[0]).pvalue > 1e-3


def test_inside_a_cluster_popularity_is_zipfs(truth):
    for cluster in range(8):
        shares = np.sort(truth.popularity[truth.clusters == cluster])[::-1]
        np.testing.assert_allclose(shares, shares[0] / np.arange(1, len(shares) + 1), rtol=1e-12)
        assert shares.sum() == pytest.approx(1)
    np.testing.assert_allclose(truth.transition.sum(axis=1), 1, rtol=1e-12)


def test_attributes_tell_the_cluster(truth):
    attributes = truth.interactions.attributes
    assert [int(attributes.of(item)[0]) - 1 for item in range(1, 201)] == truth.clusters.tolist()
    assert 1 <= attributes.values.min() <= attributes.values.max() <= attributes.count


def test_nobody_takes_an_item_twice_and_lengths_are_as_said(truth):
    assert all(len(set(row)) == len(row) for row in rows_of(truth.interactions.items, truth.interactions.offsets))
    assert truth.interactions.lengths.min() >= 5
    assert truth.interactions.lengths.max() <= 50
    assert 10 < truth.interactions.lengths.mean() < 14


def test_the_same_seed_gives_the_same_data_and_another_seed_others(truth):
    assert make_synthetic(**SMALL, seed=3).interactions.fingerprint == truth.interactions.fingerprint
    assert make_synthetic(**SMALL, seed=4).interactions.fingerprint != truth.interactions.fingerprint


def test_knowing_the_last_item_is_worth_far_more_than_popularity():
    truth = make_synthetic()
    items, ends = truth.interactions.items, truth.interactions.offsets[1:]
    most_popular = np.argsort(-np.bincount(items))[:10]
    assert truth.best["HR@10"] > 2 * np.isin(items[ends - 1], most_popular).mean()
    assert truth.best["HR@10"] < 0.9, "a task that nothing can fail teaches nothing"


@pytest.mark.parametrize("asked", [{"users": 0}, {"items": 199}, {"clusters": 0}, {"items": 200, "clusters": 101}])
def test_sizes_that_cannot_be_are_refused(asked):
    with pytest.raises(ConfigError, match="got"):
        make_synthetic(**asked)


@pytest.mark.parametrize("clusters", [1, 100])
def test_the_fewest_and_the_most_clusters_work(clusters):
    truth = make_synthetic(users=50, items=200, clusters=clusters)
    assert 0 < truth.best["NDCG@10"] < truth.best["HR@10"] < 1
