"""`samrec data fetch` against a server on the loopback that behaves, and then in every other way."""

import functools
import gzip
import hashlib
import http.server
import json
import threading

import pytest
from typer.testing import CliRunner

from samrec.cli.data import data
from samrec.data import fetch
from samrec.data.catalog import open_data
from samrec.data.public_files import PUBLIC, PublicFile
from samrec.errors import ConfigError, DataError

TEXT = b"1 3 4 5\n2 3 5 4 3\n"
ATTRIBUTES = b'{"3": [1]}\n'
NAMES = ("Tiny_item2attributes.json", "Tiny.txt")


class Server(http.server.ThreadingHTTPServer):
    """Answers with `answers[path]`: the handler to call; counts what was asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {}
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/data"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path.removeprefix("/data/"))
        self.server.answers[self.server.asked[-1]](self)

    def log_message(self, *words):
        pass


def send(handler, content, *, status=200, length=None, **headers):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)
    handler.close_connection = True


def answer(content, **how):
    return functools.partial(send, content=content, **how)


@pytest.fixture
def server(monkeypatch):
    table = {
        "Tiny": tuple(
            PublicFile(name, len(content), hashlib.sha256(content).hexdigest())
            for name, content in zip(NAMES, (ATTRIBUTES, TEXT), strict=True)
        )
    }
    monkeypatch.setattr("samrec.data.fetch.PUBLIC", table)
    monkeypatch.setattr(fetch, "_PAUSE", 0.0)
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    made = Server()
    made.answers = {NAMES[0]: answer(ATTRIBUTES), NAMES[1]: answer(TEXT)}
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def refusal(server, folder, **options):
    with pytest.raises(DataError) as caught:
        fetch.fetch_data("Tiny", folder, base_url=server.url, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_data_set_comes_whole_and_can_be_opened(server, tmp_path):
    came = []
    done = fetch.fetch_data("tiny", tmp_path / "new", base_url=server.url + "/", advance=came.append)
    assert [(each.path.name, each.downloaded) for each in done] == [(name, True) for name in NAMES]
    assert sum(came) == len(TEXT) + len(ATTRIBUTES)
    read = open_data("Tiny", data_dir=tmp_path / "new")
    assert (read.users, read.item_count, read.attributes.of(3).tolist()) == (2, 5, [1])


def test_what_is_there_is_verified_and_not_asked_for_again(server, tmp_path):
    fetch.fetch_data("Tiny", tmp_path, base_url=server.url)
    again = fetch.fetch_data("Tiny", tmp_path, base_url=server.url)
    assert not any(each.downloaded for each in again)
    assert server.asked == list(NAMES)


def test_a_file_of_ones_own_is_not_replaced_unless_told_so(server, tmp_path):
    (tmp_path / "Tiny.txt").write_text("1 1 1 1\n")
    assert "--overwrite replaces it" in refusal(server, tmp_path)
    assert (tmp_path / "Tiny.txt").read_text() == "1 1 1 1\n"
    fetch.fetch_data("Tiny", tmp_path, base_url=server.url, overwrite=True)
    assert (tmp_path / "Tiny.txt").read_bytes() == TEXT


def test_another_file_of_the_same_length_is_refused_at_once(server, tmp_path):
    server.answers["Tiny.txt"] = answer(TEXT[::-1])
    message = refusal(server, tmp_path)
    assert "is not Tiny.txt (expected SHA-256" in message
    assert f"into {tmp_path}" in message
    assert files(tmp_path) == [NAMES[0]]
    assert server.asked.count("Tiny.txt") == 1


def test_a_connection_that_breaks_is_tried_again(server, tmp_path):
    left = [answer(TEXT[:5], length=len(TEXT)), answer(b"", status=503), answer(TEXT)]
    server.answers["Tiny.txt"] = lambda handler: left.pop(0)(handler)
    fetch.fetch_data("Tiny", tmp_path, base_url=server.url)
    assert (tmp_path / "Tiny.txt").read_bytes() == TEXT
    assert server.asked.count("Tiny.txt") == 3


def test_a_file_that_stays_cut_off_leaves_nothing_behind(server, tmp_path):
    server.answers["Tiny.txt"] = answer(TEXT[:5], length=len(TEXT))
    assert "cannot be downloaded in 3 attempts: the connection broke" in refusal(server, tmp_path)
    assert files(tmp_path) == [NAMES[0]]


def test_a_short_file_that_says_it_is_whole_is_another_file(server, tmp_path):
    server.answers["Tiny.txt"] = answer(TEXT[:5])
    assert "is not Tiny.txt" in refusal(server, tmp_path)
    assert files(tmp_path) == [NAMES[0]]


def test_a_file_that_is_not_there_is_not_asked_for_again(server, tmp_path):
    server.answers["Tiny.txt"] = answer(b"no", status=404)
    message = refusal(server, tmp_path)
    assert "the server answers 404" in message
    assert f"put {NAMES[0]} and {NAMES[1]} into {tmp_path}" in message
    assert server.asked.count("Tiny.txt") == 1


@pytest.mark.parametrize("compressed", [True, False])
def test_a_server_that_sends_without_end_is_cut_off_at_the_files_length(server, tmp_path, compressed):
    written = []
    bomb = gzip.compress(bytes(50_000_000)) if compressed else bytes(5_000_000)
    headers = {"Content_Encoding": "gzip"} if compressed else {}

    def burst(handler):
        try:
            send(handler, bomb, **headers)
        except ConnectionError:  # nobody listens any more
            handler.close_connection = True

    server.answers["Tiny.txt"] = burst
    message = ""
    with pytest.raises(DataError) as caught:
        fetch.fetch_data("Tiny", tmp_path, base_url=server.url, advance=written.append)
    message = str(caught.value)
    assert f"sends more than the {len(TEXT)} bytes of Tiny.txt" in message
    assert sum(written) <= len(TEXT) + len(ATTRIBUTES)
    assert files(tmp_path) == [NAMES[0]]


def test_a_compressed_answer_of_the_right_content_is_fine(server, tmp_path):
    server.answers["Tiny.txt"] = answer(gzip.compress(TEXT), Content_Encoding="gzip")
    fetch.fetch_data("Tiny", tmp_path, base_url=server.url)
    assert (tmp_path / "Tiny.txt").read_bytes() == TEXT


def test_without_network_the_folder_to_fill_is_named(server, tmp_path):
    server.server_close()
    message = refusal(server, tmp_path)
    assert "connection refused" in message
    assert f"put {NAMES[0]} and {NAMES[1]} into {tmp_path}" in message
    assert files(tmp_path) == []


@pytest.mark.parametrize("there", [0, 1])
def test_folders_made_in_vain_go_again_and_no_others(there, server, tmp_path):
    server.server_close()
    folders = [tmp_path / "a", tmp_path / "a" / "b"]
    for folder in folders[:there]:
        folder.mkdir()
    with pytest.raises(DataError, match="connection refused"):
        fetch.fetch_data("Tiny", folders[-1], base_url=server.url)
    assert [folder.exists() for folder in folders] == [there == 1, False]


def test_names_and_addresses_that_are_none_are_refused(server, tmp_path):
    with pytest.raises(DataError, match="did you mean Tiny"):
        fetch.fetch_data("Tyni", tmp_path)
    with pytest.raises(DataError, match=r"'Nothing alike'\. Known: Tiny"):
        fetch.fetch_data("Nothing alike", tmp_path)
    with pytest.raises(ConfigError, match="http"):
        fetch.fetch_data("Tiny", tmp_path, base_url="file:///data")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="expected a folder, got a file"):
        fetch.fetch_data("Tiny", tmp_path / "file", base_url=server.url)


def test_the_command_downloads_into_the_data_folder(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMREC_DATA", str(tmp_path / "mine"))
    planned = CliRunner().invoke(data, ["fetch", "Tiny", "--base-url", server.url, "--dry-run", "--json"])
    assert [file["bytes"] for file in json.loads(planned.stdout)["files"]] == [len(ATTRIBUTES), len(TEXT)]
    assert not (tmp_path / "mine").exists()
    done = CliRunner().invoke(data, ["fetch", "Tiny", "--base-url", server.url, "--json"])
    assert done.exit_code == 0
    assert [file["downloaded"] for file in json.loads(done.stdout)["files"]] == [True, True]
    assert files(tmp_path / "mine") == sorted(NAMES)


def test_a_public_name_that_is_not_here_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("samrec.data.catalog.user_cache", lambda: tmp_path)
    monkeypatch.delenv("SAMREC_DATA", raising=False)
    with pytest.raises(DataError, match="samrec data fetch Toys_and_Games gets it"):
        open_data("toys_and_games")


@pytest.mark.parametrize("name", list(PUBLIC))
def test_the_table_describes_the_real_files(name):
    from samrec_tests.shared import real_file

    for file in PUBLIC[name]:
        content = real_file(file.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
