"""Named tensors and one flat vector: the two ways to hold a point in weight space, and the only code that converts.

Free coordinates are all entries but those of frozen rows (a padding row): n, norms, gradients and directions count free
coordinates only. A filter is an index of the first axis of a tensor with two or more axes: a row of a Linear weight, an
output channel of a convolution, a row of an embedding table (Li et al. 2018).
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from landscape.errors import InvalidArgument

Params = Mapping[str, Tensor]
Vector = Float[Tensor, " free"]


@dataclass(frozen=True)
class Layout:
    """Names, shapes and free coordinates of a model's weights, and named groups of their rows."""

    shapes: Mapping[str, torch.Size]  # in the order of the flat vector
    frozen_rows: Mapping[str, Int[Tensor, " _"]] = field(default_factory=dict)
    row_groups: Mapping[str, Mapping[str, Int[Tensor, " _"]]] = field(default_factory=dict)  # group -> name -> rows
    blocks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # block -> patterns of names; see `blocks`

    def __post_init__(self) -> None:
        for name, rows in self.frozen_rows.items():
            if name not in self.shapes:
                raise InvalidArgument(f"expected frozen rows of one of {', '.join(self.shapes)}, got {name!r}")
            if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self.shapes[name][0]:
                raise InvalidArgument(f"expected rows below {self.shapes[name][0]} of {name}, got {rows.tolist()}")

    @classmethod
    def of(cls, params: Params, **groups: Mapping[str, Int[Tensor, " _"]]) -> "Layout":
        """The layout of these tensors, every coordinate free."""
        return cls({name: tensor.shape for name, tensor in params.items()}, row_groups=groups)

    @cached_property
    def _free(self) -> dict[str, Tensor]:
        """For each tensor with frozen rows, the rows that are free."""
        free = {}
        for name, rows in self.frozen_rows.items():
            keep = torch.ones(self.shapes[name][0], dtype=torch.bool)
            keep[rows] = False
            free[name] = keep.nonzero().squeeze(1)
        return free

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Free coordinates of each tensor."""
        sizes = {}
        for name, shape in self.shapes.items():
            rows = len(self._free[name]) if name in self._free else None
            sizes[name] = shape.numel() if rows is None else rows * shape[1:].numel()
        return sizes

    @property
    def size(self) -> int:
        """n, the number of free coordinates."""
        return sum(self.sizes.values())

    def flatten(self, params: Params, *, dtype: torch.dtype = torch.float64) -> Vector:
        """The free coordinates as one vector, in the layout's order. One copy."""
        return torch.cat([piece.to(dtype) for piece in self.pieces(params)])

    def pieces(self, params: Params) -> Iterator[Tensor]:
        """The free coordinates tensor by tensor, each flat and in its own precision: `flatten` without the vector."""
        self._check(params)
        for name in self.shapes:
            tensor = params[name].detach()
            yield (tensor[self._free[name].to(tensor.device)] if name in self._free else tensor).reshape(-1)

    def unflatten(self, vector: Vector, *, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Named tensors from a vector, zero in the frozen rows: right for directions and tangents, not for weights."""
        if vector.shape != (self.size,):
            raise InvalidArgument(f"expected a vector of {self.size:,} free coordinates, got {tuple(vector.shape)}")
        tensors = {}
        pieces = torch.split(vector.to(dtype or vector.dtype), list(self.sizes.values()))
        for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True):
            if name in self._free:
                full = piece.new_zeros(shape)
                full[self._free[name].to(piece.device)] = piece.reshape(-1, *shape[1:])
                tensors[name] = full
            else:
                tensors[name] = piece.reshape(shape)
        return tensors

    def _check(self, params: Params) -> None:
        for name, shape in self.shapes.items():
            if name not in params:
                raise InvalidArgument(f"expected a tensor named {name}, got {', '.join(params)}")
            if params[name].shape != shape:
                raise InvalidArgument(f"expected {name} of shape {tuple(shape)}, got {tuple(params[name].shape)}")


def moved(weights: Params, steps: Mapping[float, Params] | list[tuple[float, Params]]) -> dict[str, Tensor]:
    """New tensors w + sum of a_i d_i in the weights' own precision; the weights stay as they are."""
    pairs = list(steps.items()) if isinstance(steps, Mapping) else steps
    result = {}
    for name, tensor in weights.items():
        total = tensor
        for length, direction in pairs:
            total = total.add(direction[name].to(tensor.dtype), alpha=length)
        result[name] = total
    return result


def content_hash(params: Params) -> str:
    """SHA-256 over names, shapes, types and values, in name order."""
    digest = hashlib.sha256()
    for name in sorted(params):
        tensor = params[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
