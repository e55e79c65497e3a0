"""The S3-Rec text format: what is read, what is refused, and on which line."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samrec_tests.s3rec_files import write_s3rec_text
from samrec_tests.shared import interactions_of, real_file, rows_of, sequences

from samrec.data.interactions import Attributes, Interactions
from samrec.data.s3rec_text import attributes_path, read_s3rec_text
from samrec.errors import DataError


def written(folder, content):
    path = folder / "log.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(folder, content, **options):
    with pytest.raises(DataError) as caught:
        read_s3rec_text(written(folder, content), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def slow_reading(text):
    lines = [[int(word) for word in line.split()] for line in text.splitlines()]
    return [line[0] for line in lines], [line[1:] for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


lines = st.lists(
    st.tuples(st.integers(1, 2**31 - 1), st.lists(st.integers(1, 2**31 - 1), min_size=3, max_size=9)),
    min_size=1,
    max_size=8,
    unique_by=lambda line: line[0],
)


@given(lines, st.sampled_from([" ", "  ", "\t"]), st.sampled_from(["\n", "\r\n", " \n"]), st.booleans())
def test_a_file_reads_as_splitting_its_lines_would(folder, lines, space, newline, ends_open):
    text = newline.join(space.join(map(str, [user, *items])) for user, items in lines) + ("" if ends_open else newline)
    read = read_s3rec_text(written(folder, text))
    users, rows = slow_reading(text)
    assert read.user_ids.tolist() == users
    assert rows_of(read.items, read.offsets) == rows
    assert read.item_count == max(map(max, rows))
    assert read.items.dtype == np.int32


@given(sequences(), st.data())
def test_writing_and_reading_gives_the_same_back(folder, rows, data):
    made = interactions_of(rows, user_ids=data.draw(st.permutations(range(1, len(rows) + 1))))
    path = folder / "round" / "trip.txt"
    path.parent.mkdir(exist_ok=True)
    write_s3rec_text(made, path)
    back = read_s3rec_text(path)
    assert back.fingerprint == made.fingerprint
    assert back.user_ids.tolist() == made.user_ids.tolist()
    assert [file.name for file in path.parent.iterdir()] == ["trip.txt"]


def test_attributes_survive_writing_and_reading(tmp_path):
    plain = interactions_of([[1, 2, 4]])
    known = Attributes(np.array([7, 3, 5], np.int64), np.array([0, 0, 2, 2, 2, 3], np.int64), 7)
    made = Interactions("made", plain.items, plain.offsets, 4, plain.user_ids, known)
    write_s3rec_text(made, tmp_path / "made.txt")
    back = read_s3rec_text(tmp_path / "made.txt").attributes
    assert back.count == 7
    assert rows_of(back.values, back.offsets) == [[], [7, 3], [], [], [5]]
    assert back.of(1).tolist() == [7, 3]


def test_attributes_of_items_nobody_has_are_passed_over(tmp_path):
    path = written(tmp_path, "1 1 2 3\n")
    attributes_path(path).write_text(json.dumps({"2": [4, 1], "99": [8]}))
    read = read_s3rec_text(path)
    assert read.item_count == 3
    assert read.attributes.of(2).tolist() == [4, 1]
    assert read.attributes.count == 4


@pytest.mark.parametrize("content", ["[1]", '{"a": [1]}', '{"1": 2}', '{"1": [0]}', '{"1": [true]}', "{", "\xff"])
def test_malformed_attributes_are_refused_and_their_file_is_named(tmp_path, content):
    path = written(tmp_path, "1 1 2 3\n")
    attributes_path(path).write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=r"log_item2attributes\.json"):
        read_s3rec_text(path)


def test_a_byte_order_mark_is_no_part_of_the_first_user(tmp_path):
    assert read_s3rec_text(written(tmp_path, b"\xef\xbb\xbf5 1 2 3\n")).user_ids.tolist() == [5]


@pytest.mark.parametrize(
    ("content", "line", "complaint"),
    [
        ("1 1 2 3\n\n2 1 2 3\n", 2, "is empty"),
        ("1 1 2 3\n \t\n2 1 2 3\n", 2, "is empty"),
        ("\n1 1 2 3\n", 1, "is empty"),
        ("1 1 2 3\n\n", 2, "is empty"),
        ("1 1 2 3\n2 1 x 3\n", 2, "'x'"),
        ("1 1 2 3\n2 1 2.5 3\n", 2, "'2.5'"),
        ("1 1 2 3\n2 1 -2 3\n", 2, "'-2'"),
        ("1 1 2 3\n2 1 0 3\n", 2, "'0'"),
        ("0 1 2 3\n", 1, "'0'"),
        ("1 1 2 3\n2 1 2147483648 3\n", 2, "'2147483648'"),
        ("1 1 2 3\n2 1 18446744073709551617 3\n", 2, "'18446744073709551617'"),
        ("1,1,2,3\n", 1, "'1,1,2,3'"),
        ("1 1 2 3\n2 1 \u0663 3\n", 2, "'\u0663'"),
        ("1 1 2 3\n3 1 2 3\n3 4 5 6\n1 4 5 6\n", 3, "user 3 was already on line 2"),
        ("1 1 2 3\n2\n", 2, "no items"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(tmp_path, content, line, complaint):
    message = refusal(tmp_path, content)
    assert f"log.txt, line {line}: " in message
    assert complaint in message


@given(st.data())
def test_the_first_of_several_bad_words_is_the_one_named(folder, data):
    words = data.draw(st.lists(st.sampled_from(["1", "20", "0", "x", "-1", "99999999999"]), min_size=4, max_size=8))
    words[data.draw(st.integers(1, len(words) - 1))] = "y"
    first = next(word for word in words if word not in ("1", "20"))
    assert f"line 1: {first!r}" in refusal(folder, " ".join(words) + "\n")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"1": [2]}', "JSON"),
        (b"[[1, 2]]", "JSON"),
        (b"\x89HDF\r\n\x1a\n....", "HDF5"),
        (b"\x1f\x8b\x08....", "gzip"),
        (b"PK\x03\x04....", "zip"),
        (b"PAR1....", "Parquet"),
        (b"1 2 \x00\x01", "binary"),
        (b"", "empty"),
        (b"\n\n", "empty"),
    ],
)
def test_a_file_of_another_format_is_recognised(tmp_path, content, what):
    message = refusal(tmp_path, content)
    assert what in message
    assert "S3-Rec text format" in message


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_s3rec_text(tmp_path / "none.txt")


def test_sequences_under_three_items_are_dropped_and_counted(tmp_path):
    read = read_s3rec_text(written(tmp_path, "1 1 2\n2 1 2 3\n3 9\n"))
    assert (read.users, read.dropped, read.user_ids.tolist()) == (1, 2, [2])
    assert read.item_count == 9, "ids of dropped sequences stay ids of the file"


def test_strict_refuses_short_sequences_by_line(tmp_path):
    assert "line 1 (and 1 more): has fewer than 3 items" in refusal(tmp_path, "1 1 2\n2 1 2 3\n3 9\n", strict=True)


def test_a_file_of_short_sequences_only_is_refused(tmp_path):
    assert "no sequence of 3 or more items" in refusal(tmp_path, "1 1 2\n3 9\n")


def test_the_fingerprint_follows_content_and_nothing_else():
    made = interactions_of([[1, 2, 3], [3, 1, 2]])
    assert made.fingerprint == interactions_of([[1, 2, 3], [3, 1, 2]], user_ids=[8, 9]).fingerprint
    others = [
        interactions_of([[1, 2, 3], [3, 2, 1]]),
        interactions_of([[1, 2, 3], [3, 1, 2]], item_count=4),
        interactions_of([[1, 2, 3, 3], [1, 2, 3]]),
        interactions_of([[1, 2, 3], [3, 1, 2, 3]]),
    ]
    assert len({made.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_interactions_cannot_be_changed_under_their_fingerprint():
    with pytest.raises(ValueError, match="read-only"):
        interactions_of([[1, 2, 3]]).items[0] = 2


@pytest.mark.parametrize("rows", [[[1, 2]], [[1, 2, 0]], []])
def test_interactions_that_break_the_rules_cannot_be_made(rows):
    with pytest.raises(DataError):
        interactions_of(rows, item_count=5)


@given(sequences())
def test_statistics_equal_counting_by_hand(rows):
    told = interactions_of(rows, item_count=9).describe(max_length=4)
    assert told["interactions"] == sum(map(len, rows))
    assert told["users_with_repeats"] == sum(len(set(row)) < len(row) for row in rows)
    assert told["test_targets_already_seen"] == pytest.approx(sum(row[-1] in row[:-1] for row in rows) / len(rows))
    assert told["training_tokens"] == sum(len(row[:-3][-4:]) for row in rows)
    assert told["density"] == pytest.approx(sum(len(set(row)) for row in rows) / (9 * len(rows)))
    assert (told["shortest"], told["longest"]) == (min(map(len, rows)), max(map(len, rows)))


@pytest.mark.parametrize(
    ("name", "users", "items", "interactions", "longest", "attributes", "repeats", "tokens"),
    [
        ("Beauty", 22363, 12101, 198502, 204, 637, 0, 128031),
        ("Sports_and_Outdoors", 35598, 18357, 296337, 296, 2277, 0, 187944),
        ("Toys_and_Games", 19412, 11924, 167597, 550, 1027, 0, 106592),
        ("Yelp", 30431, 20033, 316354, 350, 1001, 7102, 217739),
    ],
)
def test_the_real_files_hold_what_is_known_of_them(
    name, users, items, interactions, longest, attributes, repeats, tokens
):
    told = read_s3rec_text(real_file(f"{name}.txt"), strict=True).describe()
    assert (told["users"], told["items"], told["interactions"], told["longest"]) == (
        users,
        items,
        interactions,
        longest,
    )
    assert (told["attributes"], told["users_with_repeats"], told["training_tokens"]) == (attributes, repeats, tokens)


def test_a_real_file_reads_as_splitting_its_lines_would():
    path = real_file("Yelp.txt")
    read = read_s3rec_text(path)
    users, rows = slow_reading(path.read_text())
    assert read.user_ids.tolist() == users
    assert rows_of(read.items, read.offsets) == rows


def test_on_yelp_6_7_percent_of_the_test_targets_were_seen_before():
    told = read_s3rec_text(real_file("Yelp.txt")).describe()
    assert round(100 * told["test_targets_already_seen"], 1) == 6.7
