"""Named tensors and the flat vector hold the same point, and frozen rows are no part of it."""

import pytest
import torch
from landscape_tests.known import small_network

from landscape.errors import InvalidArgument
from landscape.parameters import Layout, content_hash, moved

WEIGHTS = {"table": torch.arange(12.0).reshape(4, 3), "bias": torch.tensor([20.0, 21.0])}
LAYOUT = Layout({name: tensor.shape for name, tensor in WEIGHTS.items()}, {"table": torch.tensor([0, 2])})


def test_the_vector_holds_the_free_coordinates_in_order():
    assert LAYOUT.flatten(WEIGHTS).tolist() == [3, 4, 5, 9, 10, 11, 20, 21]
    assert (LAYOUT.size, LAYOUT.sizes) == (8, {"table": 6, "bias": 2})


def test_a_vector_becomes_tensors_that_are_zero_in_the_frozen_rows():
    back = LAYOUT.unflatten(LAYOUT.flatten(WEIGHTS))
    assert back["table"].tolist() == [[0, 0, 0], [3, 4, 5], [0, 0, 0], [9, 10, 11]]
    assert back["bias"].tolist() == [20, 21]


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(InvalidArgument, match="8 free coordinates"):
        LAYOUT.unflatten(torch.zeros(9))


def test_a_missing_tensor_and_one_of_another_shape_are_refused():
    with pytest.raises(InvalidArgument, match="named bias"):
        LAYOUT.flatten({"table": WEIGHTS["table"]})
    with pytest.raises(InvalidArgument, match=r"shape \(2,\)"):
        LAYOUT.flatten(WEIGHTS | {"bias": torch.zeros(3)})


@pytest.mark.parametrize("rows", [{"table": torch.tensor([4])}, {"other": torch.tensor([0])}])
def test_frozen_rows_that_do_not_exist_are_refused(rows):
    with pytest.raises(InvalidArgument):
        Layout(LAYOUT.shapes, rows)


def test_moved_weights_are_new_and_the_old_ones_stay():
    before = content_hash(WEIGHTS)
    step = {"table": torch.ones(4, 3), "bias": torch.ones(2)}
    new = moved(WEIGHTS, [(0.5, step), (2.0, step)])
    assert torch.equal(new["bias"], WEIGHTS["bias"] + 2.5)
    assert content_hash(WEIGHTS) == before


def test_the_hash_depends_on_values_names_shapes_and_types_but_not_on_their_order():
    other = {name: WEIGHTS[name] for name in reversed(WEIGHTS)}
    assert content_hash(other) == content_hash(WEIGHTS)
    changed = WEIGHTS["bias"].clone()
    changed[0] = torch.nextafter(changed[0], torch.tensor(100.0))
    variants = [{"bias": changed}, {"bias": WEIGHTS["bias"].reshape(2, 1)}, {"bias": WEIGHTS["bias"].double()}]
    hashes = {content_hash(WEIGHTS | variant) for variant in variants}
    assert len(hashes | {content_hash(WEIGHTS)}) == 4


def test_a_models_norm_counts_free_coordinates_only():
    objective = small_network()
    with_padding = sum(float(tensor.square().sum()) for tensor in objective.weights.values())
    padding = float(objective.weights["embedding.weight"][0].square().sum())
    assert float(objective.layout.flatten(objective.weights).square().sum()) == pytest.approx(with_padding - padding)
