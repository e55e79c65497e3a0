import json

import pytest
from typer.testing import CliRunner

from landscape.cli.main import app
from landscape.cli.measuring import name_of, numbers
from landscape.errors import InvalidArgument
from landscape.store import Store

TARGET = "landscape_tests.known:quadratic"


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.h5"


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


def test_names_are_the_ends_of_paths_and_lists_of_numbers_are_read():
    assert (name_of("samrec:runs/beauty-sam/"), name_of("module:function")) == ("beauty-sam", "function")
    assert numbers("0.01,.1, 1", "--rho") == (0.01, 0.1, 1.0)
    with pytest.raises(InvalidArgument, match="--rho"):
        numbers("a,b", "--rho")
