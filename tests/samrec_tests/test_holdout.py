"""Leaving out the last n and splitting by time, against slices in a loop; a time split that lets no future through."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from samrec_tests.shared import interactions_of, rows_of, sequences
from samrec_tests.small_runs import config, data, leftovers

from samrec.data.holdout import LEAVE_ONE_OUT, LeaveLast, TimeSplit, parse_holdout
from samrec.data.interactions import Interactions
from samrec.data.negatives import NegativeSampler
from samrec.data.split import evaluation_sequences, seen_items, training_sequences
from samrec.errors import ConfigError, DataError, RunError
from samrec.evaluation.evaluate import evaluate_run, read_evaluation
from samrec.evaluation.metrics import per_user, scores_of
from samrec.evaluation.paired import paired_users
from samrec.experiments.measure import generalisation_gap
from samrec.objective import load
from samrec.training.checkpoint import Run, create_run
from samrec.training.trainer import train

DAY = 86400 * 10**6
T1, T2 = 4 * DAY, 7 * DAY
BY_TIME = TimeSplit(T1, T2)


def timed(rows, item_count=None):
    """Interactions of lists of (item, day)."""
    made = interactions_of([[item for item, _ in row] for row in rows], item_count)
    times = np.array([day * DAY for row in rows for _, day in row], dtype=np.int64)
    return Interactions("made", made.items, made.offsets, made.item_count, made.user_ids, times=times)


@st.composite
def timed_rows(draw):
    """Rows of (item, day), days never falling."""
    rows = draw(
        st.lists(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 10)), min_size=3, max_size=9), min_size=1)
    )
    return [sorted(row, key=lambda step: step[1]) for row in rows]


def parts(row, holdout):
    """Training, validation and test part of one row of (item, day)."""
    if isinstance(holdout, LeaveLast):
        out = max(n for n in range(1, holdout.count + 1) if n == 1 or len(row) >= 2 * n + 1)
        return row[: -2 * out], row[-2 * out : -out], row[-out:]
    return [[step for step in row if low <= step[1] * DAY < high] for low, high in ((-1, T1), (T1, T2), (T2, 99 * DAY))]


def slow_targets(rows, split, holdout):
    """(user, history, target) of a held-out part."""
    found = []
    for user, row in enumerate(rows):
        training, validation, test = parts(row, holdout)
        history, part = (training, validation) if split == "validation" else (training + validation, test)
        for place, step in enumerate(part[:1] if holdout.hides_future_items else part):
            before = [item for item, _ in history + part[:place]]
            if before:
                found.append((user, before, step[0]))
    return found


holdouts = st.sampled_from([LEAVE_ONE_OUT, LeaveLast(2), LeaveLast(3), BY_TIME])


@given(timed_rows(), holdouts, st.sampled_from([1, 3, 50]))
def test_training_reads_the_training_part(rows, holdout, max_length):
    split = training_sequences(timed(rows), max_length, holdout=holdout)
    expected = [(user, [item for item, _ in parts(row, holdout)[0]]) for user, row in enumerate(rows)]
    expected = [(user, part) for user, part in expected if len(part) > 1]
    assert split.users.tolist() == [user for user, _ in expected]
    assert rows_of(split.items, split.offsets) == [part[:-1][-max_length:] for _, part in expected]
    assert rows_of(split.targets, split.offsets) == [part[1:][-max_length:] for _, part in expected]


@given(timed_rows(), holdouts, st.sampled_from([1, 3, 50]), st.sampled_from(["validation", "test"]))
def test_each_target_is_read_up_to(rows, holdout, max_length, split):
    made, expected = timed(rows), slow_targets(rows, split, holdout)
    if not expected:
        with pytest.raises(DataError, match=f"no user has a target in the {split} part"):
            evaluation_sequences(made, split, holdout=holdout)
        return
    found = evaluation_sequences(made, split, max_length, holdout=holdout)
    assert found.users.tolist() == [user for user, _, _ in expected]
    assert rows_of(found.items, found.offsets) == [history[-max_length:] for _, history, _ in expected]
    assert found.targets.tolist() == [target for _, _, target in expected]
    assert rows_of(*seen_items(made, split, holdout=holdout)) == [history for _, history, _ in expected]


@given(timed_rows(), holdouts)
def test_what_training_may_not_draw_is_the_training_part(rows, holdout):
    expected = [[item for item, _ in parts(row, holdout)[0]] for row in rows]
    assert rows_of(*seen_items(timed(rows), "train", holdout=holdout)) == expected


@given(sequences())
def test_leaving_out_the_last_one_is_leave_one_out(rows):
    made = interactions_of(rows)
    first, second = LeaveLast(1).cuts(made)
    assert first.tolist() == [offset - 2 for offset in made.offsets[1:]]
    assert second.tolist() == [offset - 1 for offset in made.offsets[1:]]


@given(timed_rows(), st.data())
def test_nothing_later_than_a_cut_changes_what_lies_before_it(rows, drawn):
    """Other items after T1 leave training and its negatives alone; other items after T2 leave validation alone too."""

    def rewritten(cut):
        other = st.integers(1, 12)
        return timed([[(i if d * DAY < cut else drawn.draw(other), d) for i, d in row] for row in rows], 12)

    def of_training(made):
        split = training_sequences(made, holdout=BY_TIME)
        sampler = NegativeSampler(made, holdout=BY_TIME)
        seen = rows_of(*seen_items(made, "train", holdout=BY_TIME))
        users = [u for u in range(len(rows)) if len(set(seen[u])) < sampler.item_count]
        draws = sampler.draw(np.random.default_rng(0), np.repeat(np.array(users, dtype=np.int64), 20))
        return split.items.tolist(), split.targets.tolist(), split.users.tolist(), seen, draws.tolist()

    def of_validation(made):
        seen = rows_of(*seen_items(made, "validation", holdout=BY_TIME))
        if not seen:
            return seen
        split = evaluation_sequences(made, "validation", holdout=BY_TIME)
        return seen, split.items.tolist(), split.targets.tolist(), split.users.tolist()

    made = timed(rows, 12)
    assert of_training(made) == of_training(rewritten(T1))
    assert of_validation(made) == of_validation(rewritten(T2))


@given(timed_rows())
def test_everything_read_or_seen_is_older_than_the_cut_and_every_target_is_not(rows):
    marked = [[(100 * user + place + 1, day) for place, (_, day) in enumerate(row)] for user, row in enumerate(rows)]
    day_of = {item: day for row in marked for item, day in row}
    made = timed(marked)
    train = training_sequences(made, holdout=BY_TIME)
    known = {*train.items.tolist(), *train.targets.tolist(), *seen_items(made, "train", holdout=BY_TIME)[0].tolist()}
    assert all(day_of[item] * DAY < T1 for item in known)
    sampler = NegativeSampler(made, holdout=BY_TIME)
    for user, row in enumerate(marked):
        missing = sampler.item_count - sum(day * DAY < T1 for _, day in row)
        if missing:
            drawn = sampler.draw(np.random.default_rng(0), np.array([user]), 50).ravel().tolist()
            assert all(day_of[item] * DAY < T1 for item in drawn)
    for split, cut in (("validation", T1), ("test", T2)):
        if slow_targets(rows, split, BY_TIME):
            held_out = evaluation_sequences(made, split, holdout=BY_TIME)
            read = [*held_out.items.tolist(), *seen_items(made, split, holdout=BY_TIME)[0].tolist()]
            assert all(day_of[item] * DAY < cut for item in read)
            assert all(day_of[item] * DAY >= cut for item in held_out.targets.tolist())


def test_negatives_under_a_time_split_are_all_known_items_a_user_has_not_had():
    made = timed([[(2, 0), (5, 1), (9, 8)], [(5, 0), (7, 2), (8, 5)]], 10)
    drawn = NegativeSampler(made, holdout=BY_TIME).draw(np.random.default_rng(0), np.array([0, 1]), 200)
    assert [set(row.tolist()) for row in drawn] == [{7}, {2}]
    with pytest.raises(ConfigError, match="looks ahead"):
        NegativeSampler(made, "s3rec", holdout=BY_TIME)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("leave-one-out", "leave-one-out"),
        ("leave-last-1", "leave-one-out"),
        ("leave-last-3", "leave-last-3"),
        ("time:2013-06-01,2014-01-01", "time:2013-06-01,2014-01-01"),
        ("time:86400,1970-01-02T12:00", "time:1970-01-02,1970-01-02T12:00:00"),
    ],
)
def test_a_split_has_one_name(text, name):
    assert parse_holdout(text).name == config(split=text).split == name
    assert parse_holdout(name) == parse_holdout(text)


@pytest.mark.parametrize("text", ["", "leave-two-out", "leave-last-0", "time:1", "time:2,1", "time:then,now", "random"])
def test_a_split_nobody_knows_is_refused(text):
    with pytest.raises(ConfigError):
        config(split=text)


def test_a_time_split_needs_times():
    with pytest.raises(DataError, match="needs times"):
        training_sequences(interactions_of([[1, 2, 3]]), holdout=BY_TIME)


def test_times_that_fall_or_are_too_few_are_refused():
    made = interactions_of([[1, 2, 3], [4, 5, 6]])
    for times, said in (([1, 2, 3, 3, 2, 4], "user 2 fall"), ([1, 2], "times")):
        with pytest.raises((DataError, TypeCheckError), match=said):  # the second where types are checked
            Interactions("made", made.items, made.offsets, 6, made.user_ids, times=np.array(times, dtype=np.int64))


def with_times():
    made = data()
    times = np.concatenate([np.arange(length, dtype=np.int64) * DAY for length in made.lengths])
    return Interactions("made", made.items, made.offsets, made.item_count, made.user_ids, times=times)


@pytest.mark.parametrize("split", ["leave-last-2", f"time:{T1 // 10**6},{T2 // 10**6}"])
def test_a_run_is_trained_evaluated_and_measured_under_its_split(tmp_path, split):
    made = with_times()
    run = train(config(split=split, epochs=2), made, tmp_path / "run", show=False)
    assert leftovers(run.path) == []
    result = evaluate_run(run, interactions=made)
    kept = read_evaluation(run.path)
    assert result.conditions["split"].startswith(run.config.split)
    assert (kept.protocol, kept.metrics) == (result.protocol, result.metrics)
    held_out = evaluation_sequences(made, "test", holdout=run.config.holdout)
    assert result.users.tolist() == made.user_ids[held_out.users].tolist()
    gains = per_user(result.ranks, "NDCG@10")
    means = [gains[result.users == user].mean() for user in np.unique(result.users)]
    assert result.metrics["NDCG@10"] == pytest.approx(np.mean(means), rel=1e-12)
    assert result.standard_errors["NDCG@10"] == pytest.approx(np.std(means, ddof=1) / len(means) ** 0.5, rel=1e-12)
    assert paired_users(result, result, draws=50).users == len(means)


def test_runs_of_other_splits_or_times_do_not_stand_in_one_table(tmp_path):
    made = with_times()
    by_time = f"time:{T1 // 10**6},{T2 // 10**6}"
    runs = [train(config(split=s, epochs=1), made, tmp_path / s[:6], show=False) for s in ("leave-one-out", by_time)]
    protocols = {evaluate_run(run, interactions=made).protocol for run in runs}
    assert len(protocols) == 2
    later = Interactions("made", made.items, made.offsets, made.item_count, made.user_ids, times=made.times + DAY)
    with pytest.raises(RunError, match="expected the times"):
        evaluate_run(Run(runs[1].path), interactions=later)
    evaluate_run(Run(runs[0].path), interactions=later)


def test_leave_one_out_leaves_no_trace_in_a_runs_fingerprint(tmp_path):
    made = data()
    record = create_run(tmp_path / "a", config(), made).record["fingerprints"]
    other = create_run(tmp_path / "b", config(split="leave-last-2"), made).record["fingerprints"]
    assert record["training"] != other["training"]
    assert "times" not in record
    from samrec.training.checkpoint import fingerprint

    before = {name: value for name, value in config().model_dump().items() if name != "split"}
    assert record["training"] == fingerprint(before)


def test_the_objective_of_a_run_takes_the_runs_split(tmp_path):
    from samrec_tests.s3rec_files import write_s3rec_text

    write_s3rec_text(data(), tmp_path / "made.txt")
    run = train(
        config(data=str(tmp_path / "made.txt"), split="leave-last-2", epochs=1), data(), tmp_path / "r", show=False
    )
    objective = load(str(run.path))
    train_part = training_sequences(data(), max_length=16, holdout=LeaveLast(2))
    assert objective.facts["targets"] == len(train_part.targets)
    assert objective.facts["split"] == "leave-last-2, train"
    found = objective.metrics(objective.weights, ["ndcg@10"])["ndcg@10"]
    held_out = evaluation_sequences(data(), "test", holdout=LeaveLast(2))
    chosen = np.isin(held_out.users, objective.users)
    assert len(found) == len(objective.users)
    assert len(objective.ranks(objective.weights)) == chosen.sum()


def test_a_users_targets_are_averaged_before_users_are():
    ranks, owners = np.array([1.0, 100.0, 1.0]), np.array([4, 4, 9])
    assert scores_of(ranks, ("HR@10",), owners=owners)["HR@10"].value == 0.75
    assert scores_of(ranks, ("HR@10",), owners=np.array([1, 2, 3]))["HR@10"] == scores_of(ranks, ("HR@10",))["HR@10"]


@pytest.mark.parametrize("split", ["leave-last-2", f"time:{T1 // 10**6},{T2 // 10**6}"])
def test_the_generalisation_gap_is_over_the_runs_own_parts(tmp_path, split):
    run = train(config(split=split, epochs=1), with_times(), tmp_path / "run", show=False)
    gap = generalisation_gap(run, with_times())
    assert gap.training_targets == len(training_sequences(with_times(), 16, holdout=run.config.holdout).targets)
    assert gap.test_targets == len(evaluation_sequences(with_times(), "test", holdout=run.config.holdout))
