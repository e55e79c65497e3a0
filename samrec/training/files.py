"""Files that are never half-written: everything goes aside first, is fsynced, and is then renamed into place."""

import contextlib
import errno
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from landscape.store.files import WriterLock
from landscape.whole_files import write_whole
from samrec.errors import CheckpointError, NotWritable, RunError

OF_A_PROCESS = re.compile(r"\.\d+\.aside$")  # as whole files have it


def write_bytes(path: Path, content: bytes) -> None:
    """Write aside, fsync, rename. A full disk leaves the old file as it was and raises RunError."""
    try:
        write_whole(path, content)
    except OSError as error:
        kind = NotWritable if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else RunError
        raise kind(f"cannot write {path}: {error.strerror or error}; the file there before is unchanged") from None


@contextlib.contextmanager
def held_for_writing(folder: Path) -> Iterator[None]:
    """The right to write a run folder, for as long as this lasts; the folder need not be there yet.

    Raises StoreLocked where another process has it; it ends with that process, however it dies.
    """
    check_folder(folder)
    resolved = folder.resolve()
    try:
        resolved.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {resolved.parent}: {error.strerror or error}") from None
    lock = WriterLock(resolved, "folder")
    try:
        yield
    finally:
        lock.release()


def check_folder(path: Path) -> None:
    """Refuse a file where a folder is or will be made."""
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise RunError(f"expected a folder, got a file: {place}")


def clear_asides(folder: Path) -> None:
    """Remove what a kill left of files and whole folders on their way into the folder. Call it while that is held.

    A file's name aside has its process (`.NAME.PID.aside`), a folder's has none. `.NAME.aside` as a file is a store's,
    whose writer may be at work and clears it itself; a folder with a process is of a run that is being imported.
    """
    try:
        for aside in folder.glob(".*.aside"):
            is_folder = aside.is_dir() and not aside.is_symlink()
            if is_folder == bool(OF_A_PROCESS.search(aside.name)):
                continue
            if is_folder:
                shutil.rmtree(aside)
            else:
                aside.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"cannot remove what was left in {folder}: {error.strerror or error}") from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file with a final newline."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or a RunError that names the file."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"expected a run folder with {path.name}, got {path.parent} without one") from None
    except (OSError, ValueError) as error:
        raise RunError(f"expected JSON in {path}, got {error}") from None
    if not isinstance(content, dict):
        raise RunError(f"expected a JSON object in {path}, got {type(content).__name__}")
    return content


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """A safetensors file."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(contiguous, dict(metadata or {})))


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its metadata, or a CheckpointError that names the file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"expected weights in {path}, got no such file") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"expected a whole safetensors file, got {path}: {error}") from None
