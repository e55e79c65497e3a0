"""Base optimizers under SAM: decay stays out of the ascent, an L2 term is part of it, padding rows never change."""

import pytest
import torch
from samrec_tests import small_runs
from samrec_tests.quadratic import RATE, RHO, Quadratic
from samrec_tests.small_steps import SEQUENCES, example, sasrec
from torch import nn

from samrec.errors import ConfigError, Diverged
from samrec.models.losses import loss_named
from samrec.optim.base import Penalty, make_optimizer, moment_names
from samrec.optim.gradients import check_finite, norm_of
from samrec.optim.sam import SAM
from samrec.training.step import Step

DECAY, L2 = 0.2, 0.3


class Bowl(Quadratic, nn.Module):
    """The quadratic as a model, for those who want its parameters."""

    def __init__(self):
        nn.Module.__init__(self)
        Quadratic.__init__(self)

    def parameters(self, *_):
        return iter(self.named.values())


def test_adamw_without_decay_is_adam_bit_for_bit(tmp_path):
    adam = small_runs.trained(tmp_path / "adam", rho=0.1)
    adamw = small_runs.trained(tmp_path / "adamw", rho=0.1, optimizer="adamw")
    small_runs.assert_same_tensors(adamw.state().weights, adam.state().weights)
    small_runs.assert_same_tensors(adamw.state().moments, adam.state().moments)


def test_sgd_with_momentum_and_decay_is_its_formula():
    bowl = Bowl()
    sgd = make_optimizer(bowl, name="sgd", learning_rate=RATE, momentum=0.9, weight_decay=DECAY)
    w, velocity = bowl.w, torch.zeros(12, dtype=torch.float64)
    for _ in range(4):
        bowl.closure()()
        sgd.step()
        velocity = 0.9 * velocity + bowl.A @ w
        w = (1 - RATE * DECAY) * w - RATE * velocity
        torch.testing.assert_close(bowl.w, w, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_shrinks_the_weights_and_is_no_part_of_the_ascent(name):
    decayed, plain = Bowl(), Bowl()
    w, g = plain.w, plain.g
    for bowl, decay in ((decayed, DECAY), (plain, 0.0)):
        base = make_optimizer(bowl, name=name, learning_rate=RATE, weight_decay=decay)
        SAM(bowl.named, base, rho=RHO).step(bowl.passes())
        torch.testing.assert_close(bowl.points[1], w + RHO * g / g.norm(), rtol=1e-12, atol=0)
    torch.testing.assert_close(decayed.w, plain.w - RATE * DECAY * w, rtol=1e-12, atol=1e-15)


def penalised(model, l2):
    """Loss and gradient of the loss and its L2 term, by autograd."""
    part = example(SEQUENCES)
    parameters = list(model.parameters())
    loss = loss_named("bce").at_tokens(model(part.batch, part.candidates), part.targets).mean()
    whole = loss + l2 / 2 * sum(parameter.square().sum() for parameter in parameters)
    return loss.item(), torch.autograd.grad(whole, parameters)


def test_an_l2_term_is_part_of_both_gradients_and_of_no_loss_that_is_told():
    model, slow = sasrec(torch.float64), sasrec(torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    sam = SAM(dict(model.named_parameters()), optimizer, rho=RHO)
    ascent = Step(model, loss_named("bce"), optimizer, None, sam=sam, l2=L2).take(example(SEQUENCES))

    before = [parameter.detach().clone() for parameter in slow.parameters()]
    loss, gradients = penalised(slow, L2)
    norm = torch.cat([gradient.reshape(-1) for gradient in gradients]).norm()
    with torch.no_grad():
        for parameter, gradient in zip(slow.parameters(), gradients, strict=True):
            parameter += RHO * gradient / norm
    risen, gradients = penalised(slow, L2)

    assert ascent.loss == pytest.approx(loss, rel=1e-12)
    assert ascent.sharpness == pytest.approx(risen - loss, rel=1e-9)
    assert ascent.norm == pytest.approx(norm.item(), rel=1e-12)
    for parameter, start, gradient in zip(model.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(parameter.detach(), start - RATE * gradient, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(("name", "known"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)])
def test_without_sam_an_l2_term_is_the_optimizers_own_weight_decay(name, known):
    ours, theirs = Bowl(), Bowl()
    base = make_optimizer(ours, name=name, learning_rate=RATE)
    other = known(theirs.parameters(), lr=RATE, weight_decay=L2)
    penalty = Penalty(ours, L2)
    for _ in range(5):
        ours.closure()()
        penalty.add_gradients()
        base.step()
        theirs.closure()()
        other.step()
    torch.testing.assert_close(ours.w, theirs.w, rtol=1e-11, atol=0)


@pytest.mark.parametrize("row", [0.0, 0.16], ids=["zero", "imported"])
@pytest.mark.parametrize("family", [{}, {"adaptive": 0.01}, {"period": 2, "look": 0.7}])
@pytest.mark.parametrize(
    "settings",
    [{"name": "adam"}, {"name": "adamw", "weight_decay": 0.1}, {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1}],
    ids=lambda settings: settings["name"],
)
@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_the_padding_row_never_changes(row, family, settings, loss):
    model = sasrec()
    model.item_embedding.weight.data[0] = row
    optimizer = make_optimizer(model, learning_rate=0.1, **settings)
    sam = SAM(dict(model.named_parameters()), optimizer, rho=0.5, **family)
    step = Step(model, loss_named(loss), optimizer, None, sam=sam, l2=L2)
    part = example(SEQUENCES)
    if loss == "ce":
        part = type(part)(part.batch, part.targets, None)
    rows = []
    model.input_norm.register_forward_pre_hook(lambda *_: rows.append(model.item_embedding.weight.detach()[:2].clone()))
    for _ in range(4):
        step.take(part)
    assert all(torch.equal(seen[0], rows[0][0]) for seen in [*rows, model.item_embedding.weight.detach()])
    assert not any(torch.equal(seen[1], rows[0][1]) for seen in rows[1:])  # while every other row moves


@pytest.mark.parametrize("adaptive", [None, 0.01])
def test_items_that_a_batch_does_not_touch_are_not_perturbed(adaptive):
    model = sasrec()
    sam = SAM(dict(model.named_parameters()), torch.optim.SGD(model.parameters()), rho=0.5, adaptive=adaptive)
    part = example(SEQUENCES[:2])
    touched = set(part.batch.items.unique().tolist()) | set(part.candidates.unique().tolist())
    tables = []
    model.input_norm.register_forward_pre_hook(lambda *_: tables.append(model.item_embedding.weight.detach().clone()))
    Step(model, loss_named("bce"), sam.base, None, sam=sam).take(part)
    moved = (tables[0] != tables[1]).any(dim=1).nonzero().flatten().tolist()
    assert len(touched) < 30  # of 32 rows
    assert set(moved) == touched - {0}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"name": "adam"}, {"step", "exp_avg", "exp_avg_sq"}),
        ({"name": "adamw", "weight_decay": 0.1}, {"step", "exp_avg", "exp_avg_sq"}),
        ({"name": "sgd", "momentum": 0.9}, {"momentum_buffer"}),
        ({"name": "sgd"}, set()),
    ],
)
def test_an_optimizer_says_what_it_keeps(settings, names):
    assert set(moment_names(lambda model: make_optimizer(model, learning_rate=0.1, **settings))) == names


@pytest.mark.parametrize("settings", [{"name": "lion"}, {"name": "adam", "weight_decay": 0.1}])
def test_optimizers_that_are_none_are_refused(settings):
    with pytest.raises(ConfigError, match="expected"):
        make_optimizer(sasrec(), learning_rate=0.1, **settings)


def test_the_l2_coefficient_is_not_negative():
    with pytest.raises(ConfigError, match="L2"):
        Step(sasrec(), loss_named("bce"), torch.optim.SGD(sasrec().parameters()), None, sam=None, l2=-1.0)


@pytest.mark.parametrize("entry", [5e19, 3e38])
def test_gradients_whose_squares_overflow_are_finite_all_the_same(entry):
    parameter = torch.nn.Parameter(torch.zeros(4))
    parameter.grad = torch.full((4,), entry)
    check_finite([parameter])
    assert norm_of([parameter.grad]) == pytest.approx(2 * entry, rel=1e-6)
    parameter.grad[1] = torch.inf
    with pytest.raises(Diverged):
        check_finite([parameter])
