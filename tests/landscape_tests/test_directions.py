"""Directions are Gaussian, as long as they say, orthogonal, still where they must be, and the same when drawn again."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from landscape_tests.known import small_network

from landscape.blocks import mask_of
from landscape.directions import draw_direction, draw_plane, redraw
from landscape.errors import InvalidArgument, StoreMismatch
from landscape.parameters import Layout, content_hash

KINDS = ["filter", "layer", "raw"]
MATRIX = {"matrix": torch.randn(300, 200, generator=torch.Generator().manual_seed(1))}


def filter_norms(tensor):
    return tensor.double().reshape(len(tensor), -1).norm(dim=1)


@pytest.mark.parametrize("kind", KINDS)
def test_raw_entries_and_those_of_a_filter_are_standard_gaussians_up_to_scale(kind):
    direction, _ = draw_direction(Layout.of(MATRIX), MATRIX, kind=kind, seed=5)
    entries = direction["matrix"]
    if kind == "filter":
        entries = entries / filter_norms(entries)[:, None] * 200**0.5
    moments = [float((entries**power).mean()) for power in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.06)


@pytest.mark.parametrize("seed", range(3))
def test_every_filter_of_both_directions_has_the_norm_of_the_weights_filter(seed):
    objective = small_network()
    plane = draw_plane(objective.layout, objective.weights, seed=seed)
    for direction, _ in plane:
        for name, tensor in objective.weights.items():
            if tensor.dim() >= 2:
                wanted = filter_norms(tensor)
                wanted[objective.layout.frozen_rows.get(name, [])] = 0
                assert torch.allclose(filter_norms(direction[name]), wanted, rtol=1e-13, atol=0)


def test_filters_of_a_convolution_are_its_output_channels():
    weights = {"kernel": torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(0))}
    (x, _), (y, record) = draw_plane(Layout.of(weights), weights, seed=2)
    assert torch.allclose(filter_norms(y["kernel"]), filter_norms(weights["kernel"]), rtol=1e-13)
    assert torch.allclose((x["kernel"] * y["kernel"]).sum(dim=(1, 2, 3)), torch.zeros(6).double(), atol=1e-13)
    assert abs(record.cosine) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_the_second_direction_is_orthogonal_to_the_first(kind, seed):
    objective = small_network(dtype=torch.float32)
    (x, _), (y, record) = draw_plane(
        objective.layout, objective.weights, kind=kind, seed=seed, one_dimensional="normalised"
    )
    x, y = (objective.layout.flatten(direction) for direction in (x, y))
    assert abs(float(x @ y / x.norm() / y.norm())) < 1e-10
    assert record.cosine == pytest.approx(float(x @ y / x.norm() / y.norm()), abs=1e-15)


def test_two_random_draws_alone_would_not_be_orthogonal():
    first, second = (draw_direction(Layout.of(MATRIX), MATRIX, seed=seed)[0]["matrix"] for seed in (0, 1))
    assert abs(float((first * second).sum() / first.norm() / second.norm())) > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_the_padding_row_and_by_option_untouched_rows_stay(kind):
    objective = small_network()
    for untouched in ("move", "zero"):
        for direction, _ in draw_plane(objective.layout, objective.weights, kind=kind, seed=0, untouched=untouched):
            rows = direction["embedding.weight"]
            assert not rows[0].any()
            assert bool(rows[8].any()) == (untouched == "move")
            assert rows[1:8].all()


@pytest.mark.parametrize("kind", KINDS)
def test_biases_stay_move_at_random_or_move_by_their_norm(kind):
    objective = small_network()
    draws = {
        policy: draw_direction(objective.layout, objective.weights, kind=kind, seed=3, one_dimensional=policy)[0]
        for policy in ("zero", "random", "normalised")
    }
    assert not draws["zero"]["scores.bias"].any()
    assert draws["random"]["scores.bias"].all()
    if kind != "raw":
        wanted = float(objective.weights["scores.bias"].norm())
        assert float(draws["normalised"]["scores.bias"].norm()) == pytest.approx(wanted, rel=1e-13)
    assert torch.equal(draws["zero"]["hidden.weight"], draws["random"]["hidden.weight"])


@pytest.mark.parametrize("untouched", ["move", "zero"])
def test_every_layer_has_the_norm_of_what_moves_of_it(untouched):
    objective = small_network()
    objective.weights["embedding.weight"][0] = 7.0  # a padding row as other tools leave it: no free coordinate
    still = [0] if untouched == "move" else [0, 8]
    plane = draw_plane(objective.layout, objective.weights, kind="layer", seed=1, untouched=untouched,
                       one_dimensional="normalised")  # fmt: skip
    for direction, _ in plane:
        for name, tensor in objective.weights.items():
            wanted = tensor.clone()
            if name == "embedding.weight":
                wanted[still] = 0
            assert float(direction[name].norm()) == pytest.approx(float(wanted.norm()), rel=1e-13)
    x, y = (direction for direction, _ in plane)
    assert max(abs(float((x[name] * y[name]).sum())) for name in x) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", ["hidden", "rows:untouched", "*.weight"])
def test_of_a_block_only_that_block_moves_with_the_numbers_it_has_in_the_whole(kind, block):
    objective = small_network()
    mask = mask_of(objective.layout, block)
    whole, _ = draw_direction(objective.layout, objective.weights, kind=kind, seed=3)
    (x, first), (y, second) = draw_plane(objective.layout, objective.weights, kind=kind, seed=3, block=block)
    for direction in (x, y):
        assert not objective.layout.flatten(direction)[~mask].any()
    assert abs(second.cosine) < 1e-10
    assert first.policy["block"] == block
    moved = objective.layout.flatten(x) != 0
    ratio = objective.layout.flatten(x)[moved] / objective.layout.flatten(whole)[moved]
    if kind != "layer":  # whose norm is that of the rows that move
        assert torch.allclose(ratio, torch.ones_like(ratio), rtol=1e-12)
    again = redraw(first, objective.layout, objective.weights)
    assert content_hash(again) == content_hash(x)
    redraw(second, objective.layout, objective.weights, orthogonal_to=again)


def test_a_block_of_gains_and_biases_moves_only_if_they_may():
    objective = small_network()
    with pytest.raises(InvalidArgument, match="block norm"):
        draw_direction(objective.layout, objective.weights, block="norm")
    moving, _ = draw_direction(objective.layout, objective.weights, block="norm", one_dimensional="normalised")
    assert moving["norm.weight"].all()
    with pytest.raises(InvalidArgument, match="expected a block"):
        draw_direction(objective.layout, objective.weights, block="attention")


@st.composite
def layouts(draw):
    """Shapes, the rows frozen in each, and a seed of entries."""
    count = draw(st.integers(1, 4))
    shapes = {f"t{k}": draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)) for k in range(count)}
    frozen = {name: sorted(draw(st.sets(st.integers(0, shape[0] - 1)))) for name, shape in shapes.items()}
    return shapes, frozen, draw(st.integers(0, 99))


@given(
    layouts(),
    st.sampled_from(KINDS),
    st.sampled_from(["zero", "random", "normalised"]),
    st.integers(0, 5),
)
def test_norms_and_cosine_are_exact_whatever_the_layout(drawn, kind, one_dimensional, seed):
    shapes, frozen, entries = drawn
    generator = torch.Generator().manual_seed(entries)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    rows = {name: torch.tensor(numbers, dtype=torch.int64) for name, numbers in frozen.items()}
    layout = Layout({name: tensor.shape for name, tensor in weights.items()}, rows)
    try:
        (x, _), (y, record) = draw_plane(layout, weights, kind=kind, seed=seed, one_dimensional=one_dimensional)
    except InvalidArgument as refused:
        assert "moves something" in str(refused)  # noqa: PT017
        return
    skipped = 0
    for name, tensor in weights.items():
        free = torch.ones_like(tensor, dtype=torch.bool)
        free[layout.frozen_rows[name]] = False
        whole = tensor.dim() < 2 or kind == "layer"
        free, own, first, second = (
            each.double().reshape(1 if whole else len(each), -1) for each in (free, tensor * free, x[name], y[name])
        )
        assert not first[free == 0].any()
        assert not second[free == 0].any()
        if kind == "raw" or (tensor.dim() < 2 and one_dimensional != "normalised"):
            continue
        single = free.sum(dim=1) == 1
        skipped += int(single.sum())
        assert torch.allclose(first.norm(dim=1), own.norm(dim=1), rtol=1e-12)
        assert torch.allclose(second.norm(dim=1)[~single], own.norm(dim=1)[~single], rtol=1e-12)
        assert not second[single].any()
        products = (first * second).sum(dim=1) / own.norm(dim=1).clamp_min(1e-30) ** 2
        assert products.abs().max() < 1e-10
    assert abs(record.cosine) < 1e-9
    if one_dimensional == "normalised" and kind != "raw":
        assert record.skipped_filters == skipped


def test_a_zero_row_of_the_model_stays_zero_and_spoils_nothing():
    objective = small_network(zero_row=2)
    plane = draw_plane(objective.layout, objective.weights, seed=0)
    for direction, _ in plane:
        assert not direction["hidden.weight"][2].any()
        assert direction["hidden.weight"][[0, 1, 3, 4]].all()
        assert torch.isfinite(objective.layout.flatten(direction)).all()
    assert abs(plane[1][1].cosine) < 1e-10


def test_filters_of_one_entry_are_left_out_of_the_second_direction_and_counted():
    weights = {"column": torch.randn(7, 1), "matrix": torch.randn(4, 3)}
    (x, first), (y, second) = draw_plane(Layout.of(weights), weights, seed=0)
    assert torch.allclose(x["column"].abs(), weights["column"].double().abs())
    assert not y["column"].any()
    assert (first.skipped_filters, second.skipped_filters) == (0, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_enough_to_draw_again(kind):
    objective = small_network()
    (x, first), (y, second) = draw_plane(objective.layout, objective.weights, kind=kind, seed=4, untouched="zero")
    again = redraw(first, objective.layout, objective.weights)
    assert content_hash(again) == content_hash(x)
    assert content_hash(redraw(second, objective.layout, objective.weights, orthogonal_to=again)) == content_hash(y)
    assert second.orthogonal_to == first.hash
    assert first.norm == pytest.approx(float(objective.layout.flatten(x).norm()), rel=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_do_not_depend_on_the_number_of_threads(kind):
    weights = {"matrix": torch.randn(400, 500, generator=torch.Generator().manual_seed(1)), "bias": torch.ones(90_000)}
    drawn = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            drawn.append(draw_plane(Layout.of(weights), weights, kind=kind, one_dimensional="normalised"))
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
    for (first, record), (second, other) in zip(*drawn, strict=True):
        assert content_hash(first) == content_hash(second)
        assert record == other


def test_a_redraw_around_other_weights_is_refused():
    objective, other = small_network(), small_network(seed=1)
    _, record = draw_direction(objective.layout, objective.weights, seed=4)
    with pytest.raises(StoreMismatch, match="seed 4"):
        redraw(record, other.layout, other.weights)
    with pytest.raises(StoreMismatch):
        redraw(dataclasses.replace(record, seed=5), objective.layout, objective.weights)
    with pytest.raises(InvalidArgument, match="first direction"):
        redraw(dataclasses.replace(record, orthogonal_to="x"), objective.layout, objective.weights)


def test_what_cannot_be_drawn_is_refused():
    objective = small_network()
    layout, weights = objective.layout, objective.weights
    with pytest.raises(InvalidArgument, match="filter, layer, raw"):
        draw_direction(layout, weights, kind="filters")
    with pytest.raises(InvalidArgument, match="at least 0"):
        draw_direction(layout, weights, seed=-1)
    with pytest.raises(InvalidArgument, match="moves something"):
        draw_direction(Layout.of({"bias": torch.ones(3)}), {"bias": torch.ones(3)})
    with pytest.raises(InvalidArgument, match="finite weights"):
        draw_direction(layout, weights | {"scores.weight": torch.full((3, 5), torch.nan)})


def test_one_free_coordinate_has_no_second_direction():
    layout = Layout({"w": torch.Size([1])})
    with pytest.raises(InvalidArgument, match="moves something"):
        draw_plane(layout, {"w": torch.ones(1)}, kind="raw", one_dimensional="random")
