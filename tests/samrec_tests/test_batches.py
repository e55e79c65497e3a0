import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samrec.data.batches import batches, first_fit, length_sorted_groups, pack, shuffled_groups

lengths_of_batches = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=40), min_size=1, max_size=4)


def as_matrix(ragged):
    width = max(map(len, ragged))
    return np.array([row + [0] * (width - len(row)) for row in ragged], dtype=np.int64)


@given(lengths_of_batches)
@settings(deadline=None, max_examples=60)
def test_no_two_sequences_share_a_slot_and_none_leaves_its_row(ragged):
    lengths = as_matrix(ragged)
    rows, columns = first_fit(lengths, 50)
    for batch in range(len(lengths)):
        taken = set()
        for length, row, column in zip(lengths[batch], rows[batch], columns[batch], strict=True):
            slots = {(row, column + step) for step in range(length)}
            assert column + length <= 50
            assert not slots & taken
            taken |= slots


@given(lengths_of_batches)
@settings(deadline=None, max_examples=60)
def test_rows_fill_up_as_in_first_fit_decreasing_one_sequence_at_a_time(ragged):
    lengths = as_matrix(ragged)
    rows, _ = first_fit(lengths, 50)
    for batch in range(len(lengths)):
        free: list[int] = []
        for length in sorted(ragged[batch], reverse=True):
            fitting = next((row for row, left in enumerate(free) if left >= length), None)
            if fitting is None:
                free.append(50)
                fitting = len(free) - 1
            free[fitting] -= length
        filled = np.bincount(rows[batch], weights=lengths[batch], minlength=len(free))
        assert filled.tolist() == [50 - left for left in free]


def test_a_batch_of_lengths_like_beautys_needs_hardly_more_rows_than_its_tokens_fill():
    rng = np.random.default_rng(0)
    lengths = np.minimum(2 + rng.geometric(0.25, size=(20, 256)), 50).astype(np.int64)
    rows, _ = first_fit(lengths, 50)
    assert (rows.max(axis=1) + 1 <= np.ceil(lengths.sum(axis=1) / 50) + 1).all()


def test_batches_are_placed_independently_of_each_other():
    rng = np.random.default_rng(1)
    lengths = rng.integers(0, 20, size=(5, 30))
    together = first_fit(lengths, 50)
    for batch in range(5):
        alone = first_fit(lengths[batch : batch + 1], 50)
        for all_of_them, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(all_of_them[batch], one[0])


def test_a_slot_sees_its_own_sequence_up_to_itself_and_nothing_else():
    items = np.arange(1, 16)
    packed = pack(items, np.array([0, 7, 9, 15]), max_length=10, width=10)
    for token, slot in enumerate(packed.slots.tolist()):
        row, column = divmod(slot, 10)
        seen = packed.items[row, packed.visible[row, column]].tolist()
        own = packed.sequence == packed.sequence[token]
        assert seen == [items[other] for other in own.nonzero().squeeze(1).tolist() if other <= token]


def test_empty_slots_hold_padding_and_see_only_themselves():
    packed = pack(np.array([4, 5, 6]), np.array([0, 3]), max_length=50)
    empty = torch.ones(packed.items.numel(), dtype=torch.bool)
    empty[packed.slots] = False
    assert empty.sum() == packed.items.numel() - 3
    assert (packed.items.view(-1)[empty] == 0).all()
    for slot in empty.nonzero().squeeze(1).tolist():
        row, column = divmod(slot, packed.items.shape[1])
        assert packed.visible[row, column].nonzero().tolist() == [[column]]


def test_the_newest_item_of_any_sequence_has_the_last_position():
    packed = pack(np.arange(1, 13), np.array([0, 3, 4, 12]), max_length=50)
    assert packed.positions.view(-1)[packed.last].tolist() == [49, 49, 49]
    assert packed.positions.view(-1)[packed.slots].tolist() == [47, 48, 49, 49, *range(42, 50)]
    assert packed.items.view(-1)[packed.slots].tolist() == list(range(1, 13))
    assert packed.sequence.tolist() == [0] * 3 + [1] + [2] * 8


def test_every_sequence_comes_once_an_epoch_with_the_places_of_its_tokens():
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 12, size=53)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = rng.integers(1, 100, size=offsets[-1])
    came = []
    for members, places, batch in batches(items, offsets, shuffled_groups(53, 8, rng)):
        np.testing.assert_array_equal(batch.items.view(-1)[batch.slots], items[places])
        np.testing.assert_array_equal(np.bincount(batch.sequence), lengths[members])
        came += members.tolist()
    assert sorted(came) == list(range(53))


def test_shuffled_groups_depend_on_the_generator_alone():
    first, again, other = (shuffled_groups(100, 7, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[-1] == -1).sum() == 5


@pytest.mark.parametrize("tokens", [1, 40, 10_000])
def test_sorted_groups_hold_every_sequence_once_shortest_first(tokens):
    lengths = np.random.default_rng(5).integers(1, 50, size=200)
    groups = length_sorted_groups(lengths, tokens)
    order = np.concatenate(groups)
    assert sorted(order.tolist()) == list(range(200))
    assert (np.diff(lengths[order]) >= 0).all()
    assert max(lengths[group].sum() for group in groups) < tokens + 50
