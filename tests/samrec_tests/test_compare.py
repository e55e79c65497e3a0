"""Comparisons of tiny runs: grouping, both levels of statistics, everything in the store, going on where it stopped."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from samrec_tests.s3rec_files import write_s3rec_text
from samrec_tests.small_comparisons import make_run
from typer.testing import CliRunner

from landscape.describe import provenance
from landscape.errors import StoreMismatch
from landscape.records import Status
from landscape.store import Store
from samrec.data.split import training_sequences
from samrec.data.synthetic import make_synthetic
from samrec.errors import ConfigError, ProtocolMismatch, RunError
from samrec.evaluation.evaluate import read_evaluation
from samrec.evaluation.paired import SEEDS_LEVEL, USERS_LEVEL, paired_users
from samrec.experiments.compare import Options, compare_runs, loss_of, open_objective
from samrec.experiments.members import methods_of, open_members, pairs_of
from samrec.experiments.table import markdown, sections_of

OPTIONS = Options(surface_points=3, users=10, max_products=3, sharpness_pairs=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    write_s3rec_text(make_synthetic(users=40, items=200, clusters=3).interactions, folder / "data.txt")
    for seed in (0, 1):
        make_run(folder / f"plain-{seed}", folder / "data.txt", seed=seed)
        make_run(folder / f"sam-{seed}", folder / "data.txt", seed=seed, rho=0.1, stopped="cap")
    return folder


@pytest.fixture(scope="module")
def study(place) -> Path:
    compare_runs(runs_of(place), place / "study.h5", OPTIONS)
    return place / "study.h5"


def runs_of(place: Path) -> list[Path]:
    return [place / name for name in ("plain-0", "sam-0", "plain-1", "sam-1")]


def test_runs_that_differ_in_their_seed_are_one_method_and_the_first_is_the_baseline(place):
    groups = methods_of(open_members(runs_of(place)))
    assert {method: [member.name for member in group] for method, group in groups.items()} == {
        "SASRec": ["plain-0", "plain-1"],
        "SAMRec (rho 0.1)": ["sam-0", "sam-1"],
    }
    assert next(iter(groups)) == "SASRec"
    pairs = pairs_of(*(groups[method] for method in groups))
    assert [(pair.a.name, pair.b.name) for pair in pairs] == [("plain-0", "sam-0"), ("plain-1", "sam-1")]


def test_methods_of_one_name_are_told_apart_by_what_differs(place, tmp_path):
    short = make_run(tmp_path / "short", place / "data.txt", epochs=5)
    members = open_members([place / "plain-0", short.path])
    assert [member.method for member in members] == ["SASRec, epochs 200", "SASRec, epochs 5"]


def test_folders_of_one_name_are_told_apart_by_their_parents(place, tmp_path):
    (tmp_path / "other").mkdir()
    again = make_run(tmp_path / "other" / "plain-0", place / "data.txt", rho=1.0)
    names = [member.name for member in open_members([place / "plain-0", again.path])]
    assert names == [f"{place.name}-plain-0", "other-plain-0"]


def test_users_level_differences_are_those_of_the_evaluations(place, study):
    with Store.read(study) as store:
        columns = store.table("comparisons", "differences").columns
    expected = paired_users(read_evaluation(place / "plain-0"), read_evaluation(place / "sam-0"), "NDCG@10")
    row = (columns["a"] == "plain-0") & (columns["b"] == "sam-0") & (columns["metric"] == "NDCG@10")
    assert row.sum() == 1
    assert columns["level"][row] == [USERS_LEVEL]
    for name in ("difference", "low", "high", "p_value"):
        assert columns[name][row] == [getattr(expected, name)]


def test_seeds_level_differences_are_between_methods(study):
    with Store.read(study) as store:
        columns = store.table("comparisons", "differences").columns
        scores = store.table("comparisons", "scores").columns
    row = (columns["level"] == SEEDS_LEVEL) & (columns["metric"] == "HR@10")
    assert row.sum() == 1
    assert (columns["a"][row], columns["b"][row]) == (["SASRec"], ["SAMRec (rho 0.1)"])
    assert (columns["units"][row], columns["smallest_p"][row]) == ([2], [0.5])
    hits = {
        c: v for c, m, v in zip(scores["checkpoint"], scores["metric"], scores["value"], strict=True) if m == "HR@10"
    }
    mean = (hits["sam-0"] - hits["plain-0"] + hits["sam-1"] - hits["plain-1"]) / 2
    assert columns["difference"][row] == pytest.approx(mean)


def test_the_store_holds_every_measure_of_every_run_on_the_same_data(study):
    names = ["plain-0", "plain-1", "sam-0", "sam-1"]
    with Store.read(study) as store:
        for kind in ("checkpoints", "surfaces", "curvature", "sharpness", "histories"):
            assert store.names(kind) == names
        surfaces = [store.surface(name) for name in names]
        pairs = [store.eigenpairs(name) for name in names]
        measures = {measure.measure for measure in store.sharpness("sam-0").measures}
        checkpoint = store.checkpoint("sam-0")
    assert {surface.shape for surface in surfaces} == {(3, 3)}
    assert all((surface.status == Status.DONE).all() for surface in surfaces)
    assert {surface.x.seed for surface in surfaces} == {0}
    assert {surface.provenance.objective["users"] for surface in surfaces} == {40}
    assert {pair.provenance.objective["users"] for pair in pairs} == {10}
    assert all({"lambda_max", "lambda_min"} <= set(pair.labels) for pair in pairs)
    assert {"sam", "average_case", "lambda_max_norm_squared"} <= measures
    centre = surfaces[2].values["loss"][1, 1]
    assert surfaces[2].centre["loss"] == pytest.approx(centre)
    assert pairs[2].loss != surfaces[2].centre["loss"]
    assert checkpoint.metrics["NDCG@10"] >= 0


def test_a_second_call_measures_nothing_again(place, study, monkeypatch):
    import samrec.experiments.compare as module

    def refuse(*_, **__):
        raise AssertionError("measured again")

    with Store.read(study) as store:
        before = store.surface("sam-0").values["loss"], store.eigenpairs("sam-0")
    monkeypatch.setattr(module, "eigenpairs_of", refuse)
    monkeypatch.setattr(module, "sharpness_report", refuse)
    compare_runs(runs_of(place), study, OPTIONS)
    with Store.read(study) as store:
        assert np.array_equal(store.surface("sam-0").values["loss"], before[0])
        assert store.eigenpairs("sam-0").provenance == before[1].provenance
        assert store.checkpoint("sam-0").metrics["NDCG@10"] >= 0


def test_tables_name_caps_levels_and_unsettled_eigenvalues(study):
    with Store.read(study) as store:
        sections = sections_of(store)
        unsettled = [n for n in store.names("curvature") if not store.eigenpairs(n).converged.all()]
    text = markdown(sections)
    assert "sam-0: stopped by the cap of 3 epochs" in text
    assert "plain-0: stopped" not in text
    assert USERS_LEVEL in text
    assert "2 seeds cannot give a p-value below 0.5" in text
    assert unsettled
    assert all(f"{name}: lambda_" in text for name in unsettled)
    widths = {len(row) for section in sections for row in section.rows} - {len(s.header) for s in sections}
    assert not widths


def test_the_command_draws_and_prints_json_and_leaves_with_3_when_unsettled(place):
    import typer

    from samrec.cli.compare import compare

    app = typer.Typer()
    app.command()(compare)
    out = place / "command" / "pair.h5"
    out.parent.mkdir()
    arguments = ["--out", str(out), "--surface-points", "3", "--users", "10", "--max-products", "2", "--json"]
    result = CliRunner().invoke(app, [str(place / "plain-0"), str(place / "sam-0"), *arguments])
    assert result.exit_code == 3, result.output
    payload = json.loads(result.stdout)
    assert payload["unsettled"]
    assert len(payload["scores"]) == 14
    assert all(Path(figure).stat().st_size > 0 for figure in payload["figures"])
    assert {Path(figure).suffix for figure in payload["figures"]} == {".png", ".pdf", ".html"}
    kinds = {"scores", "curve", "contour", "relief", "spectrum", "sharpness", "training"}  # one run a method: no change
    assert {Path(figure).stem for figure in payload["figures"]} == kinds
    assert len(payload["figures"]) == 3 * len(kinds)
    assert Path(payload["tables"]).read_text(encoding="utf-8").startswith("## Runs")


def test_a_dry_run_writes_nothing(place):
    import typer

    from samrec.cli.compare import compare

    app = typer.Typer()
    app.command()(compare)
    out = place / "never.h5"
    result = CliRunner().invoke(
        app, [str(place / "plain-0"), str(place / "sam-0"), "--out", str(out), "--dry-run", "--json"]
    )
    assert json.loads(result.stdout)["surface_points"] == 2 * 21 * 21
    assert not out.exists()


def test_a_second_run_of_a_seed_is_no_other_seed(place, tmp_path, monkeypatch, capsys):
    from samrec.cli.main import main

    copy = shutil.copytree(place / "sam-1", tmp_path / "copy")
    given = [place / "plain-1", place / "sam-1", copy]
    with pytest.raises(ConfigError, match=r"one run of a seed, got .*sam-1 and .*copy, both SAMRec .* of seed 1"):
        open_members(given)
    monkeypatch.setattr(sys, "argv", ["samrec", "compare", *map(str, given), "--out", str(tmp_path / "study.h5")])
    with pytest.raises(SystemExit) as left:
        main()
    printed, said = capsys.readouterr()
    assert (left.value.code, printed, said.count("\n")) == (2, "", 1)
    assert not (tmp_path / "study.h5").exists()


def test_imported_checkpoints_do_not_tell_their_seed_and_are_methods_of_their_own(place, tmp_path):
    found = [make_run(tmp_path / name, place / "data.txt", imported={"file": name}) for name in ("one", "two")]
    members = open_members([place / "plain-0", *(run.path for run in found)])
    assert [member.method for member in members] == ["SASRec, plain-0", "SASRec, one", "SASRec, two"]
    changed = make_run(tmp_path / "short", place / "data.txt", epochs=5)
    members = open_members([changed.path, *(run.path for run in found)])
    assert [member.method for member in members] == [
        "SASRec, epochs 5",
        "SASRec, epochs 200, one",
        "SASRec, epochs 200, two",
    ]


def test_all_users_with_a_training_target_are_taken_where_more_are_asked_for(place, tmp_path):
    run = make_run(tmp_path / "last-4", place / "data.txt", split="leave-last-4")
    (member, _) = open_members([run.path, place / "plain-0"])
    interactions = run.data(None)
    trainable = len(training_sequences(interactions, max_length=8, holdout=run.config.holdout))
    assert trainable < np.count_nonzero(interactions.lengths > 3)
    loss = loss_of([member], OPTIONS)
    for asked, taken in ((trainable + 1, trainable), (trainable, trainable), (trainable - 1, trainable - 1)):
        objective = open_objective(member, OPTIONS, loss, asked, interactions)
        assert provenance(objective).objective["units"] == taken


def test_what_cannot_be_compared_is_refused(place, tmp_path):
    first = place / "plain-0"
    with pytest.raises(ConfigError, match="at least two"):
        open_members([first])
    with pytest.raises(ConfigError, match="twice"):
        open_members([first, place / "sam-0", first])
    write_s3rec_text(make_synthetic(users=41, items=200, clusters=3).interactions, tmp_path / "other.txt")
    other = make_run(tmp_path / "other", tmp_path / "other.txt")
    with pytest.raises(ProtocolMismatch, match="one data set"):
        open_members([first, other.path])
    unfinished = make_run(tmp_path / "unfinished", place / "data.txt", rho=0.2)
    unfinished.update(status="running")
    with pytest.raises(RunError, match="finished"):
        open_members([first, unfinished.path])


def test_figures_and_tables_need_no_torch(study):
    code = (
        "import sys\nfrom pathlib import Path\nfrom samrec.experiments.figures import one_of_each_method\n"
        "from samrec.experiments.table import sections_of\nfrom landscape.store import Store\n"
        f"with Store.read({str(study)!r}) as store: sections_of(store); one_of_each_method(store)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.fixture
def copied(study, tmp_path) -> Path:
    """The study, to be changed."""
    return Path(shutil.copy(study, tmp_path / "study.h5"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"users": 12}, "curvature 'plain-0' of another objective: expected .*users 10.*, got .*users 12"),
        ({"surface_points": 5}, "surface 'plain-0' of another alpha axis: expected -1:1:3, got -1:1:5"),
        ({"surface_users": 20}, "surface 'plain-0' of another objective"),
        ({"metrics": ("ndcg@10",)}, "surface 'plain-0' of another values"),
        ({"seed": 1}, "another objective: expected seed 0, .*got seed 1"),
    ],
)
def test_other_options_on_an_existing_store_are_refused_before_anything_is_done(
    place, copied, monkeypatch, changes, said
):
    import samrec.experiments.compare as module

    def refuse(*_, **__):
        raise AssertionError("began to measure")

    before = copied.read_bytes()
    for name in ("evaluate_run", "eigenpairs_of", "sharpness_report", "compute_surface"):
        monkeypatch.setattr(module, name, refuse)
    with pytest.raises(StoreMismatch, match=said):
        compare_runs(runs_of(place), copied, replace(OPTIONS, **changes))
    assert copied.read_bytes() == before


def test_more_products_are_spent_on_what_did_not_settle_and_fewer_change_nothing(place, copied):
    runs = runs_of(place)
    assert len(compare_runs(runs, copied, OPTIONS).unsettled) > 1
    assert compare_runs(runs, copied, replace(OPTIONS, max_products=4000)).unsettled == ()
    with Store.read(copied) as store:
        settled = store.eigenpairs("sam-0")
        report, norm = store.sharpness("sam-0"), store.checkpoint("sam-0").norm
    assert settled.converged.all()
    (scaled,) = [measure for measure in report.measures if measure.measure == "lambda_max_norm_squared"]
    assert scaled.value == pytest.approx(settled.values[0] * norm**2)
    assert scaled.note == ""
    for worse in ({"max_products": 3}, {"tolerance": 0.1}):
        assert compare_runs(runs, copied, replace(OPTIONS, **worse)).unsettled == ()
    with Store.read(copied) as store:
        assert store.eigenpairs("sam-0").provenance == settled.provenance


def test_another_surface_in_the_same_store_leaves_scores_and_configuration(place, copied):
    from landscape.cli.commands import app as landscape

    with Store.read(copied) as store:
        before = store.checkpoint("sam-0")
    split = ["--split", "test", "--name", "sam-0-test", "--x=-1:1:3", "--metric", "ndcg@5"]
    done = CliRunner().invoke(landscape, ["surface", f"samrec:{place / 'sam-0'}", "--store", str(copied), *split])
    assert done.exit_code == 0, done.output
    with Store.read(copied) as store:
        after = store.checkpoint("sam-0")
    assert before.metrics.items() <= after.metrics.items()
    assert before.config == after.config
    assert after.config["rho"] == 0.1


def test_the_loss_in_the_geometry_table_is_that_of_its_own_users(study):
    with Store.read(study) as store:
        geometry = sections_of(store)[-1]
        loss = store.eigenpairs("plain-0").loss
        surface = store.surface("plain-0")
    assert geometry.rows[0][:2] == ("loss", f"{loss:.5f}")
    shape = " × ".join(map(str, surface.shape))
    rise = np.mean(surface.values["loss"]) - surface.values["loss"][surface.shape[0] // 2, surface.shape[1] // 2]
    assert geometry.rows[-1][0] == f"mean rise, {shape} points"
    assert float(geometry.rows[-1][1]) == pytest.approx(rise, rel=1e-3)


def test_a_comparison_of_before_has_a_loss_with_a_note(copied):
    import h5py

    with h5py.File(copied, "r+") as file:
        for name in file["curvature"]:
            del file["curvature"][name].attrs["centre_loss"]
            file["checkpoints"][name].attrs["loss"] = 0.125
    with Store.read(copied) as store:
        geometry = sections_of(store)[-1]
    assert geometry.rows[0][:2] == ("loss", "0.12500")
    assert any("plain-0: the loss is of whatever was measured last" in note for note in geometry.notes)


def test_a_comparison_is_refused_in_one_line_while_another_writes(place, tmp_path, monkeypatch, capsys):
    from samrec.cli.main import main

    out = tmp_path / "study.h5"
    monkeypatch.setattr(
        sys, "argv", ["samrec", "compare", str(place / "plain-0"), str(place / "sam-0"), "--out", str(out)]
    )
    with Store.write(out), pytest.raises(SystemExit) as left:
        main()
    printed, said = capsys.readouterr()
    assert (left.value.code, printed, said.count("\n")) == (2, "", 1)
    assert f"is being written by process {os.getpid()}" in said
