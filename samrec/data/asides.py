"""Several files that appear together or not at all: written aside, fsynced, then renamed one after the other."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from landscape.whole_files import path_aside
from samrec.errors import DataError


@contextlib.contextmanager
def written_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Paths to write to instead; after the block those that were written get their names, in the order given.

    If the block fails nothing appears and nothing is left. Put last the file by which the others are found. Raises
    DataError where the folder cannot be written.
    """
    asides = [path_aside(path) for path in paths]
    try:
        yield asides
        for aside in asides:
            if aside.exists():
                with aside.open("rb") as file:
                    os.fsync(file.fileno())
        for aside, path in zip(asides, paths, strict=True):
            if aside.exists():
                aside.replace(path)
    except OSError as error:
        raise DataError(f"{error.filename or paths[-1]}: cannot be written: {error.strerror or error}") from None
    finally:
        for aside in asides:
            aside.unlink(missing_ok=True)
