"""Any model, in three lines: its loss is the one its own code computes, and nothing in it changes."""

import copy
import functools

import pytest
import torch
from landscape_tests.known import dense_hessian
from landscape_tests.models import (
    NamedInputs,
    SmallCNN,
    SmallResNet,
    TiedLanguageModel,
    images,
    named_batches,
    seeded,
)
from torch import nn
from torch.nn import functional as F

import landscape as ls
from landscape.errors import InvalidArgument
from landscape.objective import check_frozen, gradient_at, loss_at
from landscape.parameters import content_hash

from_model = ls.Objective.from_model


def trained_statistics(model):
    """Some passes in training mode, so that running statistics are of no batch here; then evaluation mode."""
    model.train()
    with torch.no_grad():
        for x, _ in images(40):
            model(3 * x + 1)
    return model.eval()


def whole(batches):
    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))


@pytest.mark.parametrize("build", [SmallCNN, SmallResNet])
def test_a_networks_loss_and_gradient_are_those_its_own_code_gives(build):
    model = trained_statistics(seeded(build))
    objective = from_model(model, nn.CrossEntropyLoss(), images())
    loss, gradient = gradient_at(objective, objective.weights)

    x, y = whole(images())
    expected = F.cross_entropy(model(x), y)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    named = {name: weight.grad for name, weight in model.named_parameters()}
    torch.testing.assert_close(gradient, objective.layout.flatten(named), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("statistics", ["running", "batch"])
@pytest.mark.parametrize("build", [SmallCNN, SmallResNet])
def test_nothing_in_the_model_changes_and_the_statistics_used_are_stated(build, statistics):
    model = trained_statistics(seeded(build))
    model.train()
    before = content_hash(model.state_dict())
    objective = from_model(model, nn.CrossEntropyLoss(), images(), batch_norm=statistics)
    gradient_at(objective, objective.weights)
    ls.eigenpairs_of(objective, name="ends", checkpoint="w", max_products=3)
    assert content_hash(model.state_dict()) == before
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())
    assert objective.facts["batch_norm"] == f"{statistics} statistics"


def test_batch_statistics_are_those_of_the_model_in_training_mode():
    model = trained_statistics(seeded(SmallCNN))
    objective = from_model(model, nn.CrossEntropyLoss(), images(16, batch_size=8), batch_norm="batch")
    found = loss_at(objective, objective.weights).value
    model.train()
    with torch.no_grad():
        expected = [F.cross_entropy(model(x), y).item() for x, y in images(16, batch_size=8)]
    assert found == pytest.approx(sum(expected) / 2, rel=1e-6)


def test_training_the_model_on_moves_neither_weights_nor_statistics_of_the_objective():
    model = trained_statistics(seeded(SmallCNN))
    objective = from_model(model, nn.CrossEntropyLoss(), images())
    before = check_frozen(objective).value
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.mul_(2)
    model.train()
    assert check_frozen(objective).value == before


def test_other_statistics_or_data_are_another_objective():
    def facts(shift=0.0, units=20):
        model = trained_statistics(seeded(SmallCNN))
        model.norm.running_mean += shift
        return from_model(model, nn.CrossEntropyLoss(), images(units)).facts

    assert facts() == facts()
    assert facts(shift=1.0)["fixed_tensors"] != facts()["fixed_tensors"]
    assert facts(units=19)["batches"] != facts()["batches"]


def test_a_tied_table_is_one_free_tensor_moved_in_both_places():
    model = seeded(TiedLanguageModel).double()
    words = torch.randint(1, 7, (6, 5), generator=torch.Generator().manual_seed(0))
    objective = from_model(model, nn.CrossEntropyLoss(), [(words[:, :-1], words[:, 1:])])
    assert "scores.weight" not in objective.layout.shapes
    assert not objective.layout.frozen_rows  # the padding row is scored too
    moved = {name: weight + (0.1 if name.startswith("emb") else 0) for name, weight in objective.weights.items()}
    found = loss_at(objective, moved).value
    with torch.no_grad():
        model.embedding.weight += 0.1
        expected = F.cross_entropy(model(words[:, :-1]).transpose(1, 2), words[:, 1:])
    assert found == pytest.approx(expected.item(), rel=1e-12)


def test_a_padding_row_that_is_not_tied_is_no_free_coordinate():
    model = nn.Sequential(nn.Embedding(5, 3, padding_idx=0), nn.Flatten(), nn.Linear(6, 2))
    batch = (torch.tensor([[0, 1], [2, 3]]), torch.tensor([0, 1]))
    objective = from_model(model, nn.CrossEntropyLoss(), [batch])
    assert objective.layout.sizes["0.weight"] == 4 * 3
    assert from_model(model, nn.CrossEntropyLoss(), [batch], frozen_rows={}).layout.sizes["0.weight"] == 5 * 3


def test_named_inputs_and_a_dataclass_of_outputs_are_understood():
    model = seeded(NamedInputs)
    batches = named_batches()
    objective = from_model(model, nn.CrossEntropyLoss(), batches)
    every = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}
    assert loss_at(objective, objective.weights).value == pytest.approx(model(**every).loss.item(), rel=1e-6)
    assert objective.outputs(objective.weights, objective.chunks[0]).shape == (4, 3)


def test_without_a_loss_the_models_own_is_averaged_over_batches():
    model, batches = seeded(NamedInputs), named_batches()
    means = [model(**batch).loss.item() for batch in batches]
    own = from_model(model, None, batches)
    assert loss_at(own, own.weights).value == pytest.approx(sum(means) / 3, rel=1e-6)
    assert own.facts["loss"] == "the model's own"
    weighed = from_model(model, None, batches, counts=lambda batch: torch.tensor(len(batch["labels"])))
    by_units = from_model(model, nn.CrossEntropyLoss(), batches)
    found = [gradient_at(objective, objective.weights) for objective in (weighed, by_units)]
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (lambda z: {"logits": z, "hidden": 2 * z}, None),
        (lambda z: {"hidden": 2 * z, "scores": z}, "scores"),
        (lambda z: (z, 2 * z), None),
        (lambda z: (2 * z, z), 1),
    ],
)
def test_the_scores_are_found_among_several_outputs(wrap, output):
    class Wrapped(SmallCNN):
        def forward(self, x):
            return wrap(super().forward(x))

    plain, wrapped = seeded(SmallCNN), seeded(Wrapped)
    losses = [
        loss_at(o, o.weights).value
        for o in (
            from_model(plain, nn.CrossEntropyLoss(), images()),
            from_model(wrapped, nn.CrossEntropyLoss(), images(), output=output),
        )
    ]
    assert losses[0] == losses[1]


CLASS_WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 3.0])


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(reduction="none"),
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, ignore_index=2),
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, label_smoothing=0.1),
        F.cross_entropy,
        functools.partial(F.cross_entropy, ignore_index=0, weight=CLASS_WEIGHTS.double()),
        nn.MultiMarginLoss(),
        lambda z, y: F.cross_entropy(z, y, reduction="none"),
    ],
    ids=["mean", "none", "weights, one ignored", "smoothed", "function", "partial", "margin", "one a sample"],
)
@pytest.mark.parametrize("batch_size", [3, 20])
def test_a_mean_over_classes_is_the_same_however_the_data_is_cut(loss, batch_size):
    model = seeded(SmallCNN).eval().double()
    objective = from_model(model, loss, images(batch_size=batch_size, dtype=torch.float64))
    x, y = whole(images(dtype=torch.float64))
    mean = nn.CrossEntropyLoss() if getattr(loss, "reduction", "mean") == "none" else loss
    mean = copy.deepcopy(mean).double() if isinstance(mean, nn.Module) else mean
    assert loss_at(objective, objective.weights).value == pytest.approx(mean(model(x), y).mean().item(), rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [nn.MSELoss(), nn.BCEWithLogitsLoss(), F.smooth_l1_loss, nn.KLDivLoss(reduction="batchmean")],
)
def test_a_mean_over_elements_is_the_same_however_the_data_is_cut(loss):
    model = seeded(SmallCNN).eval().double()
    targets = torch.rand(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x, _ = whole(images(dtype=torch.float64))
    objective = from_model(model, loss, list(zip(x.split(7), targets.split(7), strict=True)))
    assert loss_at(objective, objective.weights).value == pytest.approx(loss(model(x), targets).item(), rel=1e-9)


def test_padded_tokens_do_not_count():
    model = seeded(TiedLanguageModel).double()
    words = torch.randint(1, 7, (6, 5), generator=torch.Generator().manual_seed(0))
    following = words.roll(-1, dims=1)
    following[:3, 2:] = -100
    objective = from_model(model, nn.CrossEntropyLoss(), [(words[:4], following[:4]), (words[4:], following[4:])])
    expected = F.cross_entropy(model(words).transpose(1, 2), following)
    assert loss_at(objective, objective.weights).value == pytest.approx(expected.item(), rel=1e-12)
    assert torch.cat([chunk.counts for chunk in objective.chunks]).tolist() == [2, 2, 2, 5, 5, 5]


def test_parameters_that_take_no_gradient_stay_and_are_counted_as_frozen():
    model = seeded(SmallCNN).eval()
    model.conv.requires_grad_(False)
    objective = from_model(model, nn.CrossEntropyLoss(), images())
    assert set(objective.layout.shapes) == {"norm.weight", "norm.bias", "head.weight", "head.bias"}
    assert objective.facts["frozen_parameters"] == 3 * 9 + 3
    before = loss_at(objective, objective.weights).value
    with torch.no_grad():
        model.conv.weight.zero_()
    assert loss_at(objective, objective.weights).value == before
    with pytest.raises(InvalidArgument, match=r"requires_grad_\(True\)"):
        from_model(model.requires_grad_(False), nn.CrossEntropyLoss(), images())


def test_data_takes_the_type_of_the_weights():
    double = seeded(SmallCNN).eval().double()
    objective = from_model(double, nn.CrossEntropyLoss(), [(x.numpy(), y.numpy()) for x, y in images()])
    assert objective.chunks[0].inputs.dtype == torch.float64
    assert loss_at(objective, objective.weights).value > 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_data_goes_where_the_model_is():
    objective = from_model(seeded(SmallCNN).eval().cuda(), nn.CrossEntropyLoss(CLASS_WEIGHTS), images())
    assert loss_at(objective, objective.weights).value > 0


@pytest.mark.parametrize(
    ("build", "loss", "batches"),
    [
        (SmallCNN, nn.CrossEntropyLoss(), images(6, dtype=torch.float64)),
        (NamedInputs, nn.CrossEntropyLoss(), named_batches(6)),
        (TiedLanguageModel, nn.CrossEntropyLoss(), [(torch.tensor([[1, 2, 3], [4, 5, 0]]),) * 2]),
    ],
)
def test_both_ends_of_the_spectrum_are_those_of_the_dense_hessian(build, loss, batches):
    objective = from_model(seeded(build).double().eval(), loss, batches)
    pairs = ls.eigenpairs_of(objective, name="ends", checkpoint="w", tolerance=1e-3, max_products=3000)
    values = torch.linalg.eigvalsh(dense_hessian(objective))
    found = dict(zip(pairs.labels, pairs.values.tolist(), strict=True))
    assert pairs.converged.all()
    assert found["lambda_max"] == pytest.approx(values[-1].item(), rel=1e-4)
    assert found["lambda_min"] == pytest.approx(values[0].item(), rel=1e-2)


@pytest.mark.parametrize("statistics", ["running", "batch"])
@pytest.mark.parametrize(("build", "batches"), [(SmallResNet, images(6)), (NamedInputs, named_batches(4))])
def test_many_sets_of_weights_go_through_at_once(build, batches, statistics):
    objective = from_model(seeded(build).eval(), nn.CrossEntropyLoss(), batches, batch_norm=statistics)
    chunk = objective.chunks[0]
    stacked = {name: torch.stack([weight, 1.5 * weight]) for name, weight in objective.weights.items()}

    def loss(params):
        return objective.loss(objective.outputs(params, chunk), chunk).sum()

    together = torch.func.vmap(loss)(stacked)
    alone = [loss({name: pair[k] for name, pair in stacked.items()}) for k in (0, 1)]
    torch.testing.assert_close(together, torch.stack(alone))


def test_metrics_are_named_functions():
    hits = {"accuracy": lambda z, y: z.argmax(1) == y}
    objective = from_model(seeded(SmallCNN).eval(), nn.CrossEntropyLoss(), images(), metrics=hits)
    found = objective.metrics(objective.weights, ["accuracy"])["accuracy"]
    x, y = whole(images())
    assert found.mean().item() == pytest.approx((objective.model(x).argmax(1) == y).double().mean().item())
    with pytest.raises(InvalidArgument, match="out of accuracy"):
        objective.metrics(objective.weights, ["recall"])


def test_the_front_door_is_no_part_of_what_an_objective_must_have():
    assert isinstance(from_model(seeded(SmallCNN), F.cross_entropy, images()), ls.Objective)
    assert "from_model" not in dir(from_model(seeded(SmallCNN), F.cross_entropy, images()))
