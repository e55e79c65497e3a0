"""Names and paths: what is found where, and what is said when nothing is; then `samrec data describe`."""

import json
import subprocess
import sys

import pytest
from samrec_tests.shared import real_file
from typer.testing import CliRunner

from samrec.cli.data import data
from samrec.data.catalog import open_data, user_cache
from samrec.data.synthetic import make_synthetic
from samrec.errors import DataError


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Three folders, each with its own Books.txt whose user id tells the folder."""
    monkeypatch.setenv("SAMREC_DATA", str(tmp_path / "environment"))
    monkeypatch.setattr("samrec.data.catalog.user_cache", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    for user, name in enumerate(["asked", "environment", "cache"], start=1):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Books.txt").write_text(f"{user} 1 2 3\n")
    return tmp_path


def found(*args, **options):
    return int(open_data(*args, **options).user_ids[0])


def test_the_folder_asked_for_comes_first_then_the_environment_then_the_cache(folders):
    assert found("Books", data_dir=folders / "asked") == 1
    assert found("Books") == 2
    (folders / "environment" / "Books.txt").unlink()
    assert found("Books") == 3


def test_a_name_may_have_its_ending_and_other_capitals(folders):
    assert found("books.txt", data_dir=folders / "asked") == 1
    (folders / "asked" / "books.txt").write_text("9 1 2 3\n")
    assert found("books", data_dir=folders / "asked") == 9
    assert found("Books", data_dir=folders / "asked") == 1


def test_a_path_is_read_as_it_is(folders):
    (folders / "log").write_text("7 1 2 3\n")
    assert found("log") == 7
    assert found(folders / "cache" / "Books.txt") == 3
    assert found("asked/Books.txt") == 1


def test_synthetic_is_embedded():
    assert open_data("synthetic").fingerprint == make_synthetic().interactions.fingerprint


def test_an_unknown_name_says_where_it_looked_and_what_comes_near(folders):
    with pytest.raises(DataError) as caught:
        open_data("Boks", data_dir=folders / "asked")
    message = str(caught.value)
    assert "did you mean Books?" in message
    assert all(str(folders / name) in message for name in ("asked", "environment", "cache"))
    assert "\n" not in message


def test_an_unknown_name_near_nothing_suggests_nothing(folders):
    with pytest.raises(DataError) as caught:
        open_data("zzz", data_dir=folders / "asked")
    assert "did you mean" not in str(caught.value)


def test_the_embedded_data_are_suggested_too(folders):
    with pytest.raises(DataError, match="did you mean synthetic"):
        open_data("syntetic", data_dir=folders / "asked")


def test_a_missing_file_suggests_its_neighbours(folders):
    with pytest.raises(DataError, match=r"there is no file .*Bookz.txt; did you mean Books.txt\?"):
        open_data(folders / "asked" / "Bookz.txt")


def test_a_folder_is_no_file(folders):
    with pytest.raises(DataError, match="is a folder"):
        open_data(folders / "asked")


def test_a_data_folder_that_is_none_is_refused(folders):
    with pytest.raises(DataError, match="is not a folder"):
        open_data("Books", data_dir=folders / "nowhere")


def test_an_empty_name_is_refused():
    with pytest.raises(DataError, match="empty name"):
        open_data(" ")


def test_strict_reaches_the_reader(folders):
    (folders / "asked" / "Books.txt").write_text("1 1 2 3\n2 1 2\n")
    assert open_data("Books", data_dir=folders / "asked").dropped == 1
    with pytest.raises(DataError, match="line 2"):
        open_data("Books", data_dir=folders / "asked", strict=True)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the XDG folders are Linux's")
def test_the_cache_follows_the_platforms_custom(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "samrec"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache" / "samrec"


def test_describe_prints_what_the_interactions_say():
    printed = CliRunner().invoke(data, ["describe", "synthetic", "--json"])
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == make_synthetic().interactions.describe()


def test_describe_reports_dropped_sequences_in_its_table(folders):
    (folders / "asked" / "Books.txt").write_text("1 1 2 3\n2 1 2\n")
    printed = CliRunner().invoke(data, ["describe", "Books", "--data-dir", str(folders / "asked")])
    assert printed.exit_code == 0
    assert "sequences dropped (under 3 items)  1\n" in printed.stdout


def test_describe_gives_the_known_numbers_of_beauty():
    path = real_file("Beauty.txt")
    printed = CliRunner().invoke(data, ["describe", "Beauty", "--data-dir", str(path.parent), "--json"])
    told = json.loads(printed.stdout)
    assert (told["users"], told["training_tokens"], told["dropped"]) == (22363, 128031, 0)


def test_reading_data_needs_no_torch():
    check = (
        "import sys, samrec.cli.data; from samrec.data.catalog import open_data; "
        "open_data('synthetic'); assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
