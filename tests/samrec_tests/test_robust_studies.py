"""Studies on noisy and shortened histories: kept once, the scores of ranking alone, in tables and figures."""

import shutil

import numpy as np
import pytest
from samrec_tests import small_runs, small_studies

from samrec.evaluation.evaluate import read_evaluation
from samrec.evaluation.held_out import held_out
from samrec.evaluation.robustness import robustness
from samrec.experiments import robust
from samrec.experiments.robust import NOISE, rank_perturbed, read_scores
from samrec.experiments.study_figures import draw_study, rebuild_tables
from samrec.experiments.study_folder import open_study
from samrec.training.checkpoint import Run


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    found, _ = small_studies.swept(tmp_path_factory.mktemp("robust"), epochs=2)
    assert rank_perturbed(found, data=found.study.baseline.config.data, seed=4) == {}
    return found


def test_the_scores_kept_are_those_of_ranking_the_run_alone(study):
    known = read_scores(study.robust)
    assert list(known) == [planned.name for planned in study.runs]
    model = Run(study.path / "sasrec-seed-1").load_model()
    parts = held_out(small_runs.data(), "test", 16)
    alone = robustness(model, parts, noise=NOISE, truncate=[1, 2, 5, 10], seed=4, metrics=("HR@10", "NDCG@10"))
    found = {(s.kind, s.amount, s.metric): s.value for s in known["sasrec-seed-1"].scores}
    assert len(found) == 2 * (2 + 3 + 4)
    for perturbed in alone.perturbed:
        for name, value in perturbed.metrics.items():
            assert found[perturbed.kind, perturbed.amount, name] == value
    clean = read_evaluation(study.path / "sasrec-seed-1").metrics["NDCG@10"]
    assert found["replace", 0, "NDCG@10"] == found["truncate", 16, "NDCG@10"] == clean


def test_what_was_ranked_is_not_ranked_again(study, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("ranked again")

    monkeypatch.setattr(robust, "robustness", refuse)
    assert rank_perturbed(study, data=study.study.baseline.config.data, seed=4) == {}


def test_tables_and_figures_tell_what_is_left_and_rebuild_the_same(study, tmp_path):
    _, sections, written = rebuild_tables(study)
    section = sections[-1]
    assert {"noise.csv", "truncation.csv"} <= {path.name for path in written}
    assert len(section.rows) == 2 * (4 + 5)
    rows = {row[:2]: row for row in section.rows}
    assert rows["SASRec", "share of items replaced 0 (clean)"][4] == "100%"
    known = read_scores(study.robust)
    value = {(run, s.kind, s.amount, s.metric): s.value for run, found in known.items() for s in found.scores}
    place = ("truncate", 1.0, "NDCG@10")
    differences = [value[f"samrec-rho-0.05-seed-{s}", *place] - value[f"sasrec-seed-{s}", *place] for s in (1, 2)]
    told = rows["SAMRec (rho 0.05)", "newest items read 1"][5]
    assert told.startswith(f"{np.mean(differences):+.4f} [")
    drawn = draw_study(study, endings=(".png",))
    assert {"noise", "truncation"} <= {path.stem for path in drawn}
    moved = open_study(shutil.copytree(study.path, tmp_path / "elsewhere"))
    again = {path.name: path.read_bytes() for path in rebuild_tables(moved)[2]}
    assert again == {path.name: path.read_bytes() for path in written}
