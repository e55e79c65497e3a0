"""A name or a path becomes interactions.

"synthetic" is embedded. A file that is there, or anything with a folder in it, is read as a path. Any other NAME means
NAME.txt in the folder asked for, then in $SAMREC_DATA, then in the user's cache; the first folder that has it wins,
capitals do not matter.
"""

import difflib
import os
import sys
from pathlib import Path

from samrec.data.interactions import Interactions
from samrec.data.public_files import PUBLIC
from samrec.data.s3rec_text import read_s3rec_text
from samrec.data.synthetic import make_synthetic
from samrec.errors import DataError

SYNTHETIC = "synthetic"


def open_data(
    name_or_path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    strict: bool = False,
) -> Interactions:
    """The interactions of a name or path; `strict` refuses a file with sequences under three items.

    Raises DataError, for an unknown name with the folders looked in and the names that come near.
    """
    wanted = os.fspath(name_or_path)
    if wanted.casefold() == SYNTHETIC:
        return make_synthetic().interactions
    if not wanted.strip():
        raise DataError("expected the name of a data set or a file, got an empty name")
    path = Path(wanted).expanduser()
    if path.is_file() or path.parent != Path() or path in (Path(), Path("..")) or wanted.endswith(("/", os.sep)):
        return read_s3rec_text(_existing(path), strict=strict)
    name = wanted.removesuffix(".txt")
    folders = data_folders(data_dir)
    for folder in folders:
        known = _names_in(folder)
        alike = {name.casefold(): file for name, file in known.items()}
        found = known.get(name) or alike.get(name.casefold())
        if found is not None:
            return read_s3rec_text(found, strict=strict)
    raise DataError(_unknown(name, folders, is_file_name=name != wanted))


def data_folders(data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Where names are looked for, first to last. Raises DataError if `data_dir` is given and is no folder."""
    folders = []
    if data_dir is not None:
        asked = Path(data_dir).expanduser()
        if not asked.is_dir():
            raise DataError(f"the data folder {asked} is not a folder")
        folders.append(asked)
    if os.environ.get("SAMREC_DATA"):
        folders.append(Path(os.environ["SAMREC_DATA"]).expanduser())
    return [*folders, user_cache()]


def user_cache() -> Path:
    """The folder of the user's cache that is ours, by the platform's custom; it need not exist."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "samrec"


def _names_in(folder: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob("*.txt"))} if folder.is_dir() else {}


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected a file in it, or its name together with --data-dir {path}")
    beside = {file.name.casefold(): file.name for file in path.parent.glob("*.txt")} if path.parent.is_dir() else {}
    raise DataError(f"there is no file {path}{_did_you_mean(path.name, beside)}")


def _unknown(wanted: str, folders: list[Path], *, is_file_name: bool) -> str:
    known = {SYNTHETIC: SYNTHETIC}
    folders = [Path(), *folders] if is_file_name else folders
    for folder in folders:
        known.update({name.casefold(): name for name in _names_in(folder)})
    looked = ", ".join(str(folder) + ("" if folder.is_dir() else " (not there)") for folder in folders)
    public = next((known for known in PUBLIC if known.casefold() == wanted.casefold()), None)
    get = f"samrec data fetch {public} gets it; " if public else ""
    return (
        f"there is no data set {wanted!r}{_did_you_mean(wanted, known)}; looked for {wanted}.txt in {looked}; {get}"
        f"set --data-dir or $SAMREC_DATA, give a file, or use {SYNTHETIC!r}"
    )


def _did_you_mean(wanted: str, known: dict[str, str]) -> str:
    near = difflib.get_close_matches(wanted.casefold(), list(known), n=3, cutoff=0.5)
    near += [name for name in known if name not in near and len(wanted) > 2 and name.startswith(wanted.casefold())]
    return f"; did you mean {' or '.join(known[name] for name in near[:3])}?" if near else ""
