"""Small checkpoints under the names of the S3-Rec code, and a forward pass of it written plainly."""

import math

import torch
import torch.nn.functional as F


def s3rec_tensors(item_count=20, *, size=8, layers=2, max_length=6, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return 0.4 * torch.randn(*shape, generator=generator)

    tensors = {
        "item_embeddings.weight": random(item_count + 2, size),
        "position_embeddings.weight": random(max_length, size),
        "LayerNorm.weight": 1 + random(size),
        "LayerNorm.bias": random(size),
        "attribute_embeddings.weight": random(5, size),
        "aap_norm.weight": random(size, size),
        "aap_norm.bias": random(size),
    }
    for layer in range(layers):
        start = f"item_encoder.layer.{layer}."
        for part in ("query", "key", "value", "dense"):
            tensors[f"{start}attention.{part}.weight"] = random(size, size)
            tensors[f"{start}attention.{part}.bias"] = random(size)
        tensors[f"{start}intermediate.dense_1.weight"] = random(4 * size, size)
        tensors[f"{start}intermediate.dense_1.bias"] = random(4 * size)
        tensors[f"{start}intermediate.dense_2.weight"] = random(size, 4 * size)
        tensors[f"{start}intermediate.dense_2.bias"] = random(size)
        for part in ("attention", "intermediate"):
            tensors[f"{start}{part}.LayerNorm.weight"] = 1 + random(size)
            tensors[f"{start}{part}.LayerNorm.bias"] = random(size)
    return tensors


def s3rec_user_vector(tensors, items, *, heads=2):
    """The last hidden state of one user, without padding: a loop over heads, queries and keys."""
    T = {name: tensor.double() for name, tensor in tensors.items()}
    size, max_length = T["position_embeddings.weight"].shape[1], len(T["position_embeddings.weight"])

    def norm(x, name):
        x = x - x.mean(-1, keepdim=True)
        x = x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-12)
        return x * T[f"{name}.weight"] + T[f"{name}.bias"]

    def linear(x, name):
        return x @ T[f"{name}.weight"].T + T[f"{name}.bias"]

    items = items[-max_length:]
    x = T["item_embeddings.weight"][items] + T["position_embeddings.weight"][max_length - len(items) :]
    x = norm(x, "LayerNorm")
    layers = sum(name.endswith("attention.query.bias") for name in T)
    width = size // heads
    for layer in range(layers):
        start = f"item_encoder.layer.{layer}."
        q, k, v = (linear(x, f"{start}attention.{part}") for part in ("query", "key", "value"))
        mixed = torch.zeros_like(x)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for t in range(len(items)):
                logits = torch.stack([q[t, part] @ k[s, part] / math.sqrt(width) for s in range(t + 1)])
                mixed[t, part] = torch.softmax(logits, 0) @ v[: t + 1, part]
        x = norm(x + linear(mixed, f"{start}attention.dense"), f"{start}attention.LayerNorm")
        fed = linear(F.gelu(linear(x, f"{start}intermediate.dense_1")), f"{start}intermediate.dense_2")
        x = norm(x + fed, f"{start}intermediate.LayerNorm")
    return x[-1]
