"""Scores of a study beside published ones: only of cells that are the published method, whatever their seeds."""

import csv
import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from samrec_tests import small_studies

from samrec.experiments.published import published_section, published_table
from samrec.experiments.study_folder import open_study
from samrec.experiments.study_tables import study_tables
from samrec.experiments.study_values import read_values

KEPT = Path(__file__).parents[2] / "studies" / "beauty-sam"


@pytest.fixture(scope="module")
def values():
    return read_values(open_study(KEPT))


def published(metric):
    text = (files("samrec.evaluation") / "published.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["dataset"] == "Beauty"]
    return [float(row[metric]) for row in rows if (row["model"], row["loss"]) == ("SASRec", "bce") and row[metric]]


def test_the_mean_over_seeds_stands_beside_the_rows_of_the_same_method_alone(values):
    table = study_tables(values)["published"]
    assert table.columns["cell"].tolist() == ["SASRec", "SASRec"]  # nobody published SASRec trained with SAM
    for k, metric in enumerate(["HR@10", "NDCG@10"]):
        of_runs = [run.values[metric] for run in values.runs if run.planned.cell == "SASRec"]
        rows = published(metric)
        assert table.columns["metric"][k] == metric
        assert table.columns["value"][k] == pytest.approx(np.mean(of_runs), rel=1e-12)
        assert (table.columns["low"][k], table.columns["high"][k]) == (min(rows), max(rows))
        assert table.columns["sources"][k] == len(rows)
        verdict = "inside" if min(rows) <= round(np.mean(of_runs), 4) <= max(rows) else "outside"
        assert table.columns["verdict"][k] == verdict


def test_the_section_names_sources_and_what_a_cap_cut_short(values, tmp_path):
    section = published_section(published_table(values))
    assert [row[:2] for row in section.rows] == [("SASRec", "HR@10"), ("SASRec", "NDCG@10")]
    assert all(len(row) == len(section.header) for row in section.rows)
    assert "S3-Rec repository all_rank table" in section.notes[1]
    assert len(section.notes) == 2
    moved = shutil.copytree(KEPT, tmp_path / "study")
    record = json.loads((moved / "sasrec-seed-2" / "run.json").read_text())
    (moved / "sasrec-seed-2" / "run.json").write_text(json.dumps(record | {"stopped": "cap"}))
    again = published_section(published_table(read_values(open_study(moved))))
    assert again.notes[2].startswith("Cut short: SASRec: stopped by the cap of 400 epochs")


def test_of_other_data_nothing_was_published(tmp_path):
    study, _ = small_studies.swept(tmp_path, seeds=(1,), epochs=1)
    assert published_table(read_values(study)) is None
    assert "published" not in study_tables(read_values(study))
