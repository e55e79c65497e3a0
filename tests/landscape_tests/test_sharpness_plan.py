import dataclasses
import inspect
import io
import json

import h5py
import pytest
from landscape_tests.known import small_network
from typer.testing import CliRunner

from landscape.cli.commands import app
from landscape.cli.measuring import numbers
from landscape.cli.sharpness import sharpness
from landscape.cli.sharpness_table import tables
from landscape.curvature.ends import eigenpairs_of
from landscape.errors import InvalidArgument, StoreMismatch
from landscape.plots import matplotlib_figures, plotly_figures
from landscape.plots.prepare import prepare_sharpness, prepare_sharpness_table
from landscape.records import SharpnessMeasure
from landscape.sharpness.llc import local_learning_coefficient
from landscape.sharpness.names import KINDS, is_invariant, is_settled, quantity_of
from landscape.sharpness.plan import FAMILIES, sharpness_plan
from landscape.sharpness.resume import compute_sharpness
from landscape.sharpness.settings import RADII, SharpnessSettings
from landscape.sharpness.step import updated
from landscape.store import Store

SMALL = SharpnessSettings(
    rhos=(0.1, 0.2),
    sigmas=(0.1,),
    relative_rhos=(0.5,),
    relative_sigmas=(0.1,),
    pairs=4,
    steps=3,
    restarts=2,
    m=7,
    batches=2,
    probes=2,
    metrics=("accuracy",),
    ranking_pairs=2,
    chains=2,
    draws=3,
    burn_in=1,
)


def defaults_of(function):
    return {name: one.default for name, one in inspect.signature(function).parameters.items()}


@pytest.mark.parametrize("setting", [field.name for field in dataclasses.fields(SharpnessSettings)])
def test_a_setting_and_the_commands_option_have_one_default(setting):
    option = {"gamma": "llc_gamma"}.get(setting, setting.removesuffix("s") if setting in RADII else setting)
    told, default = defaults_of(sharpness)[option], getattr(SharpnessSettings(), setting)
    if setting == "burn_in":
        assert (told, default) == (None, SharpnessSettings().draws)  # as many by default
    elif setting == "metrics":
        assert tuple(told.split(",")) == default
    else:
        assert (numbers(told, option) if setting in RADII else told) == default


def test_the_llc_itself_has_the_defaults_of_the_settings():
    own, settings = defaults_of(local_learning_coefficient), SharpnessSettings()
    named = {"epsilon": "llc_epsilon", "batch": "llc_batch"}
    for option in ("chains", "draws", "burn_in", "epsilon", "gamma", "batch", "seed"):
        assert own[option] == getattr(settings, named.get(option, option))


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A store with every measure of the small network and of one of its blocks."""
    path = tmp_path_factory.mktemp("sharpness") / "study.h5"
    small = small_network()
    pairs = eigenpairs_of(small, name="net", checkpoint="net", top=5, tolerance=1e-2, max_products=300)
    from landscape.describe import checkpoint_record

    with Store.write(path) as store:
        store.add_checkpoint(checkpoint_record(small, "net"))
        store.add_eigenpairs(pairs)
    steps = sharpness_plan(["all"], SMALL, blocks=(None, "hidden"))
    report = compute_sharpness(path, small, steps, name="net", checkpoint_name="net")
    return path, steps, report


def test_every_step_finds_its_own_numbers_again_and_nothing_is_measured_twice(everything, monkeypatch):
    path, steps, report = everything
    assert all(step.is_held(report.measures) for step in steps)
    assert not any(step.is_held(()) for step in steps)

    def refuse(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr("landscape.sharpness.step.Step.run", refuse)
    again = compute_sharpness(path, small_network(), steps, name="net", checkpoint_name="net")
    assert again.measures == report.measures


def test_the_store_gives_back_every_measure_with_its_seconds(everything):
    path, _, report = everything
    read = Store.read(path).sharpness("net")
    assert read.measures == report.measures
    assert [m.seconds for m in read.measures] == [m.seconds for m in report.measures]
    assert sum(m.seconds or 0 for m in read.measures) > 0
    assert {m.measure for m in read.measures} == set(KINDS)


def test_another_setting_is_measured_beside_what_is_there(everything, tmp_path):
    path, _, report = everything
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    other = sharpness_plan(["sam"], dataclasses.replace(SMALL, rhos=(0.1, 0.4)))
    grown = compute_sharpness(copy, small_network(), other, name="net", checkpoint_name="net")
    assert {m.setting["rho"] for m in grown.measures if m.measure == "sam"} == {0.1, 0.2, 0.4, 0.5}
    assert len(grown.measures) == len(report.measures) + 1
    with pytest.raises(StoreMismatch):
        compute_sharpness(copy, small_network(seed=3), other, name="net", checkpoint_name="net")
    replaced = compute_sharpness(copy, small_network(seed=3), other, name="net2", checkpoint_name="net2")
    assert {m.measure for m in replaced.measures} == {"sam"}


def test_an_interrupted_call_keeps_what_was_measured_and_goes_on(tmp_path, monkeypatch):
    path, calls = tmp_path / "study.h5", []
    steps = sharpness_plan(["sam", "fisher-rao"], SMALL)
    monkeypatch.setattr(
        "landscape.sharpness.plan.fisher_rao_norm", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        compute_sharpness(path, small_network(), steps, name="net", checkpoint_name="net")
    assert [m.measure for m in Store.read(path).sharpness("net").measures] == ["sam"] * 3
    monkeypatch.undo()
    monkeypatch.setattr("landscape.sharpness.plan.sam_sharpness", lambda *_, **__: calls.append(1))
    done = compute_sharpness(path, small_network(), steps, name="net", checkpoint_name="net")
    assert done.measures[-1].measure == "fisher_rao"
    assert not calls


def test_a_store_from_before_seconds_were_kept_still_opens_and_is_not_measured_again(everything, tmp_path):
    path, _, report = everything
    old = tmp_path / "old.h5"
    old.write_bytes(path.read_bytes())
    with h5py.File(old, "r+") as file:
        del file["sharpness/net/seconds"]
    assert Store.read(old).sharpness("net").measures == report.measures
    assert all(m.seconds is None for m in Store.read(old).sharpness("net").measures)


def test_a_measure_of_the_whole_is_not_taken_for_that_of_a_block():
    (whole, *_), (block, *_) = sharpness_plan(["sam"], SMALL), sharpness_plan(["sam"], SMALL, blocks=("hidden",))
    measured = block.run(small_network())
    assert block.is_held(measured)
    assert not whole.is_held(measured)
    assert {m.setting["block"] for m in measured} == {"hidden"}


def test_a_new_number_takes_the_place_of_the_one_with_the_same_settings():
    one, other = (SharpnessMeasure("sam", {"rho": 0.1, "residual": r}, r, None, 1) for r in (1.0, 2.0))
    assert updated([one], [other]) == (other,)


def test_unknown_measures_are_refused():
    with pytest.raises(InvalidArgument, match="worst-case"):
        sharpness_plan(["worst"], SMALL)


def test_every_family_prices_itself_within_a_factor_of_what_it_spends(everything):
    _, steps, _ = everything
    assert {step.family for step in steps} == set(FAMILIES)
    assert all(step.price > 0 for step in steps)


def test_the_table_stands_beside_companions_and_fits_into_a_hundred_columns(everything):
    from rich.console import Console

    *_, report = everything
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(tables([report]))
    text = console.export_text()
    assert max(len(line.rstrip()) for line in text.splitlines() if set(line) & set("│┃┼╇")) <= 100
    for line in text.splitlines():
        if "SAM" in line and "ρ 0.1" in line:
            assert "ρ 0.5 |w|" in line
            break
    else:
        raise AssertionError(text)
    assert "≥: a lower bound" in text
    assert "over batches: m-sharpness" in text


def test_raw_and_invariant_values_never_share_an_axis_nor_do_unlike_quantities(everything):
    path, _, report = everything
    data = prepare_sharpness_table(Store.read(path))
    assert [heading for heading, _ in data.columns] == ["raw", "scale-invariant"]
    for (_, panels), invariant in zip(data.columns, (False, True), strict=True):
        own = [m for m in report.measures if is_invariant(m) is invariant and m.measure != "pac_bayes_sigma"]
        assert sum(len(marks.value) for panel in panels for marks in panel.marks) == len(own)
        assert len(panels) == len({quantity_of(m) for m in own})
    assert any("hollow" in note for note in data.notes)


@pytest.mark.parametrize("drawers", [matplotlib_figures, plotly_figures])
def test_every_measure_is_drawn_by_both_libraries(everything, drawers, tmp_path):
    path, *_ = everything
    store = Store.read(path)
    ending = ".png" if drawers is matplotlib_figures else ".html"
    saved = drawers.save(drawers.sharpness_table(prepare_sharpness_table(store)), tmp_path / f"table{ending}")
    assert saved.stat().st_size > 10_000
    assert len(prepare_sharpness(store).panels) > 20
    assert len(plotly_figures.sharpness(prepare_sharpness(store)).data) > 20


def test_the_command_prices_measures_resumes_and_takes_several_splits(tmp_path):
    path = tmp_path / "study.h5"
    target = "landscape_tests.known:partial_network"
    few = ("--rho", ".1", "--relative-rho", "", "--sigma", "", "--relative-sigma", "")
    both = ("--measures", "sam,fisher-rao", "--dry-run", "--json")
    (priced,) = json.loads(run("sharpness", target, "--store", path, *few, *both).stdout)["dry_run"]
    assert [row["measure"] for row in priced["measures"]] == ["sam", "fisher-rao"]
    assert not path.exists()
    blocks_asked = ("--block", "hidden", "--block", "whole")
    done = run("sharpness", target, "--store", path, *few, "--split", "train,validation", *blocks_asked)
    assert done.exit_code == 0, done.output
    assert Store.read(path).names("sharpness") == ["partial_network", "partial_network-validation"]
    blocks = [m.setting.get("block") for m in Store.read(path).sharpness("partial_network").measures]
    assert blocks == ["hidden", None]
    left = run("sharpness", target, "--store", path, *few, *blocks_asked, "--dry-run")
    assert "2 of 2 steps are in the store already" in left.stdout


def test_all_leaves_ranking_out_where_there_are_no_metrics_and_asking_for_it_refuses(tmp_path, monkeypatch):
    few = ("--rho", ".1", "--relative-rho", "", "--sigma", "", "--relative-sigma", "", "--steps", 2, "--draws", 2)
    target = "landscape_tests.known:quadratic"
    monkeypatch.setattr(
        "landscape_tests.known.Quadratic.metrics",
        lambda *_: (_ for _ in ()).throw(InvalidArgument("expected no metrics")),
    )
    refused = run("sharpness", target, "--store", tmp_path / "a.h5", "--measures", "ranking", *few)
    assert isinstance(refused.exception, InvalidArgument)
    done = run("sharpness", target, "--store", tmp_path / "b.h5", "--measures", "all", *few)
    assert done.exit_code == 3, done.output  # the LLC beside a saddle does not settle
    assert not any(m.setting.get("metric") for m in Store.read(tmp_path / "b.h5").sharpness("quadratic").measures)


def test_chains_that_did_not_settle_are_kept_named_and_end_with_exit_code_3(tmp_path):
    path, target = tmp_path / "study.h5", "landscape_tests.known:quadratic"
    for _ in range(2):  # measured, and found again
        done = run("sharpness", target, "--store", path, "--measures", "llc", "--llc-epsilon", 1e-6, "--draws", 10)
        assert done.exit_code == 3, done.output
        assert "│ ?" in done.stdout.replace(" ", "").replace("│", "│ ")
        assert "unsettled: 2 of 4 chains ended below the checkpoint" in done.stdout
        assert "?: unsettled, the value would go on moving" in done.stdout
    (measure,) = Store.read(path).sharpness("quadratic").measures
    assert not is_settled(measure)
    table = prepare_sharpness_table(Store.read(path))
    assert any("hollow: unsettled" in note for note in table.notes)
    ((_, (panel,)),) = table.columns
    assert not panel.marks[0].solid.any()
    assert not prepare_sharpness(Store.read(path)).panels[0].marks[0].solid.any()
    assert run("sharpness", target, "--store", path, "--measures", "sam", "--rho", ".1").exit_code == 0
    held = ("--llc-gamma", 1e4, "--draws", 12)
    run("sharpness", target, "--store", path, "--measures", "llc", *held)
    settings = [m.setting for m in Store.read(path).sharpness("quadratic").measures if m.measure == "llc"]
    assert [(s["gamma"], s["epsilon"]) for s in settings] == [(1e3, 1e-6), (1e4, 1e-4)]
