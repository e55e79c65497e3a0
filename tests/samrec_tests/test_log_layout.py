"""What is found out about a raw log before it is read: its format, and which column is which."""

import pytest
from samrec_tests.raw_logs import file_of, read_log_of

from samrec.data.raw_logs.layout import find_layout
from samrec.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.csv", "user,item,time\n", "csv"),
        ("x.csv", "user\titem\ttime\n", "csv"),
        ("x", "user\titem\ttime\n", "tsv"),
        ("x.inter", "user_id:token\titem_id:token\ttimestamp:float\n", "tsv"),
        ("ratings.dat", "1::2::3::4\n", "movielens"),
        ("u.data", "1\t2\t3\t4\n", "movielens"),
        ("x.json", '{"reviewerID": "a", "asin": "b", "unixReviewTime": 1}\n', "amazon"),
        ("x.json", '{"user_id": "a", "business_id": "b", "date": "2019-01-01"}\n', "yelp"),
        ("x.json", '{"user_id": "a", "parent_asin": "b", "timestamp": 1}\n', "jsonl"),
    ],
)
def test_the_format_is_told_by_name_and_first_line(tmp_path, name, content, told):
    path = file_of(tmp_path, name, content)
    if content.count("\t") and name == "x.csv":
        with pytest.raises(DataError, match="no column known to tell the user"):
            find_layout(path)
    else:
        assert find_layout(path).format == told


def test_a_format_nobody_can_tell_asks_for_it(tmp_path):
    with pytest.raises(DataError, match="give --format"):
        find_layout(file_of(tmp_path, "x.bin", "what is this\n"))
    with pytest.raises(ConfigError, match="expected one of the formats"):
        find_layout(file_of(tmp_path, "x.bin", "what is this\n"), format="xml")


def test_columns_are_named_by_option(tmp_path):
    path = file_of(tmp_path, "own.csv", "who;what;when\nu;i;1\n")
    with pytest.raises(DataError, match="give --user-column, one of who, what, when"):
        find_layout(path, separator=";")
    log = read_log_of(path, separator=";", user_column="who", item_column="what", time_column="when")
    assert log.item_names.to_list() == ["i"]
    with pytest.raises(DataError, match="no column 'whom'"):
        find_layout(path, separator=";", user_column="whom")
    with pytest.raises(DataError, match=r"one of who, '\\x07\\t'$"):
        find_layout(file_of(tmp_path, "odd.csv", "who,\a\t\n"))
    bare = file_of(tmp_path, "bare.csv", "5,i,u\n")
    log = read_log_of(bare, header=False, user_column="3", item_column="2", time_column="1")
    assert (log.user_names.to_list(), log.times.tolist()) == (["u"], [5 * 10**6])
    with pytest.raises(DataError, match="a number from 1 to 3"):
        find_layout(bare, header=False, user_column="4")
