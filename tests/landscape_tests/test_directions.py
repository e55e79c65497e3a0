"""Directions are Gaussian, as long as they say, orthogonal, still where they must be, and the same when drawn again."""

import dataclasses

import pytest
import torch
from landscape_tests.known import small_network

from landscape.directions import draw_direction, draw_plane, redraw
from landscape.errors import InvalidArgument, StoreMismatch
from landscape.parameters import Layout, content_hash

KINDS = ["filter", "raw"]
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
    if kind == "filter":
        wanted = float(objective.weights["scores.bias"].norm())
        assert float(draws["normalised"]["scores.bias"].norm()) == pytest.approx(wanted, rel=1e-13)
    assert torch.equal(draws["zero"]["hidden.weight"], draws["random"]["hidden.weight"])


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
