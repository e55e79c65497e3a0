"""Checkpoints of the S3-Rec family (S3-Rec, its SASRec, code derived from it) as run folders of ours.

Names are translated, shapes and values checked, and nothing is changed: the padding row, which is not zero in those
checkpoints, is kept. What only pre-training uses is left out and listed. A .pt file is read by torch's loader for plain
tensors, which runs no code. Sizes come from the tensors; the number of heads leaves no trace there and must be given.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from samrec.errors import CheckpointError, RunError

if TYPE_CHECKING:
    from samrec.data.interactions import Interactions
    from samrec.training.checkpoint import Run

_OUTSIDE = {
    "item_embeddings.weight": "item_embedding.weight",
    "position_embeddings.weight": "position_embedding.weight",
    "LayerNorm.weight": "input_norm.weight",
    "LayerNorm.bias": "input_norm.bias",
}
_IN_A_BLOCK = {
    "attention.query": "query",
    "attention.key": "key",
    "attention.value": "value",
    "attention.dense": "output",
    "attention.LayerNorm": "attention_norm",
    "intermediate.dense_1": "expand",
    "intermediate.dense_2": "contract",
    "intermediate.LayerNorm": "feed_forward_norm",
}
_LAYER = re.compile(r"item_encoder\.layer\.([0-9]+)\.(.+)\.(weight|bias)")
_IDLE = ("attribute_embeddings.", "aap_norm.", "mip_norm.", "map_norm.", "sp_norm.", "criterion.")


@dataclass(frozen=True, slots=True)
class ForeignWeights:
    """A checkpoint under our names, and what its tensors say about the model."""

    tensors: Mapping[str, Tensor]
    item_count: int
    size: int
    layers: int
    max_length: int
    idle: tuple[str, ...]  # names that take no part in recommending


def import_checkpoint(
    path: Path, interactions: "Interactions", *, data: str, out: Path, heads: int = 2, loss: str = "bce"
) -> "Run":
    """Turn a foreign checkpoint into a run folder.

    Args:
        path: .safetensors, or .pt of plain tensors.
        interactions: the data it was trained on; its item count is checked against the item table.
        data: the name or path by which the run finds that data again.
        out: the folder to create.
        heads: attention heads; 2 is the S3-Rec code's default.
        loss: the loss it was trained with, which the frozen objective takes by default.

    Raises:
        CheckpointError: unreadable, a name missing or unknown, another shape, NaN, or another number of items.
        RunError: `out` is taken or cannot be written; nothing is left there then.
    """
    from samrec.config import make_config
    from samrec.models.build import build_model
    from samrec.training.checkpoint import Run, create_run

    path, out = Path(path), Path(out)
    found = read_s3rec(path)
    if found.item_count != interactions.item_count:
        raise CheckpointError(
            f"expected an item table for the {interactions.item_count:,} items of {data} (two rows more), got one for "
            f"{found.item_count:,} in {path}"
        )
    config = make_config(
        data=data, loss=loss, size=found.size, heads=heads, layers=found.layers, max_length=found.max_length
    )
    build_model(config, found.item_count).load_state_dict(dict(found.tensors), strict=True)
    origin: dict[str, Any] = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "format": "s3rec",
        "idle": list(found.idle),
    }
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"expected {out} to be new or empty, got something there already")
    aside = out.resolve().with_name(f".{out.resolve().name}.{os.getpid()}.aside")
    try:
        run = create_run(aside, config, interactions, imported=origin, status="imported")
        run.save_best(found.tensors)
        aside.rename(out)
    except OSError as error:
        raise RunError(f"cannot make the run folder {out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Run(out)


def read_s3rec(path: Path) -> ForeignWeights:
    """Read, translate and check a checkpoint of the S3-Rec family.

    Raises:
        CheckpointError: a tensor that is missing, unknown, of another shape, or not finite.
    """
    raw = _tensors(Path(path))
    tensors: dict[str, Tensor] = {}
    idle = []
    for foreign, tensor in raw.items():
        name = _translated(foreign)
        if name is not None:
            tensors[name] = tensor
        elif foreign.startswith(_IDLE):
            idle.append(foreign)
        else:
            raise CheckpointError(f"{path} holds {foreign}, which no checkpoint of the S3-Rec family has")
    layers = 1 + max((int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")), default=-1)
    if not layers:
        raise CheckpointError(f"expected item_encoder.layer.0 and further tensors in {path}, found none")
    table = _table(tensors, "item_embedding.weight", path)
    positions = _table(tensors, "position_embedding.weight", path)
    size = table.shape[1]
    expected = _shapes(size, layers)
    for name, shape in expected.items():
        if name not in tensors:
            raise CheckpointError(f"expected {_foreign(name)} in {path}, which is missing")
        if tuple(tensors[name].shape) != shape:
            raise CheckpointError(
                f"expected {_foreign(name)} of shape {shape} beside items of size {size}, got "
                f"{tuple(tensors[name].shape)} in {path}"
            )
    if positions.shape[1] != size:
        raise CheckpointError(
            f"expected {_foreign('position_embedding.weight')} of width {size}, got {positions.shape[1]} in {path}"
        )
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"expected finite weights, got NaN or infinity in {_foreign(name)} of {path}")
    return ForeignWeights(
        tensors={name: tensor.to(torch.float32).contiguous() for name, tensor in tensors.items()},
        item_count=len(table) - 2,
        size=size,
        layers=layers,
        max_length=len(positions),
        idle=tuple(sorted(idle)),
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file, whatever its container."""
    if not path.is_file():
        raise CheckpointError(f"expected a checkpoint file, found none at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, KeyError):  # torch's own message advises to run the file's code, or is a byte's number
        raise CheckpointError(
            f"cannot read {path} as plain tensors: another format, or objects besides tensors"
        ) from None
    except Exception as error:  # the loaders raise many kinds: SafetensorError, RuntimeError, EOFError, KeyError
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"cannot read {path} as plain tensors: {reason}") from None
    for nested in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(nested), Mapping):
            content = content[nested]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"expected named tensors in {path}, got {type(content).__name__}")
    tensors = {}
    for name, tensor in content.items():
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise CheckpointError(f"expected floating-point tensors in {path}, got another thing under {name}")
        tensors[str(name).removeprefix("module.")] = tensor
    return tensors


def _translated(foreign: str) -> str | None:
    if foreign in _OUTSIDE:
        return _OUTSIDE[foreign]
    found = _LAYER.fullmatch(foreign)
    if found is None or found[2] not in _IN_A_BLOCK:
        return None
    return f"blocks.{int(found[1])}.{_IN_A_BLOCK[found[2]]}.{found[3]}"


def _foreign(name: str) -> str:
    """The name as the checkpoint's owner knows it."""
    for theirs, ours in _OUTSIDE.items():
        if name == ours:
            return theirs
    _, layer, part, kind = name.split(".")
    theirs = next(theirs for theirs, ours in _IN_A_BLOCK.items() if ours == part)
    return f"item_encoder.layer.{layer}.{theirs}.{kind}"


def _table(tensors: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in tensors:
        raise CheckpointError(f"expected {_foreign(name)} in {path}, which is missing")
    tensor = tensors[name]
    if tensor.ndim != 2 or len(tensor) < (3 if name.startswith("item") else 1):
        raise CheckpointError(f"expected {_foreign(name)} to be a table, got shape {tuple(tensor.shape)} in {path}")
    return tensor


def _shapes(size: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Every tensor but the two tables."""
    shapes: dict[str, tuple[int, ...]] = {"input_norm.weight": (size,), "input_norm.bias": (size,)}
    for layer in range(layers):
        for part in _IN_A_BLOCK.values():
            outputs = 4 * size if part == "expand" else size
            inputs = 4 * size if part == "contract" else size
            norm = part.endswith("norm")
            shapes[f"blocks.{layer}.{part}.weight"] = (size,) if norm else (outputs, inputs)
            shapes[f"blocks.{layer}.{part}.bias"] = (size,) if norm else (outputs,)
    return shapes
