"""What a study hands to its store: all at once, what the study has now and nothing of before."""

from samrec_tests import small_studies

from landscape.store import Store, files
from samrec.evaluation.evaluate import read_evaluation
from samrec.experiments.measurements import write_lines
from samrec.experiments.robust import METRICS, Score, Scores, read_scores
from samrec.experiments.study_figures import MOST_CURVES, drawn_runs, rebuild_tables


def scored(study):
    """Scores on noisy histories, made up."""
    rows = [("replace", 0.0), ("replace", 0.1), ("truncate", 16.0), ("truncate", 2.0)]
    scores = tuple(Score(kind, amount, metric, 0.5) for kind, amount in rows for metric in METRICS)
    weights = {planned.name: read_evaluation(study.path / planned.name).weights for planned in study.runs}
    write_lines(study.robust, {name: Scores(found, None, scores) for name, found in weights.items()})


def tables_of(study):
    return set(Store.read(study.store).names("studies"))


def test_tables_that_the_study_no_longer_has_leave_its_store(tmp_path):
    study, _ = small_studies.swept(tmp_path, epochs=1)
    rebuild_tables(study)
    before = tables_of(study)
    scored(study)
    rebuild_tables(study)
    assert tables_of(study) == before | {"robustness", "noise", "truncation"}
    stale = {name: Scores("other weights", None, found.scores) for name, found in read_scores(study.robust).items()}
    write_lines(study.robust, stale)
    rebuild_tables(study)
    assert tables_of(study) == before | {"robustness"}
    study.robust.unlink()
    rebuild_tables(study)
    assert tables_of(study) == before | {"robustness"}  # measured, and not to be had from anywhere else now


def test_the_store_is_replaced_once_for_all_tables_and_histories(tmp_path, monkeypatch):
    study, _ = small_studies.swept(tmp_path, epochs=1)
    rebuild_tables(study)
    replaced = []
    replace = files._replace
    monkeypatch.setattr(files, "_replace", lambda *given: replaced.append(given) or replace(*given))
    rebuild_tables(study)
    assert len(replaced) == 1
    assert Store.read(study.store).names("histories") == sorted(planned.name for planned in study.runs)


def test_of_many_runs_the_first_seed_there_is_of_every_cell_is_drawn(tmp_path):
    study = small_studies.defined(tmp_path, rhos=[0, 0.05, 0.1, 0.2], seeds=(1, 2, 3, 4))
    every = {planned.name for planned in study.runs}
    cells = ["sasrec", "samrec-rho-0.05", "samrec-rho-0.1", "samrec-rho-0.2"]
    assert len(every) > MOST_CURVES
    assert drawn_runs(study, every) == [f"{cell}-seed-1" for cell in cells]
    late = every - {"sasrec-seed-1", "samrec-rho-0.1-seed-1", "samrec-rho-0.1-seed-2"}
    assert drawn_runs(study, late) == [
        *("sasrec-seed-2", "samrec-rho-0.05-seed-1", "samrec-rho-0.1-seed-3", "samrec-rho-0.2-seed-1"),
    ]
    few = {f"{cell}-seed-{seed}" for cell in cells for seed in (1, 2)}
    assert drawn_runs(study, few) == [planned.name for planned in study.runs if planned.name in few]
