"""SASRec the slow and obvious way: left-padded to 50 with plain tensors, from the weights alone."""

import math

import torch
from torch import Tensor

EPS = 1e-12


def padded_inputs(sequences: list[list[int]], length: int) -> Tensor:
    """(S, length) item ids, zeros to the left."""
    return torch.tensor([[0] * (length - len(sequence)) + sequence for sequence in sequences])


def padded_hidden(weights: dict[str, Tensor], inputs: Tensor, *, heads: int = 2, causal: bool = True) -> Tensor:
    """Hidden states (S, length, size); those at padding mean nothing."""
    length = inputs.shape[1]
    x = weights["item_embedding.weight"][inputs] + weights["position_embedding.weight"][torch.arange(length)]
    x = layer_norm(x, weights, "input_norm")
    query, key = torch.arange(length)[:, None], torch.arange(length)[None, :]
    blocked = ((key > query) & causal) | ((inputs == 0)[:, None, :] & (key != query))  # padding sees itself: no 0 / 0
    bias = torch.zeros(len(inputs), length, length, dtype=x.dtype).masked_fill(blocked, -1e9)
    for index in range(sum(name.endswith("query.weight") for name in weights)):
        x = block(x, bias, weights, f"blocks.{index}", heads)
    return x


def block(x: Tensor, bias: Tensor, weights: dict[str, Tensor], name: str, heads: int) -> Tensor:
    size = x.shape[-1] // heads
    q, k, v = (linear(x, weights, f"{name}.{part}") for part in ("query", "key", "value"))
    outputs = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size) + bias
        outputs.append(scores.exp() / scores.exp().sum(-1, keepdim=True) @ v[..., part])
    x = layer_norm(x + linear(torch.cat(outputs, -1), weights, f"{name}.output"), weights, f"{name}.attention_norm")
    inner = linear(x, weights, f"{name}.expand")
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    return layer_norm(x + linear(inner, weights, f"{name}.contract"), weights, f"{name}.feed_forward_norm")


def linear(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(x: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def padded_loss(
    weights: dict[str, Tensor],
    sequences: list[list[int]],
    targets: list[list[int]],
    negatives: list[list[int]],
    length: int,
) -> Tensor:
    """Binary cross-entropy with one negative, the mean over real tokens."""
    inputs = padded_inputs(sequences, length)
    hidden = padded_hidden(weights, inputs)
    table = weights["item_embedding.weight"]
    wanted = (hidden * table[padded_inputs(targets, length)]).sum(-1)
    unwanted = (hidden * table[padded_inputs(negatives, length)]).sum(-1)
    losses = torch.log1p(torch.exp(-wanted)) + torch.log1p(torch.exp(unwanted))
    return losses[inputs > 0].mean()


def padded_cross_entropy(
    weights: dict[str, Tensor], sequences: list[list[int]], targets: list[list[int]], length: int
) -> Tensor:
    """Cross-entropy over every item 1..n, the mean over real tokens."""
    inputs = padded_inputs(sequences, length)
    table = weights["item_embedding.weight"][1:-1]
    chances = torch.softmax(padded_hidden(weights, inputs) @ table.T, -1)
    wanted = (padded_inputs(targets, length) - 1).clamp(min=0)
    return -chances.gather(-1, wanted[..., None]).squeeze(-1).log()[inputs > 0].mean()
