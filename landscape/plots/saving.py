"""Files that appear whole or not at all: written beside their place, synced, renamed."""

import os
import tempfile
from pathlib import Path

from landscape.errors import StoreError


def written_aside(target: Path, content: bytes) -> Path:
    """Put the content at the target, replacing what was there, and return the target.

    Raises:
        StoreError: no folder, no permission, no space; what was there before is still there.
    """
    if not target.parent.is_dir():
        raise StoreError(f"expected a folder {target.parent} to write {target.name} in, found none")
    aside: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        aside = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o644)
        aside.replace(target)
    except OSError as problem:
        if aside is not None:
            aside.unlink(missing_ok=True)
        raise StoreError(f"cannot write {target}: {problem.strerror}") from problem
    return target
