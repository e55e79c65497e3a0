"""A live report: its page is the store's of this moment, for this machine alone."""

import gzip
import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from landscape.errors import InvalidArgument, StoreError
from landscape.report.live import HOST, make_server, store_source
from landscape.store import Store
from tests.landscape_tests.drawn_stores import add_numbers, add_surface, bowl


@contextmanager
def served(path: Path) -> Iterator[int]:
    with make_server(store_source(path)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def answer(port: int, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, (gzip.decompress(content) if response.headers["Content-Encoding"] else content).decode()


def half_finished(path: Path) -> Path:
    with Store.write(path) as store:
        add_surface(store, "half", bowl(2.0), share=0.25)
    return path


def test_the_page_follows_what_is_written(tmp_path: Path) -> None:
    path = half_finished(tmp_path / "s.h5")
    with served(path) as port:
        before, page = answer(port, "/version")[1], answer(port, "/")[1]
        assert "110 of 441 points measured" in page
        assert f'data-live="{before}"' in page
        with Store.write(path) as store:
            add_numbers(store, "half")
        after, page = answer(port, "/version")[1], answer(port, "/")[1]
    assert after != before
    assert "λmax" in page


def test_the_version_stays_while_nothing_is_written(tmp_path: Path) -> None:
    with served(half_finished(tmp_path / "s.h5")) as port:
        assert answer(port, "/version") == answer(port, "/version")


def test_the_plot_library_comes_from_the_server_and_not_in_the_page(tmp_path: Path) -> None:
    with served(half_finished(tmp_path / "s.h5")) as port:
        assert len(answer(port, "/")[1]) < 200_000
        assert "plotly.js" in answer(port, "/plotly.js")[1][:300]


@pytest.mark.parametrize("host", ["example.org", "example.org:80", ""])
def test_another_host_name_is_answered_nothing(tmp_path: Path, host: str) -> None:
    with served(half_finished(tmp_path / "s.h5")) as port:
        status, text = answer(port, "/", Host=host)
    assert status == 403
    assert "half" not in text


def test_an_unknown_path_is_not_found(tmp_path: Path) -> None:
    with served(half_finished(tmp_path / "s.h5")) as port:
        assert answer(port, "/../s.h5")[0] == 404


def test_a_store_taken_away_is_said_and_its_return_is_followed(tmp_path: Path) -> None:
    path = half_finished(tmp_path / "s.h5")
    with served(path) as port:
        path.rename(tmp_path / "away.h5")
        assert answer(port, "/")[0] == 503
        (tmp_path / "away.h5").rename(path)
        assert answer(port, "/")[0] == 200


def test_no_store_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        store_source(tmp_path / "none.h5")


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    source = store_source(half_finished(tmp_path / "s.h5"))
    with make_server(source) as server, pytest.raises(InvalidArgument, match=str(server.server_port)):
        make_server(source, port=server.server_port)
