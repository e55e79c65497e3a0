"""Fixtures that several tests of samrec share: the command in this process, and a study run to its end."""

import pytest
from samrec_tests import small_studies
from samrec_tests.commands import samrec_in


@pytest.fixture
def samrec(tmp_path, monkeypatch, capsys):
    """Run the command in this process, in a folder of its own with data.txt: exit code, stdout, stderr."""
    small_studies.data_file(tmp_path)
    return samrec_in(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study of two radii and two seeds, run to its end in this process."""
    return small_studies.swept(tmp_path_factory.mktemp("finished"))
