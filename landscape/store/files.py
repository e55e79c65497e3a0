"""How a store stays whole on disk: one writer at a time, groups added by replacing the file, points written in place.

Readers are never refused, since nothing here locks the store itself: the writer holds a lock on a file beside it. A
file is replaced by writing the whole of it aside, fsync and rename; HDF5 builds it in memory and so never meets a full
disk.
"""

import contextlib
import datetime
import importlib.metadata
import io
import os
import platform
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from landscape.errors import LandscapeError, StoreError, StoreLocked
from landscape.store.columns import as_json
from landscape.whole_files import write_whole

FORMAT = "landscape-store"
FORMAT_VERSION = 1
WRITTEN_WITH = ("samrec", "numpy", "h5py")  # whose versions a new store tells, beside Python's

# Flushes what a reader after a power cut needs; macOS has only the slower of the two.
synchronise = getattr(os, "fdatasync", os.fsync)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a store for reading; every way in which a file can be unusable becomes a one-line StoreError."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise StoreError(f"expected a store at {path}, found no file") from None
    except OSError as problem:
        raise StoreError(f"expected a store at {path}, {_trouble(path, problem)}") from problem
    with file:
        try:
            found, version = file.attrs.get("format"), file.attrs.get("format_version")
            if not (isinstance(found, str) and found == FORMAT):
                raise StoreError(f"expected a store at {path}, found an HDF5 file of another format")
            if version != FORMAT_VERSION:
                raise StoreError(f"expected a store of format version {FORMAT_VERSION} at {path}, found {version}")
            yield file
        except LandscapeError:
            raise
        except (KeyError, OSError, RuntimeError, ValueError) as problem:
            raise StoreError(f"{path} is damaged: {_one_line(problem)}") from problem


@contextlib.contextmanager
def changed(path: Path, *, create: bool = False) -> Iterator[Any]:
    """An HDF5 file in memory, holding what the store holds; it replaces the store when the block ends without error.

    Costs one copy of the file. A kill or a full disk at any moment leaves the old file as it was.
    """
    try:
        image = io.BytesIO(b"" if create else path.read_bytes())
        file = h5py.File(image, "w" if create else "r+")
    except OSError as problem:
        raise StoreError(f"cannot read {path}: {_one_line(problem)}") from problem
    with file:
        yield file
    _replace(path, image.getbuffer())


def write_header(file: Any) -> None:
    """What makes an empty HDF5 file a store: its format, when it was created, and with which versions."""
    versions = {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in WRITTEN_WITH},
    }
    file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
    file.attrs["created"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    file.attrs["versions"] = as_json(versions)


def remove_if_without_measurements(path: Path) -> None:
    """Take away a store that holds checkpoints at most; only its writer may ask for it. One that is gone stays so."""
    with contextlib.suppress(StoreError):
        with opened(path) as file:
            measured = any(len(group) for kind, group in file.items() if kind != "checkpoints")
        if not measured:
            path.unlink(missing_ok=True)


def _replace(path: Path, content: memoryview) -> None:
    try:
        write_whole(path, content, aside=path_aside(path))
    except OSError as problem:
        raise StoreError(f"cannot write {path}: {problem.strerror}; what it held is kept") from problem


def path_aside(path: Path) -> Path:
    """Where the next version of a store grows; only the writer touches it, so one left by a kill may be removed."""
    return path.with_name(f".{path.name}.aside")


def write_at(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of the content at an offset of the file, however many calls the system needs."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


class WriterLock:
    """The right to write one store, held from construction to `release`, given up by the system if the process dies."""

    def __init__(self, path: Path, kind: str = "store") -> None:
        """Take the right to write `path`, called a `kind` in messages. Raises StoreLocked where another holds it."""
        import fcntl  # not on every system; reading does without

        self.path = path.with_name(path.name + ".lock")
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as problem:
                raise StoreError(f"cannot write {path}: {self.path}: {problem.strerror}") from problem
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The holder removes the file when done: the lock counts only on the file that is still there.
                if self.path.exists() and os.fstat(descriptor).st_ino == self.path.stat().st_ino:
                    break
            except BlockingIOError:
                holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                os.close(descriptor)
                raise StoreLocked(f"{path} is being written by {holder}; wait for it or take another {kind}") from None
            except FileNotFoundError:
                pass
            except OSError as problem:
                os.close(descriptor)
                raise StoreError(f"cannot lock {self.path}: {problem.strerror}") from problem
            os.close(descriptor)
        self._descriptor: int | None = descriptor
        with contextlib.suppress(OSError):  # a note for people; the lock holds without it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next writer in. Safe to call twice."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = None


def _trouble(path: Path, problem: OSError) -> str:
    text = str(problem)
    if path.is_dir():
        return "found a folder"
    if "truncated" in text:
        return "found one cut short (its end is missing)"
    if "signature not found" in text:
        return "found a file that is not HDF5"
    return _one_line(problem)


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__
