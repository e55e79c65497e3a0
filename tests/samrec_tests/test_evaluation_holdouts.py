"""Everything of evaluation under other holdouts, and the user's own ids from a raw log to recommendations."""

import json

import numpy as np
import pytest
from samrec_tests.commands import samrec_in
from samrec_tests.tiny_models import scores_in_a_loop, some_interactions, some_model

from samrec.data.holdout import parse_holdout
from samrec.evaluation.beyond_accuracy import beyond_accuracy
from samrec.evaluation.evaluate import evaluate_model, ranks_of
from samrec.evaluation.held_out import held_out
from samrec.evaluation.metrics import per_user
from samrec.evaluation.protocol import Candidates
from samrec.evaluation.robustness import robustness
from samrec.evaluation.strata import strata_by_head, strata_by_length, strata_by_popularity

HOLDOUT = parse_holdout("leave-last-2")


@pytest.fixture(scope="module")
def parts():
    return held_out(some_interactions(longest=9), "test", 50, holdout=HOLDOUT)


def test_full_ranks_of_several_targets_a_user_are_those_of_a_loop(parts):
    model = some_model(30)
    ranks = iter(ranks_of(model, parts))
    for user in range(parts.interactions.users):
        row = parts.interactions.sequence(user).tolist()
        for place in range(len(row) - min(2, (len(row) - 1) // 2), len(row)):
            scores = scores_in_a_loop(model, row[:place])
            own = scores[row[place] - 1]
            others = [score for item, score in enumerate(scores, 1) if item not in row[: place + 1]]
            expected = 1 + sum(other > own for other in others) + sum(other == own for other in others) / 2
            assert next(ranks) == expected
    assert next(ranks, None) is None


def test_scores_and_differences_are_means_over_users(parts):
    model, owners = some_model(30), parts.sequences.users
    result = evaluate_model(model, parts.interactions, holdout=HOLDOUT)
    found = robustness(model, parts, truncate=[2])
    of_users = [per_user(result.ranks, "HR@10")[owners == user].mean() for user in np.unique(owners)]
    assert result.metrics["HR@10"] == found.metrics["HR@10"] == pytest.approx(np.mean(of_users))
    assert (result.summary()["targets"], result.summary()["users"]) == (len(owners), len(of_users))
    assert len(owners) > len(of_users)
    one = found.perturbed[0]
    assert one.differences["HR@10"] == pytest.approx(one.metrics["HR@10"] - found.metrics["HR@10"])
    assert found.conditions == result.conditions
    assert result.conditions["split"] == "leave-last-2, test"


def test_strata_lists_and_sampled_negatives_count_targets(parts):
    model = some_model(30)
    ranks = ranks_of(model, parts)
    for strata in (strata_by_length(ranks, parts), strata_by_head(ranks, parts), strata_by_popularity(ranks, parts)):
        assert sum(stratum.targets for stratum in strata) == len(ranks)
    counts = np.zeros(31, dtype=int)
    for user in range(parts.interactions.users):
        row = parts.interactions.sequence(user)
        counts[row[: len(row) - 2 * min(2, (len(row) - 1) // 2)]] += 1  # no user has an item twice
    np.testing.assert_array_equal(parts.popularity, counts)
    assert beyond_accuracy(model, parts).lists == len(ranks)
    assert len(ranks_of(model, parts, candidates=Candidates(9))) == len(ranks)


def test_own_ids_from_a_raw_log_to_recommendations_and_back(tmp_path, monkeypatch, capsys):
    samrec = samrec_in(tmp_path, monkeypatch, capsys)
    rng = np.random.default_rng(0)
    lines = [
        f"user-{user},item-{item:02d},{1_500_000_000 + 86_400 * place + user}"
        for user in range(40)
        for place, item in enumerate(rng.permutation(12)[:8])
    ]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,timestamp", *lines]) + "\n")
    assert samrec("data", "prepare", "log.csv", "--k", 1, "--out", ".", "--name", "mine")[0] == 0
    small = ["--size", 8, "--layers", 1, "--max-length", 8, "--epochs", 1, "--split", "leave-last-2"]
    assert samrec("train", "--data", "mine.txt", "--out", "run", *small)[0] == 0
    first = [line.split(",")[1] for line in lines[:8]]
    code, out, err = samrec("recommend", "run", "--history", ",".join(first), "--json", "--top", 12)
    assert (code, err) == (0, "")
    found = json.loads(out)["recommendations"][0]
    assert set(found["items"]) == {f"item-{item:02d}" for item in range(12)} - set(first)

    (tmp_path / "users.txt").write_text("user-0\nuser-7\n")
    users = json.loads(samrec("recommend", "run", "--users", "users.txt", "--json", "--top", 12)[1])["recommendations"]
    assert [row["user"] for row in users] == ["user-0", "user-7"]
    assert users[0]["items"] == found["items"]
    assert users[0]["scores"] == pytest.approx(found["scores"])
    code, out, err = samrec("recommend", "run", "--history", "item-1", "--json")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'item-1'" in err
    assert "did you mean item-1" in err
    evaluated = json.loads(samrec("evaluate", "run", "--json", "--by", "length")[1])
    assert (evaluated["users"], evaluated["targets"]) == (40, 80)
    assert evaluated["conditions"]["split"] == "leave-last-2, test"
