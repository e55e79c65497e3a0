"""SAM takes the gradient of the worst point nearby, puts the weights back as they were, and is Adam where rho is 0."""

import math

import numpy as np
import pytest
import torch
from samrec_tests import small_runs
from samrec_tests.quadratic import NAMES, RATE, RHO, Quadratic
from samrec_tests.small_steps import SEQUENCES, example, in_two_processes, sasrec, step_of

from samrec.errors import ConfigError, Diverged
from samrec.optim.sam import SAM, Passes

# On a quadratic, where the step is known in closed form


def test_a_step_descends_with_the_gradient_of_the_point_it_climbed_to():
    bowl = Quadratic()
    w = bowl.w
    g = bowl.g
    ascent = bowl.sam().step(bowl.passes())
    torch.testing.assert_close(bowl.points[1], w + RHO * g / g.norm(), rtol=1e-12, atol=0)
    torch.testing.assert_close(bowl.w, w - RATE * (g + RHO * bowl.A @ g / g.norm()), rtol=1e-12, atol=0)
    assert ascent.loss == pytest.approx((0.5 * w @ g).item(), rel=1e-12)
    assert ascent.norm == pytest.approx(g.norm().item(), rel=1e-12)
    expected = RHO * g.norm() + 0.5 * RHO**2 * (g @ bowl.A @ g) / (g @ g)
    assert ascent.sharpness == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize(("group", "members"), [("body", slice(6, 12)), ("embeddings", slice(0, 6))])
def test_a_group_is_climbed_alone_and_by_its_own_norm(group, members):
    bowl = Quadratic()
    w = bowl.w
    g = bowl.g
    climbed = torch.zeros(12, dtype=torch.float64)
    climbed[members] = RHO * g[members] / g[members].norm()
    ascent = bowl.sam(group=group).step(bowl.passes())
    torch.testing.assert_close(bowl.points[1] - w, climbed, rtol=1e-10, atol=1e-15)
    torch.testing.assert_close(bowl.w, w - RATE * bowl.A @ (w + climbed), rtol=1e-12, atol=0)  # all descend
    assert ascent.norm == pytest.approx(g[members].norm().item(), rel=1e-12)


def test_shares_of_the_ascent_are_the_blocks_shares_of_the_squared_gradient():
    bowl = Quadratic()
    squares = bowl.g.square().view(4, 3).sum(dim=1)
    shares = bowl.sam().step(bowl.passes()).shares
    assert list(shares) == ["items", "positions", "norms", "attention"]
    np.testing.assert_allclose(list(shares.values()), squares / squares.sum(), rtol=1e-12)
    assert sum(shares.values()) == pytest.approx(1, rel=1e-12)


def test_the_weights_descend_from_a_copy_and_not_from_a_sum_that_drifts():
    bowl = Quadratic(torch.float32)
    w = bowl.w
    sam = SAM(bowl.named, torch.optim.SGD(bowl.named.values(), lr=0.0), rho=1e4)
    sam.step(bowl.passes())
    assert not torch.equal(w + (bowl.points[1] - w) - (bowl.points[1] - w), w)  # a sum would have drifted
    assert torch.equal(bowl.w, w)


def test_a_gradient_of_zero_has_nowhere_to_climb():
    bowl = Quadratic()
    for parameter in bowl.named.values():
        parameter.data.zero_()
    ascent = bowl.sam().step(bowl.passes())
    assert len(bowl.points) == 1
    assert (ascent.loss, ascent.sharpness, ascent.norm, ascent.shares) == (0.0, 0.0, 0.0, {})
    assert torch.equal(bowl.w, torch.zeros(12, dtype=torch.float64))


@pytest.mark.parametrize("group", ["all", "body", "embeddings"])
@pytest.mark.parametrize("spoilt", [NAMES[0], NAMES[3]])
@pytest.mark.parametrize("passes", [("first", "second"), ("second",)])
def test_a_gradient_that_is_not_finite_stops_the_step_with_the_weights_as_they_were(group, spoilt, passes):
    bowl = Quadratic()
    w = bowl.w
    first, second = (bowl.closure(spoilt if name in passes else None) for name in ("first", "second"))
    with pytest.raises(Diverged, match="finite gradient"):
        bowl.sam(group=group).step(Passes(first, second))
    assert torch.equal(bowl.w, w)


def test_an_interrupt_in_the_second_pass_leaves_the_weights_as_they_were():
    bowl = Quadratic()
    w = bowl.w

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bowl.sam().step(Passes(bowl.closure(), interrupted))
    assert torch.equal(bowl.w, w)


@pytest.mark.parametrize(("rho", "group"), [(-0.1, "all"), (math.nan, "all"), (0.1, "head")])
def test_settings_that_mean_nothing_are_refused(rho, group):
    with pytest.raises(ConfigError, match="expected"):
        Quadratic().sam(rho=rho, group=group)


# On the recommender


def gradients_of_both_passes(*, replay):
    seen = []

    def keep(tensors):
        seen.append([tensor.clone() for tensor in tensors])

    step_of(sasrec(), rho=0.0, replay=replay, reduce=keep).take(example(SEQUENCES))
    count, first, second = seen
    assert count[0].item() == sum(len(one) for one in SEQUENCES)
    return first, second


def test_replayed_dropout_makes_the_second_pass_repeat_the_first():
    first, second = gradients_of_both_passes(replay=True)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_fresh_dropout_thins_another_network_in_the_second_pass():
    first, second = gradients_of_both_passes(replay=False)
    assert not torch.equal(first[0], second[0])
    assert not any(torch.equal(one, other) for one, other in zip(first[1:], second[1:], strict=True) if one.any())


@pytest.mark.parametrize(("rho", "expected"), [(None, 1), (0.0, 2), (0.1, 2)])
def test_backward_passes_a_step(rho, expected, monkeypatch):
    calls = []
    backward = torch.autograd.backward
    monkeypatch.setattr(torch.autograd, "backward", lambda loss: (calls.append(1), backward(loss)))
    step = step_of(sasrec(), rho=rho)
    ascent = step.take(example(SEQUENCES))
    assert len(calls) == ascent.gradients == step.gradients_in(1) == expected


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.2, "loss": "ce"}])
def test_training_with_sam_at_rho_0_is_plain_adam_bit_for_bit(changes, tmp_path):
    plain = small_runs.trained(tmp_path / "plain", **changes)
    sam = small_runs.trained(tmp_path / "sam", sam=True, **changes)
    small_runs.assert_same_tensors(sam.state().weights, plain.state().weights)
    small_runs.assert_same_tensors(sam.state().moments, plain.state().moments)
    for ours, theirs in zip(sam.history(), plain.history(), strict=True):
        assert (ours["loss"], ours["validation"]) == (theirs["loss"], theirs["validation"])
        assert ours["gradients"] == 2 * theirs["gradients"]
        assert ours["sharpness"] == 0


def test_training_with_fresh_dropout_at_rho_0_is_not_plain_adam(tmp_path):
    plain = small_runs.trained(tmp_path / "plain", epochs=1)
    fresh = small_runs.trained(tmp_path / "fresh", epochs=1, sam=True, sam_dropout="fresh")
    assert fresh.history()[0]["sharpness"] != 0
    assert not torch.equal(fresh.state().weights["input_norm.bias"], plain.state().weights["input_norm.bias"])


# The `reduce` hook: several processes, each with its part of the batch


@pytest.mark.parametrize("rho", [None, 0.5])
def test_two_processes_with_half_a_batch_each_move_as_one_with_all_of_it(rho):
    whole = sasrec(torch.float64)
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    ascent = step_of(whole, rho=rho, rate=0).take(example(SEQUENCES))
    models, ascents = in_two_processes([SEQUENCES[:2], SEQUENCES[2:]], rho)
    assert ascents[0] == ascents[1]
    assert ascents[0].loss == pytest.approx(ascent.loss, rel=1e-12)
    assert ascents[0].sharpness == pytest.approx(ascent.sharpness, rel=1e-10)
    for name, parameter in whole.named_parameters():
        one, other = (model.get_parameter(name) for model in models)
        assert torch.equal(one, other), name
        torch.testing.assert_close(one.grad, parameter.grad, rtol=1e-9, atol=1e-15)
        torch.testing.assert_close(one.detach() - before[name], -parameter.grad, rtol=1e-9, atol=1e-15)
