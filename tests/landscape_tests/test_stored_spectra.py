"""Densities, traces and subsets in a store: read back exactly, more of the same replaces less, others are refused."""

import dataclasses

import h5py
import numpy as np
import pytest
from landscape_tests.stores import PROVENANCE, checkpoint, eigenpairs

from landscape.errors import StoreError, StoreMismatch
from landscape.records import BlockMass, Provenance
from landscape.spectra import Density, Subsets, Trace, trace_differences
from landscape.store import Store

KINDS = ("densities", "traces", "subsets")


def density(name="base", *, probes=2, seed=0, provenance=PROVENANCE):
    nodes = np.array([[-0.5, 0.1, 0.7], [-0.4, 0.2, np.nan], [-0.3, 0.0, 0.9]])[:probes]
    weights = np.array([[0.2, 0.6, 0.2], [0.1, 0.9, 0.0], [0.3, 0.3, 0.4]])[:probes]
    settings = {"steps": 3, "seed": seed, "block": None, "coordinates": "raw"}
    return Density(name, "base", nodes, weights, nodes / 100, 10, 3 * probes, provenance, 0.25, settings)


def trace(name="base", *, probes=2, seed=0, provenance=PROVENANCE):
    samples = np.array([[1.0, 2.0, 4.0], [9.0, 16.0, 25.0], [0.5, 0.25, 0.125]])[:, :probes]
    return Trace(
        name,
        "base",
        ("trace", "frobenius_norm", "trace"),
        ("all", "all", "attention"),
        ("raw", "raw", "relative"),
        np.array([10, 10, 4]),
        samples,
        probes,
        provenance,
        0.25,
        {"method": "hutchinson", "seed": seed, "block": None, "relative": True},
    )


def subsets(name="base", *, draws=2, seed=1e-2, provenance=PROVENANCE):
    values = np.array([[0.5, -0.6], [0.4, -0.5], [0.45, -0.55]])[:draws]
    return Subsets(
        name,
        "base",
        np.array([256, 256, 512])[:draws],
        np.array([0, 1, 0])[:draws],
        np.full(draws, 0.3),
        values,
        abs(values) / 100,
        np.array([[True, True], [True, False], [True, True]])[:draws],
        np.full(draws, 20),
        provenance,
        {"tolerance": seed, "max_products": 300},
    )


RECORDS = {
    "densities": (density, "add_density", "density"),
    "traces": (trace, "add_trace", "trace"),
    "subsets": (subsets, "add_subsets", "subsets"),
}
MORE = {"densities": {"probes": 3}, "traces": {"probes": 3}, "subsets": {"draws": 3}}


@pytest.fixture
def study(tmp_path):
    with Store.write(tmp_path / "study.h5") as store:
        store.add_checkpoint(checkpoint())
        yield store


def add(store, kind, record, **options):
    getattr(store, RECORDS[kind][1])(record, **options)


def assert_same(one, other):
    for key in (field.name for field in dataclasses.fields(one)):
        np.testing.assert_equal(getattr(one, key), getattr(other, key), err_msg=key)


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_comes_back_exactly(study, kind):
    record = RECORDS[kind][0]()
    add(study, kind, record)
    assert_same(getattr(study, RECORDS[kind][2])("base"), record)
    assert study.names(kind) == ["base"]
    with pytest.raises(StoreError, match=f"expected 'other' among the {kind}"):
        getattr(study, RECORDS[kind][2])("other")


@pytest.mark.parametrize("kind", KINDS)
def test_more_of_the_same_replaces_less_and_not_the_other_way_round(study, kind):
    make = RECORDS[kind][0]
    add(study, kind, make())
    more = make(**MORE[kind])
    add(study, kind, more)
    with pytest.raises(StoreMismatch, match="expected at least 3"):
        add(study, kind, make())
    assert_same(getattr(study, RECORDS[kind][2])("base"), more)
    add(study, kind, make(), replace=True)
    assert_same(getattr(study, RECORDS[kind][2])("base"), make())


@pytest.mark.parametrize("kind", KINDS)
def test_other_settings_or_another_objective_are_refused_unless_replaced(study, kind):
    make = RECORDS[kind][0]
    add(study, kind, make())
    other = make(provenance=Provenance("models:small", {"loss": "ce", "users": 7}))
    for wrong, told in ((make(seed=5), "of other settings"), (other, "another objective: expected loss bce, got")):
        with pytest.raises(StoreMismatch, match=told):
            add(study, kind, wrong)
    add(study, kind, make(seed=5), replace=True)
    assert_same(getattr(study, RECORDS[kind][2])("base"), make(seed=5))


def test_the_users_of_a_draw_are_no_part_of_the_objective_of_subsets(study):
    study.add_subsets(subsets())
    study.add_subsets(subsets(draws=3, provenance=Provenance("models:small", {"loss": "bce", "users": 512, "seed": 3})))
    assert study.subsets("base").users.tolist() == [256, 256, 512]


def test_what_shares_a_name_comes_and_goes_apart(study):
    for kind in KINDS:
        add(study, kind, RECORDS[kind][0]())
    assert study.names("curvature") == []  # no eigenpairs yet
    study.add_eigenpairs(eigenpairs("base"))
    study.add_eigenpairs(eigenpairs("base"), replace=True)
    assert [study.names(kind) for kind in ("curvature", *KINDS)] == [["base"]] * 4
    study.remove("curvature", "base")
    assert [study.names(kind) for kind in ("curvature", *KINDS)] == [[], ["base"], ["base"], ["base"]]
    study.add_eigenpairs(eigenpairs("base"))
    for kind in KINDS:
        study.remove(kind, "base")
        assert study.names(kind) == []
    assert study.eigenpairs("base").values.tolist() == [0.4, 0.1, -0.5]
    study.remove("curvature", "base")
    with h5py.File(study.path) as file:
        assert list(file["curvature"]) == []


def test_other_weights_take_a_density_along_only_when_it_is_the_one_to_replace(study):
    study.add_density(density())
    study.add_trace(trace())
    changed = checkpoint(weights="w1")
    with pytest.raises(StoreMismatch, match="holds trace 'base' measured on other weights"):
        study.add_checkpoint(changed, replacing=[("densities", "base")])
    study.remove("traces", "base")
    study.add_checkpoint(changed, replacing=[("densities", "base")])
    assert study.names("densities") == []


def test_what_a_measurement_goes_on_with_is_what_is_held_of_the_same_settings(study):
    asked = "densities", "base", checkpoint(), PROVENANCE
    assert study.spectrum_to_extend(*asked, density().settings) is None
    study.add_density(density())
    assert_same(study.spectrum_to_extend(*asked, density().settings), density())
    with pytest.raises(StoreMismatch, match="expected seed 0, got seed 9"):
        study.spectrum_to_extend(*asked, density(seed=9).settings)
    assert study.spectrum_to_extend(*asked, density(seed=9).settings, replace=True) is None


def test_eigenpairs_keep_where_they_live_and_older_ones_say_nothing(study):
    mass = BlockMass(("table", "rows:head"), np.array([8, 2]), 10, np.array([[0.9, 0.1], [0.5, 0.5], [1.0, 0.0]]))
    study.add_eigenpairs(dataclasses.replace(eigenpairs("base"), mass=mass))
    read = study.eigenpairs("base").mass
    assert read is not None
    assert_same(read, mass)
    assert read.shares.tolist() == [0.8, 0.2]
    study.add_eigenpairs(eigenpairs("without"))
    assert study.eigenpairs("without").mass is None


def test_xarray_opens_each_group_with_named_axes(study):
    import xarray

    for kind in KINDS:
        add(study, kind, RECORDS[kind][0]())
    study.close()
    dimensions = {"density": {"probe": 2, "step": 3}, "trace": {"row": 3, "probe": 2}, "subsets": {"row": 2, "end": 2}}
    for group, sizes in dimensions.items():
        with xarray.open_dataset(study.path, engine="h5netcdf", group=f"curvature/base/{group}") as opened:
            assert dict(opened.sizes) == sizes
    with xarray.open_dataset(study.path, engine="h5netcdf", group="curvature/base/trace") as opened:
        assert opened["value"].values.tolist() == [1.5, 12.5**0.5, 0.375]


def test_two_traces_are_compared_probe_by_probe_and_only_where_the_probes_are_the_same():
    one, other = trace(probes=3), trace("other", probes=3)
    other = dataclasses.replace(other, samples=one.samples + np.array([[0.0, 0.3, 0.6], [1, 1, 1], [2, 2, 2]]))
    found = trace_differences(one, other)
    assert found == {
        ("all", "raw"): (pytest.approx(0.3), pytest.approx(0.3 / 3**0.5)),
        ("attention", "relative"): (pytest.approx(2.0), pytest.approx(0.0, abs=1e-12)),
    }
    assert trace_differences(one, trace(probes=3, seed=1)) == {}
    smaller = dataclasses.replace(other, sizes=np.array([9, 9, 4]))
    assert trace_differences(one, smaller) == {}  # its probes are others, in equal blocks too


def test_the_estimates_of_a_record_are_means_with_errors_and_ends_with_residuals():
    record = trace(probes=3)
    assert record.estimate("trace") == (pytest.approx(7 / 3), pytest.approx(np.std([1, 2, 4], ddof=1) / 3**0.5))
    value, error = record.estimate("frobenius_norm")
    assert (value**2, 2 * value * error) == (pytest.approx(50 / 3), pytest.approx(np.std([9, 16, 25], ddof=1) / 3**0.5))
    assert density(probes=3).end(1) == (0.9, pytest.approx(0.009))
    assert density(probes=3).end(-1) == (-0.5, pytest.approx(-0.005))
    means = [(-0.1 + 0.06 + 0.14), (-0.04 + 0.18), (-0.09 + 0.36)]
    assert density(probes=3).trace[0] == pytest.approx(10 * np.mean(means))
