"""`samrec recommend`, `evaluate` and `robustness` from the command line, and the files and ids they take."""

import json
from io import StringIO

import numpy as np
import polars as pl
import pytest
from rich.console import Console
from samrec_tests import small_runs
from samrec_tests.commands import samrec_in
from samrec_tests.s3rec_files import write_s3rec_text
from samrec_tests.tiny_models import some_interactions, some_model

from samrec.cli.evaluation_text import tables
from samrec.errors import DataError
from samrec.evaluation.evaluate import evaluate_run, read_evaluation
from samrec.evaluation.histories import Histories, read_histories, typed_history
from samrec.evaluation.own_ids import Numbers, own_ids
from samrec.evaluation.protocol import Candidates
from samrec.evaluation.recommend import recommend, write_parquet
from samrec.evaluation.strata import Stratum
from samrec.training.checkpoint import Run
from samrec.training.trainer import train


class Letters:
    """Own ids a, b, c, ... of 1, 2, 3, ..."""

    def own(self, ids):
        return [chr(96 + number) for number in ids]

    def ids(self, own):
        return np.array([ord(word) - 96 for word in own], dtype=np.int64)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data.txt and a trained run."""
    folder = tmp_path_factory.mktemp("place")
    write_s3rec_text(small_runs.data(), folder / "data.txt")
    train(small_runs.config(epochs=1, data=str(folder / "data.txt")), small_runs.data(), folder / "run")
    return folder


@pytest.fixture
def samrec(place, monkeypatch, capsys):
    """Run the command in this process: exit code, stdout, stderr."""
    return samrec_in(place, monkeypatch, capsys)


def assert_one_line(outcome, *words):
    code, out, err = outcome
    assert (code, out, err.count("\n")) == (2, "", 1)
    for word in ("error: ", *words):
        assert word in err


def test_a_history_gets_its_best_items_without_those_it_has(samrec):
    code, out, err = samrec("recommend", "run", "--history", "12,7,31", "--top", 200, "--json")
    found = json.loads(out)["recommendations"][0]
    assert (code, err) == (0, "")
    assert set(found["items"]) == set(range(1, 201)) - {12, 7, 31}
    assert found["scores"] == sorted(found["scores"], reverse=True)
    kept = json.loads(samrec("recommend", "run", "--history", "12,7,31", "--top", 200, "--keep-seen", "--json")[1])
    assert set(kept["recommendations"][0]["items"]) == set(range(1, 201))
    lines = samrec("recommend", "run", "--history", " 12, 7,31", "--top", 3)[1].splitlines()
    assert [line.split()[0] for line in lines] == [str(item) for item in found["items"][:3]]


def test_a_file_of_histories_and_one_of_user_ids_give_the_same_parquet(samrec, place):
    rows = [line.split() for line in (place / "data.txt").read_text().splitlines()][:9]
    (place / "histories.txt").write_text("".join(" ".join(row) + "\n" for row in rows))
    (place / "users.txt").write_text("".join(f"{row[0]}\n" for row in rows))
    code, out, err = samrec("recommend", "run", "--users", "users.txt", "--top", 4, "--out", "a.parquet", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["rows"] == 36
    samrec("recommend", "run", "--users", "histories.txt", "--top", 4, "--out", "b.parquet")
    table = pl.read_parquet(place / "a.parquet")
    assert table.equals(pl.read_parquet(place / "b.parquet"))
    assert table.columns == ["user", "rank", "item", "score"]
    assert table["user"].to_list() == [row[0] for row in rows for _ in range(4)]
    assert table["rank"].to_list() == [1, 2, 3, 4] * 9
    told = json.loads(samrec("recommend", "run", "--users", "users.txt", "--top", 4, "--json")[1])["recommendations"]
    assert [item for row in told for item in row["items"]] == table["item"].to_list()
    first = json.loads(samrec("recommend", "run", "--history", ",".join(rows[0][1:]), "--top", 4, "--json")[1])
    assert first["recommendations"][0]["scores"] == table["score"].to_list()[:4]
    assert not [path.name for path in place.iterdir() if "aside" in path.name]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--history", "12,2O1"), ("items of data", "1 to 200", "'2O1'", "did you mean")),
        (("--history", "201"), ("got '201'; did you mean ", " or 200?")),
        (("--history", "0"), ("got '0'",)),
        (("--history", ","), ("separated by commas",)),
        ((), ("either --history",)),
        (("--history", "1", "--users", "x"), ("either --history",)),
        (("--users", "nowhere.txt"), ("nowhere.txt: cannot be read",)),
        (("--history", "1", "--out", "x.csv"), ("ending in .parquet",)),
        (("--history", "1", "--out", "nowhere/x.parquet"), ("a folder that exists",)),
        (("--history", "1", "--threads", "0"), ("threads",)),
        (("--history", "1", "--top", "0"), ("top",)),
        (("--history", "1", "--device", "abacus"), ("abacus",)),
    ],
)
def test_misuse_of_recommend_is_one_line(arguments, words, samrec):
    assert_one_line(samrec("recommend", "run", *arguments), *words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("1 2 3\n4\n", "line 2: expected 'user item item ...', got 1 words"),
        ("1\n2 3\n", "line 2: expected a user id alone, as on line 1, got 2 words"),
        ("1 2\n\n3 4\n", "line 2"),
        ("7 2\n8 3\n7 4\n", "line 3: user 7 was already on line 1"),
        ("1\n99\n", "users of made"),
        ("1 2\n2 31\n", "items of made"),
        ("\udcff", "is no text"),
    ],
)
def test_a_file_that_is_neither_is_refused_by_line(text, expected, tmp_path):
    path = tmp_path / "file.txt"
    path.write_bytes(text.encode(errors="surrogateescape"))
    made = some_interactions()
    with pytest.raises(DataError, match=expected):
        read_histories(path, made, items=own_ids(made, "items"), users=own_ids(made, "users"))


def test_own_ids_go_in_and_come_out(tmp_path):
    (tmp_path / "file.txt").write_text("anna c a\nbert z\n")
    made, ids = some_interactions(), Letters()
    histories = read_histories(tmp_path / "file.txt", made, items=ids, users=ids)
    assert (histories.users, histories.items.tolist()) == (["anna", "bert"], [3, 1, 26])
    found = recommend(some_model(26), histories, 26, k=26)
    assert write_parquet(found, tmp_path / "out.parquet", ids) == 24 + 25
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert set(table.filter(pl.col("user") == "anna")["item"]) == set("abcdefghijklmnopqrstuvwxyz") - {"a", "c"}
    assert typed_history("b, d", ids).items.tolist() == [2, 4]


def test_a_long_history_is_read_by_its_newest_items_and_left_out_whole():
    model = some_model(30, max_length=4)
    long, short = list(range(1, 21)), [17, 18, 19, 20]
    histories = Histories(["a", "b"], np.array(long + short), np.array([0, 20, 24]))
    found = recommend(model, histories, 30, k=30)
    assert [items.tolist() for items in histories.newest(4)] == [short + short, [0, 4, 8]]
    assert set(found.items[0].tolist()) == {0, *range(21, 31)}
    assert [item for item in found.items[1].tolist() if item > 20] == [item for item in found.items[0].tolist() if item]


def test_a_number_with_leading_zeros_or_signs_is_unknown_unless_it_is_an_id():
    numbers = Numbers(np.array([3, 12]), "items")
    assert numbers.ids(["12", "03"]).tolist() == [12, 3]
    for word in ("-3", "3.0", "٣", "9" * 30):
        with pytest.raises(DataError, match="expected items of the data"):
            numbers.ids(["3", word])


def test_evaluate_tells_parts_and_lists_and_keeps_its_keys(samrec, place):
    code, out, err = samrec(
        "evaluate", "run", "--by", "length", "--by", "popularity", "--beyond", 5, "--json", "--threads", 1
    )
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert {"run", "split", "seen", "metrics", "standard_errors", "users", "protocol", "conditions"} <= found.keys()
    assert sum(stratum["targets"] for stratum in found["strata"]["length"]) == 60
    assert {stratum["name"] for stratum in found["strata"]["head_tail"]} <= {"head", "tail", "not in training"}
    weighted = sum(part["targets"] * part["metrics"]["HR@10"] for part in found["strata"]["popularity"])
    assert weighted / 60 == pytest.approx(found["metrics"]["HR@10"])
    assert found["beyond_accuracy"]["k"] == 5
    assert "published" not in found
    text = samrec("evaluate", "run", "--by", "length", "--beyond", 5)[1]
    assert "by the number of items before the target" in text
    assert "popularity lift" in text


def test_evaluate_says_beside_below_that_a_cap_stopped_the_run(samrec, place, monkeypatch):
    data = {small_runs.data().fingerprint: "Beauty"}
    monkeypatch.setattr("samrec.evaluation.reference_book.DATA_SETS", data)
    monkeypatch.setattr("samrec.evaluation.reference_book.published_method", lambda _: ("SASRec", "ce"))
    found = json.loads(samrec("evaluate", "run", "--json")[1])["published"]
    assert found["metrics"]["HR@10"]["verdict"] == "below"
    assert found["cut_short"] == ["stopped by the cap of 1 epoch (published: at most 200, with early stopping)"]
    lines = samrec("evaluate", "run")[1].splitlines()
    assert any("below by" in line and "*" in line for line in lines)
    assert f"* this run: {found['cut_short'][0]}" in " ".join(lines)


def test_a_part_of_one_user_is_told_without_an_error(place):
    found = evaluate_run(Run(place / "run"), "test")
    part = Stratum("5 to 9", 1, 1, found.metrics, dict.fromkeys(found.metrics, float("nan")))
    console = Console(file=StringIO(), width=100)
    console.print(tables(found, {"strata": {"length": [part]}}))
    line = next(line for line in console.file.getvalue().splitlines() if "5 to 9" in line)
    assert f"{found.metrics['HR@10']:.4f} " in line
    assert "±" not in line


def test_sampled_ranking_is_named_and_kept_beside_full_ranking(samrec, place):
    assert "not to be compared with full ranking" in samrec("evaluate", "run", "--sampled", 99)[1]
    full = json.loads(samrec("evaluate", "run", "--json")[1])
    sampled = json.loads(samrec("evaluate", "run", "--sampled", 99, "--seed", 3, "--json")[1])
    assert full["protocol"] != sampled["protocol"]
    assert sampled["metrics"]["HR@10"] > full["metrics"]["HR@10"]
    assert read_evaluation(place / "run").protocol == full["protocol"]
    kept = read_evaluation(place / "run", candidates=Candidates(99, seed=3))
    assert kept.summary() == {name: sampled[name] for name in kept.summary()}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("evaluate", "run", "--threads", "0"), "threads"),
        (("evaluate", "run", "--sampled", "0"), "sampled"),
        (("evaluate", "run", "--sampled", "199"), "expected 199 items to draw for every user"),
        (("evaluate", "run", "--sampled", "9", "--beyond", "5"), "without --sampled"),
        (("evaluate", "run", "--by", "age"), "age"),
        (("evaluate", "run", "--device", "abacus"), "abacus"),
        (("robustness", "run"), "got neither"),
        (("robustness", "run", "--noise", "2"), "from 0 to 1"),
        (("robustness", "run", "--noise", "much"), "numbers separated by commas"),
        (("robustness", "run", "--truncate", "2.5"), "whole numbers"),
        (("evaluate", "run", "--beyond", "201"), "lists of 1 to 200 items, as many as there are, got 201"),
        (("data", "prepare", ".", "--out", "x", "--name", "x"), ". is a folder; expected a raw log"),
        (("robustness", "run", "--truncate", "17"), "1 to 16 items"),
        (("robustness", "run", "--noise", "0.1", "--how", "swap"), "replace or insert"),
        (("robustness", "run", "--noise", "0.1", "--threads", "0"), "threads"),
    ],
)
def test_misuse_of_evaluate_and_robustness_is_one_line(arguments, word, samrec):
    assert_one_line(samrec(*arguments), word)


def test_robustness_is_told_in_json_and_in_a_table(samrec):
    arguments = ("robustness", "run", "--noise", "0.1,0.5", "--truncate", "2,2", "--seed", 1)
    code, out, err = samrec(*arguments, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert [(one["kind"], one["amount"]) for one in found["perturbed"]] == [
        ("replace", 0.1),
        ("replace", 0.5),
        ("truncate", 2.0),
    ]
    assert json.loads(samrec(*arguments, "--json")[1]) == found
    assert found["metrics"] == json.loads(samrec("evaluate", "run", "--json")[1])["metrics"]
    text = samrec(*arguments)[1]
    assert "replace 50%" in text
    assert "newest 2 items" in text
