"""The shape and type checks that conftest switches on are really there, in both packages."""

import pytest
import torch
from jaxtyping import TypeCheckError

from landscape.parameters import Layout
from samrec.models.losses import cross_entropy


def test_a_tensor_of_another_shape_is_refused_in_samrec():
    with pytest.raises(TypeCheckError):
        cross_entropy(torch.zeros(3, 5), torch.ones(4, dtype=torch.int64))


def test_a_tensor_of_another_type_is_refused_in_samrec():
    with pytest.raises(TypeCheckError):
        cross_entropy(torch.zeros(3, 5), torch.ones(3))


def test_a_matrix_for_a_vector_is_refused_in_landscape():
    layout = Layout.of({"w": torch.zeros(2, 3)})
    with pytest.raises(TypeCheckError):
        layout.unflatten(torch.zeros(2, 3))
