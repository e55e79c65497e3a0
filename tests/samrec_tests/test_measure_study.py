"""Measuring a study: every kept run has its row in the store, and a run that cannot be read stops no other."""

import pytest
from samrec_tests import small_studies

from landscape.store import Store
from samrec.experiments.measure import MeasureSettings, measure_study
from samrec.experiments.measurements import read_measured

SETTINGS = MeasureSettings(users=20, tolerance=0.2, max_products=10, pairs=2, device="cpu")


@pytest.fixture
def study(tmp_path):
    return small_studies.swept(tmp_path, rhos=[0, 0.05, 0.1], seeds=(1,), epochs=1)[0]


def measured(study):
    return measure_study(study, data=study.study.baseline.config.data, settings=SETTINGS)


def test_the_store_has_the_gaps_of_all_that_is_kept_whoever_was_measured_last(study):
    def told():
        columns = Store.read(study.store).table("studies", "generalisation").columns
        return dict(zip(columns["run"].tolist(), columns["gap"].tolist(), strict=True))

    with small_studies.measuring_killed_after(2):
        measured(study)
    assert list(told()) == [planned.name for planned in study.runs][:2]
    assert measured(study) == {}
    gaps = {name: found.gap.gap for name, found in read_measured(study.measured).items()}
    assert len(gaps) == 3
    assert told() == gaps


def test_weights_that_cannot_be_read_are_their_runs_failure_alone(study):
    first, torn, last = (planned.name for planned in study.runs)
    path = study.path / torn / "best.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert list(measured(study)) == [torn]  # not measured yet
    assert list(read_measured(study.measured)) == [first, last]
    path.write_bytes(whole)
    assert measured(study) == {}
    path.write_bytes(whole[:-7])
    study.measured.write_text("".join(study.measured.read_text().splitlines(keepends=True)[:2]))
    failures = measured(study)  # kept, but of weights that cannot be told any more
    assert list(failures) == [torn]
    assert failures[torn].startswith("expected a whole safetensors file, got ")
    assert list(read_measured(study.measured)) == [first, torn, last]
