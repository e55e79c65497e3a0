"""What a store lets take the place of what: the same goes on, better replaces worse, anything else is refused."""

import contextlib
import dataclasses

import numpy as np
import pytest
from landscape_tests import stores

from landscape.errors import StoreError, StoreMismatch
from landscape.grid import Grid, parse_axis
from landscape.records import Provenance, Status


def test_the_same_surface_goes_on_where_it_stopped(study):
    study.write_points("plane", [2], stores.values_at([2]))
    held = study.add_surface(stores.empty_surface())
    assert held.status.reshape(-1).tolist() == [0, 0, 1] + [0] * 12


@pytest.mark.parametrize(
    ("other", "part"),
    [
        (stores.empty_surface(checkpoint="second"), "checkpoint"),
        (stores.empty_surface(grid=Grid(parse_axis("-1:1:7"), parse_axis("0:3:3"))), "alpha axis"),
        (stores.empty_surface(grid=Grid(parse_axis("-1:1:5"))), "beta axis"),
        (stores.empty_surface(seed=5), "direction x"),
        (stores.empty_surface(objective={"loss": "ce", "users": 7}), "objective"),
        (stores.empty_surface(metrics=("hr@10",)), "values"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_another_surface_of_that_name_is_refused_and_the_first_kept(study, other, part):
    study.add_checkpoint(stores.checkpoint("second", "w1"))
    study.write_points("plane", [2], stores.values_at([2]))
    with pytest.raises(StoreMismatch, match=f"another {part}: expected .*, got "):
        study.add_surface(other)
    assert study.surface("plane").status.sum() == Status.DONE
    assert study.add_surface(other, replace=True).status.sum() == 0


def test_other_weights_of_that_name_are_refused(study):
    with pytest.raises(StoreMismatch, match="expected w0, got w1"):
        study.add_checkpoint(stores.checkpoint(weights="w1"))
    assert study.names("surfaces") == ["plane"]


def test_a_checkpoint_keeps_its_metrics_and_config_when_others_come(study):
    study.add_checkpoint(stores.checkpoint(metrics={"HR@10": 0.1}, config={"seed": 3}))
    study.add_checkpoint(dataclasses.replace(stores.checkpoint(), metrics={}, config={}))
    assert study.checkpoint("base").metrics == {"ndcg@10": 0.5, "HR@10": 0.1}
    assert study.checkpoint("base").config == {"size": 8, "seed": 3}


def test_other_weights_take_the_place_of_what_was_said_to_go_and_of_nothing_else(study, path):
    other = stores.checkpoint(weights="w2", metrics={"HR@10": 0.1})
    before = path.read_bytes()
    with pytest.raises(StoreMismatch, match=r"holds surface 'plane', sharpness 'report' measured on other weights"):
        study.add_checkpoint(other, replacing=[("curvature", "both-ends")])
    assert path.read_bytes() == before
    study.remove("surfaces", "plane")
    study.remove("sharpness", "report")
    study.add_checkpoint(other, replacing=[("curvature", "both-ends")])
    assert study.names("curvature") == []
    assert (study.checkpoint("base").hash, study.checkpoint("base").metrics) == ("w2", {"HR@10": 0.1})


def test_records_of_another_checkpoint_stay_whatever_is_said_to_go(study):
    study.add_checkpoint(stores.checkpoint("second", "w1"))
    study.add_eigenpairs(stores.eigenpairs("second", "second"))
    for kind in ("surfaces", "curvature", "sharpness"):
        study.remove(kind, {"surfaces": "plane", "curvature": "both-ends", "sharpness": "report"}[kind])
    study.add_checkpoint(stores.checkpoint(weights="w2"), replacing=[("curvature", "second")])
    assert study.names("curvature") == ["second"]


def test_what_is_removed_must_be_there(study):
    with pytest.raises(StoreError, match=r"'plan' among the surfaces .* it has plane"):
        study.remove("surfaces", "plan")


def test_sharpness_of_the_same_origin_is_brought_up_to_date(study):
    study.add_sharpness(stores.sharpness(value=0.07))
    assert study.sharpness("report").measures[0].value == 0.07


def allowed(max_products, **changes):
    pairs = stores.eigenpairs()
    return dataclasses.replace(pairs, **changes, settings={**pairs.settings, "max_products": max_products})


def test_eigenpairs_give_way_to_their_like_and_to_better_ones_alone(study):
    held = stores.eigenpairs()
    study.add_eigenpairs(held)
    study.add_eigenpairs(allowed(400, residuals=np.array([2e-5, 1e-5, 4e-6]), converged=np.full(3, True)))
    for worse in (
        allowed(3, converged=np.full(3, False), residuals=np.full(3, 1e-4)),
        allowed(500, labels=("lambda_max", "lambda_3", "lambda_min")),
    ):
        with pytest.raises(StoreMismatch):
            study.add_eigenpairs(worse)
        assert study.eigenpairs("both-ends").converged.all()
    study.add_eigenpairs(worse, replace=True)
    assert study.eigenpairs("both-ends").labels == worse.labels


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [
        ({}, None),
        ({"max_products": 200, "top": 3, "tolerance": 1e-4}, None),
        ({"max_products": 99}, "max_products at least 100, got 99"),
        ({"tolerance": 0.01}, "tolerance at most 0.001, got 0.01"),
        ({"top": 1, "max_products": 1000}, "top at least 2, got 1"),
    ],
)
@pytest.mark.parametrize("settings_kept", [True, False])
def test_eigenpairs_that_could_come_out_worse_are_refused_before_they_are_made(study, wanted, refused, settings_kept):
    held = stores.eigenpairs()
    if not settings_kept:  # as in the first stores
        study.add_eigenpairs(dataclasses.replace(held, settings={}), replace=True)
    arguments = ("curvature", "both-ends", stores.checkpoint(), stores.PROVENANCE)
    with contextlib.nullcontext() if refused is None else pytest.raises(StoreMismatch, match=refused):
        study.check_origin(*arguments, settings={**held.settings, **wanted})
    study.check_origin(*arguments, settings={**held.settings, **wanted}, replace=True)


def test_products_that_were_enough_are_enough_again(study):
    study.add_eigenpairs(dataclasses.replace(stores.eigenpairs(), converged=np.full(3, True)), replace=True)
    arguments = ("curvature", "both-ends", stores.checkpoint(), stores.PROVENANCE)
    settings = {**stores.eigenpairs().settings, "max_products": 100}
    study.check_origin(*arguments, settings=settings)
    with pytest.raises(StoreMismatch, match=r"\(converged\).* at least 100, got 99"):
        study.check_origin(*arguments, settings={**settings, "max_products": 99})


def test_a_setting_left_at_its_default_is_as_if_not_given(study):
    said = {**stores.PROVENANCE.objective, "split": "train", "data": None, "seed": 0}
    for provenance in (Provenance("models:small", said), stores.PROVENANCE):
        study.add_sharpness(dataclasses.replace(stores.sharpness(), provenance=provenance))
    with pytest.raises(StoreMismatch, match="expected split train, got split test"):
        study.add_sharpness(
            dataclasses.replace(stores.sharpness(), provenance=Provenance("m", {**said, "split": "test"}))
        )


def test_eigenvalues_and_sharpness_of_another_origin_are_refused(study):
    study.add_checkpoint(stores.checkpoint("second", "w1"))
    elsewhere = Provenance("models:small", {"loss": "ce"})
    for add, record in ((study.add_sharpness, stores.sharpness), (study.add_eigenpairs, stores.eigenpairs)):
        with pytest.raises(StoreMismatch, match="another checkpoint"):
            add(record(checkpoint="second"))
        with pytest.raises(StoreMismatch, match="another objective"):
            add(dataclasses.replace(record(), provenance=elsewhere))
        add(record(checkpoint="second"), replace=True)
    with pytest.raises(StoreMismatch, match="another block: expected all weights, got bias"):
        study.add_eigenpairs(dataclasses.replace(stores.eigenpairs(checkpoint="second"), settings={"block": "bias"}))


def test_a_measurement_needs_its_checkpoint(study):
    with pytest.raises(StoreError, match="'nobody'"):
        study.add_surface(stores.empty_surface("new", checkpoint="nobody"))
