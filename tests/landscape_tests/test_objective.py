"""The frozen loss is one number, whatever the batch size, and its errors are those of slow references."""

import math

import numpy as np
import pytest
import torch
from landscape_tests.known import quadratic, small_network
from torch import nn

from landscape.errors import InvalidArgument, NonFiniteLoss, NotFrozen
from landscape.objective import Batch, LossValue, ModelObjective, check_frozen, gradient_at, loss_at
from landscape.parameters import moved


def test_a_known_quadratic_has_its_known_loss_and_gradient():
    known = quadratic()
    flat = known.layout.flatten(known.weights)
    loss, gradient = gradient_at(known, known.weights)
    assert loss == pytest.approx(known.value(flat), abs=1e-14)
    assert torch.allclose(gradient, known.matrix @ (flat - known.minimum), atol=1e-13)


@pytest.mark.parametrize("batch_size", [1, 7, 21])
def test_loss_gradient_and_error_do_not_depend_on_the_batch_size(batch_size):
    whole, cut = small_network(batch_size=20), small_network(batch_size=batch_size)
    step = [(0.1, whole.weights)]
    reference, value = loss_at(whole, whole.weights), loss_at(cut, cut.weights)
    assert value.value == pytest.approx(reference.value, abs=1e-12)
    rises = [loss_at(o, moved(o.weights, step)).rise_over(v) for o, v in ((whole, reference), (cut, value))]
    assert rises[0] == pytest.approx(rises[1], abs=1e-12)
    gradients = [gradient_at(objective, objective.weights)[1] for objective in (whole, cut)]
    assert torch.allclose(*gradients, rtol=0, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences():
    objective = small_network()
    _, gradient = gradient_at(objective, objective.weights)
    generator = torch.Generator().manual_seed(3)
    flat = torch.randn(objective.layout.size, generator=generator, dtype=torch.float64)
    direction = objective.layout.unflatten(flat)
    ends = [loss_at(objective, moved(objective.weights, [(h, direction)])).value for h in (1e-5, -1e-5)]
    assert float(gradient @ flat) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_the_paired_error_is_the_jackknife_of_the_ratio():
    rng = np.random.default_rng(0)
    counts = rng.integers(3, 6, 400).astype(float)
    before, after = rng.normal(size=400) * counts, rng.normal(size=400) * counts
    rise, error = LossValue(0.0, after, counts).rise_over(LossValue(0.0, before, counts))

    difference = after - before
    left_out = [(difference.sum() - difference[u]) / (counts.sum() - counts[u]) for u in range(400)]
    jackknife = math.sqrt(399 / 400 * sum((value - np.mean(left_out)) ** 2 for value in left_out))
    assert rise == pytest.approx(difference.sum() / counts.sum(), rel=1e-12)
    assert error == pytest.approx(jackknife, rel=5e-3)


def test_the_paired_error_is_the_spread_over_draws_of_users():
    rng = np.random.default_rng(1)
    rises, errors = [], []
    for _ in range(2000):
        counts = rng.integers(1, 6, 60).astype(float)
        shift = counts * 0.3 + rng.normal(size=60)
        base = 50 * rng.normal(size=60)  # far larger than the shift: pairing takes it out
        rise, error = LossValue(0.0, base + shift, counts).rise_over(LossValue(0.0, base, counts))
        rises.append(rise)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(rises), rel=0.05)
    assert np.mean(rises) == pytest.approx(0.3, abs=0.005)


def test_a_single_unit_has_no_standard_error():
    one = LossValue(0.0, np.ones(1), np.ones(1))
    assert math.isnan(one.rise_over(one)[1])


def test_dropout_is_refused():
    with pytest.raises(NotFrozen, match="dropout"):
        check_frozen(small_network(dropout=0.5))


def test_negatives_drawn_anew_at_each_call_are_refused():
    class Redrawn(ModelObjective):
        def loss(self, z, chunk):
            negatives = torch.randint(0, z.shape[1], (len(z), 1))
            return super().loss(z, chunk) + z.gather(1, negatives).squeeze(1)

    model = nn.Linear(4, 50).double()
    data = [(torch.randn(8, 4, dtype=torch.float64), torch.zeros(8, dtype=torch.int64))]
    with pytest.raises(NotFrozen):
        check_frozen(Redrawn(model, data, lambda z, y: nn.functional.cross_entropy(z, y, reduction="none")))


def test_a_model_of_nan_is_refused():
    objective = small_network()
    objective.weights["scores.bias"][0] = float("nan")
    with pytest.raises(NonFiniteLoss, match="got nan"):
        check_frozen(objective)


def test_training_the_model_on_does_not_move_the_origin():
    objective = small_network()
    before = check_frozen(objective).value
    with torch.no_grad():
        objective.model.scores.weight.mul_(2)
    assert check_frozen(objective).value == before


def test_counts_of_targets_weigh_the_units():
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    batch = Batch(torch.tensor([[1.0], [2.0]]), torch.zeros(2), torch.tensor([3.0, 1.0], dtype=torch.float64))
    objective = ModelObjective(model, [batch], lambda z, _: z.squeeze(1))
    assert check_frozen(objective).value == pytest.approx((1 + 2) / 4)


def test_an_objective_needs_data_and_knows_when_it_has_no_metrics():
    with pytest.raises(InvalidArgument, match="at least one batch"):
        ModelObjective(nn.Linear(1, 1), [], lambda z, _: z)
    objective = ModelObjective(nn.Linear(1, 1), [(torch.ones(1, 1), torch.ones(1))], lambda z, _: z.squeeze(1))
    with pytest.raises(InvalidArgument, match="ndcg@10"):
        objective.metrics(objective.weights, ["ndcg@10"])
