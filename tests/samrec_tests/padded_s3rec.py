"""S3-Rec's four losses the slow and obvious way: one padded sequence, one token, one attribute after another."""

import torch
from samrec_tests.padded import linear, padded_hidden, padded_inputs
from torch import Tensor


def binary_cross_entropy(chance: Tensor, wanted: int) -> Tensor:
    return -torch.log(chance) if wanted else -torch.log(1 - chance)


def contrast(wanted: Tensor, unwanted: Tensor, inner: bool) -> Tensor:
    if inner:
        wanted, unwanted = torch.sigmoid(wanted), torch.sigmoid(unwanted)
    return binary_cross_entropy(torch.sigmoid(wanted - unwanted), 1)


def states(weights: dict[str, Tensor], sequence: list[int], length: int) -> Tensor:
    """The hidden states of a sequence's own tokens, seen both ways."""
    return padded_hidden(weights, padded_inputs([sequence], length), causal=False)[0, length - len(sequence) :]


def attribute_loss(weights: dict[str, Tensor], name: str, state: Tensor, own: list[int]) -> Tensor:
    """The sum over all attributes, from 1, of an item that has `own`."""
    asked = linear(state, weights, f"heads.{name}")
    table = weights["attribute_embedding.weight"]
    return sum(
        binary_cross_entropy(torch.sigmoid(table[attribute - 1] @ asked), attribute in own)
        for attribute in range(1, len(table) + 1)
    )


def masked_losses(
    weights: dict[str, Tensor],
    inputs: list[list[int]],
    items: list[list[int]],
    negatives: list[list[int]],
    attributes: dict[int, list[int]],
    *,
    mask_id: int,
    length: int,
    inner: bool = True,
) -> dict[str, Tensor]:
    """AAP, MIP and MAP of sequences; `negatives` have a number at each masked token, anything elsewhere."""
    losses = {name: torch.zeros((), dtype=torch.float64) for name in ("aap", "mip", "map")}
    table = weights["item_embedding.weight"]
    for sequence, true, false in zip(inputs, items, negatives, strict=True):
        for t, state in enumerate(states(weights, sequence, length)):
            own = attributes.get(true[t], [])
            if sequence[t] != mask_id:
                losses["aap"] = losses["aap"] + attribute_loss(weights, "aap", state, own)
                continue
            losses["map"] = losses["map"] + attribute_loss(weights, "map", state, own)
            asked = linear(state, weights, "heads.mip")
            losses["mip"] = losses["mip"] + contrast(asked @ table[true[t]], asked @ table[false[t]], inner)
    return losses


def segment_loss(weights: dict[str, Tensor], views: list[list[int]], length: int, inner: bool = True) -> Tensor:
    """SP of sequences that come in threes: context, segment, rival."""
    loss = torch.zeros((), dtype=torch.float64)
    for first in range(0, len(views), 3):
        context, segment, rival = (states(weights, views[first + view], length)[-1] for view in range(3))
        asked = linear(context, weights, "heads.sp")
        loss = loss + contrast(asked @ segment, asked @ rival, inner)
    return loss
