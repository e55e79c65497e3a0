"""Studies on noisy and shortened histories: kept once, the scores of ranking alone, in tables and figures."""

import json
import shutil

import numpy as np
import pytest
from samrec_tests import small_runs, small_studies

from landscape.store import Store
from samrec.evaluation.evaluate import read_evaluation
from samrec.evaluation.held_out import held_out
from samrec.evaluation.robustness import robustness
from samrec.experiments import robust
from samrec.experiments.measurements import as_json
from samrec.experiments.robust import NOISE, Perturbations, rank_perturbed, read_scores
from samrec.experiments.studies import grid
from samrec.experiments.study_figures import draw_study, rebuild_tables
from samrec.experiments.study_folder import define, held, open_study
from samrec.experiments.sweep import sweep
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


def copied(study, folder):
    return open_study(shutil.copytree(study.path, folder / "study"))


def edited(study, **changes):
    """Change the kept record of some runs; None takes a field away, as before it was kept."""
    lines = [json.loads(line) for line in study.robust.read_text().splitlines()]
    for line in lines:
        for name, value in changes.items():
            if value is None:
                line.pop(name)
            else:
                line[name] = value
    study.robust.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_noise_of_another_seed_is_ranked_again_in_every_run(study, tmp_path):
    again = copied(study, tmp_path)
    assert rank_perturbed(again, data=study.study.baseline.config.data, seed=5) == {}
    ours, theirs = read_scores(again.robust), read_scores(study.robust)
    assert {found.perturbations for found in ours.values()} == {Perturbations(5)}
    assert {found.perturbations for found in theirs.values()} == {Perturbations(4)}
    for run, found in ours.items():
        same = [a == b for a, b in zip(found.scores, theirs[run].scores, strict=True)]
        assert not all(same)
        assert all(alike for one, alike in zip(found.scores, same, strict=True) if one.kind == "truncate")
    _, sections, _ = rebuild_tables(again)
    assert "from seed 5, the same for every run that reads as many items" in sections[-1].notes[0]
    kept = Store.read(again.store)
    assert kept.table("studies", "noise").attributes["perturbations"] == as_json(Perturbations(5))
    ranked = kept.table("studies", "robustness").attributes["perturbations"]
    assert ranked == dict.fromkeys(ours, as_json(Perturbations(5)))


@pytest.mark.parametrize("changes", [{"perturbations": None}, {"perturbations": as_json(Perturbations(4, (0.1,)))}])
def test_records_of_before_and_of_other_shares_are_ranked_again(study, tmp_path, changes):
    again = copied(study, tmp_path)
    edited(again, **changes)
    assert {found.perturbations for found in read_scores(again.robust).values()} != {Perturbations(4)}
    assert rank_perturbed(again, data=study.study.baseline.config.data, seed=4) == {}
    assert again.robust.read_bytes() == study.robust.read_bytes()


def test_a_run_without_weights_keeps_its_scores_and_says_why_it_was_not_ranked_again(study, tmp_path):
    again = copied(study, tmp_path)
    bare = again.path / "sasrec-seed-1"
    for file in bare.glob("*.safetensors"):
        file.unlink()
    failures = rank_perturbed(again, data=study.study.baseline.config.data, seed=5)
    assert failures == {bare.name: "ranked before, but not on these perturbed histories, and its weights are not here"}
    assert read_scores(again.robust)[bare.name] == read_scores(study.robust)[bare.name]
    _, sections, _ = rebuild_tables(again)
    rows = {row[0]: row[-1] for row in sections[-1].rows}
    assert rows == {"SASRec": "1", "SAMRec (rho 0.05)": "2"}
    assert "Left out, ranked with noise of another seed or of an unknown one: sasrec-seed-1." in sections[-1].notes


def test_noise_of_an_unknown_seed_is_told_as_that(study, tmp_path):
    again = copied(study, tmp_path)
    edited(again, perturbations=None)
    _, sections, _ = rebuild_tables(again)
    assert len(sections[-1].rows) == 2 * (4 + 5)
    assert "Its seed was not kept, and runs may differ in it" in sections[-1].notes[0]
    assert "the same for every run" not in "".join(sections[-1].notes)


def test_weights_that_cannot_be_read_keep_no_other_run_from_being_ranked(study, tmp_path):
    again = copied(study, tmp_path)
    torn, *others = [planned.name for planned in again.runs]
    weights = again.path / torn / "best.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    for seed in (4, 5):
        failures = rank_perturbed(again, data=study.study.baseline.config.data, seed=seed)
        assert list(failures) == [torn]
        assert "best.safetensors" in failures[torn]
        found = read_scores(again.robust)
        assert {found[name].perturbations for name in others} == {Perturbations(seed)}


def test_every_cell_is_held_against_what_its_own_length_reads(tmp_path):
    file = small_studies.data_file(tmp_path)
    cells = grid(small_runs.config(data=str(file), epochs=1), {"max_length": [8, 16]})
    with held(tmp_path / "study"):
        study = define(tmp_path / "study", cells, (1, 2), small_runs.data().fingerprint)
        sweep(study, data=str(file), device="cpu")
        assert rank_perturbed(study, data=str(file)) == {}
    _, sections, _ = rebuild_tables(study)
    short, long = (cell.label for cell in study.study.cells)
    rows = {row[:2]: row for row in sections[-1].rows}
    read = [name for label, name in rows if label == short and "newest" in name]
    assert read == [f"newest items read {amount}" for amount in ("1", "2", "5", "8 (clean)")]
    assert [rows[label, f"newest items read {n} (clean)"][4] for label, n in ((short, 8), (long, 16))] == ["100%"] * 2
    assert rows[long, "newest items read 16 (clean)"][5] == rows[long, "newest items read 10"][5] == "-"
    clean = {run: read_evaluation(study.path / run).metrics["NDCG@10"] for run in read_scores(study.robust)}
    difference = np.mean([clean[study.runs[2 * k + 1].name] - clean[study.runs[2 * k].name] for k in (0, 1)])
    assert rows[long, "share of items replaced 0 (clean)"][5].startswith(f"{difference:+.4f} [")
    assert {"noise", "truncation"} <= {path.stem for path in draw_study(study, endings=(".png",))}


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
