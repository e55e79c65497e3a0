"""Leave-one-out against slicing each sequence in a loop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from samrec_tests.shared import interactions_of, real_file, rows_of, sequences

from samrec.data.s3rec_text import read_s3rec_text
from samrec.data.split import evaluation_sequences, seen_items, training_sequences
from samrec.errors import DataError

max_lengths = st.sampled_from([1, 2, 5, 50])


@given(sequences(), max_lengths)
def test_training_reads_all_but_three_and_predicts_one_further(rows, max_length):
    split = training_sequences(interactions_of(rows), max_length)
    expected = [(user, row) for user, row in enumerate(rows) if len(row) > 3]
    assert split.users.tolist() == [user for user, _ in expected]
    assert rows_of(split.items, split.offsets) == [row[:-3][-max_length:] for _, row in expected]
    assert rows_of(split.targets, split.offsets) == [row[1:-2][-max_length:] for _, row in expected]
    assert split.lengths.tolist() == [min(len(row) - 3, max_length) for _, row in expected]


@given(sequences(), max_lengths, st.sampled_from([("validation", 2), ("test", 1)]))
def test_evaluation_reads_what_comes_before_its_target(rows, max_length, split_and_place):
    name, place = split_and_place
    split = evaluation_sequences(interactions_of(rows), name, max_length)
    assert split.users.tolist() == list(range(len(rows)))
    assert rows_of(split.items, split.offsets) == [row[:-place][-max_length:] for row in rows]
    assert split.targets.tolist() == [row[-place] for row in rows]


@given(sequences())
def test_seen_items_are_the_whole_history_before_the_target(rows):
    made = interactions_of(rows)
    assert rows_of(*seen_items(made, "test")) == [row[:-1] for row in rows]
    assert rows_of(*seen_items(made, "validation")) == [row[:-2] for row in rows]
    assert rows_of(*seen_items(made, "train")) == [row[:-2] for row in rows]


@given(sequences())
def test_no_held_out_item_is_read_or_predicted_in_training(rows):
    marked = [[*range(1, len(row) - 1), 100, 200] for row in rows]
    split = training_sequences(interactions_of(marked))
    assert not {100, 200} & {*split.items.tolist(), *split.targets.tolist()}


def test_misuse_is_named():
    made = interactions_of([[1, 2, 3]])
    with pytest.raises(DataError, match="max_length"):
        training_sequences(made, 0)
    with pytest.raises((DataError, TypeCheckError), match="split"):  # the second where types are checked at run time
        evaluation_sequences(made, "dev")


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("Beauty", 128031), ("Sports_and_Outdoors", 187944), ("Toys_and_Games", 106592), ("Yelp", 217739)],
)
def test_training_has_the_known_number_of_tokens(name, tokens):
    made = read_s3rec_text(real_file(f"{name}.txt"))
    split = training_sequences(made)
    assert len(split.items) == len(split.targets) == split.offsets[-1] == tokens
    assert len(split) == made.users
