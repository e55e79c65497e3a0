"""Batches in any form a PyTorch program has them, fixed once: inputs for the model, targets for the loss, counts.

A batch is a pair (inputs, targets), a mapping whose values go to the model by name, or a `Batch`. What comes from a
DataLoader or a generator is drawn once and kept, up to a stated number of bytes; what is a list already is not copied.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from landscape.errors import InvalidArgument

MAX_BYTES = 4 * 2**30  # of what is drawn from a DataLoader or a generator: what a laptop holds beside a model


@dataclass(frozen=True, slots=True)
class Batch:
    """A chunk: what the model takes, what the loss takes, and how many valid targets each unit has."""

    inputs: Any  # a tensor, a tuple of arguments or a mapping of named ones; first axes are the units
    targets: Any
    counts: Float[Tensor, " units"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A batch whose targets are not counted yet, unless the caller did."""

    inputs: Any
    targets: Any
    counts: Tensor | None

    @property
    def units(self) -> int:
        """The length of the first axis of the targets; of the inputs where there are none.

        Raises:
            InvalidArgument: there is no such axis, or it has no entry.
        """
        first = next(tensors_in(self.inputs if self.targets is None else self.targets), None)
        if first is None or first.ndim == 0 or len(first) == 0:
            what = "no tensor" if first is None else f"a tensor of shape {tuple(first.shape)}"
            raise InvalidArgument(f"expected batches whose first axis is the units (images, users), got {what}")
        return len(first)


def fixed_pieces(
    batches: Any,
    *,
    targets: str | None,
    device: torch.device,
    dtype: torch.dtype | None,
    max_bytes: int = MAX_BYTES,
) -> list[Piece]:
    """All batches, on one device, floating-point numbers in one type.

    Args:
        batches: pairs (inputs, targets), mappings or `Batch`es.
        targets: the entry of a mapping that goes to the loss and not to the model; None leaves all with the model.
        device: where they are moved.
        dtype: of floating-point inputs and targets; None leaves them as they are.
        max_bytes: at most so many are kept of what is no sequence, and so lies in memory only because of us.

    Raises:
        InvalidArgument: no batch, something else than a batch, or more bytes than allowed.
    """
    if isinstance(batches, Tensor | Mapping) or _is_a_pair(batches):
        raise InvalidArgument(
            f"expected a list of batches, got one {'pair of tensors' if _is_a_pair(batches) else _kind(batches)}: "
            "put it into a list, as in [(inputs, targets)]"
        )
    if not isinstance(batches, Iterable):
        raise InvalidArgument(
            f"expected batches to go through, got {_kind(batches)}: a data set is cut into batches by a DataLoader"
        )
    limit = None if isinstance(batches, Sequence) else max_bytes
    pieces: list[Piece] = []
    held = 0
    for batch in batches:
        piece = _piece(batch, targets)
        held += sum(tensor.nbytes for tensor in tensors_in((piece.inputs, piece.targets)))
        if limit is not None and held > limit:
            raise InvalidArgument(
                f"expected batches of at most {limit:,} bytes together, got more with batch {len(pieces) + 1}: give "
                "fewer (itertools.islice) or a larger max_bytes"
            )
        inputs, wanted = (_placed(part, device, dtype) for part in (piece.inputs, piece.targets))
        pieces.append(Piece(inputs, wanted, piece.counts))
    if not pieces:
        raise InvalidArgument("expected at least one batch, got none")
    return pieces


def data_hash(batches: Sequence[Batch]) -> str:
    """SHA-256 over types, shapes and values of inputs, targets and counts, in order."""
    digest = hashlib.sha256()
    for batch in batches:
        for tensor in tensors_in((batch.inputs, batch.targets, batch.counts)):
            digest.update(f"{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            plain = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return digest.hexdigest()


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested mappings, lists and tuples, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, np.ndarray):
        yield torch.as_tensor(value)
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from tensors_in(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_in(entry)


def _piece(batch: Any, targets: str | None) -> Piece:
    if isinstance(batch, Batch):
        return Piece(batch.inputs, batch.targets, batch.counts)
    if isinstance(batch, Mapping):
        if targets is None:
            return Piece(dict(batch), None, None)
        if targets not in batch:
            raise InvalidArgument(
                f"expected {targets!r} among the entries of a batch, got {', '.join(map(str, batch))}: name the one "
                "that the loss takes, as in targets='y'"
            )
        return Piece({key: entry for key, entry in batch.items() if key != targets}, batch[targets], None)
    if isinstance(batch, list | tuple) and len(batch) == 2:
        return Piece(batch[0], batch[1], None)
    size = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
    raise InvalidArgument(f"expected batches as (inputs, targets), mappings or Batch, got {_kind(batch)}{size}")


def _placed(value: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(value)
    if isinstance(value, Tensor):
        return value.detach().to(device, dtype if value.is_floating_point() else None)
    if isinstance(value, Mapping):
        return {key: _placed(entry, device, dtype) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_placed(entry, device, dtype) for entry in value)
    return value


def _is_a_pair(batches: Any) -> bool:
    """Whether someone gave (inputs, targets) themselves, not a list of such pairs."""
    return isinstance(batches, list | tuple) and len(batches) == 2 and all(isinstance(b, Tensor) for b in batches)


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
