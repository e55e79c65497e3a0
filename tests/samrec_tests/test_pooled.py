"""Runs of several studies together: each once, measured alike, ordered as counting pairs orders them."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from samrec_tests import small_runs, small_studies
from samrec_tests.test_rank_correlation import tau_of_pairs

from landscape.store import Store
from samrec.errors import ConfigError, ProtocolMismatch, RunError
from samrec.experiments.measure import MeasureSettings, measure_study
from samrec.experiments.measurements import read_measured, write_measured
from samrec.experiments.pooled import BEST_EPOCH, NORM, pooled
from samrec.experiments.pooled_files import write_pooled
from samrec.experiments.relations import GENERALISATION
from samrec.experiments.reuse import runs_elsewhere, take
from samrec.experiments.study_folder import define, held
from samrec.experiments.sweep import sweep
from samrec.training.checkpoint import Run

SETTINGS = MeasureSettings(users=10, tolerance=0.5, max_products=20, pairs=2, device="cpu")


def swept(folder, rhos, seeds=(1, 2), reuse=(), settings=SETTINGS):
    """A measured study at a path of its own, some of its runs taken from another one."""
    data = small_studies.data_file(folder.parent)
    with held(folder):
        study = define(folder, small_studies.study(folder.parent, rhos, epochs=3), seeds, small_runs.data().fingerprint)
        take(study, runs_elsewhere(study, reuse))
        sweep(study, data=str(data), device="cpu")
        assert measure_study(study, data=str(data), settings=settings) == {}
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two studies that share their baseline's runs."""
    root = tmp_path_factory.mktemp("pooled")
    first = swept(root / "first", [0, 0.05])
    return [first, swept(root / "second", [0, 0.2], reuse=[first])]


def test_a_run_that_studies_share_counts_once_under_the_first(folders):
    found = pooled(folders)
    names = [f"first/{name}-seed-{seed}" for seed in (1, 2) for name in ("sasrec", "samrec-rho-0.05")]
    assert [run.name for run in found.runs] == [*names, *(f"second/samrec-rho-0.2-seed-{seed}" for seed in (1, 2))]
    assert [run.method for run in found.runs] == ["SASRec", "SAMRec", "SASRec", "SAMRec", "SAMRec", "SAMRec"]
    assert len(pooled(folders[::-1]).runs) == 6
    assert found.left_out == {}


def test_a_run_to_leave_out_is_left_out_of_every_study_that_has_it(folders):
    found = pooled(folders, leave_out=["first/sasrec-seed-1"])
    assert found.left_out == {"as asked": ("first/sasrec-seed-1", "second/sasrec-seed-1")}
    assert not [run.name for run in found.runs if run.name.endswith("/sasrec-seed-1")]


def test_measures_are_those_of_the_studies_and_what_they_have_to_beat(folders):
    found = pooled(folders)
    assert {"λmax", "SAM ρ 0.1", "average case σ 0.01", "λmax × ‖w‖²"} <= set(found.measures)
    assert found.measures[-2:] == (NORM, BEST_EPOCH)
    record = read_measured(folders[1] / "measured.jsonl")["samrec-rho-0.2-seed-2"]
    assert found.column(NORM)[-1] == record.checkpoint.norm
    assert found.column("λmax")[-1] == record.eigenpairs.values[list(record.eigenpairs.labels).index("lambda_max")]
    best = json.loads((folders[1] / "samrec-rho-0.2-seed-2" / "run.json").read_text())["best"]["epoch"]
    assert found.column(BEST_EPOCH)[-1] == best


def test_every_measure_is_related_to_both_targets_over_all_runs(folders, tmp_path):
    found = pooled(folders)
    section, table, files = write_pooled(found, tmp_path / "out", figures=False)
    assert {path.name for path in files} == {"relations.md", "relations.tex", "relations.csv", "values.csv"}
    rows = list(table.rows())
    assert [(r["measure"], r["target"]) for r in rows] == [(m, t) for t in GENERALISATION for m in found.measures]
    epochs = found.column(BEST_EPOCH)
    like = np.abs(epochs[:, None] - epochs[None, :]) <= 0.1 * np.maximum(epochs[:, None], epochs[None, :])
    assert 0 < np.triu(like, 1).sum() < 15
    for row in rows:
        x, y = found.column(row["measure"]), found.column(row["target"])
        assert row["runs"] == 6
        assert row["tau"] == pytest.approx(tau_of_pairs(x, y, np.ones((6, 6))), nan_ok=True)
        assert row["tau_alike"] == pytest.approx(tau_of_pairs(x, y, like), nan_ok=True)
        assert row["pairs_alike"] == np.triu(like, 1).sum()
    assert section.header[-3:] == ("tau, pairs of like best epoch", "95 % interval", "pairs")
    assert "6 runs of 2 seeds, of first, second" in section.notes[0]
    with (tmp_path / "out" / "tables" / "values.csv").open(encoding="utf-8") as file:
        values = {(r["run"], r["quantity"]): float(r["value"]) for r in csv.DictReader(file)}
    assert len(values) == 6 * (len(found.measures) + 2)
    assert values["first/sasrec-seed-1", "λmax"] == found.column("λmax")[0]


def test_tables_are_the_same_bytes_again_and_of_another_seed_their_intervals_differ(folders, tmp_path):
    found = pooled(folders)
    first, again, other = (
        {path.name: path.read_bytes() for path in write_pooled(found, tmp_path / name, seed=seed, figures=False)[2]}
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again
    assert first["values.csv"] == other["values.csv"]
    assert first["relations.csv"] != other["relations.csv"]


def test_figures_show_each_run_in_the_colour_of_its_method(folders, tmp_path):
    _, _, files = write_pooled(pooled(folders), tmp_path / "out")
    drawn = {path.name for path in files if path.parent.name == "figures"}
    assert drawn == {f"relation{gap}{end}" for gap in ("", "-gap") for end in (".png", ".pdf", ".html")}
    table = Store.read(tmp_path / "out" / "study.h5").table("studies", "values")
    assert table.attributes["cells"] == ["SASRec", "SAMRec"]


def test_what_takes_no_part_is_named_with_why(folders, tmp_path):
    bare = shutil.copytree(folders[1], tmp_path / "bare")
    kept = read_measured(bare / "measured.jsonl")
    for name in ("samrec-rho-0.2-seed-1", "sasrec-seed-1"):
        del kept[name]
    pairs = kept["sasrec-seed-2"].eigenpairs
    moving = replace(pairs, converged=np.zeros_like(pairs.converged))
    kept["sasrec-seed-2"] = replace(kept["sasrec-seed-2"], eigenpairs=moving)
    write_measured(bare / "measured.jsonl", kept)
    Run(bare / "samrec-rho-0.2-seed-2").update(status="diverged")
    fewer = MeasureSettings(users=12, tolerance=0.5, max_products=20, pairs=2, device="cpu")
    otherwise = swept(tmp_path / "otherwise", [0.1, 0.3], seeds=(1,), settings=fewer)
    found = pooled([bare, folders[0], otherwise], leave_out=["first/samrec-rho-0.05-seed-2"])
    assert found.left_out == {  # the baseline of seed 1 counts: the other study has it measured
        "not measured": ("bare/samrec-rho-0.2-seed-1",),
        "diverged": ("bare/samrec-rho-0.2-seed-2",),
        "as asked": ("first/samrec-rho-0.05-seed-2",),
        "measured on another loss or other users": (
            "otherwise/samrec-rho-0.1-seed-1",
            "otherwise/samrec-rho-0.3-seed-1",
        ),
    }
    assert [run.name for run in found.runs] == [
        "bare/sasrec-seed-2",
        "first/sasrec-seed-1",
        "first/samrec-rho-0.05-seed-1",
    ]
    notes = found.section(found.tables()["relations"]).notes
    assert "Left out, not measured: bare/samrec-rho-0.2-seed-1." in notes
    assert "bare/sasrec-seed-2 λmax did not settle." in notes


def test_the_loss_of_the_most_different_runs_is_chosen_whatever_each_study_has_most_of(folders, tmp_path):
    first, second = (shutil.copytree(folder, tmp_path / folder.name) for folder in folders)
    for folder in (
        first,
        second,
    ):  # the baseline has two of the six weights, and four of the eight lines
        kept = read_measured(folder / "measured.jsonl")
        for name, record in kept.items():
            if name.startswith("samrec"):
                was = record.eigenpairs.provenance
                provenance = replace(was, objective={**was.objective, "seed": 5})
                kept[name] = replace(record, eigenpairs=replace(record.eigenpairs, provenance=provenance))
        write_measured(folder / "measured.jsonl", kept)
    found = pooled([first, second])
    assert {run.method for run in found.runs} == {"SAMRec"}
    assert len(found.runs) == 4
    assert found.left_out["measured on another loss or other users"][:1] == ("first/sasrec-seed-1",)


def test_studies_that_cannot_stand_together_are_refused(folders, tmp_path):
    with pytest.raises(ConfigError, match="at least one, got none"):
        pooled([])
    with pytest.raises(ConfigError, match=r"different studies, at least one, got .*first, .*first"):
        pooled([folders[0], folders[0]])
    with pytest.raises(RunError, match="expected a study in"):
        pooled([tmp_path])
    with pytest.raises(ConfigError, match="to leave out as STUDY/RUN of first, got first/nobody"):
        pooled([folders[0]], leave_out=["first/nobody"])
    empty = tmp_path / "empty"
    with held(empty):
        define(empty, small_studies.study(folders[0].parent), (1,), "0" * 64)
    with pytest.raises(ProtocolMismatch, match=r"studies of one data set, got first .* and empty"):
        pooled([folders[0], empty])
    unmeasured = shutil.copytree(folders[1], tmp_path / "unmeasured")
    (unmeasured / "measured.jsonl").unlink()
    with pytest.raises(ConfigError, match="at least two runs measured alike in unmeasured, got 0"):
        pooled([unmeasured])
    with pytest.raises(RunError, match=r"another folder than that of a study or a run.*study.json"):
        write_pooled(pooled(folders), folders[0])


def test_evaluations_of_another_protocol_are_refused_by_study_and_run(folders, tmp_path):
    other = shutil.copytree(folders[1], tmp_path / "other")
    for path in other.glob("*/evaluation-test-masked.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "protocol": "f" * 64}))
        with np.load(path.with_name("ranks-test-masked.npz")) as arrays:
            np.savez(path.with_name("ranks-test-masked.npz"), **{**arrays, "protocol": np.array("f" * 64)})
    with pytest.raises(ProtocolMismatch, match=r"got first/sasrec-seed-1 .* and other/sasrec-seed-1 \(ffffffffffff"):
        pooled([folders[0], other])


def test_studies_of_one_name_are_told_apart_by_their_parents(folders, tmp_path):
    for parent, folder in zip(("a", "b"), folders, strict=True):
        shutil.copytree(folder, tmp_path / parent / "study")
    found = pooled([tmp_path / "a" / "study", tmp_path / "b" / "study"])
    assert found.studies == ("a-study", "b-study")
    assert len(found.runs) == 6


def test_the_command_prints_the_table_or_json_alone(folders, tmp_path, samrec):
    for folder in folders:
        shutil.copytree(folder, tmp_path / folder.name)
    code, out, err = samrec("relate", "first", "second", "--out", "related", "--no-figures")
    assert (code, err) == (0, "")
    assert "Sharpness against generalisation" in out
    assert out.endswith("folder   related\n")
    code, out, _ = samrec("relate", "first", "second", "--out", "related", "--no-figures", "--json")
    told = json.loads(out)
    assert (code, len(told["runs"]), told["studies"]) == (0, 6, ["first", "second"])
    assert np.isfinite(told["relations"][0]["tau"])
    code, out, err = samrec("relate", "first", "nowhere", "--out", "other")
    assert (code, out) == (2, "")
    assert err.startswith("error: expected a study in ")
    assert not (tmp_path / "other").exists()


def test_an_eigenvalue_that_did_not_settle_is_named_and_leaves_with_three(folders, tmp_path, samrec):
    shutil.copytree(folders[0], tmp_path / "first")
    kept = read_measured(tmp_path / "first" / "measured.jsonl")
    pairs = kept["sasrec-seed-2"].eigenpairs
    moving = replace(pairs, converged=np.zeros_like(pairs.converged))
    write_measured(
        tmp_path / "first" / "measured.jsonl",
        {**kept, "sasrec-seed-2": replace(kept["sasrec-seed-2"], eigenpairs=moving)},
    )
    code, out, _ = samrec("relate", "first", "--out", "related", "--no-figures", "--json")
    assert (code, json.loads(out)["unsettled"]) == (3, ["first/sasrec-seed-2 λmax", "first/sasrec-seed-2 λmin"])
    assert (tmp_path / "related" / "tables" / "relations.csv").is_file()
