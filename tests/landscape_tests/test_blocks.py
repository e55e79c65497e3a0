"""Blocks cover every tensor once, row groups hold their rows, and unknown names are refused."""

import pytest
import torch

from landscape.blocks import mask_of, tensors_of_blocks
from landscape.errors import InvalidArgument
from landscape.parameters import Layout

SHAPES = {
    "table.weight": torch.Size([4, 2]),
    "deep.0.query.weight": torch.Size([2, 2]),
    "deep.0.norm.weight": torch.Size([2]),
    "head.bias": torch.Size([3]),
}
GROUPS = {"head": {"table.weight": torch.tensor([0, 1])}}
BLOCKS = {"table": ("table.*",), "attention": ("*.query.*",), "norms": ("*norm*",)}


def layout(**options: object) -> Layout:
    return Layout(SHAPES, {"table.weight": torch.tensor([0])}, GROUPS, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("blocks", [{}, BLOCKS, {"all": ("*",)}, {"table": ("table.*",), "again": ("*",)}])
def test_blocks_hold_every_free_coordinate_once(blocks: dict[str, tuple[str, ...]]) -> None:
    parts = layout(blocks=blocks)
    masks = torch.stack([mask_of(parts, block) for block in tensors_of_blocks(parts)])
    assert (masks.sum(dim=0) == 1).all()


def test_what_no_pattern_names_is_other() -> None:
    assert tensors_of_blocks(layout(blocks=BLOCKS))["other"] == ("head.bias",)


def test_without_blocks_there_is_one_for_each_module_at_the_top() -> None:
    assert list(tensors_of_blocks(layout())) == ["table", "deep", "head"]


def test_a_row_group_holds_its_free_rows() -> None:
    """Row 0 is frozen, so only row 1 of the table is free: its first two coordinates of the flat vector."""
    assert mask_of(layout(), "rows:head").nonzero().flatten().tolist() == [0, 1]


def test_a_pattern_is_a_block_of_its_own() -> None:
    parts = layout(blocks=BLOCKS)
    named = parts.unflatten(mask_of(parts, "deep.*").double())
    assert {name for name, tensor in named.items() if tensor.any()} == {"deep.0.query.weight", "deep.0.norm.weight"}


@pytest.mark.parametrize(("block", "told"), [("tabel", "table, attention"), ("rows:tail", "rows:head")])
def test_an_unknown_block_is_refused_with_those_there_are(block: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told):
        mask_of(layout(blocks=BLOCKS), block)


def test_a_block_without_free_coordinates_is_refused() -> None:
    frozen = Layout({"w": torch.Size([2, 1])}, {"w": torch.tensor([0, 1])})
    with pytest.raises(InvalidArgument, match="free coordinates"):
        mask_of(frozen, "w")
