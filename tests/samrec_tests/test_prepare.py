"""`samrec data prepare`: the files it leaves, what it says, and that it never leaves half of anything."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from samrec_tests.raw_logs import write_log
from typer.testing import CliRunner

from samrec.cli.data import data
from samrec.data.catalog import open_data
from samrec.data.id_map import read_id_map
from samrec.data.prepare import Choices, prepare_data
from samrec.data.times_file import times_path
from samrec.errors import ConfigError, DataError

DAY = 86400
ROWS = [(f"user {user}", f"é{item}", (item - user) % 7 * DAY, 4) for item in range(6) for user in range(6)]
META = [str({"asin": f"é{item}", "categories": [["All", f"Kind {item % 2}"]]}) for item in range(6)]


@pytest.fixture
def raw(tmp_path):
    return write_log(tmp_path, ROWS, "amazon")


@pytest.fixture
def meta(tmp_path):
    path = tmp_path / "meta.json"
    path.write_text("\n".join(META))
    return path


def run(*words):
    return CliRunner().invoke(data, [*map(str, words)])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_prepared_data_set_opens_with_times_attributes_and_own_ids(tmp_path, raw, meta):
    record = prepare_data(raw, tmp_path / "out", "Made", metadata=meta)
    made = open_data("made", data_dir=tmp_path / "out")
    own = read_id_map(tmp_path / "out" / "Made.txt", "items")
    users = read_id_map(tmp_path / "out" / "Made.txt", "users")
    for row, number in enumerate(made.user_ids.tolist()):
        mine = sorted((row for row in ROWS if row[0] == users.own([number])[0]), key=lambda one: one[2])
        assert own.own(made.sequence(row).tolist()) == [item for _, item, _, _ in mine]
        times = made.times[made.offsets[row] : made.offsets[row + 1]]
        assert times.tolist() == [time * 10**6 for _, _, time, _ in mine]
    assert made.attributes.of(1).tolist() == [1]
    assert made.attributes.of(2).tolist() == [2]
    assert json.loads((tmp_path / "out" / "Made_attributes.json").read_text()) == {
        "1": "category: Kind 0",
        "2": "category: Kind 1",
    }
    assert record["metadata"]["items_described"] == 6
    assert names(tmp_path / "out") == [
        "Made.json",
        "Made.txt",
        "Made_attributes.json",
        "Made_item2attributes.json",
        "Made_items.parquet",
        "Made_times.parquet",
        "Made_users.parquet",
    ]


def test_the_same_log_gives_the_same_bytes(tmp_path, raw):
    for folder in ("a", "b"):
        prepare_data(raw, tmp_path / folder, "Made")
    for name in names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_the_provenance_names_no_place_on_this_machine(tmp_path, raw):
    prepare_data(raw, tmp_path / "out", "Made")
    assert str(tmp_path) not in (tmp_path / "out" / "Made.json").read_text()


def test_a_data_set_is_replaced_only_when_told_so_and_then_wholly(tmp_path, raw, meta):
    out = tmp_path / "out"
    prepare_data(raw, out, "Made", metadata=meta)
    before = (out / "Made.json").read_bytes()
    with pytest.raises(DataError, match="--overwrite"):
        prepare_data(raw, out, "Made", choices=Choices(k=1))
    assert (out / "Made.json").read_bytes() == before
    prepare_data(raw, out, "Made", overwrite=True)
    assert open_data("Made", data_dir=out).attributes is None
    assert "Made_attributes.json" not in names(out)


def test_what_fails_leaves_nothing(tmp_path, raw, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("samrec.data.prepare.write_times", full)
    with pytest.raises(DataError, match="No space left"):
        prepare_data(raw, tmp_path / "out", "Made")
    assert names(tmp_path / "out") == []
    with pytest.raises(DataError, match="cannot be made"):
        prepare_data(raw, raw / "folder", "Made")
    with pytest.raises(ConfigError, match="plain name"):
        prepare_data(raw, tmp_path / "out", "../Made")


def test_a_dry_run_tells_all_and_writes_nothing(tmp_path, raw):
    done = run("prepare", raw, "--out", tmp_path / "out", "--name", "Made", "--dry-run", "--json")
    told = json.loads(done.stdout)
    assert (told["written"], told["counts"]["interactions"]) == (None, len(ROWS))
    assert not (tmp_path / "out").exists()


def test_the_command_counts_names_and_describes(tmp_path):
    path = write_log(tmp_path, ROWS, "dat", broken=[(1, "user 1::é1::5")])
    done = run("prepare", path, "--out", tmp_path / "out", "--name", "Made", "--until", "1970-01-06")
    assert done.exit_code == 0, done.output
    assert "line 2: wrong number of columns: 'user 1::é1::5'" in done.stdout
    late = sum(time >= 6 * DAY for _, _, time, _ in ROWS)
    assert f"{late:,}  left out, outside the dates asked for" in done.stdout
    told = json.loads(run("describe", tmp_path / "out" / "Made.txt", "--json").stdout)
    assert (told["own_ids_of_users"], told["own_ids_of_items"]) == (told["users"], told["items"])
    assert told["times"] == "1970-01-01 to 1970-01-06"
    table = run("describe", tmp_path / "out" / "Made.txt").stdout
    assert "own ids of users" in table
    assert "1970-01-01 to 1970-01-06" in table


def test_options_reach_the_reader(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text("".join(f"{time}000|{user}|{item}|{rating}\n" for user, item, time, rating in ROWS))
    words = ["prepare", path, "--out", tmp_path / "out", "--name", "Made", "--format", "csv", "--separator", "|",
             "--no-header", "--user-column", 2, "--item-column", 3, "--time-column", 1, "--rating-column", 4,
             "--min-rating", 4, "--time-unit", "milliseconds", "--k", 6, "--duplicates", "first", "--json"]  # fmt: skip
    told = json.loads(run(*words).stdout)
    assert told["counts"]["interactions"] == len(ROWS)
    assert told["first_time"] == "1970-01-01T00:00:00.000000"
    assert told["last_time"] == "1970-01-07T00:00:00.000000"


def test_a_log_without_a_core_is_refused(tmp_path, raw):
    with pytest.raises(DataError, match="the 7-core of 36 interactions is empty"):
        prepare_data(raw, tmp_path / "out", "Made", choices=Choices(k=7))
    assert not (tmp_path / "out").exists()


def test_times_and_maps_of_other_data_are_refused(tmp_path, raw):
    prepare_data(raw, tmp_path / "out", "Made")
    text = tmp_path / "out" / "Made.txt"
    text.write_text("1 1 2 3\n")
    with pytest.raises(DataError, match="times of other interactions"):
        open_data(text)
    pl.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3], "time": [1, 2, 3]}).write_parquet(times_path(text))
    with pytest.raises(DataError, match="timestamps"):
        open_data(text)
    times_path(text).write_bytes(b"no Parquet")
    with pytest.raises(DataError, match="Parquet"):
        open_data(text)


def test_ids_go_both_ways_and_unknown_ones_are_named(tmp_path, raw):
    prepare_data(raw, tmp_path / "out", "Made")
    own = read_id_map(tmp_path / "out" / "Made.txt", "items")
    every = np.arange(1, len(own) + 1)
    assert own.ids(own.own(every.tolist())).tolist() == every.tolist()
    with pytest.raises(DataError, match="'é9' is none of the 6 items"):
        own.ids(["é1", "é9"])
    with pytest.raises(DataError, match="did you mean user"):
        read_id_map(tmp_path / "out" / "Made.txt", "users").ids(["user 9"])
    with pytest.raises(DataError, match="expected items from 1 to 6, got 0"):
        own.own([1, 0])
    with pytest.raises(DataError, match="there is no id map"):
        read_id_map(tmp_path / "Other.txt", "users")
    pl.DataFrame({"id": [1, 3], "own": ["a", "b"]}).write_parquet(tmp_path / "Other_users.parquet")
    with pytest.raises(DataError, match="expected the ids 1, 2, 3"):
        read_id_map(tmp_path / "Other.txt", "users")


def test_asking_for_help_loads_neither_polars_nor_pooch_nor_torch():
    for words in (["--help"], ["data", "--help"], ["data", "prepare", "--help"], ["data", "fetch", "--help"]):
        check = (
            f"import sys; sys.argv = ['samrec', *{words}]; from samrec.cli.main import main\n"
            "try: main()\n"
            "except SystemExit: assert not {'polars', 'pooch', 'requests', 'torch', 'numpy'} & set(sys.modules)\n"
        )
        assert subprocess.run([sys.executable, "-c", check], check=False, capture_output=True).returncode == 0
