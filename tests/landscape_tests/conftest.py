"""Fixtures that several tests of stores share."""

import pytest
from landscape_tests import stores


@pytest.fixture
def path(tmp_path):
    """Where a study's store is to be."""
    return tmp_path / "study.h5"


@pytest.fixture
def study(path):
    """A store being written, with a record of each kind that most tests need."""
    with stores.study_at(path) as store:
        yield store
