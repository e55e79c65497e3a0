"""Figures as files that appear whole or not at all."""

from pathlib import Path

from landscape.errors import StoreError
from landscape.whole_files import check_folder_of, write_whole


def written_aside(target: Path, content: bytes) -> Path:
    """Put the content at the target, replacing what was there, and return the target.

    Raises:
        StoreError: no folder, no permission, no space; what was there before is still there.
    """
    check_folder_of(target)
    try:
        write_whole(target, content)
    except OSError as problem:
        raise StoreError(f"cannot write {target}: {problem.strerror or problem}") from problem
    return target
