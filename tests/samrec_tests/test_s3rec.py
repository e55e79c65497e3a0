"""S3-Rec's losses on packed rows against a padded loop, their gradients, and what a loss left out leaves alone."""

import pytest
import torch
from samrec_tests.padded_s3rec import masked_losses, segment_loss
from samrec_tests.small_pretraining import ATTRIBUTES, ITEMS, OWN, drawn, rows_of, tiny
from torch.func import functional_call

from samrec.data.batches import pack
from samrec.data.pretraining import PretrainBatch
from samrec.models.dropout import Dropout
from samrec.models.s3rec import LOSSES, S3Rec
from samrec.models.sasrec import SASRec

LENGTH = 7
MASK = ITEMS + 1


def make_model(*, losses=LOSSES, size=8, layers=2, spread=0.3, inner=True):
    """A float64 model whose weights are large enough for attention and sigmoids to matter."""
    model = S3Rec(
        ITEMS, ATTRIBUTES, losses=losses, inner_sigmoid=inner, size=size, layers=layers, max_length=LENGTH
    ).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=spread)
        model.item_embedding.weight[0] = 0
    return model


def batch(size=100, **options):
    """The first batch of an epoch."""
    return drawn(tiny(), size=size, max_length=LENGTH, **options)[0]


def obvious(weights, example, inner=True):
    """The four losses by loops over what the packed batch holds."""
    masked = example.masked
    inputs = rows_of(masked.batch)
    pairs = iter(masked.candidates.tolist())
    told = [[next(pairs) if item == MASK else (item, 0) for item in row] for row in inputs]
    losses = masked_losses(
        weights,
        inputs,
        [[item for item, _ in row] for row in told],
        [[negative for _, negative in row] for row in told],
        OWN,
        mask_id=MASK,
        length=LENGTH,
        inner=inner,
    )
    return losses | {"sp": segment_loss(weights, rows_of(example.segments), LENGTH, inner)}


def close(ours, expected, *, within=1e-10):
    torch.testing.assert_close(ours, expected, rtol=within, atol=within)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("layers", [1, 2])
def test_each_loss_is_that_of_a_padded_loop(layers, fused):
    model, example = make_model(layers=layers), batch()
    ours = model(example, fused=fused)
    expected = obvious(model.state_dict(), example)
    assert list(ours) == ["mip", "aap", "map", "sp"]
    for name, loss in expected.items():
        close(ours[name], loss)


def test_without_the_inner_sigmoid_mip_and_sp_contrast_the_scores_themselves():
    model, example = make_model(inner=False), batch()
    ours, expected = model(example), obvious(model.state_dict(), example, inner=False)
    for name, loss in expected.items():
        close(ours[name], loss)
    original = make_model()
    original.load_state_dict(model.state_dict())
    doubled = original(example)
    assert {name for name in LOSSES if torch.equal(ours[name], doubled[name])} == {"aap", "map"}


def test_each_gradient_is_that_of_a_padded_loop():
    model, example = make_model(), batch()
    weights = {name: weight.clone().requires_grad_() for name, weight in model.state_dict().items()}
    expected = obvious(weights, example)
    for name, loss in model(example).items():
        ours = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, retain_graph=True)
        wanted = torch.autograd.grad(expected[name], list(weights.values()), allow_unused=True, retain_graph=True)
        for (parameter, _), one, other in zip(model.named_parameters(), ours, wanted, strict=True):
            one, other = (torch.zeros(1) if gradient is None else gradient for gradient in (one, other))
            if parameter == "item_embedding.weight":
                other[0] = 0  # frozen in ours
            assert torch.allclose(one, other.to(one.dtype), rtol=1e-9, atol=1e-10), (name, parameter)


def test_the_gradients_of_all_losses_pass_gradcheck():
    model, example = make_model(size=4, layers=1), batch(size=6)
    names = [name for name, _ in model.named_parameters()]

    def value(*weights):
        return functional_call(model, dict(zip(names, weights, strict=True)), (example,))

    def losses(*weights):
        return tuple(value(*weights)[name] for name in LOSSES)

    assert torch.autograd.gradcheck(losses, tuple(model.parameters()), fast_mode=True)


def test_newest_hidden_states_alone_are_those_of_all():
    model = make_model()
    packed = batch().segments
    embedded = model.item_embedding(packed.items.view(-1))
    for fused in (False, True):
        close(model.last_hidden(embedded, packed, fused=fused), model.hidden(embedded, packed)[packed.last])


def test_a_token_sees_what_comes_after_it_unless_the_batch_is_causal():
    model = make_model()
    items, offsets = torch.tensor([1, 2, 3]).numpy(), torch.tensor([0, 3]).numpy()
    for causal in (True, False):
        packed = pack(items, offsets, max_length=LENGTH, causal=causal)
        embedded = model.item_embedding(packed.items.view(-1)).detach().requires_grad_()
        first = model.hidden(embedded, packed)[packed.slots[0]].square().sum()
        (gradient,) = torch.autograd.grad(first, embedded)
        assert (gradient[packed.slots[2]].abs().max() > 1e-6) is not causal


@pytest.mark.parametrize("left_out", LOSSES)
def test_a_loss_left_out_changes_no_other_and_has_no_parameters(left_out):
    whole, example = make_model(), batch(seed=1)
    others = [name for name in LOSSES if name != left_out]
    part = make_model(losses=others)
    part.load_state_dict({name: whole.state_dict()[name] for name in part.state_dict()})
    assert f"heads.{left_out}.weight" not in part.state_dict()
    losses = part(example)
    assert sorted(losses) == sorted(others)
    expected = whole(example)
    for name in others:
        close(losses[name], expected[name], within=1e-12)


def test_without_attributes_there_is_no_attribute_table():
    assert "attribute_embedding.weight" not in make_model(losses=("mip", "sp")).state_dict()


def test_replayed_dropout_gives_the_same_losses_and_fresh_dropout_others():
    model, example = make_model(), batch()
    dropout = Dropout(0.5, torch.Generator().manual_seed(0))
    dropout.draw()
    first = model(example, dropout=dropout)
    dropout.replay()
    again = model(example, dropout=dropout)
    dropout.draw()
    fresh = model(example, dropout=dropout)
    for name, loss in first.items():
        assert torch.equal(loss, again[name])
        assert not torch.equal(loss, fresh[name])


def test_the_trunk_starts_as_a_sasrec_of_the_same_seed_does():
    model, sasrec = S3Rec(ITEMS, ATTRIBUTES, size=8), SASRec(ITEMS, size=8)
    for one in (model, sasrec):
        one.initialise(torch.Generator().manual_seed(3))
    for name, weight in sasrec.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
    assert model.state_dict().keys() - sasrec.state_dict().keys() == {
        "attribute_embedding.weight",
        *(f"heads.{name}.{part}" for name in LOSSES for part in ("weight", "bias")),
    }


def test_a_batch_of_single_items_has_no_segments():
    example = drawn(tiny(rows=[[1, 2, 3], [4, 5, 6]]), max_length=LENGTH)[0]
    assert isinstance(example, PretrainBatch)
    assert example.segments is None
    assert sorted(make_model()(example)) == ["aap", "map", "mip"]
    assert example.counts == {"aap": 0, "mip": 2, "map": 2, "sp": 0}
