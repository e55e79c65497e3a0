"""`loader:where` opens an objective that knows how to be built again, or says in one line why not."""

import importlib.metadata

import pytest
from landscape_tests.known import quadratic, small_network

from landscape.describe import checkpoint_record, provenance
from landscape.errors import InvalidArgument, UnknownTarget
from landscape.parameters import content_hash
from landscape.targets import load_objective

STANDARD = {"users": None, "loss": None, "seed": 0, "split": "train", "device": "auto"}


def not_an_objective():
    return 3


class RefusedError(Exception):
    exit_code = 2


def refusing(where, **settings):
    raise RefusedError(f"no run in {where}, {settings}")


def registered(where, **settings):
    return small_network(seed=settings["seed"] + len(where))


@pytest.fixture
def loaders(monkeypatch):
    """Registered loaders, one of them with the name of a module that can be imported."""
    points = [
        importlib.metadata.EntryPoint(name, f"landscape_tests.test_targets:{function}", "landscape.loaders")
        for name, function in (("landscape_tests", "registered"), ("broken", "refusing"))
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group else [])
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda point: globals()[point.attr])


def test_a_function_of_a_module_is_called_with_the_settings_it_takes():
    opened = load_objective("landscape_tests.known:small_network", **STANDARD | {"seed": 5})
    assert content_hash(opened.weights) == content_hash(small_network(seed=5).weights)


def test_the_recipe_opens_the_same_objective_again():
    opened = load_objective("landscape_tests.known:quadratic", **STANDARD | {"seed": 2})
    again = load_objective(opened.recipe.target, **opened.recipe.settings)
    assert content_hash(again.weights) == content_hash(opened.weights)


def test_a_setting_the_function_does_not_take_is_refused_unless_left_alone():
    with pytest.raises(InvalidArgument, match="users=10"):
        load_objective("landscape_tests.known:quadratic", **STANDARD | {"users": 10})
    with pytest.raises(InvalidArgument, match="takes, none, got users=10: a function takes"):
        load_objective("landscape_tests.test_targets:not_an_objective", **STANDARD | {"users": 10})


@pytest.mark.usefixtures("loaders")
def test_a_registered_loader_wins_over_a_module_of_its_name():
    opened = load_objective("landscape_tests:four", seed=1)
    assert content_hash(opened.weights) == content_hash(small_network(seed=5).weights)
    assert (opened.recipe.target, opened.recipe.settings) == ("landscape_tests:four", {"seed": 1})


@pytest.mark.usefixtures("loaders")
def test_what_a_loader_refuses_on_purpose_is_one_of_our_errors():
    with pytest.raises(UnknownTarget, match="cannot open broken:runs/x: no run in runs/x"):
        load_objective("broken:runs/x")


@pytest.mark.parametrize("target", ["samrec", "samrec:", ":x", ""])
def test_a_target_without_loader_or_place_is_refused(target):
    with pytest.raises(UnknownTarget, match="module:function, or loader:where"):
        load_objective(target)


def test_a_module_named_with_its_ending_is_told_to_leave_it_out(tmp_path, monkeypatch):
    (tmp_path / "my_network.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownTarget, match=r"got 'my_network\.py': a module is named without \.py$"):
        load_objective("my_network.py:f")


@pytest.mark.usefixtures("loaders")
def test_an_unknown_loader_or_function_is_answered_with_near_ones():
    with pytest.raises(UnknownTarget, match=r"\(broken\).*'brokn'"):
        load_objective("brokn:x")
    with pytest.raises(UnknownTarget, match=r"'quadrtic'; near: .*quadratic"):
        load_objective("landscape_tests.known:quadrtic")


def test_a_function_that_gives_no_objective_is_refused():
    with pytest.raises(UnknownTarget, match=r"got a int without layout.*Objective\.from_model\(model, loss, batches\)"):
        load_objective("landscape_tests.test_targets:not_an_objective")


def test_a_module_that_cannot_import_what_it_needs_is_a_bug_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import certainly_not_installed\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="certainly_not_installed"):
        load_objective("needs_more:f")


def test_records_say_which_checkpoint_and_where_from():
    opened = load_objective("landscape_tests.known:small_network", **STANDARD | {"seed": 5})
    record = checkpoint_record(opened, "five", metrics=["accuracy"])
    assert record.hash == content_hash(opened.weights)
    assert record.norm == pytest.approx(float(opened.layout.flatten(opened.weights).norm()))
    assert (record.parameters, set(record.metrics)) == (opened.layout.size, {"accuracy"})
    told = provenance(opened, "landscape surface")
    assert told.target == "landscape_tests.known:small_network"
    assert (told.objective["units"], told.objective["targets"], told.objective["seed"]) == (21, 21, 5)
    assert {"torch", "numpy", "python", "samrec"} <= set(told.versions)
    assert provenance(quadratic()).target == ""
