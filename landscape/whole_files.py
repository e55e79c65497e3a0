"""Files that appear whole or not at all: written aside, fsynced, renamed into place.

A kill, a full disk or an error at any moment leaves what was there before as it was. What fails raises OSError, which
every caller tells in its own words.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from landscape.errors import StoreError


@contextlib.contextmanager
def written_whole(path: Path, *, aside: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write to; when the block ends without error it takes the name `path`, or else it is gone.

    Args:
        path: where it belongs. A file there is replaced, and its permissions stay.
        aside: where it grows, beside `path`; by default under a name of this process's own.

    Raises:
        OSError: no folder, no permission, no space.
    """
    aside = aside or path_aside(path)
    try:
        with aside.open("wb") as file:
            if path.exists():
                aside.chmod(path.stat().st_mode & 0o777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        synchronise_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):  # a disk that is read-only has none, and says so
            aside.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | memoryview, *, aside: Path | None = None) -> None:
    """The same for content that is in memory."""
    with written_whole(path, aside=aside) as file:
        file.write(content)


def path_aside(path: Path) -> Path:
    """Where this process writes what will be `path`: beside it, hidden, ending in .aside."""
    return path.with_name(f".{path.name}.{os.getpid()}.aside")


def check_folder_of(path: Path) -> None:
    """Raise StoreError where the folder that a file is to lie in is not there."""
    if not path.parent.is_dir():
        raise StoreError(f"expected a folder {path.parent} to write {path.name} in, found none")


def synchronise_folder(folder: Path) -> None:
    """Let a new name in it outlive a power cut, where the system can: what it names is in its place already."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
