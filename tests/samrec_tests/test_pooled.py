"""Runs of several studies together: each once, measured alike, ordered as counting pairs orders them."""

import csv
import json
import shutil

import numpy as np
import pytest
from samrec_tests import small_runs, small_studies
from scipy.stats import kendalltau

from landscape.store import Store
from samrec.errors import ConfigError, ProtocolMismatch, RunError
from samrec.experiments.measure import MeasureSettings, measure_study
from samrec.experiments.measurements import read_measured, write_measured
from samrec.experiments.pooled import BEST_EPOCH, NORM, pooled, write_pooled
from samrec.experiments.relations import GENERALISATION
from samrec.experiments.reuse import runs_elsewhere, take
from samrec.experiments.study_folder import define, held, open_study
from samrec.experiments.sweep import sweep

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
    for row in rows:
        x, y = found.column(row["measure"]), found.column(row["target"])
        assert row["runs"] == 6
        assert row["tau"] == pytest.approx(kendalltau(x, y).statistic, nan_ok=True)
    assert table.attributes["given"] == BEST_EPOCH
    assert section.header[-2:] == ("tau given best epoch", "95 % interval")
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


def test_what_was_not_measured_or_measured_otherwise_is_named_and_left_out(folders, tmp_path):
    bare = shutil.copytree(folders[1], tmp_path / "bare")
    kept = read_measured(bare / "measured.jsonl")
    del kept["samrec-rho-0.2-seed-1"]
    write_measured(bare / "measured.jsonl", kept)
    fewer = MeasureSettings(users=12, tolerance=0.5, max_products=20, pairs=2, device="cpu")
    otherwise = swept(tmp_path / "otherwise", [0.1, 0.3], seeds=(1,), settings=fewer)
    found = pooled([folders[0], bare, otherwise])
    assert found.left_out == {
        "not measured": ("bare/samrec-rho-0.2-seed-1",),
        "measured on another loss or other users": (
            "otherwise/samrec-rho-0.1-seed-1",
            "otherwise/samrec-rho-0.3-seed-1",
        ),
    }
    notes = found.section(found.tables()["relations"]).notes
    assert "Left out, not measured: bare/samrec-rho-0.2-seed-1." in notes
    assert len(found.runs) == 5


def test_studies_that_cannot_stand_together_are_refused(folders, tmp_path):
    with pytest.raises(ConfigError, match="at least one, got none"):
        pooled([])
    with pytest.raises(ConfigError, match="different studies, at least one, got first, first"):
        pooled([folders[0], folders[0]])
    with pytest.raises(RunError, match="expected a study in"):
        pooled([tmp_path])
    other = shutil.copytree(folders[1], tmp_path / "other")
    definition = json.loads((other / "study.json").read_text())
    (other / "study.json").write_text(json.dumps({**definition, "data": "0" * 64}))
    with pytest.raises((ProtocolMismatch, RunError), match="data"):
        pooled([folders[0], other])
    unmeasured = shutil.copytree(folders[1], tmp_path / "unmeasured")
    (unmeasured / "measured.jsonl").unlink()
    with pytest.raises(ConfigError, match="at least two runs measured alike in unmeasured, got 0"):
        pooled([unmeasured])
    with pytest.raises(RunError, match=r"another folder than that of a study or a run.*study.json"):
        write_pooled(pooled(folders), folders[0])
    assert open_study(folders[0]).runs


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
