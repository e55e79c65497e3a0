"""Scores without a graph: the model's own to rounding, whatever is scored and however users are cut into chunks."""

import copy

import numpy as np
import pytest
import torch
from samrec_tests.test_objective import by_user, every_loss, small_model, some_interactions
from torch.autograd import forward_ad

from landscape.objective import gradient_at, loss_at
from samrec.models.sasrec import SASRec
from samrec.models.without_graph import can_score, scores_without_graph
from samrec.objective import SequenceObjective


def in_float32() -> SASRec:
    return small_model().float()


class Louder(SASRec):
    """Computes something else than its base."""

    def forward(self, *args, **options):
        return 2 * super().forward(*args, **options)


@pytest.mark.parametrize("split", ["train", "test"])
@every_loss
def test_the_loss_is_that_of_the_layers_in_float64(loss, split):
    exact = SequenceObjective(small_model(), some_interactions(), **loss, split=split)
    expected = loss_at(exact, exact.weights)
    for tokens in (1, 17, 4096):
        objective = SequenceObjective(in_float32(), some_interactions(), **loss, split=split, tokens=tokens)
        with torch.no_grad():
            assert can_score(objective._model, objective.weights)
        found = loss_at(objective, objective.weights)
        assert found.value == pytest.approx(expected.value, rel=1e-6)
        np.testing.assert_allclose(by_user(objective, found.sums), by_user(exact, expected.sums), rtol=3e-6)


@every_loss
def test_scores_are_those_of_the_layers(loss):
    objective = SequenceObjective(in_float32(), some_interactions(), **loss)
    for chunk in objective.chunks:
        with torch.no_grad():
            found = scores_without_graph(objective._model, objective.weights, chunk.batch, chunk.candidates)
            expected = objective._model(chunk.batch, chunk.candidates)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_weights_given_are_the_ones_taken_and_stay_as_they_are():
    objective = SequenceObjective(in_float32(), some_interactions())
    moved = {name: 1.1 * weight for name, weight in objective.weights.items()}
    before = copy.deepcopy(moved)
    other = SequenceObjective(small_model(), some_interactions())
    expected = loss_at(other, {name: weight.double() for name, weight in moved.items()})
    assert loss_at(objective, moved).value == pytest.approx(expected.value, rel=1e-6)
    assert all(torch.equal(moved[name], before[name]) for name in moved)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # PyTorch's attention, under vmap a loop
def test_several_weights_at_once_give_what_each_gives():
    objective = SequenceObjective(in_float32(), some_interactions())
    (chunk,) = objective.chunks
    stacked = {name: torch.stack([weight, 1.1 * weight]) for name, weight in objective.weights.items()}
    with torch.no_grad():
        found = torch.vmap(lambda params: objective.outputs(params, chunk))(stacked)
        for place in range(2):
            one = {name: weights[place] for name, weights in stacked.items()}
            torch.testing.assert_close(found[place], objective.outputs(one, chunk), rtol=1e-5, atol=1e-5)


def test_a_tangent_is_not_lost():
    objective = SequenceObjective(in_float32(), some_interactions())
    with forward_ad.dual_level(), torch.no_grad():
        duals = {name: forward_ad.make_dual(one, torch.ones_like(one)) for name, one in objective.weights.items()}
        assert not can_score(objective._model, duals)


def test_gradients_other_models_and_other_precisions_take_the_layers():
    objective = SequenceObjective(in_float32(), some_interactions())
    assert not can_score(objective._model, objective.weights)  # gradients are on
    assert gradient_at(objective, objective.weights)[1].norm() > 0
    louder = Louder(40, size=8, heads=2, layers=2, max_length=12)
    with torch.no_grad():
        assert not can_score(louder, objective.weights)
        assert not can_score(objective._model, {name: weight.double() for name, weight in objective.weights.items()})
