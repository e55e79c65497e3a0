"""Raw logs of every format against a slow, obvious way to the same text; then rows that cannot be used."""

import csv
import gzip
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samrec_tests.raw_logs import FORMATS, OPTIONS, awkward_ids, file_of, logs, read_log_of, slow_text, write_log

from samrec.data.id_map import read_id_map
from samrec.data.moments import moment
from samrec.data.prepare import Choices, prepare_data
from samrec.data.raw_logs.layout import find_layout
from samrec.data.raw_logs.read import read_log
from samrec.data.raw_logs.records import RECORD, read_records
from samrec.data.s3rec_text import read_s3rec_text
from samrec.errors import ConfigError, DataError

DAY = 86400
ROWS = [("u", f"i{place}", place * DAY, 3) for place in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


def prepared(folder, path, *, layout=None, **choices):
    out = folder / "out"
    record = prepare_data(path, out, "made", layout=layout, choices=Choices(**choices), overwrite=True)
    return out / "made.txt", record


def refusal(path, strict=False, **options):
    with pytest.raises(DataError) as caught:
        read_log_of(path, strict=strict, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=25)
@given(rows=logs(), k=st.integers(1, 4), duplicates=st.sampled_from(["keep", "first"]))
def test_every_format_gives_the_text_of_the_obvious_way(folder, form, rows, k, duplicates):
    path = write_log(folder, rows, form)
    expected = slow_text(rows, k, duplicates=duplicates)
    layout = find_layout(path, **OPTIONS.get(form, {}))
    if expected is None:
        with pytest.raises(DataError, match=r"empty|thin"):
            prepared(folder, path, layout=layout, k=k, duplicates=duplicates)
        return
    text, record = prepared(folder, path, layout=layout, k=k, duplicates=duplicates)
    assert text.read_bytes() == expected[0].encode()
    assert read_id_map(text, "users").own(range(1, len(expected[1]) + 1)) == expected[1]
    assert read_id_map(text, "items").own(range(1, len(expected[2]) + 1)) == expected[2]
    assert record["counts"]["rows"] == len(rows)
    assert record["counts"]["malformed"] == 0


@settings(max_examples=50)
@given(logs(awkward_ids), st.integers(1, 2))
def test_quoted_fields_may_hold_separators_quotes_and_line_ends(folder, rows, k):
    path = write_log(folder, rows, "quoted csv")
    expected = slow_text(rows, k)
    if expected is not None:
        text, _ = prepared(folder, path, k=k)
        assert text.read_bytes() == expected[0].encode()
        assert read_id_map(text, "items").own(range(1, len(expected[2]) + 1)) == expected[2]


@pytest.mark.parametrize("form", ["csv", "quoted csv", "dat", "amazon"])
@settings(max_examples=40)
@given(rows=logs(awkward_ids), block=st.integers(1, 200))
def test_the_size_of_a_block_changes_nothing(folder, form, rows, block):
    if form != "quoted csv":
        rows = [(f"u{ord(user[0])}", f"i{ord(item[0])}", time, rating) for user, item, time, rating in rows]
    path = write_log(folder, rows, form)
    whole, pieces = read_log_of(path), read_log_of(path, block=block)
    for log in (whole, pieces):
        assert log.user_names.gather(log.users).to_list() == [row[0] for row in rows]
        assert log.item_names.gather(log.items).to_list() == [row[1] for row in rows]
        assert log.times.tolist() == [row[2] * 10**6 for row in rows]


@settings(max_examples=50)
@given(
    logs(),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([None, 2, 3.5]),
    st.sampled_from(["csv", "amazon", "yelp", "dat", "parquet"]),
)
def test_dates_and_ratings_choose_rows(folder, rows, first, last, min_rating, form):
    path = write_log(folder, rows, form)
    log_layout = find_layout(path, needs_rating=min_rating is not None)
    bounds = {"since": first * DAY, "until": last * DAY}
    expected = slow_text(rows, 1, min_rating=min_rating, **bounds)
    scaled = {name: seconds * 10**6 for name, seconds in bounds.items()}
    if expected is None:
        with pytest.raises(DataError):
            prepared(folder, path, layout=log_layout, k=1, min_rating=min_rating, **scaled)
    else:
        text, _ = prepared(folder, path, layout=log_layout, k=1, min_rating=min_rating, **scaled)
        assert text.read_bytes() == expected[0].encode()


BROKEN = {
    "csv": {
        "u,a title,i,3": "wrong number of columns",
        "u,a title,i,3,1,1": "wrong number of columns",
        ",a title,i,3,1": "no user",
        "u,a title,,3,1": "no item",
        "u,a title,i,3,": "no time",
        "u,a title,i,3,soon": "a time that cannot be read",
        "u,a title,i,3,inf": "a time that cannot be read",
        "u,a title,i,3,99999999999999999999": "a time that cannot be read",
        'u,"a" title,i,3,1': "text after a closing quote",
    },
    "tsv": {"u\ti\t3": "wrong number of columns", "u i 3 5": "wrong number of columns"},
    "dat": {"u::i::3": "wrong number of columns", "u::i::3::now": "a time that cannot be read"},
    "amazon": {
        '{"reviewerID": "u"': "no JSON object",
        "[1, 2]": "no JSON object",
        '{"reviewerID": "u", "unixReviewTime": 3}': "no item",
        '{"asin": "i", "unixReviewTime": 3}': "no user",
        '{"reviewerID": "u", "asin": "i"}': "no time",
        '{"reviewerID": "u", "asin": "i", "unixReviewTime": "then"}': "a time that cannot be read",
        '{"reviewerID": ["u"], "asin": "i", "unixReviewTime": 3}': "no user",
    },
    "yelp": {
        '{"user_id": "u", "business_id": "i", "date": "2019-13-01 00:00:00"}': "a time that cannot be read",
        '{"user_id": "u", "business_id": null, "date": "2019-01-01 00:00:00"}': "no item",
    },
}


@pytest.mark.parametrize(
    ("form", "line", "problem"), [(form, *case) for form, cases in BROKEN.items() for case in cases.items()]
)
@pytest.mark.parametrize("block", [40, 1 << 24])
def test_a_malformed_row_is_counted_named_and_under_strict_refused(folder, form, line, problem, block):
    path = write_log(folder, ROWS, form, broken=[(2, line), (2, "")])
    log = read_log_of(path, block=block)
    at = 4 + (form in ("csv", "tsv"))  # after a header, two rows, and a blank line
    assert log.item_names.gather(log.items).to_list() == [row[1] for row in ROWS]
    assert (log.rows, log.malformed) == (5, {problem: 1})
    assert [(one.line, one.problem) for one in log.examples] == [(at, problem)]
    message = refusal(path, strict=True)
    assert f"line {at}: {problem}" in message


def test_lines_are_counted_over_line_ends_inside_quotes(folder):
    path = file_of(folder, "a.csv", 'user,item,time\r\n"u\n\nu",i,1\r\n\r\nu,i,x\r\nu,"j\n",2\r\nu,i')
    log = read_log_of(path)
    assert [(one.line, one.problem) for one in log.examples] == [
        (6, "a time that cannot be read"),
        (9, "wrong number of columns"),
    ]
    assert log.item_names.gather(log.items).to_list() == ["i", "j\n"]
    assert log.user_names.gather(log.users).to_list() == ["u\n\nu", "u"]


@settings(max_examples=300)
@given(st.text(st.sampled_from('a,"\n'), max_size=25), st.integers(1, 30))
def test_quotes_mean_what_they_mean_to_the_csv_module(folder, text, block):
    path = file_of(folder, "any.csv", text)
    expected = [row for row in csv.reader(text.splitlines(keepends=True)) if row not in ([], [""])]
    if ends_inside_quotes(text):
        with pytest.raises(DataError, match="does not end within the file"):
            list(read_records(path, separator=",", quotes=True, block=block))
        return
    found = list(read_records(path, separator=",", quotes=True, block=block))
    rows = [record.split(part.separator) for part in found for record in part.text]
    astray = [flag for part in found for flag in part.astray]
    assert [[field.replace(RECORD, "\n") for field in row] for row in rows] == expected
    assert any(astray) == raises_when_strict(text)


def ends_inside_quotes(text):
    lines = [line if line.endswith("\n") else line + "\n" for line in text.splitlines(keepends=True)]
    return list(csv.reader([*lines, "END"]))[-1] != ["END"]


def raises_when_strict(text):
    try:
        list(csv.reader(text.splitlines(keepends=True), strict=True))
    except csv.Error:
        return True
    return False


def test_a_quote_that_is_never_closed_is_named_and_can_be_read_as_a_character(folder):
    path = file_of(folder, "open.csv", 'user,title,item,time\nu,"a,i,1\nu,b,j,2\n')
    message = refusal(path)
    assert "line 2" in message
    assert "--no-quotes" in message
    assert read_log_of(path, quotes=False).item_names.to_list() == ["i", "j"]


def test_text_that_is_not_utf8_matters_only_where_ids_are(folder):
    path = file_of(folder, "latin.csv", "user,title,item,time\nu,é,é,1\nu,é,i,2\n".encode("latin-1"))
    log = read_log_of(path)
    assert log.malformed == {"text that is not UTF-8": 1}
    assert log.item_names.to_list() == ["i"]


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(folder):
    path = file_of(folder, "windows.csv", b"\xef\xbb\xbfuser,item,time\r\nu,i,1\r\nu,j,2")
    assert read_log_of(path).item_names.to_list() == ["i", "j"]


def test_a_log_in_which_no_row_can_be_used_is_refused_with_the_reasons(folder):
    path = file_of(folder, "bad.csv", "user,item,time\nu,i,x\nu,i\n")
    message = refusal(path)
    assert "none of 2 rows can be used" in message
    assert "line 2: a time that cannot be read: 'u,i,x'" in message
    assert "has no rows" in refusal(file_of(folder, "head.csv", "user,item,time\n"))
    with pytest.raises(DataError, match="is empty"):
        find_layout(file_of(folder, "empty.csv", "\n\n"))


def test_a_compressed_log_that_was_cut_is_refused(folder):
    whole = gzip.compress(write_log(folder, ROWS * 500, "csv").read_bytes())
    assert "ends in the middle" in refusal(file_of(folder, "cut.csv.gz", whole[: len(whole) // 2]))
    broken = whole[:100] + b"\x00" * 20 + whole[120:]
    assert "decompressed" in refusal(file_of(folder, "broken.csv.gz", broken))


def test_parquet_dates_numbers_and_gaps(folder):
    path = folder / "dates.parquet"
    times = pl.Series(["2020-01-02", "2020-01-01", None]).str.to_date()
    pl.DataFrame({"user": [1, 1, 1], "item": [7, None, 9], "date": times}).write_parquet(path)
    log = read_log_of(path)
    assert log.item_names.to_list() == ["7"]
    assert log.times.tolist() == [moment("2020-01-02")]
    assert log.malformed == {"no item": 1, "no time": 1}
    assert [str(one).partition(":")[0] for one in log.examples] == ["row 2", "row 3"]
    with pytest.raises(DataError, match="Parquet"):
        find_layout(file_of(folder, "no.parquet", b"PAR1 and then nothing"))


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("1400000000", "seconds", 1400000000 * 10**6),
        ("1400000000.25", "seconds", 1400000000250000),
        ("1.4e9", "seconds", 1400000000 * 10**6),
        (" -5 ", "seconds", -5 * 10**6),
        ("1400000000123", "milliseconds", 1400000000123000),
        ("1400000000123456789", "nanoseconds", 1400000000123456),
        ("2014-05-13", "seconds", 1399939200 * 10**6),
        ("2014-05-13 16:53:20", "seconds", 1400000000 * 10**6),
        ("2014-05-13T16:53:20.5", "seconds", 1400000000500000),
        ("2014-05-13T16:53:20Z", "seconds", 1400000000 * 10**6),
        ("2014-05-13 18:53:20+02:00", "seconds", 1400000000 * 10**6),
        ("2014-05-13 16:53", "seconds", 1399999980 * 10**6),
    ],
)
def test_times_are_read_to_the_microsecond(folder, text, unit, expected):
    path = file_of(folder, "times.csv", f"user,item,time\nu,i,{text}\n")
    log = read_log(path, find_layout(path), unit=unit)
    assert log.times.tolist() == [expected]


def test_one_bad_first_row_does_not_decide_how_time_is_written(folder):
    path = file_of(folder, "late.csv", "user,item,time\nu,i,5\nu,j,2020-01-01\nu,k,2020-01-02\n")
    log = read_log_of(path)
    assert (log.item_names.to_list(), log.malformed) == (["j", "k"], {"a time that cannot be read": 1})


def test_a_moment_is_a_date_or_seconds_and_an_end_is_the_whole_day():
    assert moment("1970-01-02") == moment("86400") == DAY * 10**6
    assert moment("1970-01-02", ends=True) == 2 * DAY * 10**6
    assert moment("1970-01-02T00:00:01+01:00", ends=True) == (DAY - 3599) * 10**6
    with pytest.raises(ConfigError, match="expected a date"):
        moment("yesterday")


def test_all_that_was_left_out_is_accounted_for(tmp_path):
    rows = [*ROWS, ("u", "i0", 9 * DAY, 5), ("u", "i1", 9 * DAY, 1), ("v", "i1", 0, 5)]
    path = write_log(tmp_path, rows, "csv", broken=[(0, "u,i")])
    choices = Choices(k=1, min_rating=2, until=9 * DAY * 10**6, strict=False)
    record = prepare_data(path, tmp_path / "o", "x", choices=choices)
    counts = record["counts"]
    assert {name: counts[name] for name in ("rows", "malformed", "outside_dates", "rated_too_low", "interactions")} == {
        "rows": 8,
        "malformed": 1,
        "outside_dates": 2,
        "rated_too_low": 0,
        "interactions": 5,
    }
    assert counts["users_too_short"] == 1
    assert json.loads((tmp_path / "o" / "x.json").read_text()) == json.loads(json.dumps(record))
    read_back = read_s3rec_text(tmp_path / "o" / "x.txt")
    assert (read_back.dropped, read_back.times.tolist()) == (1, [place * DAY * 10**6 for place in range(4)])


def test_records_of_an_empty_file_are_none(folder):
    assert list(read_records(file_of(folder, "nothing", ""))) == []
