"""Derivatives by hand against automatic differentiation in float64: every loss, any shape, any cut."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samrec_tests.shared import LOSSES, every_loss, interactions_of

from landscape.curvature.operators import Hessian
from landscape.errors import InvalidArgument
from landscape.objective import ModelObjective, gradient_at, summed_gradient
from samrec.models.sasrec import SASRec
from samrec.models.second_order import pieces, readout
from samrec.objective import SequenceObjective

ITEMS = 12  # few, so that items come again in a chunk, in a sequence, and as negatives
LONGEST = 5


def interactions(users=4, seed=0):
    """Sequences that leave 1 item to train on, and longer ones than the model takes, and all between."""
    rng = np.random.default_rng(seed)
    lengths = [4, LONGEST + 6, *rng.integers(4, LONGEST + 5, users - 2)]
    return interactions_of([rng.integers(1, ITEMS - 3, length).tolist() for length in lengths], ITEMS)


def objective_of(
    *, users=4, seed=0, heads=2, layers=2, entries=3, tokens=4096, dtype=torch.float64, model=None, **loss
):
    model = model or SASRec(ITEMS, size=heads * entries, heads=heads, layers=layers, max_length=LONGEST)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return SequenceObjective(model.to(dtype), interactions(users, seed), tokens=tokens, **(loss or {"loss": "bce"}))


def columns(objective, count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(objective.layout.size, count, generator=generator, dtype=torch.float64)


def by_graph(objective):
    """The same objective without derivatives of its own."""
    objective.own_derivatives = None
    return objective


def assert_near(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10 * expected.abs().max().item())


def assert_same_products(own, graph, V):
    assert (Hessian(own).method, Hessian(graph).method) == ("own", "double-backward")
    assert_near(Hessian(own) @ V, Hessian(graph) @ V)


@every_loss
def test_products_are_those_of_double_backward_however_many_and_however_the_data_is_cut(loss, monkeypatch):
    own, graph = objective_of(**loss), by_graph(objective_of(**loss))
    V = columns(own, 4)
    expected = Hessian(graph) @ V
    for count in (1, 3, 4):
        assert_near(Hessian(own) @ V[:, :count], expected[:, :count])
    for tokens in (1, 7):
        assert_near(Hessian(objective_of(**loss, tokens=tokens)) @ V[:, :1], expected[:, :1])
        monkeypatch.setattr(pieces, "SLOTS", tokens)
        monkeypatch.setattr(readout, "SCORES", 1)
        monkeypatch.setattr(readout, "FEWEST_TOKENS", tokens)
        assert_near(Hessian(own) @ V[:, :1], expected[:, :1])


@every_loss
def test_the_gradient_is_that_of_the_graph(loss):
    own, graph = objective_of(**loss, tokens=7), by_graph(objective_of(**loss))
    for found, expected in zip(gradient_at(own, own.weights), gradient_at(graph, graph.weights), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
    names = ["blocks.1.key.weight", "input_norm.bias"]
    _, parts = summed_gradient(own, own.weights, own.chunks[0], names)
    assert list(parts) == names


@settings(max_examples=10, deadline=None)
@given(
    loss=st.sampled_from(list(LOSSES.values())),
    heads=st.integers(1, 3),
    layers=st.integers(1, 3),
    entries=st.integers(1, 4),
    users=st.integers(2, 8),
    seed=st.integers(0, 99),
    count=st.integers(1, 3),
)
def test_any_shape_has_the_products_of_double_backward(loss, heads, layers, entries, users, seed, count):
    if heads * entries < 3:
        entries = 3  # a LayerNorm of two entries is a sign, and flat
    shape = {"heads": heads, "layers": layers, "entries": entries, "users": users, "seed": seed}
    own, graph = objective_of(**shape, **loss), by_graph(objective_of(**shape, **loss))
    assert_same_products(own, graph, columns(own, count))


@every_loss
def test_products_are_symmetric(loss):
    own = objective_of(**loss)
    V = columns(own, 4)
    inner = V.T @ (Hessian(own) @ V)
    torch.testing.assert_close(inner, inner.T, rtol=1e-11, atol=1e-10)


@pytest.mark.parametrize("loss", [LOSSES["bce"], LOSSES["ce"]], ids=["bce", "ce"])
@pytest.mark.parametrize("block", ["item table", "positions", "attention", "norms"])
def test_a_blocks_products_are_those_of_double_backward(loss, block):
    own = Hessian(objective_of(**loss), block=block)
    graph = Hessian(by_graph(objective_of(**loss)), block=block)
    V = torch.randn(own.size, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_near(own @ V, graph @ V)


def test_one_target_a_user_is_enough():
    own = objective_of(split="test", loss="bce")
    assert_same_products(own, by_graph(objective_of(split="test", loss="bce")), columns(own, 2))


def test_single_precision_is_near_double():
    exact, single = Hessian(objective_of()), Hessian(objective_of(dtype=torch.float32))
    V = columns(exact.objective, 2)
    distance = torch.linalg.vector_norm(single @ V - exact @ V) / torch.linalg.vector_norm(exact @ V)
    assert 0 < distance < 1e-5


def test_the_weights_and_the_directions_stay_as_they_are():
    objective = objective_of()
    before = {name: weight.clone() for name, weight in objective.weights.items()}
    V = columns(objective, 2)
    kept = V.clone()
    first, second = Hessian(objective) @ V, Hessian(objective) @ V
    assert torch.equal(first, second)
    assert torch.equal(V, kept)
    assert all(torch.equal(objective.weights[name], weight) for name, weight in before.items())


class Tempered(SASRec):
    """Another model, whose scores are SASRec's made smaller."""

    def forward(self, *arguments, **options):
        return super().forward(*arguments, **options) / 2


def test_a_model_that_computes_something_else_falls_back():
    model = Tempered(ITEMS, size=6, heads=2, layers=1, max_length=LONGEST)
    objective = objective_of(model=model)
    assert objective.own_derivatives is None
    assert Hessian(objective).method == "double-backward"


def test_double_backward_can_still_be_asked_for_and_an_own_way_only_where_there_is_one():
    objective = objective_of()
    V = columns(objective, 1)
    torch.testing.assert_close(Hessian(objective, method="double-backward") @ V, Hessian(objective, method="own") @ V)
    linear = ModelObjective(torch.nn.Linear(2, 1), [(torch.ones(3, 2), torch.ones(3, 1))], torch.nn.MSELoss())
    with pytest.raises(InvalidArgument, match="derivatives of its own"):
        Hessian(linear, method="own")
