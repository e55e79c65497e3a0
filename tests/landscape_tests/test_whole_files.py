"""A file is there whole or not at all: after an error, a full disk, a kill."""

import errno
import os
import signal
import stat
import subprocess
import sys

import pytest

from landscape.errors import StoreError
from landscape.whole_files import check_folder_of, path_aside, write_whole, written_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_content_takes_the_place_of_what_was_there(tmp_path):
    path = tmp_path / "numbers.bin"
    write_whole(path, b"one")
    write_whole(path, memoryview(b"another"))
    assert path.read_bytes() == b"another"
    assert names(tmp_path) == ["numbers.bin"]


def test_nothing_is_seen_of_a_file_before_it_is_whole(tmp_path):
    path = tmp_path / "numbers.bin"
    with written_whole(path) as file:
        file.write(b"half")
        assert names(tmp_path) == [path_aside(path).name]
    assert path.read_bytes() == b"half"


def test_an_error_of_the_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "numbers.bin"
    write_whole(path, b"old")
    with pytest.raises(UnicodeEncodeError), written_whole(path) as file:
        file.writelines(text.encode("ascii") for text in ("new", "nouveauté"))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["numbers.bin"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(call, tmp_path, monkeypatch):
    path = tmp_path / "numbers.bin"
    write_whole(path, b"old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["numbers.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_kill_leaves_the_old_file(tmp_path):
    path = tmp_path / "numbers.bin"
    write_whole(path, b"old")
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from landscape.whole_files import write_whole\n"
        "os.fsync = lambda file: os.kill(os.getpid(), 9)\n"
        "write_whole(Path(sys.argv[1]), b'new')\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="no such permissions")
def test_permissions_stay_and_new_files_have_the_usual_ones(tmp_path):
    path, plain = tmp_path / "numbers.bin", tmp_path / "plain"
    plain.write_bytes(b"")
    write_whole(path, b"old")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    path.chmod(0o640)
    write_whole(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"expected a folder .*nowhere to write numbers\.bin in, found none"):
        check_folder_of(tmp_path / "nowhere" / "numbers.bin")
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "numbers.bin", b"")
