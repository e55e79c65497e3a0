"""The frozen objective: against a loop over users, independent of chunks, exact products, the evaluator's metrics."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from samrec_tests.shared import every_loss

from landscape.curvature.operators import Hessian
from landscape.objective import check_frozen, gradient_at, loss_at
from samrec.data.interactions import Interactions
from samrec.errors import ConfigError
from samrec.models.sasrec import SASRec
from samrec.objective import SequenceObjective
from samrec.user_chunks import tightest_width

ITEMS = 40


def some_interactions(users: int = 23, seed: int = 0, longest: int = 30) -> Interactions:
    """Random sequences of 3 to `longest` items; items 36..40 are nobody's."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, longest, users)
    items = rng.integers(1, 36, lengths.sum()).astype(np.int32)
    return Interactions(
        name="random",
        items=items,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        item_count=ITEMS,
        user_ids=np.arange(1, users + 1),
        dropped=0,
        source="random",
    )


def small_model(seed: int = 0, max_length: int = 12) -> SASRec:
    model = SASRec(ITEMS, size=8, heads=2, layers=2, max_length=max_length)
    model.initialise(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    return model.double()


@pytest.fixture(scope="module")
def interactions() -> Interactions:
    return some_interactions()


@pytest.fixture(scope="module")
def model() -> SASRec:
    return small_model()


def by_user(objective: SequenceObjective, sums: np.ndarray) -> np.ndarray:
    users = np.concatenate([chunk.users for chunk in objective.chunks])
    return sums[np.argsort(users)]


@every_loss
def test_the_loss_is_the_same_twice_and_the_model_stays_as_it_was(model, interactions, loss):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    model.train()
    objective = SequenceObjective(model, interactions, **loss)
    value = check_frozen(objective)
    objective.metrics({name: weight + 1 for name, weight in objective.weights.items()}, ["ndcg@10"])

    assert np.isfinite(value.value)
    assert loss_at(objective, objective.weights).value == value.value
    assert model.training
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])


@pytest.mark.parametrize("split", ["train", "test"])
@every_loss
def test_the_loss_does_not_depend_on_the_chunks(model, interactions, loss, split):
    whole = SequenceObjective(model, interactions, **loss, split=split, tokens=10**6)
    expected = loss_at(whole, whole.weights)
    for tokens in (1, 17, 100):
        cut = SequenceObjective(model, interactions, **loss, split=split, tokens=tokens)
        assert len(cut.chunks) > 1
        found = loss_at(cut, cut.weights)
        assert found.value == pytest.approx(expected.value, rel=1e-12)
        np.testing.assert_allclose(by_user(cut, found.sums), by_user(whole, expected.sums), rtol=1e-12)
        gradient, other = gradient_at(whole, whole.weights)[1], gradient_at(cut, cut.weights)[1]
        assert (other - gradient).norm() <= 1e-12 * gradient.norm()


@every_loss
def test_the_loss_is_that_of_a_loop_over_users(model, interactions, loss):
    objective = SequenceObjective(model, interactions, **loss, tokens=60)
    found = loss_at(objective, objective.weights)
    drawn = {}
    for chunk in objective.chunks:
        for unit, user in enumerate(chunk.users):
            own = chunk.batch.sequence == unit
            drawn[user] = None if chunk.candidates is None else chunk.candidates[own, 1:]

    total, count = 0.0, 0
    table = model.item_embedding.weight.detach()
    for user in range(len(interactions.user_ids)):
        history = interactions.items[interactions.offsets[user] : interactions.offsets[user + 1]].astype(np.int64)
        inputs, targets = history[:-3][-12:], history[1:-2][-12:]
        for end in range(1, len(inputs) + 1):  # one prefix at a time, cut where the newest item of the whole stands
            shift = len(inputs) - end
            hidden = state_of_prefix(model, inputs[:end], shift)
            target = int(targets[end - 1])
            if loss["loss"] == "ce":
                scores = table[1 : ITEMS + 1] @ hidden
                total += float(torch.logsumexp(scores, 0) - scores[target - 1])
            else:
                negatives = drawn[user][end - 1].tolist()
                taken = set(history[:-2].tolist())
                assert not taken & set(negatives)
                wanted = float(hidden @ table[target])
                others = [float(hidden @ table[negative]) for negative in negatives]
                total += sampled_loss(loss["loss"], wanted, others, drawable=ITEMS - len(taken))
            count += 1

    assert found.counts.sum() == count
    assert found.value == pytest.approx(total / count, rel=1e-12)


def sampled_loss(name: str, wanted: float, others: list[float], *, drawable: int) -> float:
    k = len(others)
    if name == "sampled-softmax":
        return math.log(math.exp(wanted) + drawable / k * sum(map(math.exp, others))) - wanted
    alpha = k / (ITEMS - 1)
    beta = alpha * (0.5 * (1 - 1 / alpha) + 1 / alpha) if name == "gbce" else 1
    summed = beta * math.log1p(math.exp(-wanted)) + sum(math.log1p(math.exp(other)) for other in others)
    return summed if k == 1 else summed / (k + 1)


def state_of_prefix(model: SASRec, items: np.ndarray, shift: int) -> torch.Tensor:
    """The last hidden state of one prefix, by the formulas, `shift` positions before the end."""
    with torch.no_grad():
        positions = torch.arange(model.max_length - shift - len(items), model.max_length - shift)
        x = model.input_norm(
            model.item_embedding.weight[torch.from_numpy(items)] + model.position_embedding.weight[positions]
        )
        causal = torch.ones(len(items), len(items), dtype=torch.bool).tril()
        for block in model.blocks:
            heads = []
            for q, k, v in zip(
                *(layer(x).chunk(block.heads, -1) for layer in (block.query, block.key, block.value)), strict=True
            ):
                scores = (q @ k.T / q.shape[1] ** 0.5).masked_fill(~causal, -torch.inf)
                heads.append(torch.softmax(scores, -1) @ v)
            x = block.attention_norm(x + block.output(torch.cat(heads, -1)))
            x = block.feed_forward_norm(x + block.contract(F.gelu(block.expand(x))))
        return x[-1]


def test_the_held_out_loss_is_of_the_target_behind_the_newest_item(model, interactions):
    objective = SequenceObjective(model, interactions, loss="ce", split="test")
    found = loss_at(objective, objective.weights)
    table = model.item_embedding.weight.detach()
    expected = []
    for user in range(len(interactions.user_ids)):
        history = interactions.items[interactions.offsets[user] : interactions.offsets[user + 1]].astype(np.int64)
        scores = table[1 : ITEMS + 1] @ state_of_prefix(model, history[:-1][-12:], 0)
        expected.append(float(torch.logsumexp(scores, 0) - scores[history[-1] - 1]))
    assert (found.counts == 1).all()
    np.testing.assert_allclose(by_user(objective, found.sums), expected, rtol=1e-12)


@every_loss
def test_products_are_symmetric_and_second_differences_of_the_gradient(model, interactions, loss):
    objective = SequenceObjective(model, interactions, **loss, tokens=60)
    product = Hessian(objective)
    generator = torch.Generator().manual_seed(0)
    u, v = (torch.randn(objective.layout.size, generator=generator, dtype=torch.float64) for _ in range(2))
    assert torch.dot(u, product(v)).item() == pytest.approx(torch.dot(v, product(u)).item(), rel=1e-9)

    step = 1e-5 / v.norm().item()
    along = objective.layout.unflatten(v)
    ahead, behind = (
        gradient_at(objective, {name: w + sign * step * along[name] for name, w in objective.weights.items()})[1]
        for sign in (1, -1)
    )
    torch.testing.assert_close((ahead - behind) / (2 * step), product(v), rtol=1e-4, atol=1e-5)


def test_both_attention_kernels_give_the_same_scores(model, interactions):
    objective = SequenceObjective(model, interactions)
    for chunk in objective.chunks:
        fused = objective.outputs(objective.weights, chunk)
        plain = objective.outputs(objective.weights, chunk, differentiable_twice=True)
        torch.testing.assert_close(fused, plain, rtol=1e-12, atol=1e-12)


def test_negatives_depend_on_the_seed_and_not_on_who_takes_part(model, interactions):
    def negatives(**options):
        objective = SequenceObjective(model, interactions, tokens=50, **options)
        return {
            int(user): chunk.candidates[chunk.batch.sequence == unit, 1].tolist()
            for chunk in objective.chunks
            for unit, user in enumerate(chunk.users)
        }

    everyone, some = negatives(seed=3), negatives(seed=3, users=7)
    assert len(some) == 7
    assert all(everyone[user] == drawn for user, drawn in some.items())
    assert set(some) != set(negatives(seed=4, users=7)) or some != negatives(seed=4, users=7)
    assert everyone != negatives(seed=4)


def test_metrics_are_those_of_evaluate(model, interactions):
    from samrec.evaluation.evaluate import evaluate_model

    for split in ("validation", "test"):
        expected = evaluate_model(model, interactions, split)
        objective = SequenceObjective(model, interactions, metrics_split=split)
        found = objective.metrics(objective.weights, ["ndcg@10", "HR@10"])
        ranked = dict(zip(expected.users.tolist(), expected.ranks.tolist(), strict=True))
        assert objective.ranks(objective.weights).tolist() == [ranked[int(u) + 1] for u in objective.users]
        assert list(found) == ["ndcg@10", "HR@10"]
    everyone = SequenceObjective(model, some_interactions(longest=12), split="test")
    expected = evaluate_model(model, some_interactions(longest=12), "test")
    assert everyone.metrics(everyone.weights, ["hr@10"])["hr@10"].mean().item() == pytest.approx(
        expected.metrics["HR@10"]
    )


def test_metrics_follow_the_weights_they_are_asked_at(model, interactions):
    objective = SequenceObjective(model, interactions)
    other = small_model(seed=1)
    moved = {name: weight.detach() for name, weight in other.named_parameters()}
    expected = SequenceObjective(other, interactions)
    assert (objective.ranks(moved) == expected.ranks(expected.weights)).all()
    assert (objective.ranks(objective.weights) != objective.ranks(moved)).any()


def test_untouched_rows_have_no_influence_and_every_other_row_has(model, interactions):
    objective = SequenceObjective(model, interactions)
    _, gradient = gradient_at(objective, objective.weights)
    slopes = objective.layout.unflatten(gradient)
    table = slopes["item_embedding.weight"].abs().sum(1)
    untouched = objective.layout.row_groups["untouched"]
    idle = set(untouched["item_embedding.weight"].tolist())
    assert ITEMS + 1 in idle
    assert 0 not in idle
    assert {row for row in range(1, ITEMS + 2) if table[row] == 0} == idle
    assert set(np.flatnonzero(slopes["position_embedding.weight"].abs().sum(1) == 0)) == set(
        untouched["position_embedding.weight"].tolist()
    )


def test_under_cross_entropy_only_the_mask_row_is_untouched(model, interactions):
    objective = SequenceObjective(model, interactions, loss="ce")
    assert objective.layout.row_groups["untouched"]["item_embedding.weight"].tolist() == [ITEMS + 1]


def test_head_and_tail_part_the_items_seen_in_training_by_popularity(model, interactions):
    layout = SequenceObjective(model, interactions).layout
    head, tail = (set(layout.row_groups[name]["item_embedding.weight"].tolist()) for name in ("head", "tail"))
    counts = np.zeros(ITEMS + 2, dtype=int)
    for user in range(len(interactions.user_ids)):
        history = interactions.items[interactions.offsets[user] : interactions.offsets[user + 1]]
        if len(history) > 3:
            np.add.at(counts, history[:-3][-12:], 1)
            np.add.at(counts, history[1:-2][-12:], 1)
    assert head | tail == set(np.flatnonzero(counts))
    assert not head & tail
    assert len(head) == round(0.2 * len(head | tail))
    assert min(counts[list(head)]) >= max(counts[list(tail)])


def test_the_padding_row_is_frozen(model, interactions):
    layout = SequenceObjective(model, interactions).layout
    assert layout.frozen_rows["item_embedding.weight"].tolist() == [0]
    assert layout.size == sum(p.numel() for p in model.parameters()) - 8


def test_a_width_is_chosen_that_leaves_the_fewest_slots_empty():
    assert tightest_width(np.array([9, 9, 9, 9]), 50) == 9
    assert tightest_width(np.array([10, 4, 6, 10]), 50) == 10
    assert tightest_width(np.array([50, 3]), 50) == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": 10**6}, "users"),
        ({"users": 0}, "users"),
        ({"split": "trian"}, "train, validation, test"),
        ({"metrics_split": "train"}, "validation or test"),
        ({"loss": "mse"}, "bce, gbce, sampled-softmax, ce"),
    ],
)
def test_options_outside_what_they_may_be_are_refused(model, interactions, options, message):
    with pytest.raises(ConfigError, match=message):
        SequenceObjective(model, interactions, **options)


def test_an_unknown_metric_is_refused_before_anything_is_ranked(model, interactions):
    objective = SequenceObjective(model, interactions)
    with pytest.raises(ConfigError, match="speed@10"):
        objective.metrics(objective.weights, ["speed@10"])
