import json
from functools import partial

import numpy as np
import pytest
import torch
from landscape_tests.known import quadratic
from typer.testing import CliRunner

from landscape.cli.commands import app
from landscape.cli.measuring import name_of, numbers
from landscape.curvature.basis import plan_basis
from landscape.errors import InvalidArgument, StoreError, StoreMismatch, UnknownTarget
from landscape.plots.prepare import prepare_contour
from landscape.store import Store

TARGET = "landscape_tests.known:quadratic"
PARTIAL = "landscape_tests.known:partial_network"
DRIFTING = "landscape_tests.known:drifting_network"
SMALL_PLANE = ("--x=-1:1:3", "--y=-1:1:3")


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_both_ends_go_into_the_store_and_onto_the_screen(path):
    result = run("curvature", TARGET, "--store", path, "--json")
    assert result.exit_code == 0
    (printed,) = json.loads(result.stdout)["curvature"]
    with Store.read(path) as store:
        kept = store.eigenpairs("quadratic")
    assert [pair["label"] for pair in printed["eigenpairs"]] == ["lambda_max", "lambda_min"] == list(kept.labels)
    assert [pair["value"] for pair in printed["eigenpairs"]] == kept.values.tolist()


def test_an_eigenpair_that_did_not_converge_is_kept_and_leaves_with_three(path):
    result = run("curvature", TARGET, "--store", path, "--max-products", 2)
    assert result.exit_code == 3
    assert "NO" in result.stdout
    with Store.read(path) as store:
        assert not store.eigenpairs("quadratic").converged.any()


@pytest.mark.parametrize("method", ["power", "lanczos", "lobpcg"])
def test_every_method_finds_the_same_ends(path, method):
    assert run("curvature", TARGET, "--store", path).exit_code == 0
    assert run("curvature", TARGET, "--store", path, "--method", method, "--max-products", 2000).exit_code == 0
    with Store.read(path) as store:
        kept = store.eigenpairs("quadratic")
    expected = torch.linalg.eigvalsh(quadratic().matrix)[[-1, 0]].numpy()
    assert kept.method == method
    np.testing.assert_allclose(kept.values, expected, rtol=1e-4)


def test_a_block_has_a_record_of_its_own(path):
    run("curvature", PARTIAL, "--store", path)
    assert run("curvature", PARTIAL, "--store", path, "--block", "hidden.*", "--bottom", 2).exit_code == 0
    with Store.read(path) as store:
        whole, part = store.eigenpairs("partial_network"), store.eigenpairs("partial_network-hidden")
    assert part.labels == ("lambda_max", "lambda_min_2", "lambda_min")
    assert part.settings["block"] == "hidden.*"
    assert part.values[0] < whole.values[0]
    refused = run("curvature", PARTIAL, "--store", path, "--block", "hidden", "--name", "partial_network")
    assert "of another block: expected all weights, got hidden" in str(refused.exception)


def test_a_warm_start_is_a_target_or_a_record_and_saves_products(path):
    run("curvature", PARTIAL, "--store", path, "--tolerance", "1e-6")
    cold = Store.read(path).eigenpairs("partial_network")
    for start in (PARTIAL, "partial_network"):
        options = ("--warm-start", start, "--name", f"from {start}".replace(":", " "), "--tolerance", "1e-6")
        assert run("curvature", PARTIAL, "--store", path, *options).exit_code == 0
        warm = Store.read(path).eigenpairs(options[3])
        np.testing.assert_allclose(warm.values, cold.values, rtol=1e-6)
        assert warm.products.max() < cold.products.max() / 2
    for wrong, said in (("nobody", "a curvature record of"), (TARGET, "free coordinates")):
        refused = run("curvature", PARTIAL, "--store", path, "--warm-start", wrong, "--name", "x")
        assert isinstance(refused.exception, InvalidArgument)
        assert said in str(refused.exception)


def test_sharpness_takes_lambda_max_from_the_store_when_it_is_there(path):
    arguments = ("sharpness", TARGET, "--store", path, "--rho", ".05,.1", "--pairs", 2, "--json")
    before = [measure["measure"] for measure in json.loads(run(*arguments).stdout)["sharpness"][0]["measures"]]
    run("curvature", TARGET, "--store", path)
    after = [measure["measure"] for measure in json.loads(run(*arguments).stdout)["sharpness"][0]["measures"]]
    assert after == [*before, "lambda_max_norm_squared"]
    with Store.read(path) as store:
        assert [measure.measure for measure in store.sharpness("quadratic").measures] == after


@pytest.mark.parametrize("command", ["curvature", "sharpness"])
def test_a_dry_run_says_the_cost_and_writes_nothing(path, command):
    result = run(command, TARGET, "--store", path, "--dry-run", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["dry_run"][0]["checkpoint"] == "quadratic"
    assert not path.exists()


@pytest.mark.parametrize("command", ["curvature", "sharpness"])
def test_misuse_is_refused_before_a_store_is_made(path, command):
    for more in (["--name", "x", "landscape_tests.known:small_network"], ["--threads", 0]):
        result = run(command, TARGET, *more, "--store", path)
        assert isinstance(result.exception, InvalidArgument)
    assert not path.exists()


@pytest.mark.parametrize(
    "command",
    [["curvature"], ["trace"], ["sharpness"], ["surface", "--x=-1:1:3"], ["ratio-map", *SMALL_PLANE]],
    ids=" ".join,
)
def test_a_later_target_that_cannot_be_opened_is_refused_before_the_first_is_measured(path, command):
    result = run(*command, TARGET, "landscape_tests.known:missing", "--store", path)
    assert isinstance(result.exception, UnknownTarget)
    assert not path.exists()


def test_names_are_the_ends_of_paths_and_lists_of_numbers_are_read():
    assert (name_of("samrec:runs/beauty-sam/"), name_of("module:function")) == ("beauty-sam", "function")
    assert numbers("0.01,.1, 1", "--rho") == (0.01, 0.1, 1.0)
    with pytest.raises(InvalidArgument, match="--rho"):
        numbers("a,b", "--rho")


def test_measuring_fewer_users_leaves_a_surface_its_centre_and_a_checkpoint_its_metrics(path):
    run("surface", PARTIAL, "--store", path, "--x=1:2:3", "--y=-1:1:3", "--metric", "accuracy")
    before = prepare_contour(Store.read(path)).panels[0].subtitle
    metrics = Store.read(path).checkpoint("partial_network").metrics
    for command in (("curvature",), ("sharpness", "--pairs", 2)):
        assert run(command[0], PARTIAL, "--store", path, "--users", 7, *command[1:]).exit_code in (0, 3)
    store = Store.read(path)
    assert prepare_contour(store).panels[0].subtitle == before
    assert store.checkpoint("partial_network").metrics == metrics
    assert set(metrics) == {"accuracy"}
    losses = {store.eigenpairs("partial_network").loss, store.sharpness("partial_network").loss}
    assert len(losses) == 1
    assert losses != {store.surface("partial_network-2d").centre["loss"]}


def test_fewer_products_do_not_replace_a_converged_spectrum_unless_asked(path):
    run("curvature", TARGET, "--store", path)
    before = Store.read(path).eigenpairs("quadratic")
    result = run("curvature", TARGET, "--store", path, "--max-products", 2)
    assert isinstance(result.exception, StoreMismatch)
    assert "expected max_products at least" in str(result.exception)
    kept = Store.read(path).eigenpairs("quadratic")
    assert (kept.provenance, kept.settings) == (before.provenance, before.settings)
    assert run("curvature", TARGET, "--store", path, "--max-products", 2, "--replace").exit_code == 3
    assert run("curvature", TARGET, "--store", path).exit_code == 0  # more is no worse
    assert Store.read(path).eigenpairs("quadratic").converged.all()


def test_replacing_a_spectrum_of_other_weights_takes_no_surface_along(path, monkeypatch):
    monkeypatch.setenv("NETWORK_SEED", "0")
    run("surface", DRIFTING, "--store", path, *SMALL_PLANE)
    run("curvature", DRIFTING, "--store", path)
    before = path.read_bytes()
    monkeypatch.setenv("NETWORK_SEED", "1")
    for command in ("curvature", "sharpness"):
        refused = run(command, DRIFTING, "--store", path, "--replace")
        assert isinstance(refused.exception, StoreMismatch)
        assert "surface 'drifting_network-2d'" in str(refused.exception)
    assert path.read_bytes() == before
    assert run("remove", path, "surfaces/drifting_network-2d").exit_code == 0
    assert run("curvature", DRIFTING, "--store", path, "--replace").exit_code in (0, 3)
    assert Store.read(path).names("surfaces") == []


def test_what_is_removed_is_all_or_nothing_and_is_named(path, tmp_path):
    run("surface", TARGET, "--store", path, "--x=-1:1:3")
    for wrong, error in (("surfaces/other", StoreError), ("tables/x", InvalidArgument), ("surfaces", InvalidArgument)):
        assert isinstance(run("remove", path, "surfaces/quadratic-1d", wrong).exception, error)
    assert Store.read(path).names("surfaces") == ["quadratic-1d"]
    assert isinstance(run("remove", tmp_path / "none.h5", "surfaces/x").exception, StoreError)
    assert not (tmp_path / "none.h5").exists()
    assert json.loads(run("remove", path, "surfaces/quadratic-1d", "--json").stdout)["removed"] == [
        "surfaces/quadratic-1d"
    ]
    assert Store.read(path).names("surfaces") == []


@pytest.mark.parametrize("command", ["surface", "curvature", "sharpness"])
def test_split_and_data_go_to_targets_that_take_them_and_others_refuse(path, command):
    assert run(command, PARTIAL, "--store", path, "--split", "test", "--dry-run").exit_code == 0
    for option in ("--data", "--split"):
        refused = run(command, TARGET, "--store", path, option, "elsewhere")
        assert isinstance(refused.exception, InvalidArgument)
        assert f"{option[2:]}='elsewhere'" in str(refused.exception)
    assert not path.exists()


def test_fewer_vectors_in_float32_are_told_and_kept(path, monkeypatch):
    monkeypatch.setattr(
        "landscape.curvature.ends.plan_basis", partial(plan_basis, memory=4 * 6 * quadratic().layout.size)
    )
    dry = run("curvature", TARGET, "--store", path, "--dry-run", "--json")
    assert "float32" in json.loads(dry.stdout)["dry_run"][0]["basis"]
    told = run("curvature", TARGET, "--store", path)
    assert told.exit_code == 0
    with Store.read(path) as store:
        kept = store.eigenpairs("quadratic")
    assert kept.settings["basis_dtype"] == "float32"
    assert f"{kept.settings['basis']} vectors kept in float32" in told.stdout
    (printed,) = json.loads(run("curvature", TARGET, "--store", path, "--json").stdout)["curvature"]
    assert (printed["basis"], printed["basis_dtype"]) == (kept.settings["basis"], "float32")
