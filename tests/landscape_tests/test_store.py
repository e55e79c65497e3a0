"""A store gives back what was put in, refuses what does not belong, and has one writer at a time."""

import dataclasses
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import xarray
from landscape_tests import stores

from landscape.errors import InvalidArgument, StoreError, StoreLocked
from landscape.grid import Grid, parse_axis
from landscape.records import Status, Table
from landscape.store import Store


def assert_same(one, other):
    """Equal records, arrays and NaN included."""
    assert type(one) is type(other)
    for field in dataclasses.fields(one):
        np.testing.assert_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


# What goes in comes out


def test_every_record_comes_back_as_it_was(study):
    store = Store.read(study.path)
    assert_same(store.checkpoint("base"), stores.checkpoint())
    assert_same(store.surface("plane"), stores.empty_surface())
    assert_same(store.eigenpairs("both-ends"), stores.eigenpairs())
    assert_same(store.sharpness("report"), stores.sharpness())
    assert [store.names(kind) for kind in ("checkpoints", "surfaces", "curvature", "sharpness", "histories")] == [
        ["base"],
        ["plane"],
        ["both-ends"],
        ["report"],
        [],
    ]


def test_a_line_has_no_beta(study):
    line = stores.empty_surface("line", Grid(parse_axis("-1:1:5")))
    assert_same(study.add_surface(line), line)


def test_tables_keep_their_columns_types_and_order(study):
    columns = {
        "row": np.array(["first", "zweite é"]),
        "hr@10": np.array([0.5, np.nan]),
        "epoch": np.array([1, 2]),
        "best": np.array([False, True]),
    }
    table = Table("scores", columns, {"level": "users", "seeds": [1, 2], "note": None})
    study.add_table("comparisons", table)
    found = study.table("comparisons", "scores")
    assert list(found.columns) == list(columns)
    assert found.columns["best"].dtype == np.bool_
    assert_same(found, table)


@pytest.mark.parametrize(
    "columns",
    [
        {"a": np.arange(2), "b": np.arange(3)},
        {"a": np.zeros((2, 2))},
        {"a": np.array([1, "x", None], dtype=object)},
        {"a": np.array([1j])},
        {"a/b": np.arange(2)},
    ],
)
def test_a_table_that_does_not_fit_is_refused_and_leaves_no_trace(study, columns):
    with pytest.raises(InvalidArgument):
        study.add_table("studies", Table("wrong", columns))
    assert study.names("studies") == []


def test_many_tables_come_and_go_in_one_replacement_of_the_file(study, path):
    one, two, three = (Table(name, {"a": np.arange(size)}) for name, size in (("one", 1), ("two", 2), ("three", 3)))
    study.add_tables([("studies", one), ("studies", two), ("histories", one)])
    before = path.stat().st_ino, path.read_bytes()
    with pytest.raises(InvalidArgument):
        study.add_tables(
            [("studies", three), ("studies", Table("a/b", {"a": np.arange(2)}))], removing=[("studies", "one")]
        )
    assert (path.stat().st_ino, path.read_bytes()) == before
    bigger = Table("two", {"a": np.arange(5)})
    study.add_tables([("studies", three), ("studies", bigger)], removing=[("studies", "one"), ("studies", "nowhere")])
    assert study.names("studies") == ["three", "two"]
    assert study.names("histories") == ["one"]
    assert_same(study.table("studies", "two"), bigger)


def test_what_is_not_there_is_named_with_what_is(study):
    with pytest.raises(StoreError, match=r"'plan' among the surfaces .* it has plane"):
        study.surface("plan")


@pytest.mark.parametrize("name", ["", "a/b", "..", "."])
def test_a_name_that_is_a_path_is_refused(study, name):
    with pytest.raises(InvalidArgument):
        study.add_checkpoint(stores.checkpoint(name))


def test_settings_that_are_not_json_are_refused(study):
    with pytest.raises(InvalidArgument, match="JSON"):
        study.add_checkpoint(stores.checkpoint(config={"model": object()}))


# Points


def test_points_land_where_their_index_says(study):
    indices = np.array([14, 3, 4, 0])
    study.write_points("plane", indices, stores.values_at(indices))
    surface = study.surface("plane")
    expected = np.full(15, np.nan)
    expected[indices] = stores.values_at(indices)["ndcg@10"]
    np.testing.assert_array_equal(surface.values["ndcg@10"], expected.reshape(5, 3))
    assert np.flatnonzero(surface.status.reshape(-1) == Status.DONE).tolist() == [0, 3, 4, 14]
    assert not surface.is_finished


def test_a_value_that_is_not_finite_is_kept_and_flagged(study):
    values = {"loss": [1.0, np.inf, np.nan, 1.0], "standard_error": [np.nan] * 4, "ndcg@10": [1.0, 1.0, 1.0, np.nan]}
    study.write_points("plane", [0, 1, 2, 3], values)
    surface = study.surface("plane")
    done, not_finite = Status.DONE, Status.NON_FINITE
    assert surface.status.reshape(-1)[:5].tolist() == [done, not_finite, not_finite, not_finite, Status.PENDING]
    np.testing.assert_array_equal(surface.values["loss"].reshape(-1)[:4], [1.0, np.inf, np.nan, 1.0])


@pytest.mark.parametrize(
    ("indices", "values"),
    [
        ([15], stores.values_at([15])),
        ([-1], stores.values_at([-1])),
        ([1, 1], stores.values_at([1, 1])),
        ([1, 2], stores.values_at([1])),
        ([1], stores.values_at([1], metrics=())),
    ],
)
def test_points_that_do_not_fit_are_refused_before_any_is_written(study, indices, values):
    with pytest.raises(InvalidArgument):
        study.write_points("plane", indices, values)
    assert not study.surface("plane").status.any()


def test_a_reader_opened_before_sees_points_and_groups_written_later(study, path):
    reader = Store.read(path)
    study.write_points("plane", [5], stores.values_at([5]))
    assert reader.surface("plane").status.sum() == Status.DONE
    study.add_checkpoint(stores.checkpoint("second", "w1"))
    study.write_points("plane", [6], stores.values_at([6]))
    assert reader.names("checkpoints") == ["base", "second"]
    assert reader.surface("plane").status.sum() == 2 * Status.DONE


def test_points_of_several_surfaces_interleave_with_new_groups(study):
    for name in ("a", "b", "c"):
        study.add_surface(stores.empty_surface(name))
        for surface in study.names("surfaces"):
            index = int((study.surface(surface).status != 0).sum())
            study.write_points(surface, [index], stores.values_at([index]))
    done = {name: int((study.surface(name).status != 0).sum()) for name in study.names("surfaces")}
    assert done == {"a": 3, "b": 2, "c": 1, "plane": 3}
    np.testing.assert_array_equal(study.surface("a").values["loss"][0], stores.values_at([0, 1, 2])["loss"])


# Stores written before records kept their own loss


def test_a_store_of_before_is_read_with_the_loss_of_its_checkpoint(study, path):
    study.close()
    with h5py.File(path, "r+") as file:
        file["checkpoints/base"].attrs["loss"] = 0.7
        for group, attribute in (("surfaces/plane", "centre"), ("curvature/both-ends", "settings")):
            del file[group].attrs[attribute]
        for group in ("curvature/both-ends", "sharpness/report"):
            del file[group].attrs["centre_loss"]
    store = Store.read(path)
    assert store.checkpoint("base").loss == 0.7
    assert store.surface("plane").centre == {}
    assert (store.eigenpairs("both-ends").loss, store.eigenpairs("both-ends").settings) == (None, {})
    assert store.sharpness("report").loss is None
    with Store.write(path) as writer:
        writer.add_checkpoint(stores.checkpoint())
        assert writer.checkpoint("base").loss == 0.7


# Other tools


def test_xarray_opens_a_surface_with_named_axes(study, path):
    study.write_points("plane", range(15), stores.values_at(range(15)))
    with xarray.open_dataset(path, engine="h5netcdf", group="surfaces/plane") as plane:
        assert plane["loss"].dims == ("alpha", "beta")
        assert plane["loss"].sel(alpha=0.5, beta=3).item() == stores.values_at([11])["loss"][0]
        assert plane["status"].attrs["flag_meanings"] == "pending done non_finite"
        assert plane["status"].attrs["flag_values"].tolist() == [0, 1, 2]
    with xarray.open_dataset(path, engine="h5netcdf", group="curvature/both-ends") as pairs:
        assert pairs["values"].sel(label="lambda_min").item() == -0.5
        assert pairs["converged"].dtype == np.bool_


def test_a_store_repacked_by_another_tool_can_be_read_but_not_written(study, path):
    study.close()
    with h5py.File(path, "r+") as file:
        group = file["surfaces/plane"]
        values = group["loss"][...]
        del group["loss"]
        group.create_dataset("loss", data=values, chunks=True, compression="gzip")
    with Store.write(path) as store:
        assert store.surface("plane").status.shape == (5, 3)
        with pytest.raises(StoreError, match="rewritten by another tool"):
            store.write_points("plane", [0], stores.values_at([0]))


# Files that are no stores


def test_a_missing_file_is_named(path):
    with pytest.raises(StoreError, match="found no file"):
        Store.read(path)


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(StoreError, match=r"expected a folder .*no to write study\.h5 in, found none"):
        Store.write(tmp_path / "no" / "study.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("opening", [Store.read, Store.write])
def test_files_of_other_kinds_are_refused_and_left_alone(tmp_path, opening):
    text, other, empty = tmp_path / "text.h5", tmp_path / "other.h5", tmp_path / "empty.h5"
    text.write_text("1 2 3\n" * 1000)
    empty.touch()
    with h5py.File(other, "w") as file:
        file["x"] = 1
    for wrong, said in ((text, "not HDF5"), (empty, "found "), (other, "another format"), (tmp_path, "found a folder")):
        before = wrong.read_bytes() if wrong.is_file() else None
        with pytest.raises(StoreError, match=said):
            opening(wrong)
        assert before is None or wrong.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.h5", "other.h5", "text.h5"]


def test_a_store_cut_short_is_refused_wherever_it_was_cut(study, path):
    study.close()
    whole = path.read_bytes()
    for kept in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(StoreError, match=r"^expected a store at [^\n]*$"):
            Store.read(path)


def test_a_store_of_a_later_format_is_refused(study, path):
    study.close()
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(StoreError, match="99"):
        Store.read(path)


def test_a_damaged_group_is_an_error_of_one_line(study, path):
    study.close()
    with h5py.File(path, "r+") as file:
        del file["surfaces/plane/status"]
    with pytest.raises(StoreError, match=r"damaged: [^\n]*$"):
        Store.read(path).surface("plane")


# One writer


def test_a_second_writer_is_told_who_the_first_is(study, path):
    with pytest.raises(StoreLocked, match=f"process {os.getpid()} "):
        Store.write(path)
    code = f"from landscape.store import Store; Store.write({str(path)!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "StoreLocked" in other.stderr
    study.close()
    Store.write(path).close()
    assert [p.name for p in path.parent.iterdir()] == ["study.h5"]


def test_a_reader_cannot_write(study):
    reader = Store.read(study.path)
    for act in (
        lambda: reader.add_checkpoint(stores.checkpoint()),
        lambda: reader.add_surface(stores.empty_surface()),
        lambda: reader.write_points("plane", [0], stores.values_at([0])),
    ):
        with pytest.raises(StoreError, match="reading only"):
            act()


def test_a_store_removed_under_its_writer_is_noticed(study, path):
    study.write_points("plane", [0], stores.values_at([0]))
    path.unlink()
    with pytest.raises(StoreError):
        study.write_points("plane", [1], stores.values_at([1]))


def test_a_link_to_a_store_stays_a_link(study, path):
    study.close()
    link = path.with_name("link.h5")
    link.symlink_to(path)
    with Store.write(link) as store:
        store.add_checkpoint(stores.checkpoint("second", "w1"))
    assert link.is_symlink()
    assert Store.read(path).names("checkpoints") == ["base", "second"]
