"""Runs of one loss are measured on it, settings and all; others on a common one; tables and JSON say which and why."""

import json

import pytest
from samrec_tests import small_runs, small_studies
from samrec_tests.commands import samrec_in

from landscape.store import Store
from samrec.config import make_config
from samrec.experiments.measure import MeasureSettings, measure_study
from samrec.experiments.measured_loss import loss_measured, measured_loss
from samrec.experiments.studies import grid
from samrec.experiments.study_figures import rebuild_tables
from samrec.experiments.study_folder import define, held, open_study
from samrec.experiments.study_values import read_values
from samrec.experiments.sweep import sweep
from samrec.objective import load

SETTINGS = {"users": 20, "tolerance": 0.2, "max_products": 10, "pairs": 2, "device": "cpu"}


def trained(**changes):
    return make_config(data="x", **changes).model_dump()


@pytest.mark.parametrize(
    ("runs", "asked", "told", "why"),
    [
        ([{}, {"rho": 0.1}], None, "bce (1 negative)", "what all runs were trained with"),
        ([{"negative_count": 16}] * 2, None, "bce (16 negatives)", "what all runs were trained with"),
        ([{"negative_count": 16}] * 2, "bce", "bce (16 negatives)", "what all runs were trained with"),
        ([{"loss": "gbce", "gbce_t": 0.5}], None, "gbce (256 negatives, t 0.5)", "what all runs were trained with"),
        ([{"loss": "ce"}] * 2, None, "ce", "what all runs were trained with"),
        ([{}, {"negative_count": 16}], None, "ce", "the same for all, as runs differ in negative_count"),
        ([{}, {"negative_count": 16}], "bce", "bce (1 negative)", "the same for all, as runs differ in negative_count"),
        ([{}, {"loss": "ce"}], None, "ce", "the same for all, as runs differ in loss, negative_count"),
        ([{"loss": "gbce"}, {"loss": "gbce", "gbce_t": 0}], None, "ce", "the same for all, as runs differ in gbce_t"),
        ([{}, {}], "ce", "ce", "the same for all, as runs were trained with bce (1 negative)"),
        (
            [{"negative_count": 4}],
            "gbce",
            "gbce (256 negatives, t 0.75)",
            "the same for all, as runs were trained with",
        ),
    ],
)
def test_the_loss_is_the_runs_own_where_they_share_it_settings_and_all(runs, asked, told, why):
    found = measured_loss([trained(**changes) for changes in runs], asked)
    assert str(found) == told
    assert found.why.startswith(why)


@pytest.mark.parametrize(
    "changes", [{}, {"negative_count": 3}, {"loss": "gbce", "negative_count": 9, "gbce_t": 0.0}, {"loss": "ce"}]
)
def test_what_an_objective_says_of_its_loss_gives_the_loss_back(changes, tmp_path):
    run = small_runs.trainer(tmp_path / "run", **changes).run
    run.save_best(small_runs.fresh_weights(run.config))
    wanted = measured_loss([run.config.model_dump()])
    facts = load(f"{run.path}@best", **wanted.options, device="cpu", data=str(small_studies.data_file(tmp_path))).facts
    assert loss_measured(facts, [run.config.model_dump()]) == wanted
    assert {name: facts.get(name) for name in wanted.facts} == wanted.facts


def swept(folder, **vary):
    base = small_runs.config(data=str(small_studies.data_file(folder)), epochs=1)
    name = "-".join(vary)
    with held(folder / name):
        study = define(folder / name, grid(base, vary), [1], small_runs.data().fingerprint)
    sweep(study, data=base.data, device="cpu")
    return study


def measured(study, **changes):
    data = study.study.baseline.config.data
    assert measure_study(study, data=data, settings=MeasureSettings(**{**SETTINGS, **changes})) == {}
    return {name: Store.read(study.store).eigenpairs(name).provenance.objective for name in names(study)}


def names(study):
    return [planned.name for planned in study.runs]


def notes_of(study):
    return " ".join(note for section in rebuild_tables(study)[1] for note in section.notes)


def test_a_study_of_one_loss_with_settings_is_measured_on_it_and_others_on_the_common_one(tmp_path):
    shared = swept(tmp_path, negative_count=[3, 4])
    assert {objective["loss"] for objective in measured(shared).values()} == {"ce"}
    assert "frozen ce training loss" in notes_of(shared)
    assert "The loss is the same for all, as runs differ in negative_count." in notes_of(shared)
    base = small_runs.config(data=str(small_studies.data_file(tmp_path)), epochs=1, negative_count=3)
    with held(tmp_path / "own"):
        own = define(tmp_path / "own", grid(base, {"rho": [0, 0.05]}), [1], small_runs.data().fingerprint)
    sweep(own, data=base.data, device="cpu")
    assert {objective["negative_count"] for objective in measured(own).values()} == {3}
    assert "frozen bce (3 negatives) training loss" in notes_of(own)
    assert "The loss is what all runs were trained with." in notes_of(own)


def test_runs_measured_on_another_loss_than_most_are_named_and_left_out(tmp_path):
    study = swept(tmp_path, rho=[0, 0.05, 0.1])
    measured(study)
    with small_studies.measuring_killed_after(1):
        measured(study, loss="ce")
    values = read_values(study)
    assert (values.measured_on["loss"], values.measured_otherwise) == ("bce", ("sasrec-seed-1",))
    assert ["λmax" in run.values for run in values.runs] == [False, True, True]
    assert all("generalisation gap" in run.values for run in values.runs)
    assert "Measured on another loss or other users, and left out: sasrec-seed-1." in notes_of(study)
    assert {objective["loss"] for objective in measured(study, loss="ce").values()} == {"ce"}
    assert read_values(study).measured_otherwise == ()


def test_commands_say_in_json_and_tables_what_was_measured(tmp_path, monkeypatch, capsys):
    study = swept(tmp_path, negative_count=[3, 4])
    measured(study)
    samrec = samrec_in(tmp_path, monkeypatch, capsys)
    monkeypatch.setattr("samrec.experiments.figures.draw_comparison", lambda store: [store])
    on = {"loss": "ce", "negative_count": None, "gbce_t": None}
    on["why"] = "the same for all, as runs differ in negative_count"
    code, out, _ = samrec("sweep", "--out", "negative_count", "--tables-only", "--no-figures", "--json")
    assert (code, json.loads(out)["measured_on"]) == (3 if json.loads(out)["unsettled"] else 0, on)
    runs = [open_study(study.path).path / name for name in names(study)]
    small = ["--users", 10, "--max-products", 3, "--surface-points", 2, "--out", "compared.h5"]
    assert "loss: ce, the same for all" in samrec("compare", *runs, *small, "--dry-run")[1]
    _, out, _ = samrec("compare", *runs, *small, "--json")
    assert json.loads(out)["measured_on"] == on
    text = (tmp_path / "compared.md").read_text()
    assert "frozen ce training loss of 10 users" in text
    assert "The loss is the same for all, as runs differ in negative_count." in text
