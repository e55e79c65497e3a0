"""Stores that complete each other become one, whatever their order; what contradicts is refused and says where."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from landscape_tests.stores import PROVENANCE, checkpoint, eigenpairs, empty_surface, sharpness, values_at
from landscape_tests.test_stored_spectra import MORE, RECORDS, add, assert_same

from landscape.errors import StoreMismatch
from landscape.grid import Axis, Grid
from landscape.merge import merge_stores
from landscape.records import Mark, Provenance, SharpnessMeasure, Status
from landscape.store import Store

OTHER = dataclasses.replace(PROVENANCE, objective={"loss": "ce", "users": 7})
CLOSE_BY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)


def store_of(path, *additions, weights="w0"):
    """A store with the checkpoint "base" and what each of these adds."""
    path.unlink(missing_ok=True)
    with Store.write(path) as store:
        store.add_checkpoint(checkpoint(weights=weights))
        for addition in additions:
            addition(store)
    return path


def merged(tmp_path, *paths, out="out.h5"):
    (tmp_path / out).unlink(missing_ok=True)
    counts = merge_stores(paths, tmp_path / out)
    return counts, Store.read(tmp_path / out)


def refused(tmp_path, first, second, match):
    """Both orders are refused in one line, and nothing is left."""
    (tmp_path / "out.h5").unlink(missing_ok=True)
    for pair in ((first, second), (second, first)):
        with pytest.raises(StoreMismatch, match=match) as caught:
            merge_stores(pair, tmp_path / "out.h5")
        assert "\n" not in str(caught.value)
        assert not list(tmp_path.glob("*out.h5*"))


def test_eigenpairs_density_trace_and_subsets_of_one_name_stand_side_by_side(tmp_path):
    parts = [lambda s: s.add_eigenpairs(eigenpairs("base"))]
    parts += [lambda s, kind=kind: add(s, kind, RECORDS[kind][0]()) for kind in RECORDS]
    paths = [store_of(tmp_path / f"{k}.h5", part) for k, part in enumerate(parts)]
    for order in itertools.permutations(paths):
        counts, store = merged(tmp_path, *order)
        assert (counts["records"], counts["shared"]) == (5, 1)
        assert_same(store.eigenpairs("base"), eigenpairs("base"))
        for make, _, read in RECORDS.values():
            assert_same(getattr(store, read)("base"), make())


@pytest.mark.parametrize("kind", RECORDS)
def test_one_spectrum_is_of_one_checkpoint_and_objective(tmp_path, kind):
    make = RECORDS[kind][0]
    pairs = store_of(tmp_path / "a.h5", lambda s: s.add_eigenpairs(eigenpairs("base")))
    other = store_of(tmp_path / "b.h5", lambda s: add(s, kind, make(provenance=OTHER)))
    refused(tmp_path, pairs, other, "expected the objective of .* under one name .*loss (ce|bce)")
    with Store.write(tmp_path / "c.h5") as store:
        store.add_checkpoint(checkpoint("else", weights="w1"))
        add(store, kind, dataclasses.replace(make(), checkpoint="else"))
    refused(tmp_path, pairs, tmp_path / "c.h5", "expected the checkpoint w[01] of .* under one name, got w[01]")


def test_a_store_that_mixes_objectives_under_one_name_already_merges_with_a_part_of_itself(tmp_path):
    trace = RECORDS["traces"][0](provenance=OTHER)
    both = [lambda s: s.add_eigenpairs(eigenpairs("base")), lambda s: s.add_trace(trace)]
    one, other = store_of(tmp_path / "a.h5", *both), store_of(tmp_path / "b.h5", both[0])
    counts, store = merged(tmp_path, one, other)
    assert (counts["records"], counts["shared"]) == (3, 2)
    assert store.trace("base").provenance.objective["loss"] == "ce"


@pytest.mark.parametrize("kind", RECORDS)
def test_more_probes_or_draws_of_the_same_take_in_fewer(tmp_path, kind):
    make, _, read = RECORDS[kind]
    few = store_of(tmp_path / "few.h5", lambda s: add(s, kind, make()))
    many = store_of(tmp_path / "many.h5", lambda s: add(s, kind, make(**MORE[kind])))
    for order in ((few, many), (many, few)):
        _, store = merged(tmp_path, *order)
        assert_same(getattr(store, read)("base"), make(**MORE[kind]))


@pytest.mark.parametrize(("kind", "part"), [("densities", "nodes"), ("traces", "samples"), ("subsets", "values")])
def test_probes_or_draws_with_two_values_and_other_settings_are_refused(tmp_path, kind, part):
    make = RECORDS[kind][0]
    held = store_of(tmp_path / "a.h5", lambda s: add(s, kind, make()))
    off = dataclasses.replace(make(**MORE[kind]), **{part: getattr(make(**MORE[kind]), part) + 1})
    refused(tmp_path, held, store_of(tmp_path / "b.h5", lambda s: add(s, kind, off)), f"expected .*{part}")
    seeded = store_of(tmp_path / "c.h5", lambda s: add(s, kind, make(seed=5)))
    refused(tmp_path, held, seeded, "expected .* 'base' with (seed|tolerance) [0-9.]+, got (seed|tolerance) [0-9.]+ in")
    other = store_of(tmp_path / "d.h5", lambda s: add(s, kind, make(provenance=OTHER)))
    refused(tmp_path, held, other, "of another objective: expected .*loss")


def test_draws_of_subsets_that_only_one_store_has_are_put_in_order(tmp_path):
    whole = RECORDS["subsets"][0](draws=3)

    def rows(chosen):
        columns = ("users", "seeds", "losses", "values", "residuals", "converged", "products")
        return dataclasses.replace(whole, **{key: getattr(whole, key)[chosen] for key in columns})

    paths = [
        store_of(tmp_path / "a.h5", lambda s: s.add_subsets(rows([0, 2]))),
        store_of(tmp_path / "b.h5", lambda s: s.add_subsets(rows([0, 1]))),
    ]
    for order in (paths, paths[::-1]):
        _, store = merged(tmp_path, *order)
        assert_same(store.subsets("base"), whole)


def test_eigenpairs_found_twice_are_one_and_others_are_refused_by_the_one_that_differs(tmp_path):
    held = store_of(tmp_path / "a.h5", lambda s: s.add_eigenpairs(eigenpairs()))
    later = dataclasses.replace(
        eigenpairs(), provenance=dataclasses.replace(PROVENANCE, created="2027", command="again")
    )
    counts, store = merged(tmp_path, held, store_of(tmp_path / "b.h5", lambda s: s.add_eigenpairs(later)))
    assert (counts["records"], counts["shared"]) == (2, 2)
    assert_same(store.eigenpairs("both-ends"), eigenpairs())
    for change, match in (
        (
            {"values": np.array([0.4, 0.2, -0.5])},
            r"lambda_2 of curvature 'both-ends' with values 0\.[12], got 0\.[12] in",
        ),
        ({"method": "lanczos"}, "by (power|lanczos), got (power|lanczos) in"),
        ({"settings": {**eigenpairs().settings, "tolerance": 1e-4}}, "with tolerance .*, got tolerance"),
        ({"loss": 0.5}, r"expected the loss 0\.\d+ of curvature 'both-ends', got 0\.\d+"),
    ):
        record = dataclasses.replace(eigenpairs(), **change)
        refused(tmp_path, held, store_of(tmp_path / "c.h5", lambda s, r=record: s.add_eigenpairs(r)), match)


def report(*measures, provenance=PROVENANCE):
    return dataclasses.replace(sharpness(), measures=measures, provenance=provenance)


def test_measures_of_one_report_taken_apart_are_joined_whatever_time_they_took(tmp_path):
    sam, average = sharpness().measures
    other_rho = dataclasses.replace(sam, setting={**sam.setting, "rho": 0.2})
    slower = dataclasses.replace(sam, seconds=9.0)
    paths = [
        store_of(tmp_path / "a.h5", lambda s: s.add_sharpness(report(sam, average))),
        store_of(tmp_path / "b.h5", lambda s: s.add_sharpness(report(slower, other_rho))),
    ]
    for order in (paths, paths[::-1]):
        _, store = merged(tmp_path, *order)
        found = store.sharpness("report")
        assert len(found.measures) == 3
        assert all(any(measure == held for held in found.measures) for measure in (sam, average, other_rho))
        assert found.loss == 0.25


def test_one_measure_with_two_values_is_refused_with_its_settings(tmp_path):
    sam, average = sharpness().measures
    held = store_of(tmp_path / "a.h5", lambda s: s.add_sharpness(report(sam, average)))
    value, error = r"0.0[12] in sharpness 'report', got 0.0[12] in", "with the standard error"
    for measure, match in (
        (dataclasses.replace(sam, value=0.02), rf"expected sam \(adaptive False, rho 0.1\) {value}"),
        (dataclasses.replace(average, standard_error=2e-4), rf"average_case \(draws 8, sigma 0.01\) {error}"),
        (dataclasses.replace(sam, value=math.nan), r"expected sam .* in sharpness"),
    ):
        path = store_of(tmp_path / "b.h5", lambda s, m=measure: s.add_sharpness(report(m)))
        refused(tmp_path, held, path, match)
    path = store_of(tmp_path / "c.h5", lambda s: s.add_sharpness(report(sam, provenance=OTHER)))
    refused(tmp_path, held, path, "of another objective")
    nan = SharpnessMeasure("sam", {"rho": 9.0}, math.nan, math.nan, 2)
    twice = [store_of(tmp_path / f"{k}.h5", lambda s: s.add_sharpness(report(nan))) for k in "de"]
    assert merged(tmp_path, *twice)[0]["shared"] == 2


def filled(name="plane", *, metrics, done=range(15), **options):
    """A surface of 5 x 3 with these of its points measured."""

    def addition(store):
        surface = store.add_surface(dataclasses.replace(empty_surface(name, metrics=metrics), **options))
        indices = sorted(done)
        numbers = {value: values_at(indices, ())["loss"] + len(value) for value in surface.values}
        if indices:
            store.write_points(name, indices, numbers)

    return addition


def test_metrics_of_one_surface_measured_apart_are_joined_at_its_points(tmp_path):
    first = store_of(tmp_path / "a.h5", filled(metrics=("ndcg@10",)))
    second = store_of(tmp_path / "b.h5", filled(metrics=("hr@10", "gradient-norm")))
    for order in ((first, second), (second, first)):
        counts, store = merged(tmp_path, *order)
        surface = store.surface("plane")
        assert counts["points"] == 15
        assert set(surface.values) == {"loss", "standard_error", "ndcg@10", "hr@10", "gradient-norm"}
        assert set(surface.centre) == {"loss", "ndcg@10", "hr@10", "gradient-norm"}
        assert (surface.status == Status.DONE).all()
        for path in order:
            for name, values in Store.read(path).surface("plane").values.items():
                assert np.array_equal(surface.values[name], values), name
    with Store.write(tmp_path / "out.h5") as store:  # it goes on as one measured at once
        again = store.add_surface(empty_surface(metrics=("hr@10", "gradient-norm", "ndcg@10")))
        assert again.is_finished


def test_metrics_at_other_points_are_refused_unless_a_third_store_has_the_rest(tmp_path):
    whole = store_of(tmp_path / "a.h5", filled(metrics=("ndcg@10",)))
    left = store_of(tmp_path / "b.h5", filled(metrics=("hr@10",), done=range(7)))
    right = store_of(tmp_path / "c.h5", filled(metrics=("hr@10",), done=range(7, 15)))
    refused(
        tmp_path, whole, left, r"got loss, standard_error, ndcg@10 without hr@10 at 8 of them, the first \(0, 1.5\)"
    )
    for order in itertools.permutations((whole, left, right)):
        _, store = merged(tmp_path, *order)
        assert store.surface("plane").is_finished
        assert len(store.surface("plane").values) == 4


def test_values_centres_and_marks_that_contradict_are_refused_and_complementary_marks_are_kept(tmp_path):
    mark, other = Mark("one", 0.5), Mark("two", 1.0, loss=0.3)
    held = store_of(tmp_path / "a.h5", filled(metrics=(), marks=(mark,)))
    for change, match in (
        ({"marks": (Mark("one", 0.75),)}, "expected one Mark.* of the marks of surfaces/plane"),
        ({"centre": {"loss": 0.5}}, r"expected loss 0\.\d+ of the centre of surfaces/plane, got 0\.\d+ in"),
        ({"approximation": {"method": "exact", "reason": "no"}}, "interpolated in one way"),
    ):
        refused(tmp_path, held, store_of(tmp_path / "b.h5", filled(metrics=("hr@10",), **change)), match)
    second = store_of(tmp_path / "c.h5", filled(metrics=("hr@10",), marks=(other,), group="lines"))
    _, store = merged(tmp_path, held, second)
    assert set(store.surface("plane").marks) == {mark, other}
    assert store.surface("plane").group == "lines"


@CLOSE_BY
@given(data=st.data())
def test_any_split_of_a_grid_and_its_metrics_merges_into_the_whole(tmp_path, data):
    shape = data.draw(st.tuples(st.integers(2, 5), st.integers(1, 4)))
    grid = Grid(Axis(-1, 1, shape[0]), Axis(0, 2, shape[1]) if shape[1] > 1 else None)
    metrics = ("loss-of-others", "hr@10", "ndcg@10")[: data.draw(st.integers(0, 3))]
    seed = data.draw(st.integers(0, 99))
    numbers = np.random.default_rng(seed).standard_normal((2 + len(metrics), grid.size))
    numbers[np.abs(numbers) > 1.8] = np.nan  # some points are no numbers, and stay so
    table = dict(zip(("loss", "standard_error", *metrics), numbers, strict=True))
    owner = data.draw(st.lists(st.integers(0, 3), min_size=grid.size, max_size=grid.size))  # 3: nobody
    overlap = data.draw(st.lists(st.booleans(), min_size=grid.size, max_size=grid.size))
    split_metrics = data.draw(st.booleans()) and len(metrics) > 1
    parts = [(k, names) for k in range(3) for names in ((metrics[:1], metrics[1:]) if split_metrics else (metrics,))]

    def part(owned, names):
        def addition(store):
            store.add_surface(empty_surface(grid=grid, metrics=names))
            indices = [i for i in range(grid.size) if owner[i] == owned or (overlap[i] and owner[i] < 3)]
            columns = {name: table[name][indices] for name in ("loss", "standard_error", *names)}
            if indices:
                store.write_points("plane", indices, columns)

        return addition

    paths = [store_of(tmp_path / f"{k}.h5", part(*own)) for k, own in enumerate(parts)]
    order = data.draw(st.permutations(paths))
    whole = np.array(owner) < 3
    found = merged(tmp_path, *order)[1].surface("plane")
    assert np.array_equal(found.status.reshape(-1) != Status.PENDING, whole)
    for name in table:
        assert np.array_equal(found.values[name].reshape(-1)[whole], table[name][whole], equal_nan=True)
    finite = np.isfinite(np.stack([table[name] for name in table if name != "standard_error"])).all(axis=0)
    assert np.array_equal(found.status.reshape(-1) == Status.DONE, whole & finite)


def test_directions_kept_in_one_store_and_only_described_in_another_are_one(tmp_path):
    vector = np.arange(4, dtype=np.float32)
    kept, told = empty_surface(), empty_surface()
    kept = dataclasses.replace(kept, x=dataclasses.replace(kept.x, vector=vector))
    paths = [store_of(tmp_path / f"{k}.h5", lambda s, r=r: s.add_surface(r)) for k, r in enumerate((told, kept))]
    for order in (paths, paths[::-1]):
        _, store = merged(tmp_path, *order)
        assert np.array_equal(store.surface("plane").x.vector, vector)


def test_other_weights_under_one_name_are_refused(tmp_path):
    paths = [store_of(tmp_path / f"{w}.h5", lambda s: s.add_sharpness(sharpness()), weights=w) for w in ("w0", "w1")]
    refused(tmp_path, *paths, "expected the weights w[01] as checkpoint 'base', got w[01]")


def test_settings_left_at_their_defaults_are_no_other_objective(tmp_path):
    plain = Provenance("models:small", {"loss": "bce", "users": None, "seed": 0})
    told = Provenance("models:small", {"loss": "bce"})
    sam, average = sharpness().measures
    paths = [
        store_of(tmp_path / "a.h5", lambda s: s.add_sharpness(report(sam, provenance=plain))),
        store_of(tmp_path / "b.h5", lambda s: s.add_sharpness(report(average, provenance=told))),
    ]
    assert len(merged(tmp_path, *paths)[1].sharpness("report").measures) == 2
