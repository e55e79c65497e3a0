"""CL4SRec: NT-Xent against a loop over views, the loss of a batch, training, and resuming."""

import math

import numpy as np
import pytest
import torch
from samrec_tests import small_runs

from samrec.config import Contrast
from samrec.data.batches import pack
from samrec.errors import ConfigError
from samrec.models.cl4srec import ContrastiveLoss, nt_xent, view_vectors
from samrec.models.losses import loss_named
from samrec.models.sasrec import SASRec
from samrec.training.step import Example

CL = {"method": "cl4srec", "epochs": 5}


def vectors(views=6, size=4, seed=0):
    return torch.randn(views, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def nt_xent_in_a_loop(rows, temperature, cosine):
    losses = []
    for i, own in enumerate(rows):
        similarities = {}
        for j, other in enumerate(rows):
            dot = sum(a * b for a, b in zip(own, other, strict=True))
            scale = math.hypot(*own) * math.hypot(*other) if cosine else 1
            similarities[j] = dot / scale / temperature
        others = sum(math.exp(similarities[j]) for j in similarities if j != i)
        twin = i + 1 if i % 2 == 0 else i - 1
        losses.append(-math.log(math.exp(similarities[twin]) / others))
    return losses


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_nt_xent_is_that_of_a_loop_over_views(temperature, cosine):
    rows = vectors()
    expected = nt_xent_in_a_loop(rows.tolist(), temperature, cosine)
    assert nt_xent(rows, temperature=temperature, cosine=cosine).tolist() == pytest.approx(expected, rel=1e-12)


def test_two_views_of_one_sequence_have_nothing_to_be_told_apart_from():
    assert nt_xent(vectors(views=2)).tolist() == [0, 0]


def test_equal_views_cost_the_log_of_their_number_less_one():
    assert nt_xent(torch.ones(8, 3)).tolist() == pytest.approx([math.log(7)] * 8)


@pytest.mark.parametrize("cosine", [False, True])
def test_gradients_and_second_derivatives_are_those_of_finite_differences(cosine):
    rows = vectors().requires_grad_()
    loss = lambda v: nt_xent(v, temperature=0.5, cosine=cosine)  # noqa: E731
    assert torch.autograd.gradcheck(loss, rows)
    assert torch.autograd.gradgradcheck(loss, rows)


# A batch


def model(seed=0):
    made = SASRec(30, size=8, layers=1, max_length=6).double()
    made.initialise(torch.Generator().manual_seed(seed))
    return made


def packed(rows):
    return pack(np.concatenate(rows), np.cumsum([0, *map(len, rows)]), max_length=6)


ROWS = [[1, 2, 3], [4, 5], [6, 7, 8, 9]]
VIEWS = [[1, 2], [1, 31, 3], [4], [5, 4], [6, 8, 7, 9], [31, 7, 8, 9]]


def example():
    batch = packed(ROWS)
    targets = torch.arange(11, 11 + len(batch.slots))
    return Example(batch, targets, torch.stack([targets, targets + 9], dim=1), views=packed(VIEWS))


def test_a_views_vector_is_the_hidden_state_of_its_newest_item():
    trunk = model()
    alone = [trunk.encode(np.array(view), np.array([0, len(view)]))[0] for view in VIEWS]
    torch.testing.assert_close(view_vectors(trunk, packed(VIEWS), dropout=None, every=False), torch.stack(alone))


def test_vectors_of_all_positions_lie_side_by_side_aligned_at_the_newest():
    trunk = model()
    found = view_vectors(trunk, packed(VIEWS), dropout=None, every=True)
    assert found.shape == (6, 6 * 8)
    for view, row in zip(VIEWS, found.view(6, 6, 8), strict=True):
        batch = packed([view])
        expected = trunk.hidden_at(batch).index_select(0, batch.slots)
        torch.testing.assert_close(row[-len(view) :], expected)
        assert not row[: -len(view)].any()


@pytest.mark.parametrize("loss", ["bce", "ce", "sampled-softmax"])
def test_the_loss_of_a_batch_is_the_recommenders_plus_the_weighted_mean_over_views(loss):
    trunk, ours = model(), example()
    if loss == "ce":
        ours = Example(ours.batch, ours.targets, None, views=ours.views)
    if loss == "sampled-softmax":
        ours = Example(ours.batch, ours.targets, ours.candidates, torch.full((9,), 20), ours.views)
    supervised = loss_named(loss, item_count=30, negative_count=None if loss == "ce" else 1)
    contrast = Contrast(weight=0.3, temperature=0.5)
    alone = supervised(trunk, ours, 9.0, None)
    told_apart = nt_xent(view_vectors(trunk, ours.views, dropout=None, every=False), temperature=0.5).mean()
    found = ContrastiveLoss(supervised, contrast)(trunk, ours, 9.0, None)
    assert found.item() == pytest.approx((alone + 0.3 * told_apart).item(), rel=1e-12)


def test_half_of_a_batchs_tokens_carry_half_of_the_contrast():
    trunk, ours = model(), example()
    loss = ContrastiveLoss(loss_named("bce"), Contrast())
    assert loss(trunk, ours, 18.0, None).item() == pytest.approx(loss(trunk, ours, 9.0, None).item() / 2, rel=1e-12)


# Training


def test_every_batch_comes_with_two_views_of_each_of_its_sequences(tmp_path):
    trainer = small_runs.trainer(tmp_path / "run", **CL)
    mask_id = trainer.model.item_count + 1
    for example in trainer.examples(1):
        rows, views = rows_of(example.batch), rows_of(example.views)
        assert len(views) == 2 * len(rows)
        for place, view in enumerate(views):
            assert set(view) <= {*rows[place // 2], mask_id}


def rows_of(batch):
    items = batch.items.view(-1)[batch.slots].tolist()
    rows = {}
    for item, sequence in zip(items, batch.sequence.tolist(), strict=True):
        rows.setdefault(sequence, []).append(item)
    return list(rows.values())


def test_views_are_drawn_anew_each_epoch_and_depend_on_the_seed_alone(tmp_path):
    first, other = (small_runs.trainer(tmp_path / name, **CL) for name in ("first", "other"))
    seeded = small_runs.trainer(tmp_path / "seeded", **CL, seed=1)

    def drawn(trainer, epoch):
        return sorted(tuple(view) for example in trainer.examples(epoch) for view in rows_of(example.views))

    assert drawn(first, 1) == drawn(other, 1)
    assert drawn(first, 1) != drawn(first, 2)
    assert drawn(first, 1) != drawn(seeded, 1)


def test_without_weight_it_is_sasrec_bit_for_bit(tmp_path):
    plain = small_runs.trained(tmp_path / "sasrec")
    weightless = small_runs.trained(tmp_path / "cl", method="cl4srec", contrast={"weight": 0})
    small_runs.assert_same_tensors(weightless.state().weights, plain.state().weights)
    assert small_runs.history(weightless) == small_runs.history(plain)


def test_with_sam_at_rho_0_it_is_itself_bit_for_bit(tmp_path):
    plain = small_runs.trained(tmp_path / "plain", **CL)
    sam = small_runs.trained(tmp_path / "sam", **CL, sam=True)
    small_runs.assert_same_tensors(sam.state().weights, plain.state().weights)
    small_runs.assert_same_tensors(sam.state().moments, plain.state().moments)
    assert [entry["loss"] for entry in sam.history()] == [entry["loss"] for entry in plain.history()]
    assert [entry["sharpness"] for entry in sam.history()] == [0] * 5


@pytest.mark.parametrize("changes", [{}, {"rho": 0.05, "loss": "ce"}])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(changes, tmp_path):
    unbroken = small_runs.trained(tmp_path / "unbroken", **CL, **changes)
    started = small_runs.trainer(tmp_path / "run", **CL, **changes)
    for _ in range(2):
        started.epoch()
    small_runs.assert_same_runs(small_runs.trained(tmp_path / "run", **CL, **changes, resume=True), unbroken)


def test_the_contrast_pulls_views_of_a_sequence_together(tmp_path):
    def mean_nt_xent(run, trainer):
        views = [example.views for example in trainer.examples(99)]
        trunk = run.load_model("last")
        with torch.no_grad():
            losses = [nt_xent(view_vectors(trunk, one, dropout=None, every=False)).mean() for one in views]
        return float(torch.stack(losses).mean())

    options = {**CL, "learning_rate": 0.02, "epochs": 20, "patience": 20}
    drawing = small_runs.trainer(tmp_path / "drawing", **options)
    without = small_runs.trained(tmp_path / "without", **options, contrast={"weight": 0})
    with_it = small_runs.trained(tmp_path / "with", **options, contrast={"weight": 1.0})
    assert mean_nt_xent(with_it, drawing) < mean_nt_xent(without, drawing) - 1


VARIANTS = {
    "similarity": ["cosine"],
    "vectors": ["all"],
    "temperature": [0.5],
    "operators": [("crop",), ("mask", "reorder")],
    "crop": [0.2],
    "mask": [0.8],
    "reorder": [0.1],
}


@pytest.mark.parametrize(
    "variant",
    [{name: value} for name, values in VARIANTS.items() for value in values],
    ids=lambda variant: str(variant),
)
def test_every_variant_trains_and_differs_from_the_papers(variant, tmp_path):
    paper = small_runs.trained(tmp_path / "paper", method="cl4srec", epochs=1)
    other = small_runs.trained(tmp_path / "other", method="cl4srec", epochs=1, contrast=variant)
    assert other.record["status"] == "finished"
    assert other.history()[0]["loss"] != paper.history()[0]["loss"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrast": {"weight": 0.2}}, "method cl4srec, got them with sasrec"),
        ({"method": "cl4srec", "contrast": {"operators": ()}}, "crop, mask, reorder"),
        ({"method": "cl4srec", "contrast": {"operators": ("flip",)}}, r"contrast\.operators\.0"),
        ({"method": "cl4srec", "contrast": {"temperature": 0}}, r"contrast\.temperature"),
        ({"method": "cl4srec", "contrast": {"crop": 0}}, r"contrast\.crop"),
        ({"method": "cl4srec", "contrast": {"margin": 1}}, r"contrast\.margin"),
    ],
)
def test_a_contrast_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small_runs.config(**changes)


def test_an_example_without_views_is_refused():
    without = Example(example().batch, example().targets, example().candidates)
    with pytest.raises(ValueError, match="views"):
        ContrastiveLoss(loss_named("bce"), Contrast())(model(), without, 9.0, None)
