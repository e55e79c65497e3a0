"""A batch taken in parts is the same step as the batch taken whole, under every member of SAM's family but m-SAM."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from samrec_tests import small_runs
from samrec_tests.small_steps import SEQUENCES, example, in_two_processes, sasrec, step_of

from samrec.data.batches import micro_groups
from samrec.errors import ConfigError
from samrec.models.dropout import Dropout

FAMILY = {
    "base": {"rho": None},
    "SAM": {"rho": 0.5},
    "ASAM": {"rho": 0.5, "family": {"adaptive": 0.01}},
    "LookSAM": {"rho": 0.5, "family": {"period": 2, "look": 0.7}},
    "plain steps between": {"rho": 0.5, "family": {"period": 2}},
}
TRAINED = {
    "base": {},
    "SAM": {"rho": 0.1},
    "LookASAM": {"rho": 0.5, "asam": True, "sam_period": 2},
    "L2": {"rho": 0.1, "l2": 1e-3},
    "cross-entropy": {"rho": 0.1, "loss": "ce"},
}


def parts(size):
    return [example(SEQUENCES[start : start + size]) for start in range(0, len(SEQUENCES), size)]


@given(
    batches=st.integers(1, 4),
    width=st.integers(1, 9),
    size=st.integers(1, 9),
    missing=st.integers(0, 8),
)
def test_groups_are_cut_in_order_and_none_is_empty(batches, width, size, missing):
    groups = np.arange(batches * width).reshape(batches, width)
    groups[-1, max(1, width - missing) :] = -1
    cut = micro_groups(groups, size)
    slow = [
        [member for member in group[start : start + size] if member >= 0]
        for group in groups.tolist()
        for start in range(0, width, size)
    ]
    assert [[member for member in group if member >= 0] for group in cut.tolist()] == [part for part in slow if part]
    assert cut.shape[1] == size


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("options", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_parts_move_the_weights_as_the_whole_batch_does(options, size, l2):
    whole, cut = sasrec(torch.float64), sasrec(torch.float64)
    one, other = (step_of(model, rate=0, l2=l2, **options) for model in (whole, cut))
    for _ in range(3):
        ascent, theirs = one.take(example(SEQUENCES)), other.take(*parts(size))
        assert theirs.loss == pytest.approx(ascent.loss, rel=1e-12)
        assert theirs.sharpness == pytest.approx(ascent.sharpness, rel=1e-9, abs=1e-15)
    for (name, ours), theirs in zip(whole.named_parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-12, atol=1e-12, msg=name)


def test_micro_batches_hold_the_batchs_users_targets_and_negatives_in_its_order(tmp_path):
    whole = small_runs.trainer(tmp_path / "whole")
    cut = small_runs.trainer(tmp_path / "cut", micro_batch=7)
    for epoch in (1, 2):
        steps = list(zip(whole.steps(epoch), cut.steps(epoch), strict=True))
        assert [len(of_cut) for _, of_cut in steps] == [3, 3, 3]
        for (batch,), of_cut in steps:
            assert torch.equal(torch.cat([part.targets for part in of_cut]), batch.targets)
            assert torch.equal(torch.cat([part.candidates for part in of_cut]), batch.candidates)


@pytest.mark.parametrize("changes", TRAINED.values(), ids=TRAINED)
def test_an_epoch_in_micro_batches_is_that_of_whole_batches(changes, tmp_path):
    found = []
    for name, more in (("whole", {}), ("cut", {"micro_batch": 7})):
        trainer = small_runs.trainer(tmp_path / name, dropout=0.0, **changes, **more)
        trainer.model.double()
        entry = trainer.epoch()
        found.append((entry, trainer.named))
    (entry, whole), (other, cut) = found
    assert other["loss"] == pytest.approx(entry["loss"], rel=1e-12)
    assert other["gradients"] == entry["gradients"]
    for name, ours in whole.items():
        torch.testing.assert_close(cut[name], ours, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("keep", [True, False])
def test_masks_are_replayed_whether_they_are_kept_or_drawn_again(keep):
    x = torch.ones(40, 9)
    dropout = Dropout(0.5, torch.Generator().manual_seed(0))
    seen = []
    for again in (lambda: dropout.draw(keep=keep), dropout.replay, dropout.replay, lambda: dropout.draw(keep=keep)):
        again()
        seen.append(torch.cat([dropout(x), dropout(x)]))
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[3])
    kept = Dropout(0.5, torch.Generator().manual_seed(0))
    kept.draw()
    assert torch.equal(torch.cat([kept(x), kept(x)]), seen[0])
    kept.draw()
    assert torch.equal(torch.cat([kept(x), kept(x)]), seen[3])  # replays do not shift what comes after


@pytest.mark.parametrize("micro_batch", [None, 7])
def test_with_dropout_sams_second_pass_sees_the_masks_of_its_first(micro_batch, tmp_path):
    plain = small_runs.trained(tmp_path / "plain", micro_batch=micro_batch, epochs=2)
    sam = small_runs.trained(tmp_path / "sam", micro_batch=micro_batch, epochs=2, sam=True)
    small_runs.assert_same_tensors(sam.state().weights, plain.state().weights)
    small_runs.assert_same_tensors(sam.state().moments, plain.state().moments)
    assert [entry["sharpness"] for entry in sam.history()] == [0, 0]


def test_a_micro_batch_of_the_whole_batch_is_the_batch_bit_for_bit(tmp_path):
    whole = small_runs.trained(tmp_path / "whole", epochs=2, rho=0.1)
    one = small_runs.trained(tmp_path / "one", epochs=2, rho=0.1, micro_batch=20)
    small_runs.assert_same_tensors(one.state().weights, whole.state().weights)


# m-SAM, whose parts climb alone


def test_msam_with_a_part_of_the_whole_batch_is_sam_bit_for_bit(tmp_path):
    sam = small_runs.trained(tmp_path / "sam", epochs=2, rho=0.1)
    whole = small_runs.trained(tmp_path / "m", epochs=2, rho=0.1, sam_users=20)
    small_runs.assert_same_tensors(whole.state().weights, sam.state().weights)
    assert small_runs.history(whole) == small_runs.history(sam)


def test_msam_of_fewer_users_is_another_method(tmp_path):
    sam = small_runs.trained(tmp_path / "sam", epochs=1, rho=0.1, dropout=0.0)
    m_sam = small_runs.trained(tmp_path / "m", epochs=1, rho=0.1, dropout=0.0, sam_users=5)
    assert m_sam.history()[0]["sharpness"] > sam.history()[0]["sharpness"]  # each part finds its own worst point
    assert m_sam.history()[0]["gradients"] == sam.history()[0]["gradients"] == 6


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_msam_is_the_mean_over_parts_of_the_gradient_at_each_parts_own_worst_point(l2):
    model = sasrec(torch.float64)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ascent = step_of(model, rho=0.5, rate=0, l2=l2, climb_by_part=True).take(*parts(2))

    expected = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
    tokens = sum(len(part.targets) for part in parts(2))
    sharpness = 0.0
    for part in parts(2):
        alone = sasrec(torch.float64)
        found = step_of(alone, rho=0.5, rate=0, l2=l2).take(part)  # SAM on this part as a batch of its own
        share = len(part.targets) / tokens
        sharpness += share * found.sharpness
        for name, tensor in alone.state_dict().items():
            expected[name] += share * (start[name] - tensor)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(start[name] - tensor, expected[name], rtol=1e-10, atol=1e-14, msg=name)
    assert ascent.sharpness == pytest.approx(sharpness, rel=1e-10)


@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("family", [{}, {"period": 2, "look": 0.7}], ids=["m-SAM", "m-LookSAM"])
def test_two_processes_that_climb_alone_are_msam_of_two_parts(l2, family):
    whole = sasrec(torch.float64)
    options = {"climb_by_part": True, "l2": l2, "family": family}
    halves = [SEQUENCES[:2], SEQUENCES[2:]]
    step = step_of(whole, rho=0.5, rate=0, **options)
    for _ in range(3):
        ascent = step.take(*map(example, halves))
    models, ascents = in_two_processes(halves, 0.5, steps=3, **options)
    for rank in (0, 1):
        assert ascents[rank].loss == pytest.approx(ascent.loss, rel=1e-12)
        assert ascents[rank].sharpness == pytest.approx(ascent.sharpness, rel=1e-10)
        assert ascents[rank].norm == pytest.approx(ascent.norm, rel=1e-10)
        for (name, ours), theirs in zip(models[rank].named_parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14, msg=name)


def test_parts_that_climb_alone_want_sam():
    with pytest.raises(ConfigError, match="expected SAM"):
        step_of(sasrec(), climb_by_part=True)
