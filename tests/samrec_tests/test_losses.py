import math

import pytest
import torch

from samrec.errors import ConfigError
from samrec.models.losses import LOSSES, binary_cross_entropy, cross_entropy, loss_named

SCORES = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, -4.0]], dtype=torch.float64)
TARGETS = torch.tensor([1, 3])


def test_binary_cross_entropy_wants_the_first_score_high_and_the_others_low():
    sigmoid = [[1 / (1 + math.exp(-score)) for score in row] for row in SCORES.tolist()]
    expected = [-math.log(first) - sum(math.log(1 - other) for other in others) for first, *others in sigmoid]
    assert binary_cross_entropy(SCORES, TARGETS).tolist() == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_is_minus_the_log_chance_of_the_target_whose_ids_start_at_1():
    chances = [[math.exp(score) / sum(map(math.exp, row)) for score in row] for row in SCORES.tolist()]
    expected = [-math.log(chances[0][0]), -math.log(chances[1][2])]
    assert cross_entropy(SCORES, TARGETS).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_enormous_scores_give_a_finite_loss_and_gradient(loss):
    scores = torch.tensor([[1e4, -1e4, 5e3], [-1e4, 1e4, 0.0]], requires_grad=True)
    value = loss.at_tokens(scores, torch.tensor([1, 1])).sum()
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_gradients_are_those_of_finite_differences(loss):
    scores = SCORES.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss.at_tokens(s, TARGETS), scores)


def test_equal_scores_cost_what_chance_costs():
    equal = torch.zeros(4, 7)
    assert cross_entropy(equal, torch.tensor([1, 2, 3, 7])).tolist() == pytest.approx([math.log(7)] * 4)
    assert binary_cross_entropy(equal[:, :2], torch.ones(4, dtype=torch.int64)).tolist() == pytest.approx(
        [2 * math.log(2)] * 4
    )


def test_a_loss_nobody_knows_is_refused_with_those_that_are_known():
    with pytest.raises(ConfigError, match="bce, ce, got 'hinge'"):
        loss_named("hinge")
