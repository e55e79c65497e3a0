"""Each loss against a loop over tokens and candidates, its derivatives, what chance costs, and training with it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from samrec_tests import small_runs
from samrec_tests.shared import interactions_of

from samrec.data.batches import pack
from samrec.data.negatives import NegativeSampler
from samrec.errors import ConfigError
from samrec.models.losses import binary_cross_entropy, cross_entropy, gbce_beta, loss_named, sampled_softmax
from samrec.models.sasrec import SASRec
from samrec.training.step import Example

ITEMS = 9
NAMES = ("bce", "bce of 4", "gbce", "sampled-softmax", "ce")


def named(name):
    """A loss over nine items, with four negatives where it has more than one."""
    if name in ("bce", "ce"):
        return loss_named(name, item_count=ITEMS)
    return loss_named(name.split()[0], item_count=ITEMS, negative_count=4)


def some_scores(loss, tokens=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    width = ITEMS if loss.negatives is None else 1 + loss.negatives
    return torch.randn(tokens, width, generator=generator, dtype=torch.float64) * 2


TARGETS = torch.tensor([1, 3, 9])
DRAWABLE = torch.tensor([8, 5, 6])


def sigmoid(score):
    return 1 / (1 + math.exp(-score))


def in_a_loop(name, scores):
    losses = []
    for row, target, drawable in zip(scores.tolist(), TARGETS.tolist(), DRAWABLE.tolist(), strict=True):
        if name == "ce":
            losses.append(-math.log(math.exp(row[target - 1]) / sum(map(math.exp, row))))
            continue
        first, *others = row
        k = len(others)
        if name == "sampled-softmax":
            estimate = math.exp(first) + sum(math.exp(other) / (k * (1 / drawable)) for other in others)
            losses.append(-math.log(math.exp(first) / estimate))
            continue
        alpha = k / (ITEMS - 1)
        beta = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha) if name == "gbce" else 1
        summed = -math.log(sigmoid(first) ** beta) - sum(math.log(1 - sigmoid(other)) for other in others)
        losses.append(summed if name == "bce" else summed / (k + 1))
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_is_that_of_a_loop_over_tokens_and_candidates(name):
    loss = named(name)
    scores = some_scores(loss)
    assert loss.at_tokens(scores, TARGETS, DRAWABLE).tolist() == pytest.approx(in_a_loop(name, scores), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_and_second_derivatives_are_those_of_finite_differences(name):
    loss = named(name)
    scores = some_scores(loss).requires_grad_()
    of_scores = lambda s: loss.at_tokens(s, TARGETS, DRAWABLE)  # noqa: E731
    assert torch.autograd.gradcheck(of_scores, scores)
    assert torch.autograd.gradgradcheck(of_scores, scores)


@pytest.mark.parametrize("name", NAMES)
def test_enormous_scores_give_a_finite_loss_and_gradient(name):
    loss = named(name)
    signs = some_scores(loss).sign().float()
    scores = (1e4 * signs).requires_grad_()
    value = loss.at_tokens(scores, TARGETS, DRAWABLE).sum()
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bce", 2 * math.log(2)),
        ("bce of 4", math.log(2)),
        ("gbce", (gbce_beta(4, ITEMS, 0.75) + 4) / 5 * math.log(2)),
        ("sampled-softmax", math.log(ITEMS)),
        ("ce", math.log(ITEMS)),
    ],
)
def test_equal_scores_cost_what_chance_costs(name, expected):
    assert named(name).chance(ITEMS) == pytest.approx(expected, rel=1e-6)


def test_one_negative_is_not_halved_and_is_the_loss_it_always_was_bit_for_bit():
    scores = some_scores(named("bce"), tokens=200).float()
    expected = torch.nn.functional.softplus(-scores[:, 0]) + torch.nn.functional.softplus(scores[:, 1])
    assert torch.equal(binary_cross_entropy(scores, torch.ones(200, dtype=torch.int64)), expected)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_gbce_without_calibration_is_bce_over_k_plus_1(k):
    scores = torch.randn(5, 1 + k, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
    ones = torch.ones(5, dtype=torch.int64)
    plain = loss_named("gbce", item_count=ITEMS, negative_count=k, gbce_t=0.0).at_tokens(scores, ones)
    bce = binary_cross_entropy(scores, ones)
    torch.testing.assert_close(plain, bce / 2 if k == 1 else bce)


@given(st.integers(1, 500), st.integers(2, 10**7), st.floats(0, 1))
def test_beta_runs_from_1_to_alpha(k, others, t):
    item_count = k + others
    alpha = k / (item_count - 1)
    assert gbce_beta(k, item_count, t) == pytest.approx(1 - t * (1 - alpha), rel=1e-9, abs=1e-12)


def test_the_denominator_of_sampled_softmax_is_right_on_average():
    made = interactions_of([[3, 5, 5, 1, 2], [1, 2, 4, 8, 9]], item_count=ITEMS)
    sampler, generator = NegativeSampler(made), torch.Generator().manual_seed(0)
    scores = torch.randn(2, ITEMS, generator=generator, dtype=torch.float64)
    users, targets = np.array([0, 1]).repeat(40_000), np.array([5, 4]).repeat(40_000)
    drawn = np.concatenate([targets[:, None], sampler.draw(np.random.default_rng(0), users, 3)], axis=1)
    picked = scores[torch.from_numpy(users)].gather(1, torch.from_numpy(drawn - 1))
    loss = sampled_softmax(picked, torch.from_numpy(targets), torch.from_numpy(sampler.drawable(users)))
    estimates = (loss + picked[:, 0]).exp().view(2, -1).mean(dim=1)
    exact = [
        sum(math.exp(row[item - 1]) for item in range(1, ITEMS + 1) if item == target or item not in own)
        for row, target, own in zip(scores.tolist(), (5, 4), ({3, 5}, {1, 2, 4}), strict=True)
    ]
    assert estimates.tolist() == pytest.approx(exact, rel=0.02)


def test_sampled_softmax_over_every_other_item_is_the_full_softmax():
    scores = torch.randn(4, ITEMS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = sampled_softmax(scores, torch.ones(4, dtype=torch.int64), torch.full((4,), ITEMS - 1))
    torch.testing.assert_close(found, cross_entropy(scores, torch.ones(4, dtype=torch.int64)))


# A batch


@pytest.mark.parametrize("name", NAMES)
def test_a_batchs_loss_is_the_sum_of_its_tokens_over_the_count(name):
    loss = named(name)
    model = SASRec(ITEMS, size=8, layers=1, max_length=5).double()
    model.initialise(torch.Generator().manual_seed(0))
    batch = pack(np.array([1, 2, 3, 4, 5, 6]), np.array([0, 4, 6]), max_length=5)
    targets = torch.tensor([2, 3, 4, 9, 6, 1])
    candidates = None if loss.negatives is None else (targets[:, None] + torch.arange(1 + loss.negatives)) % ITEMS + 1
    drawable = torch.full((6,), 7)
    expected = loss.at_tokens(model(batch, candidates), targets, drawable).sum() / 12
    found = loss(model, Example(batch, targets, candidates, drawable), 12.0, None)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    ours, theirs = (torch.autograd.grad(value, list(model.parameters())) for value in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-14)


# Training

TRAINED = {
    "bce of 4": {"negative_count": 4},
    "gbce": {"loss": "gbce", "negative_count": 8},
    "sampled-softmax": {"loss": "sampled-softmax", "negative_count": 8},
    "ce": {"loss": "ce"},
}


@pytest.mark.parametrize("changes", TRAINED.values(), ids=TRAINED.keys())
def test_with_sam_at_rho_0_training_is_adams_bit_for_bit(changes, tmp_path):
    plain = small_runs.trained(tmp_path / "plain", **changes)
    sam = small_runs.trained(tmp_path / "sam", **changes, sam=True)
    small_runs.assert_same_tensors(sam.state().weights, plain.state().weights)
    small_runs.assert_same_tensors(sam.state().moments, plain.state().moments)
    assert [entry["sharpness"] for entry in sam.history()] == [0] * 4
    assert plain.history()[-1]["loss"] < plain.history()[0]["loss"]


@pytest.mark.parametrize("changes", TRAINED.values(), ids=TRAINED.keys())
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(changes, tmp_path):
    unbroken = small_runs.trained(tmp_path / "unbroken", **changes, rho=0.05)
    small_runs.trainer(tmp_path / "run", **changes, rho=0.05).epoch()
    small_runs.assert_same_runs(small_runs.trained(tmp_path / "run", **changes, rho=0.05, resume=True), unbroken)


def test_every_token_gets_its_number_of_negatives_none_of_them_its_users(tmp_path):
    trainer = small_runs.trainer(tmp_path / "run", loss="sampled-softmax", negative_count=5)
    data = small_runs.data()
    owners = {tuple(data.sequence(user)[:-3][-16:].tolist()): user for user in range(data.users)}
    assert len(owners) == data.users
    drawn = []
    for example in trainer.examples(1):
        assert torch.equal(example.candidates[:, 0], example.targets)
        items = example.batch.items.view(-1)[example.batch.slots]
        for sequence in range(len(example.batch.last)):
            own = example.batch.sequence == sequence
            taken = set(data.sequence(owners[tuple(items[own].tolist())])[:-2].tolist())
            drawn.append(example.candidates[own, 1:])
            assert not taken & set(drawn[-1].flatten().tolist())
            assert set(example.drawable[own].tolist()) == {data.item_count - len(taken)}
    assert torch.cat(drawn).shape == (len(trainer.sequences.items), 5)


@pytest.mark.parametrize("changes", [{}, {"negative_count": 4}, {"loss": "ce"}], ids=["bce", "bce of 4", "ce"])
def test_a_batch_in_parts_has_the_negatives_and_the_gradient_of_the_whole(changes, tmp_path):
    whole = small_runs.trainer(tmp_path / "whole", **changes, dropout=0)
    parts = small_runs.trainer(tmp_path / "parts", **changes, dropout=0, micro_batch=7)
    for (batch,), cut in zip(whole.steps(1), parts.steps(1), strict=True):
        assert len(cut) == 3
        assert torch.equal(torch.cat([part.targets for part in cut]), batch.targets)
        if batch.candidates is not None:
            assert torch.equal(torch.cat([part.candidates for part in cut]), batch.candidates)
    for trainer in (whole, parts):
        trainer.step.take(*next(trainer.steps(1)))
    for one, other in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-7)


# Names and settings


@pytest.mark.parametrize(("name", "k"), [("bce", 1), ("gbce", 256), ("sampled-softmax", 256), ("ce", None)])
def test_each_loss_has_a_number_of_negatives_of_its_own(name, k):
    assert loss_named(name, item_count=1000).negatives == k
    assert small_runs.config(loss=name).negative_count == k


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "hinge"}, "bce, gbce, sampled-softmax, ce, got 'hinge'"),
        (
            {"name": "ce", "negative_count": 3},
            "negative_count with the loss bce, gbce, sampled-softmax, got it with ce",
        ),
        ({"name": "bce", "gbce_t": 0.5}, "gbce_t with the loss gbce, got it with bce"),
        ({"name": "gbce"}, "number of items"),
        ({"name": "bce", "item_count": 9, "negative_count": 9}, "fewer negatives than the 9 items, got 9"),
        ({"name": "bce", "negative_count": 0}, "1 or more"),
        ({"name": "gbce", "item_count": 9, "negative_count": 2, "gbce_t": 1.5}, "between 0 and 1"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        loss_named(**options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "ce", "negative_count": 3}, "negative_count"),
        ({"gbce_t": 0.5}, "gbce_t"),
        ({"negative_count": 0}, "negative_count"),
        ({"loss": "gbce", "gbce_t": 1.5}, "gbce_t"),
        ({"loss": "hinge"}, "loss"),
    ],
)
def test_a_configuration_of_a_loss_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small_runs.config(**changes)
