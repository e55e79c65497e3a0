"""Public data sets by name: downloaded, verified by SHA-256, and only then given their names.

What the server sends is never written past the file's known length, whatever it decompresses to. A connection that
breaks is tried again; a file that is not there or is another one is not.
"""

import contextlib
import difflib
import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from samrec.data.public_files import BASE_URL, PUBLIC, PublicFile
from samrec.errors import ConfigError, DataError

ATTEMPTS = 3
TIMEOUT = 30.0  # seconds without a byte
_PAUSE = 1.0  # seconds before the second attempt, twice that before the third


class Fetched(NamedTuple):
    """What became of one file."""

    path: Path
    downloaded: bool  # or it was there already, with the right content


class _TooLong(Exception):
    """The server sends more than the file has."""


def fetch_data(
    name: str,
    folder: Path,
    *,
    base_url: str = BASE_URL,
    overwrite: bool = False,
    advance: Callable[[int], object] = lambda _: None,
) -> list[Fetched]:
    """Get the files of a public data set into a folder; what is there already is verified and left alone.

    Args:
        name: one of `PUBLIC`; capitals do not matter.
        folder: made if it is not there.
        base_url: a mirror: an http(s) address below which the files have their names.
        overwrite: a file of that name with other content is replaced.
        advance: told how many bytes came.

    Raises:
        DataError: no such name, no network, no such file there, other content than expected, or a folder that cannot be
            written. No file is left half-written, and no folder that was made in vain.
        ConfigError: the address is not http or https.
    """
    files = public_files(name)
    if not base_url.startswith(("http://", "https://")):
        raise ConfigError(f"expected an address that begins with http:// or https://, got {base_url!r}")
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise DataError(f"{folder}: expected a folder, got a file") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be made: {error.strerror}") from None
    try:
        return _fetched(name, files, folder, base_url, overwrite=overwrite, advance=advance)
    except DataError:
        with contextlib.suppress(OSError):  # not empty: something is there now
            for each in made:
                each.rmdir()
        raise


def public_files(name: str) -> tuple[PublicFile, ...]:
    """The files of a data set; DataError for a name that is not there, with those that come near."""
    alike = {known.casefold(): known for known in PUBLIC}
    found = alike.get(name.casefold())
    if found is None:
        near = difflib.get_close_matches(name.casefold(), list(alike), n=2, cutoff=0.4)
        hint = f"; did you mean {' or '.join(alike[each] for each in near)}?" if near else "."
        raise DataError(f"there is no public data set {name!r}{hint} Known: {', '.join(PUBLIC)}")
    return PUBLIC[found]


def _fetched(
    name: str,
    files: tuple[PublicFile, ...],
    folder: Path,
    base_url: str,
    *,
    overwrite: bool,
    advance: Callable[[int], object],
) -> list[Fetched]:
    done = []
    for file in files:  # the text last: a data set is found by it
        path = folder / file.name
        if path.is_file() and _sha256(path) == file.sha256:
            done.append(Fetched(path, downloaded=False))
            continue
        if path.exists() and not overwrite:
            raise DataError(f"{path} is there with other content than {name}'s; --overwrite replaces it")
        _download(file, folder, f"{base_url.rstrip('/')}/{file.name}", [each.name for each in files], advance)
        done.append(Fetched(path, downloaded=True))
    return done


def _download(file: PublicFile, folder: Path, url: str, names: list[str], advance: Callable[[int], object]) -> None:
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    instead = f"put {' and '.join(names)} into {folder}, or give --base-url"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            pooch.retrieve(
                url, f"sha256:{file.sha256}", fname=file.name, path=folder, downloader=_Bounded(file.size, advance)
            )
        except requests.exceptions.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status < 500:
                raise DataError(f"{url}: the server answers {status}; {instead}") from None
            problem = f"the server answers {status}"
        except requests.exceptions.RequestException as error:
            problem = _reason(error)
        except _TooLong:
            raise DataError(
                f"{url}: sends more than the {file.size:,} bytes of {file.name}; nothing was kept. {instead}"
            ) from None
        except ValueError:  # pooch's word for another hash
            raise DataError(
                f"{url}: is not {file.name} (expected SHA-256 {file.sha256[:16]}...); nothing was kept. {instead}"
            ) from None
        except OSError as error:
            raise DataError(f"{folder / file.name}: cannot be written: {error.strerror or error}") from None
        else:
            (folder / file.name).chmod(0o644)  # pooch's own is for the user alone
            return
        if attempt < ATTEMPTS:
            time.sleep(_PAUSE * attempt)
    raise DataError(f"{url}: cannot be downloaded in {ATTEMPTS} attempts: {problem}. Without network {instead}")


class _Bounded:
    """A downloader for pooch, over HTTP, that stops at the file's known length and leaves no connection open."""

    def __init__(self, size: int, advance: Callable[[int], object]) -> None:
        self.size = size
        self.advance = advance

    def __call__(self, url: str, output_file: str, pooch: object) -> None:  # noqa: ARG002
        import requests

        plain = {"Accept-Encoding": "identity"}  # asked for; a server that compresses all the same is bounded too
        with (
            requests.get(url, stream=True, timeout=TIMEOUT, headers=plain) as answer,
            Path(output_file).open("wb") as file,
        ):
            answer.raise_for_status()
            left = self.size
            for piece in answer.iter_content(1 << 14):
                left -= len(piece)
                if left < 0:
                    raise _TooLong
                file.write(piece)
                self.advance(len(piece))
            file.flush()
            os.fsync(file.fileno())


def _reason(error: Exception) -> str:
    """The innermost cause, without the objects' addresses."""
    text = str(error)
    for sign in ("Name or service not known", "Temporary failure in name resolution", "Connection refused"):
        if sign in text:
            return sign.lower()
    return "no answer in time" if "timed out" in text else f"the connection broke ({type(error).__name__})"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
