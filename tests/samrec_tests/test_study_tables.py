"""A study's tables: from its folders alone, byte for byte the same again, every number against a slow reference."""

import csv
import io
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from samrec_tests import small_runs, small_studies
from scipy import stats

from landscape.store import Store
from samrec.errors import ProtocolMismatch
from samrec.evaluation.evaluate import read_evaluation
from samrec.evaluation.metrics import per_user
from samrec.experiments.choice import choice_section
from samrec.experiments.corrections import benjamini_hochberg, holm
from samrec.experiments.measure import MeasureSettings, measure_study
from samrec.experiments.measure_changes import changes_section
from samrec.experiments.measurements import read_measured
from samrec.experiments.studies import grid
from samrec.experiments.study_figures import draw_study, rebuild_tables
from samrec.experiments.study_folder import define, held, open_study
from samrec.experiments.study_tables import USERS_LEVEL, study_tables
from samrec.experiments.study_values import read_values
from samrec.experiments.sweep import sweep
from samrec.experiments.table_files import as_csv, tex
from samrec.training.checkpoint import Run

RHOS = [0, 0.05, 0.2]
SETTINGS = MeasureSettings(users=20, tolerance=0.2, max_products=40, pairs=2, device="cpu")
GAP = "generalisation gap"


def measured(study, settings=SETTINGS):
    return measure_study(study, data=study.study.baseline.config.data, settings=settings)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three radii and two seeds, measured."""
    found, _ = small_studies.swept(tmp_path_factory.mktemp("tables"), RHOS, epochs=3)
    assert measured(found) == {}
    return found


@pytest.fixture(scope="module")
def tables(study):
    return study_tables(read_values(study))


def rows_of(table):
    columns = [column.tolist() for column in table.columns.values()]
    return [dict(zip(table.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_tables_rebuild_byte_for_byte_from_the_folders_alone(study, tmp_path):
    rebuild_tables(study)
    first = contents(study.path / "tables")
    assert {"study.md", "study.tex", "runs.csv", "summary.csv", "differences.csv", "budgets.csv"} <= first.keys()
    assert {"values.csv", "relations.csv"} <= first.keys()
    moved = shutil.copytree(study.path, tmp_path / "elsewhere")
    shutil.rmtree(moved / "tables")
    rebuild_tables(open_study(moved))
    assert contents(moved / "tables") == first


def test_without_measurements_the_rest_of_the_tables_is_the_same(study, tables, tmp_path):
    moved = shutil.copytree(study.path, tmp_path / "elsewhere")
    (moved / "measured.jsonl").unlink()
    bare = study_tables(read_values(open_study(moved)))
    assert "relations" not in bare
    for name in ("runs", "differences", "budgets"):
        assert as_csv(bare[name]) == as_csv(tables[name])


def test_the_summary_is_mean_and_spread_over_seeds(study, tables):
    rows = {(row["cell"], row["quantity"]): row for row in rows_of(tables["summary"])}
    for cell in study.study.cells:
        found = [
            read_evaluation(study.path / planned.name).metrics["NDCG@10"]
            for planned in study.runs
            if planned.cell == cell.label
        ]
        mean = sum(found) / 2
        deviation = math.sqrt(sum((value - mean) ** 2 for value in found))
        row = rows[cell.label, "NDCG@10"]
        assert row["mean"] == pytest.approx(mean, rel=1e-12)
        assert row["deviation"] == pytest.approx(deviation, rel=1e-9)
        assert (row["seeds"], row["lowest"], row["highest"]) == (2, min(found), max(found))
        assert row["setting"] == cell.setting


def test_differences_are_paired_on_both_levels_and_corrected_over_each(study, tables):
    rows = rows_of(tables["differences"])
    assert len(rows) == 2 * 2 * 2  # cells against the baseline, metrics, levels
    evaluations = {planned.name: read_evaluation(study.path / planned.name) for planned in study.runs}
    for row in rows:
        assert row["against"] == "SASRec"
        slug = next(cell.slug for cell in study.study.cells if cell.label == row["cell"])
        by_seed = [
            evaluations[f"{slug}-seed-{seed}"].metrics[row["metric"]]
            - evaluations[f"sasrec-seed-{seed}"].metrics[row["metric"]]
            for seed in (1, 2)
        ]
        assert row["difference"] == pytest.approx(sum(by_seed) / 2, abs=1e-12)
        if row["level"] == USERS_LEVEL:
            of_users = [
                sum(
                    per_user(evaluations[f"{slug}-seed-{seed}"].ranks, row["metric"])[user]
                    - per_user(evaluations[f"sasrec-seed-{seed}"].ranks, row["metric"])[user]
                    for seed in (1, 2)
                )
                / 2
                for user in range(row["users"])
            ]
            assert row["users"] == small_runs.data().users
            assert row["difference"] == pytest.approx(sum(of_users) / len(of_users), abs=1e-11)
            redrawn = np.random.default_rng(5).choice(of_users, size=(4000, len(of_users))).mean(1)
            assert (row["low"], row["high"]) == pytest.approx(np.quantile(redrawn, [0.025, 0.975]), abs=0.004)
        else:
            assert (row["smallest_p"], row["users"]) == (0.5, -1)
    for level in {row["level"] for row in rows}:
        own = [row for row in rows if row["level"] == level]
        p_values = np.array([row["p_value"] for row in own])
        assert [row["holm"] for row in own] == holm(p_values).tolist()
        assert [row["benjamini_hochberg"] for row in own] == benjamini_hochberg(p_values).tolist()


def test_budgets_are_the_best_epoch_within_what_the_other_run_spent(study, tables):
    rows = {(row["cell"], row["budget"]): row for row in rows_of(tables["budgets"])}
    assert len(rows) == 2 * 3
    for (label, budget), row in rows.items():
        slug = next(cell.slug for cell in study.study.cells if cell.label == label)
        differences = []
        for seed in (1, 2):
            own = Run(study.path / f"sasrec-seed-{seed}").history()
            other = Run(study.path / f"{slug}-seed-{seed}").history()
            cost = "epoch" if budget == "epochs" else budget
            scores = [entry["validation"]["NDCG@20"] for entry in other if entry[cost] <= own[-1][cost]]
            if scores:
                differences.append(max(scores) - max(entry["validation"]["NDCG@20"] for entry in own))
        assert row["reached"] == len(differences)
        if differences:
            assert row["difference"] == pytest.approx(sum(differences) / len(differences), abs=1e-12)
    gradients = rows["SAMRec (rho 0.05)", "gradients"]
    assert gradients["amount"] == 9  # three epochs of three steps: SAM has one epoch of six within it
    assert gradients["reached"] == 2


def test_measures_change_by_the_paired_t_interval_over_seeds(study, tables):
    values = read_values(study)
    rows = rows_of(tables["changes"])
    assert {row["cell"] for row in rows} == {"SAMRec (rho 0.05)", "SAMRec (rho 0.2)"}
    assert [row["quantity"] for row in rows[: len(rows) // 2]] == [*values.measures, "training loss", "test loss", GAP]
    for row in rows:
        of = {(run.planned.cell, run.planned.seed): run.values[row["quantity"]] for run in values.runs}
        before, after = ([of[cell, seed] for seed in (1, 2)] for cell in ("SASRec", row["cell"]))
        interval = stats.ttest_rel(after, before).confidence_interval(0.95)
        assert (row["difference"], row["before"]) == pytest.approx((np.mean(after) - np.mean(before), np.mean(before)))
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    section = changes_section(tables["changes"])
    row = next(row for row in rows if row["quantity"] == "λmin")
    told = [f"{row[name] / abs(row['before']):+.0%}" for name in ("difference", "low", "high")]
    assert next(cells for cells in section.rows if cells[0] == "λmin")[1] == f"{told[0]} [{told[1]}, {told[2]}]"
    sure = [row["quantity"] for row in rows if row["cell"].endswith("0.05)") and row["low"] * row["high"] > 0]
    assert [section.rows[at][0] for at, column in sorted(section.bold) if column == 1] == sure


def test_a_pair_without_an_epoch_in_the_budget_is_part_of_neither_mean(study, tmp_path):
    shutil.copytree(study.path, tmp_path / "study")
    slow = tmp_path / "study" / "samrec-rho-0.05-seed-2" / "history.jsonl"
    entries = [json.loads(line) for line in slow.read_text().splitlines()]
    slow.write_text("".join(json.dumps({**entry, "gradients": entry["gradients"] + 100}) + "\n" for entry in entries))
    rows = rows_of(study_tables(read_values(open_study(tmp_path / "study")))["budgets"])
    row = next(row for row in rows if (row["cell"], row["budget"]) == ("SAMRec (rho 0.05)", "gradients"))
    first = max(entry["validation"]["NDCG@20"] for entry in Run(study.path / "sasrec-seed-1").history())
    assert (row["pairs"], row["reached"], row["value_against"]) == (2, 1, pytest.approx(first))
    assert row["difference"] == pytest.approx(row["value"] - row["value_against"])


def test_cells_that_stop_by_different_metrics_are_compared_by_one_that_both_have(tmp_path):
    base = small_runs.config(data=str(small_studies.data_file(tmp_path)), epochs=2)
    with held(tmp_path / "study"):
        wanted = grid(base, {"stop_metric": ["NDCG@20", "HR@5"]})
        study = define(tmp_path / "study", wanted, [1], small_runs.data().fingerprint)
    sweep(study, data=base.data, device="cpu")
    of = {metric: Run(study.path / f"sasrec-stop-metric-{metric}-seed-1").history() for metric in ("ndcg-20", "hr-5")}
    own, other = (max(entry["validation"]["NDCG@10"] for entry in history) for history in of.values())
    row = next(row for row in rows_of(study_tables(read_values(study))["budgets"]) if row["budget"] == "epochs")
    assert (row["metric"], row["value_against"], row["value"]) == ("NDCG@10", own, other)


def test_validation_alone_chooses_and_test_is_told_of_the_chosen_and_the_baseline(study, tables, tmp_path):
    best = {
        label: np.mean(
            [
                max(entry["validation"]["NDCG@20"] for entry in Run(study.path / planned.name).history())
                for planned in study.runs
                if planned.cell == label
            ]
        )
        for label in ("SASRec", "SAMRec (rho 0.05)", "SAMRec (rho 0.2)")
    }
    rows = {row["cell"]: row for row in rows_of(tables["choice"])}
    assert {label: row["validation"] for label, row in rows.items()} == pytest.approx(best, rel=1e-12)
    chosen = max(list(best)[1:], key=best.get)
    (other,) = set(best) - {"SASRec", chosen}
    assert {label: row["chosen"] for label, row in rows.items()} == {"SASRec": 0, chosen: 1, other: 0}
    test = {(row["cell"], row["quantity"]): row["mean"] for row in rows_of(tables["summary"])}
    for label in ("SASRec", chosen):
        assert rows[label]["NDCG@10"] == pytest.approx(test[label, "NDCG@10"], rel=1e-12)
    assert math.isnan(rows[other]["NDCG@10"])
    section = choice_section(tables["choice"])
    assert [row[0] for row in section.rows if row[0].endswith(" (chosen)")] == [f"{chosen} (chosen)"]
    assert ("The baseline is better than it on validation." in section.notes) == (best["SASRec"] > best[chosen])

    moved = open_study(shutil.copytree(study.path, tmp_path / "elsewhere"))
    slug = next(cell.slug for cell in study.study.cells if cell.label == chosen)
    shutil.rmtree(moved.path / f"{slug}-seed-2")
    left = study_tables(read_values(moved))["choice"]
    assert left.attributes["chosen"] == other
    assert f"Without a score of every seed, and no part of the choice: {chosen}." in choice_section(left).notes


def test_between_two_cells_there_is_nothing_to_choose(tmp_path):
    found, _ = small_studies.swept(tmp_path, epochs=1, seeds=(1,))
    assert "choice" not in study_tables(read_values(found))


def test_what_is_measured_is_not_measured_again(study, monkeypatch):
    import samrec.experiments.measure as module

    def refuse(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(module, "eigenpairs_of", refuse)
    before = study.measured.read_bytes()
    assert measured(study) == {}
    assert study.measured.read_bytes() == before
    with pytest.raises(AssertionError, match="measured again"):
        measured(study, MeasureSettings(users=20, tolerance=0.2, max_products=40, pairs=3, device="cpu"))


def test_measures_of_other_settings_replace_the_old_ones(study, tmp_path):
    moved = open_study(shutil.copytree(study.path, tmp_path / "elsewhere"))
    measured(moved, MeasureSettings(users=10, tolerance=1e-6, max_products=2, pairs=2, device="cpu"))
    store = Store.read(moved.store)
    names = [planned.name for planned in moved.runs]
    assert {store.eigenpairs(name).provenance.objective["users"] for name in names} == {10}
    assert list(read_measured(moved.measured)) == names
    values, sections, _ = rebuild_tables(moved)
    assert len(values.unsettled) == 12
    assert "sasrec-seed-1 λmax did not settle." in [note for section in sections for note in section.notes]


def test_every_measure_is_held_against_both_targets(tables):
    rows = rows_of(tables["relations"])
    measures = {row["measure"] for row in rows}
    assert {"λmax", "λmin", "λmax × ‖w‖²", "SAM ρ 0.1", "SAM ρ 0.5 |w|", "average case σ 0.01"} <= measures
    assert {(row["measure"], row["target"]) for row in rows} == {(m, t) for m in measures for t in ("NDCG@10", GAP)}
    values = {(row["run"], row["quantity"]): row["value"] for row in rows_of(tables["values"])}
    for row in rows:
        assert row["runs"] == 6
        runs = sorted({run for run, _ in values})
        agreeing = sum(
            np.sign(values[a, row["measure"]] - values[b, row["measure"]])
            * np.sign(values[a, row["target"]] - values[b, row["target"]])
            for k, a in enumerate(runs)
            for b in runs[:k]
        )
        assert row["tau"] == pytest.approx(agreeing / 15)  # no ties here
        assert row["low"] <= row["tau"] <= row["high"]


def test_caps_and_unfinished_runs_are_named_and_take_no_part(tmp_path):
    found, _ = small_studies.swept(tmp_path, epochs=2)
    Run(found.path / "sasrec-seed-2").update(status="running")
    shutil.rmtree(found.path / "samrec-rho-0.05-seed-2")
    values, sections, _ = rebuild_tables(found)
    notes = [note for section in sections for note in section.notes]
    assert "Stopped by the cap of 2 epochs, not by patience: sasrec-seed-1, samrec-rho-0.05-seed-1." in notes
    assert "Part of no number here yet, running: sasrec-seed-2." in notes
    assert "Part of no number here yet, not begun: samrec-rho-0.05-seed-2." in notes
    assert {row["seeds"] for row in rows_of(study_tables(values)["summary"])} == {1}
    assert "± " not in next(section for section in sections if section.title == "Test scores").rows[0][3]


def test_a_study_of_which_nothing_is_there_yet_has_a_table_of_that(tmp_path):
    _, sections, written = rebuild_tables(small_studies.defined(tmp_path))
    assert [section.title for section in sections] == ["Runs"]
    assert {row[-1] for row in sections[0].rows} == {"not begun"}
    assert {path.name for path in written} == {"study.md", "study.tex", "runs.csv"}
    assert draw_study(small_studies.defined(tmp_path)) == []


def test_results_of_another_protocol_are_refused(study, tmp_path):
    moved = shutil.copytree(study.path, tmp_path / "elsewhere")
    folder = moved / "sasrec-seed-2"
    summary = json.loads((folder / "evaluation-test-masked.json").read_text())
    (folder / "evaluation-test-masked.json").write_text(json.dumps({**summary, "protocol": "other"}))
    with np.load(folder / "ranks-test-masked.npz") as arrays:
        np.savez(folder / "ranks-test-masked.npz", **{**arrays, "protocol": np.array("other")})
    with pytest.raises(ProtocolMismatch, match="sasrec-seed-2"):
        read_values(open_study(moved))


def test_csv_holds_every_digit(tables):
    table = tables["values"]
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [float(row["value"]) for row in rows] == table.columns["value"].tolist()
    assert [row["quantity"] for row in rows] == table.columns["quantity"].tolist()


def test_latex_is_ascii_balanced_and_has_a_cell_for_every_column(study):
    rebuild_tables(study)
    text = (study.path / "tables" / "study.tex").read_text()
    assert text.isascii()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 8
    assert text.count("$") % 2 == 0
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    for block in text.split(r"\begin{tabular}")[1:]:
        columns = len(block.partition("{")[2].partition("}")[0])
        for line in block.partition(r"\end{tabular}")[0].splitlines():
            if line.endswith(r" \\"):
                assert len(re.findall(r"(?<!\\)&", line)) == columns - 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("95 % of a_b & c", r"95 \% of a\_b \& c"),
        ("λ_max‖w‖²", r"$\lambda$\_max$\|$w$\|^2$"),
        ("1 ± 2 − 3", r"1 $\pm$ 2 $-$ 3"),
        ("{x}\\", r"\{x\}\textbackslash{}"),
        ("≥ ∞ at γ, ε, τ, ℓ2", r"$\geq$ $\infty$ at $\gamma$, $\varepsilon$, $\tau$, $\ell$2"),
        ("≤λ²", r"$\leq\lambda^2$"),
        ("é Ü ç s\u030c", r"\'{e} \"{U} \c{c} \v{s}"),
        ("\u4e2d \U0001f600", "U+4E2D U+1F600"),
    ],
)
def test_text_in_latex_is_what_it_was(text, shown):
    assert tex(text) == shown


def test_figures_are_drawn_from_the_store_alone(study, tmp_path, monkeypatch):
    rebuild_tables(study)
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(study.store, alone / "study.h5")
    shutil.copy(study.path / "study.json", alone / "study.json")
    drawn = draw_study(open_study(alone), endings=(".png",))
    names = {"scores", "curvature", "sharpness", "training", "relation", "relation-gap"}
    assert {path.stem for path in drawn} == names
    assert all(2000 < path.stat().st_size < 300_000 for path in drawn)
    store = Store.read(alone / "study.h5")
    assert set(store.names("histories")) == {planned.name for planned in study.runs}
    assert (
        store.table("histories", "sasrec-seed-1").attributes["best_epoch"]
        == Run(Path(study.path) / "sasrec-seed-1").record["best"]["epoch"]
    )
