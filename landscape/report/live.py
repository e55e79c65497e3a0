"""A report that follows its source: a page on this machine alone, brought up to date while measurements arrive.

The page asks for the version every two seconds; only for another one is the report made again, and figures change in
place, so that a turned surface stays turned. The server listens on the loopback address and answers no other host name,
so that no foreign page can read it.
"""

import gzip
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from landscape.errors import InvalidArgument
from landscape.report.contents import report_of
from landscape.report.parts import Report
from landscape.report.write import page_of
from landscape.store import Store

HOST = "127.0.0.1"
KNOWN_HOSTS = ("127.0.0.1", "localhost")


@dataclass
class Source:
    """What is followed: its version is cheap to ask for, its report is made once a version."""

    version: Callable[[], str]
    report: Callable[[], Report]
    _page: tuple[str, bytes] = ("", b"")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def page(self) -> bytes:
        """The page of the version there is now."""
        with self._lock:
            version = self.version()
            if self._page[0] != version:
                self._page = version, page_of(self.report(), live=version).encode()
            return self._page[1]


def store_source(path: str | Path, *, title: str | None = None) -> Source:
    """A store as a source. Raises StoreError if there is none."""
    store = Path(path)
    with Store.read(store):
        pass

    def report() -> Report:
        with Store.read(store) as opened:
            return report_of(opened, title=title or store.stem, facts={"store": store.name})

    return Source(lambda: version_of(store), report)


def version_of(*paths: Path) -> str:
    """Changes whenever one of the files is written."""
    stats = [path.stat() for path in paths]
    return "-".join(f"{stat.st_mtime_ns:x}.{stat.st_size:x}.{stat.st_ino:x}" for stat in stats)


def make_server(source: Source, *, port: int = 0) -> ThreadingHTTPServer:
    """A server for one source on this machine; port 0 takes a free one. Call its `serve_forever`.

    Raises:
        InvalidArgument: the port is taken or may not be used.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Host", "").rpartition(":")[0] not in KNOWN_HOSTS:
                self._answer(403, "text/plain", b"this page is for this machine alone")
                return
            try:
                if self.path == "/":
                    self._answer(200, "text/html; charset=utf-8", source.page())
                elif self.path == "/version":
                    self._answer(200, "text/plain", source.version().encode())
                elif self.path == "/plotly.js":
                    self._answer(200, "text/javascript; charset=utf-8", _library())
                else:
                    self._answer(404, "text/plain", b"expected /, /version or /plotly.js")
            except (OSError, RuntimeError, ValueError, KeyError) as error:  # for instance a store just taken away
                self._answer(503, "text/plain; charset=utf-8", " ".join(str(error).split()).encode())

        def _answer(self, code: int, kind: str, content: bytes) -> None:
            packed = gzip.compress(content, 1) if len(content) > 1 << 16 else content
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Cache-Control", "no-store" if self.path != "/plotly.js" else "max-age=86400")
            if packed is not content:
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(packed)))
            self.end_headers()
            self.wfile.write(packed)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the library's name)
            del format, args  # quiet

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as problem:
        raise InvalidArgument(f"expected a free port for the page, got {port}: {problem.strerror}") from None


def _library() -> bytes:
    from plotly.offline import get_plotlyjs

    content: str = get_plotlyjs()
    return content.encode()
