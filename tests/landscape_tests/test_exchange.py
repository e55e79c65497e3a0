"""Surfaces go to other programs and come back bit for bit, and what is missing is never taken for a number."""

import json
import xml.etree.ElementTree as ElementTree

import h5py
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from landscape_tests.stores import checkpoint, eigenpairs, empty_surface, sharpness, values_at
from typer.testing import CliRunner

from landscape.cli.commands import app
from landscape.errors import InvalidArgument, StoreMismatch
from landscape.exchange.csv_files import read_surface_csv, surface_csv
from landscape.exchange.loss_landscape import loss_landscape_bytes, read_loss_landscape
from landscape.exchange.vtk_files import surface_vtk
from landscape.grid import Axis, Grid
from landscape.plots import prepare
from landscape.plots.matplotlib_figures import contour, curve
from landscape.records import Provenance, Status
from landscape.spectra import Trace
from landscape.store import Store

X3 = Axis(-1, 1, 3)
X, Y = np.linspace(-1, 1, 5), np.linspace(-0.5, 2, 3)


def slope(x, y):
    """Of no symmetry: an axis taken for the other, or turned around, shows."""
    return 3 * x + y**2 + 7


def as_the_tool_writes(path, x=X, y=Y, *, left_out=(), accuracy=True, loss=slope):
    """What plot_surface.py leaves behind, by its own way of counting points: flat, over meshgrid(x, y)."""
    losses = -np.ones((len(x),) if y is None else (len(x), len(y)))
    accuracies = losses.copy()
    if y is None:
        places = [(one, 0.0) for one in x]
    else:
        x_mesh, y_mesh = np.meshgrid(x, y)
        places = list(zip(x_mesh.ravel(), y_mesh.ravel(), strict=True))
    for k, (one, other) in enumerate(places):
        if k not in left_out:
            losses.ravel()[k] = loss(one, other)
            accuracies.ravel()[k] = 100 - loss(one, other)
    with h5py.File(path, "w") as file:
        file["dir_file"] = "weights_xignore=biasbn_xnorm=filter.h5"
        file["xcoordinates"] = x
        if y is not None:
            file["ycoordinates"] = y
        file["train_loss"] = losses
        if accuracy:
            file["train_acc"] = accuracies
    return path


def measured(grid=None, left_out=(1, 7), metrics=("ndcg@10",)):
    """A surface of numbers with all their digits, one of them infinite, some points missing."""
    surface = empty_surface("plane", grid or Grid(Axis(-1, 1, 5), Axis(0, 3, 3)), metrics=metrics)
    indices = [k for k in range(surface.status.size) if k not in left_out]
    for name, numbers in values_at(indices, metrics).items():
        surface.values[name].reshape(-1)[indices] = numbers
    surface.values["loss"].reshape(-1)[2] = np.inf
    surface.status.reshape(-1)[indices] = Status.DONE
    surface.status.reshape(-1)[2] = Status.NON_FINITE
    return surface


def assert_same_points(one, other):
    assert one.alpha.tobytes() == other.alpha.tobytes()
    assert (one.beta is None and other.beta is None) or one.beta.tobytes() == other.beta.tobytes()
    assert (one.status == other.status).all()
    for name, array in one.values.items():
        np.testing.assert_array_equal(other.values[name], array)
        assert (np.signbit(other.values[name]) == np.signbit(array))[~np.isnan(array)].all()


@pytest.mark.parametrize("y", [Y, np.linspace(0, 2, 5)], ids=["5 x 3", "5 x 5"])
def test_each_loss_of_the_tool_stands_where_it_was_measured(tmp_path, y):
    surface = read_loss_landscape(as_the_tool_writes(tmp_path / "s.h5", y=y), name="s").surface
    np.testing.assert_array_equal(surface.values["loss"], slope(X[:, None], y[None, :]))
    np.testing.assert_array_equal(surface.values["train_acc"], 100 - slope(X[:, None], y[None, :]))
    assert surface.is_finished


def test_a_line_of_the_tool_is_read(tmp_path):
    surface = read_loss_landscape(as_the_tool_writes(tmp_path / "s.h5", y=None), name="s").surface
    assert surface.beta is None
    np.testing.assert_array_equal(surface.values["loss"], slope(X, 0.0))


def test_minus_one_is_missing_and_nothing_else_is(tmp_path):
    path = as_the_tool_writes(tmp_path / "s.h5", left_out=(4, 14), loss=lambda x, y: 2 * x - 1 if y < 0 else 0.0)
    surface = read_loss_landscape(path, name="s").surface
    assert {tuple(at) for at in np.argwhere(surface.status == Status.PENDING)} == {(4, 0), (4, 2)}
    assert surface.values["loss"][2, 0] == -1  # measured: its accuracy is there
    assert surface.values["loss"][2, 1] == 0
    assert np.isnan(surface.values["loss"][4, 0])


def test_an_imported_surface_says_that_it_has_no_checkpoint_and_is_drawn(tmp_path):
    as_the_tool_writes(tmp_path / "s.h5", left_out=(4,))
    store = tmp_path / "study.h5"
    arguments = ["import", str(tmp_path / "s.h5"), "--store", str(store), "--name", "resnet"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert result.stdout == "resnet: 5 x 3 points, 1 not computed, 0 not finite; loss, train_acc; no checkpoint\n"
    opened = Store.read(store)
    told = opened.checkpoint("resnet")
    assert (told.parameters, told.config["imported"]) == (0, "s.h5")
    assert np.isnan(told.norm)
    surface = opened.surface("resnet")
    assert surface.x.kind == "imported"
    assert surface.x.policy["dir_file"] == "weights_xignore=biasbn_xnorm=filter.h5"
    drawn = prepare.prepare_contour(opened)
    assert "how its directions were drawn is not known" in drawn.notes[0]
    contour(drawn)
    curve(prepare.prepare_curve(opened))
    assert json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)["missing"] == 1  # again: the same
    as_the_tool_writes(tmp_path / "s.h5")
    assert isinstance(CliRunner().invoke(app, arguments).exception, StoreMismatch)


@pytest.mark.parametrize(
    "grid", [Grid(Axis(-1, 1, 9)), Grid(Axis(-1, 1, 5), Axis(0, 3, 3)), Grid(*[Axis(-1, 1, 3)] * 2)]
)
def test_to_the_tool_and_back_is_the_same_bit_for_bit(tmp_path, grid):
    surface = measured(grid)
    path = tmp_path / "s.h5"
    path.write_bytes(loss_landscape_bytes(surface))
    assert_same_points(surface, read_loss_landscape(path, name="again").surface)
    with h5py.File(path) as file:  # and the tool would plot it: contours of Z over meshgrid
        x, y = file["xcoordinates"][:], file["ycoordinates"][:] if "ycoordinates" in file else np.zeros(1)
        flat = file["train_loss"][:].ravel()
        for k, place in enumerate(np.stack([plane.ravel() for plane in np.meshgrid(x, y)], axis=1)):
            at = (np.flatnonzero(surface.alpha == place[0])[0], *np.flatnonzero(surface.beta == place[1])[:1]) if (
                surface.beta is not None) else (k,)  # fmt: skip
            expected = -1 if surface.status[at] == Status.PENDING else surface.values["loss"][at]
            assert flat[k] == expected


def test_a_loss_of_minus_one_is_not_given_to_the_tool_as_missing():
    surface = measured()
    surface.values["loss"].reshape(-1)[5] = -1
    with pytest.raises(InvalidArgument, match="exactly -1"):
        loss_landscape_bytes(surface)


@given(
    arrays(np.float64, (4, 3), elements=st.floats(width=64)),
    arrays(np.uint8, (4, 3), elements=st.sampled_from([0, 1])),
)
def test_csv_there_and_back_is_the_same_bit_for_bit(tmp_path_factory, loss, done):
    surface = empty_surface("plane", Grid(Axis(-1, 1 / 3, 4), Axis(0.1, 0.3, 3)), metrics=())
    surface.values["loss"][...] = np.where(done, loss, np.nan)
    surface.values["standard_error"][...] = np.where(done, 1 / 3, np.nan)
    surface.status[...] = np.where(done, np.where(np.isfinite(loss), Status.DONE, Status.NON_FINITE), Status.PENDING)
    path = tmp_path_factory.getbasetemp() / "plane.csv"
    path.write_bytes(surface_csv(surface))
    assert_same_points(surface, read_surface_csv(path, name="again").surface)


def test_rows_of_a_csv_come_in_any_order_and_a_row_left_out_is_a_point_not_measured(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("loss,beta,alpha\n3,1,0\n1,0,0\n2,0,1\n")
    surface = read_surface_csv(path, name="s").surface
    np.testing.assert_array_equal(surface.values["loss"], [[1, 3], [2, np.nan]])
    assert surface.status[1, 1] == Status.PENDING


def vtk_arrays(content):
    """Coordinates and point data of a .vtr file of raw appended arrays, read by the letter of the VTK format."""
    head, raw = content.split(b'<AppendedData encoding="raw">')
    raw = raw[raw.index(b"_") + 1 :]
    root = ElementTree.fromstring(head + b"</VTKFile>")
    found = {}
    for array in root.iter("DataArray"):
        offset = int(array.attrib["offset"])
        size = int(np.frombuffer(raw, "<u8", 1, offset)[0])
        kind = {"Float64": "<f8", "UInt8": "u1"}[array.attrib["type"]]
        found[array.attrib["Name"]] = np.frombuffer(raw, kind, size // np.dtype(kind).itemsize, offset + 8)
    assert root.attrib["header_type"] == "UInt64"
    extent = [int(number) for number in next(root.iter("Piece")).attrib["Extent"].split()]
    return found, extent


@pytest.mark.parametrize("grid", [Grid(Axis(-1, 1, 9)), Grid(Axis(-1, 1, 5), Axis(0, 3, 3))])
def test_paraview_gets_every_number_at_its_place(grid):
    surface = measured(grid)
    found, extent = vtk_arrays(surface_vtk(surface))
    beta = np.zeros(1) if surface.beta is None else surface.beta
    assert extent == [0, len(surface.alpha) - 1, 0, len(beta) - 1, 0, 0]
    assert found["x_coordinates"].tobytes() == surface.alpha.tobytes()
    assert found["y_coordinates"].tobytes() == beta.tobytes()
    for name, array in {**surface.values, "status": surface.status}.items():
        by_point = found[name].reshape(len(beta), len(surface.alpha)).T  # x runs fastest
        np.testing.assert_array_equal(by_point.reshape(surface.shape), array)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "study.h5"
    with Store.write(path) as store:
        store.add_checkpoint(checkpoint())
        store.add_surface(measured())
        store.add_eigenpairs(eigenpairs("ends"))
        store.add_sharpness(sharpness("report"))
        samples = np.array([[1.0, 3.0, 2.0], [4.0, 4.0, 4.0]])
        told = (("trace", "frobenius_norm"), ("item table", "all"), ("relative", "raw"), np.array([7, 9]), samples)
        store.add_trace(Trace("ends", "base", *told, 3, Provenance("tests:known", {}), 0.5, {"method": "hutchinson"}))
    return path


def test_xarray_opens_a_surface_in_the_store_and_gets_the_same_from_the_record(path):
    surface = Store.read(path).surface("plane")
    opened = xarray.open_dataset(path, engine="h5netcdf", group="surfaces/plane")
    made = surface.to_xarray()
    assert made.loss.dims == opened.loss.dims == ("alpha", "beta")
    for name, array in surface.values.items():
        np.testing.assert_array_equal(opened[name], array)
        np.testing.assert_array_equal(made[name], array)
    assert made.loss.sel(alpha=-1, beta=3) == surface.values["loss"][0, 2]
    np.testing.assert_array_equal(made.status, surface.status)


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("vtk", {"plane.vtr"}),
        ("loss-landscape", {"plane.h5"}),
        ("csv", {"plane.csv", "ends.curvature.csv", "report.sharpness.csv", "ends.trace.csv"}),
    ],
)
def test_everything_a_format_can_hold_is_written(path, tmp_path, form, names):
    out = tmp_path / "new" / "folder"
    result = CliRunner().invoke(app, ["export", str(path), "--format", form, "--out", str(out), "--json"])
    assert result.exit_code == 0
    assert {file.name for file in out.iterdir()} == names
    assert "provenance" in json.loads(result.stdout)["lost"]


def test_csv_of_eigenvalues_sharpness_and_traces_say_all_there_is(path, tmp_path):
    CliRunner().invoke(app, ["export", str(path), "--format", "csv", "--out", str(tmp_path)])
    lines = (tmp_path / "ends.curvature.csv").read_text().splitlines()
    assert lines[0] == "label,value,residual,converged,products,product_error"
    assert lines[3] == "lambda_min,-0.5,3e-05,False,100,"
    assert '"{""adaptive"": false, ""rho"": 0.1}",0.01,,2' in (tmp_path / "report.sharpness.csv").read_text()
    head, trace, norm = (tmp_path / "ends.trace.csv").read_text().splitlines()
    assert head == "quantity,block,coordinates,free_coordinates,value,standard_error"
    assert trace == f"trace,item table,relative,7,2.0,{1 / np.sqrt(3)}"
    assert norm == "frobenius_norm,all,raw,9,2.0,0.0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("alpha,beta\n1,2\n", "columns alpha, beta"),
        ("alpha,loss\n", "a header alone"),
        ("alpha,loss\n1,2\n1,3\n2,3\n", "once"),
        ("alpha,loss\n1,high\n2,3\n", "numbers in column loss"),
        ("alpha,loss\n1,2\n2\n", "2 cells in line 3"),
        ("alpha,loss\n1,2\n", "two or more growing numbers"),
        ("alpha,loss,status\n1,2,done\n2,3,ready\n", "got 'ready'"),
    ],
)
def test_a_csv_that_is_none_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "s.csv").write_text(content)
    with pytest.raises(InvalidArgument, match=message) as caught:
        read_surface_csv(tmp_path / "s.csv", name="s")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_imported_leaves_no_store_behind(tmp_path):
    as_the_tool_writes(tmp_path / "s.h5")
    (tmp_path / "notes.txt").write_text("hello")
    for file, *more in (["none.h5"], ["notes.txt"], ["s.h5", "--series", "test"]):
        store = str(tmp_path / "study.h5")
        result = CliRunner().invoke(app, ["import", str(tmp_path / file), "--store", store, "--name", "n", *more])
        assert isinstance(result.exception, InvalidArgument)
        assert not (tmp_path / "study.h5").exists()
