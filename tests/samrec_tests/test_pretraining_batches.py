"""An epoch of pre-training batches, taken apart: prefixes, masks, negatives, attributes, segments."""

import pytest
import torch
from samrec_tests.shared import interactions_of
from samrec_tests.small_pretraining import ITEMS, OWN, ROWS, drawn, rows_of, tiny

from samrec.data import pretraining
from samrec.errors import DataError

MASK = ITEMS + 1
PARTS = [row[:-2] for row in ROWS]
PREFIXES = sorted(part[:length] for part in PARTS for length in range(1, len(part) + 1))


def originals(masked):
    """Each sequence of a masked batch with its items put back, and the negative at each masked place, 0 elsewhere."""
    pairs = iter(masked.candidates.tolist())
    told = [[next(pairs) if item == MASK else (item, 0) for item in row] for row in rows_of(masked.batch)]
    return [[item for item, _ in row] for row in told], [[negative for _, negative in row] for row in told]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_an_epoch_has_every_prefix_once(size):
    batches = drawn(tiny(), size=size, mask=0.5)
    assert sorted(row for batch in batches for row in originals(batch.masked)[0]) == PREFIXES
    assert [batch.prefixes for batch in batches][:-1] == [size] * (len(batches) - 1)
    assert sum(batch.prefixes for batch in batches) == len(PREFIXES)


def test_the_last_item_is_masked_and_slots_begin_with_the_shown_ones():
    for batch in drawn(tiny(), size=4, mask=0.5):
        masked = batch.masked
        assert all(row[-1] == MASK for row in rows_of(masked.batch))
        ids = masked.batch.items.view(-1)[masked.slots]
        assert (ids[: masked.shown] != MASK).all()
        assert (ids[masked.shown :] == MASK).all()
        assert sorted(masked.slots.tolist()) == sorted(masked.batch.slots.tolist())


def test_negatives_are_no_items_of_the_users_training_part():
    seen = set()
    for seed in range(100):
        for batch in drawn(tiny(), size=4, mask=0.5, seed=seed):
            for row, negatives in zip(*originals(batch.masked), strict=True):
                (part,) = [part for part in PARTS if part[: len(row)] == row]
                for negative in filter(None, negatives):
                    assert negative not in part
                    seen.add((part[0], negative))
    assert seen == {(part[0], item) for part in PARTS for item in range(1, ITEMS + 1) if item not in part}


def test_attributes_are_those_of_the_item_itself_each_once():
    for batch in drawn(tiny(), size=4, mask=0.5):
        masked = batch.masked
        shown = masked.batch.items.view(-1)[masked.slots[: masked.shown]].tolist()
        own = shown + masked.candidates[:, 0].tolist()
        found = [[] for _ in own]
        for token, attribute in masked.attributes.T.tolist():
            found[token].append(attribute + 1)
        assert found == [sorted(set(OWN.get(item, []))) for item in own]


def test_segments_come_in_threes_of_every_prefix_of_two_or_more_items():
    batches = drawn(tiny(), size=4)
    views = [row for batch in batches if batch.segments for row in rows_of(batch.segments)]
    restored = []
    for context, segment, rival in zip(views[::3], views[1::3], views[2::3], strict=True):
        inside = [item == MASK for item in context]
        assert 1 <= sum(inside) <= len(context) // 2
        assert [item != MASK for item in segment] == [item != MASK for item in rival] == inside
        places = [place for place, there in enumerate(inside) if there]
        assert places == list(range(places[0], places[-1] + 1))
        prefix = [own if there else item for item, own, there in zip(context, segment, inside, strict=True)]
        restored.append(prefix)
        other = [rival[place] for place in places]
        owners = [part for part in PARTS for start in range(len(part)) if part[start : start + len(other)] == other]
        assert any(part[: len(prefix)] != prefix for part in owners)
    assert sorted(restored) == [prefix for prefix in PREFIXES if len(prefix) > 1]
    assert sum(batch.counts["sp"] for batch in batches) == len(restored)


def test_every_token_sees_all_of_its_sequence_and_nothing_else():
    for batch in drawn(tiny(), size=4):
        for packed in filter(None, (batch.masked.batch, batch.segments)):
            width = packed.items.shape[1]
            for one, owner in zip(packed.slots.tolist(), packed.sequence.tolist(), strict=True):
                row, column = divmod(one, width)
                seen = row * width + torch.nonzero(packed.visible[row, column]).view(-1)
                assert seen.tolist() == packed.slots[packed.sequence == owner].tolist()


def same(one, other):
    return all(
        torch.equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in (
            (x.masked.batch.items, y.masked.batch.items),
            (x.masked.candidates, y.masked.candidates),
            (x.segments.items, y.segments.items),
        )
    )


def test_the_same_generators_give_the_same_epoch_and_others_another():
    assert same(drawn(tiny(), seed=1), drawn(tiny(), seed=1))
    assert not same(drawn(tiny(), seed=1), drawn(tiny(), seed=2))


def test_draws_made_some_batches_at_a_time_are_whole_epochs_too(monkeypatch):
    monkeypatch.setattr(pretraining, "SPAN", 2)
    batches = drawn(tiny(), size=3)
    assert sorted(row for batch in batches for row in originals(batch.masked)[0]) == PREFIXES


def test_what_nobody_asks_for_is_not_drawn():
    assert all(batch.masked is None for batch in drawn(tiny(), masked=False, attributes=False))
    assert all(batch.segments is None for batch in drawn(tiny(), segments=False))
    (batch,) = drawn(tiny(), attributes=False)
    assert batch.masked.attributes.shape == (2, 0)


def test_counts_are_the_terms_of_each_loss():
    (batch,) = drawn(tiny(), mask=0.0)
    tokens = sum(map(len, PREFIXES))
    longer = sum(len(prefix) > 1 for prefix in PREFIXES)
    expected = {"aap": tokens - len(PREFIXES), "mip": len(PREFIXES), "map": len(PREFIXES), "sp": longer}
    assert batch.counts == expected


def test_a_batch_moves_as_a_whole():
    (batch,) = drawn(tiny())
    moved = batch.to(torch.device("cpu"))
    assert same([batch], [moved])
    assert moved.counts == batch.counts


def test_data_without_attributes_say_which_losses_want_them():
    with pytest.raises(DataError, match="expected item attributes beside made"):
        drawn(interactions_of([[1, 2, 3, 4], [4, 3, 2, 1]]))
    with pytest.raises(DataError, match="weight of 0"):
        drawn(tiny(own={}))
    assert len(drawn(interactions_of([[1, 2, 3, 4], [4, 3, 2, 1]]), attributes=False)) == 1
