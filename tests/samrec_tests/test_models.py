import numpy as np
import pytest
import torch
from samrec_tests.padded import padded_cross_entropy, padded_hidden, padded_inputs, padded_loss

from samrec.data.batches import batches, pack
from samrec.models.dropout import Dropout
from samrec.models.losses import binary_cross_entropy, cross_entropy
from samrec.models.sasrec import SASRec

ITEMS = 40
LENGTH = 50


def make_model(*, spread=0.3, seed=0):
    """A float64 model whose weights are large enough for attention to matter."""
    model = SASRec(ITEMS, size=8, heads=2, layers=2).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=spread)
        model.item_embedding.weight[0] = 0
    return model


def make_sequences(count=30, seed=0):
    """Random sequences, some of one item, some of the full length, with targets and negatives."""
    rng = np.random.default_rng(seed)
    lengths = [1, LENGTH, *rng.integers(1, 20, size=count - 2)]
    return tuple([rng.integers(1, ITEMS + 1, size=length).tolist() for length in lengths] for _ in range(3))


def flat(sequences):
    offsets = np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])])
    return np.concatenate(sequences).astype(np.int64), offsets.astype(np.int64)


def candidates_of(targets, negatives):
    return torch.from_numpy(np.stack([flat(targets)[0], flat(negatives)[0]], axis=1))


def packed_loss(model, sequences, targets, negatives, **options):
    candidates = candidates_of(targets, negatives)
    return binary_cross_entropy(model(pack(*flat(sequences)), candidates, **options), candidates[:, 0]).mean()


def close(ours, expected, *, within):
    torch.testing.assert_close(ours, expected, rtol=within, atol=within)


def test_packed_hidden_states_are_the_padded_ones():
    model, (sequences, _, _) = make_model(), make_sequences()
    batch = pack(*flat(sequences))
    hidden = model.hidden(model.item_embedding(batch.items.view(-1)), batch)[batch.slots]

    inputs = padded_inputs(sequences, LENGTH)
    close(hidden, padded_hidden(model.state_dict(), inputs)[inputs > 0], within=1e-10)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_packed_loss_and_gradient_are_the_padded_ones(fused):
    model, data = make_model(), make_sequences()
    ours = packed_loss(model, *data, fused=fused)
    gradients = torch.autograd.grad(ours, list(model.parameters()))

    weights = {name: weight.clone().requires_grad_() for name, weight in model.state_dict().items()}
    expected = padded_loss(weights, *data, LENGTH)
    wanted = dict(zip(weights, torch.autograd.grad(expected, list(weights.values())), strict=True))
    wanted["item_embedding.weight"][0] = 0  # frozen in ours

    close(ours, expected, within=1e-10)
    for (name, _), gradient in zip(model.named_parameters(), gradients, strict=True):
        close(gradient, wanted[name], within=1e-10)


def test_cross_entropy_over_every_item_is_the_padded_one():
    model, (sequences, targets, _) = make_model(), make_sequences()
    ours = cross_entropy(model(pack(*flat(sequences))), torch.from_numpy(flat(targets)[0])).mean()
    close(ours, padded_cross_entropy(model.state_dict(), sequences, targets, LENGTH), within=1e-10)


@pytest.mark.parametrize(
    "optimizer",
    [lambda p: torch.optim.SGD(p, lr=0.1), lambda p: torch.optim.Adam(p, lr=1e-3, fused=True)],
    ids=["SGD", "Adam"],
)
def test_a_training_step_with_dropout_0_ends_in_the_padded_weights(optimizer):
    model, data = make_model(), make_sequences()
    weights = {name: weight.clone().requires_grad_() for name, weight in model.state_dict().items()}
    ours, padded = optimizer(model.parameters()), optimizer(weights.values())

    packed_loss(model, *data, dropout=Dropout(0, torch.Generator())).backward()
    padded_loss(weights, *data, LENGTH).backward()
    weights["item_embedding.weight"].grad[0] = 0
    for name, parameter in model.named_parameters():
        if name.endswith("key.bias"):  # its gradient is zero, and Adam would divide one rounding error by another
            parameter.grad.zero_()
            weights[name].grad.zero_()
    ours.step()
    padded.step()

    for name, parameter in model.named_parameters():
        close(parameter.detach(), weights[name].detach(), within=1e-10)


def test_the_key_bias_has_no_gradient():
    model = make_model()
    packed_loss(model, *make_sequences()).backward()
    for block in model.blocks:
        assert block.key.bias.grad.abs().max() < 1e-15


@pytest.mark.parametrize("size", [1, 7, 30])
def test_the_loss_does_not_depend_on_how_sequences_are_batched(size):
    model, (sequences, targets, negatives) = make_model(), make_sequences()
    items, offsets = flat(sequences)
    candidates = candidates_of(targets, negatives)
    order = np.random.default_rng(size).permutation(30)
    groups = np.full((-(-30 // size), size), -1)
    groups.flat[:30] = order
    total = 0.0
    for _, places, batch in batches(items, offsets, groups):
        wanted = candidates[torch.from_numpy(places)]
        total += binary_cross_entropy(model(batch, wanted), wanted[:, 0]).sum().item()
    assert total / len(items) == pytest.approx(packed_loss(model, sequences, targets, negatives).item(), rel=1e-12)


@pytest.mark.parametrize("width", [50, 64, 130])
def test_scores_do_not_depend_on_the_width_of_rows(width):
    model, (sequences, targets, negatives) = make_model(), make_sequences()
    candidates = candidates_of(targets, negatives)
    wide = model(pack(*flat(sequences), width=width), candidates)
    for token, alone in enumerate(_one_by_one(model, sequences, candidates)):
        close(wide[token], alone, within=1e-12)


def _one_by_one(model, sequences, candidates):
    start = 0
    for sequence in sequences:
        yield from model(pack(*flat([sequence])), candidates[start : start + len(sequence)])
        start += len(sequence)


def test_no_item_changes_a_score_before_it():
    model, (sequences, targets, negatives) = make_model(), make_sequences()
    candidates = candidates_of(targets, negatives)
    before = model(pack(*flat(sequences)), candidates)
    changed = [[*sequence[:-1], sequence[-1] % ITEMS + 1] for sequence in sequences]
    after = model(pack(*flat(changed)), candidates)
    last = np.cumsum([len(sequence) for sequence in sequences]) - 1
    others = np.setdiff1d(np.arange(len(before)), last)
    assert torch.equal(before[others], after[others])
    assert (before[last] != after[last]).all()


@pytest.mark.parametrize("tokens", [1, 60, 4096])
def test_encode_gives_the_last_state_of_forward(tokens):
    model, (sequences, _, _) = make_model(), make_sequences()
    users = model.encode(*flat(sequences), tokens=tokens)
    close(users, padded_hidden(model.state_dict(), padded_inputs(sequences, LENGTH))[:, -1], within=1e-10)


def test_encode_leaves_no_graph_and_draws_no_masks():
    model, (sequences, _, _) = make_model(), make_sequences()
    first, second = model.encode(*flat(sequences)), model.encode(*flat(sequences))
    assert torch.equal(first, second)
    assert not first.requires_grad


def test_the_padding_row_stays_zero_and_gets_no_gradient():
    model = SASRec(ITEMS, size=8)
    model.initialise(torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
    sequences, targets, negatives = make_sequences()
    for _ in range(3):
        optimizer.zero_grad()
        packed_loss(model, sequences, targets, negatives).backward()
        assert not model.item_embedding.weight.grad[0].any()
        assert model.item_embedding.weight.grad[1:-1].any(dim=1).all()
        optimizer.step()
    assert not model.item_embedding.weight[0].any()


def test_beautys_model_has_877_888_parameters():
    assert sum(parameter.numel() for parameter in SASRec(12_101).parameters()) == 877_888


def test_initial_weights_are_as_the_paper_has_them():
    model = SASRec(2000)
    model.initialise(torch.Generator().manual_seed(0))
    for name, parameter in model.named_parameters():
        if "norm" in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all()
        elif name.endswith("bias"):
            assert (parameter == 0).all()
        else:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.06)
            assert abs(parameter.mean().item()) < 0.02 * 5 / parameter.numel() ** 0.5


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_masks_replay_bit_for_bit_and_fresh_ones_differ(rate):
    model, data = make_model(), make_sequences()
    dropout = Dropout(rate, torch.Generator().manual_seed(0))
    losses = []
    for again in (dropout.draw, dropout.replay, dropout.replay, dropout.draw):
        again()
        losses.append(packed_loss(model, *data, dropout=dropout).item())
    assert losses[0] == losses[1] == losses[2] != losses[3]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(1000, 301), (7,)], ids=["many", "few"])
def test_dropout_keeps_its_share_of_entries_independently_and_the_expectation(rate, shape):
    dropout = Dropout(rate, torch.Generator().manual_seed(0))
    out = dropout(torch.ones(shape, dtype=torch.float64))
    kept = (out > 0).double()
    assert out.shape == shape
    assert out.unique().tolist() == pytest.approx([0, 1 / (1 - rate)], rel=1e-4) or shape == (7,)
    if shape == (1000, 301):
        error = (rate * (1 - rate)) ** 0.5
        assert kept.mean().item() == pytest.approx(1 - rate, abs=5 * error / kept.numel() ** 0.5)
        for dim, count in ((0, 301), (1, 1000)):  # no column and no row is luckier than chance allows
            assert (kept.mean(dim) - (1 - rate)).abs().max() < 5 * error / (kept.numel() / count) ** 0.5
        for lag in (1, 8, 64):  # neighbours, bytes and words do not follow each other
            flat_kept = kept.view(-1) - kept.mean()
            correlation = (flat_kept[lag:] * flat_kept[:-lag]).mean() / flat_kept.square().mean()
            assert abs(correlation.item()) < 5 / kept.numel() ** 0.5


def test_dropout_added_to_a_residual_is_their_sum_with_the_same_mask():
    x, residual = torch.randn(2, 33, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    dropout = Dropout(0.5, torch.Generator().manual_seed(0))
    dropped = dropout(x)
    dropout.replay()
    assert torch.equal(dropout.added_to(residual, x), residual + dropped)
