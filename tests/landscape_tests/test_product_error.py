"""Where a model has no second derivatives, every command and record says how far off the products may be."""

import csv
import io
import json
from dataclasses import replace

import pytest
import torch
from landscape_tests.known import cubed_network
from typer.testing import CliRunner

from landscape.cli.commands import app
from landscape.curvature.ends import eigenpairs_of
from landscape.curvature.operators import Hessian
from landscape.exchange.csv_files import eigenpairs_csv
from landscape.grid import Axis, Grid
from landscape.merge_records import joined_eigenpairs, joined_probes, joined_subsets
from landscape.plots.prepare import prepare_curve
from landscape.product_error import product_note
from landscape.report.contents import report_of
from landscape.store import Store
from landscape.surface.ratio_map import compute_ratio_map

INEXACT, EXACT = "landscape_tests.known:cubed_network", "landscape_tests.known:partial_network"
SUBSETS = ("--users", "12,18", "--draws", 2)
COMMANDS = {
    "curvature": ((), "curvature", "eigenpairs"),
    "density": (("--probes", 2, "--steps", 5), "densities", "density"),
    "trace": (("--probes", 3), "traces", "trace"),
    "subsets": (SUBSETS, "subsets", "subsets"),
}


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def record_of(path, command, name="cubed_network"):
    with Store.read(path) as store:
        return getattr(store, COMMANDS[command][2])(name)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.h5"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_error_of_products_is_printed_and_stands_in_json_and_store(path, command):
    options, kind, _ = COMMANDS[command]
    shown = run(command, INEXACT, "--store", path, *options)
    record = record_of(path, command)
    assert shown.exit_code == 0
    assert f"cubed_network: {product_note(record.product_error)}" in shown.stdout
    assert 0 < record.product_error < 5e-3

    again = json.loads(run(command, INEXACT, "--store", path, *options, "--json").stdout)
    assert again[kind][0]["product_error"] == pytest.approx(record.product_error, rel=0.5)

    assert product_note(record.product_error) in " ".join(record._display().notes)
    listed = json.loads(run("inspect", path, "--json").stdout)[kind]
    assert all(row["product_error"] == record_of(path, command).product_error for row in listed)
    with Store.read(path) as store:
        told = [note for section in report_of(store).sections for note in section.notes]
    assert f"cubed_network: {product_note(record_of(path, command).product_error)}" in told


@pytest.mark.parametrize("command", COMMANDS)
def test_exact_products_have_nothing_to_tell(path, command):
    options = ("--users", "7", "--draws", 1) if command == "subsets" else COMMANDS[command][0]
    shown = run(command, EXACT, "--store", path, *options)
    assert shown.exit_code == 0
    assert "differences" not in shown.stdout
    assert record_of(path, command, "partial_network").product_error is None
    listed = json.loads(run("inspect", path, "--json").stdout)[COMMANDS[command][1]]
    assert not any("product_error" in row for row in listed)


def test_each_eigenvalue_lies_within_its_residual_and_the_stated_error():
    objective = cubed_network()
    pairs = eigenpairs_of(objective, name="one", checkpoint="one", top=3, bottom=2)
    double = {name: tensor.double() for name, tensor in objective.weights.items()}

    def loss(flat):
        at = objective.layout.unflatten(flat)
        z = (objective.chunks[0].inputs.double() @ at["weight"].T + at["bias"]) ** 3
        return ((z - 1) ** 2).sum() / objective.chunks[0].counts.sum()

    dense = torch.autograd.functional.hessian(loss, objective.layout.flatten(double).double())
    truth = torch.linalg.eigvalsh(dense).numpy()
    for value, residual in zip(pairs.values, pairs.residuals, strict=True):
        assert abs(truth - value).min() <= residual + pairs.product_error * abs(value)


def test_a_plane_of_eigenvectors_keeps_it_and_its_figure_tells_it(path):
    plane = ("--directions", "eigenvector", "--x", "-0.1:0.1:3", "--store", path)
    assert run("surface", INEXACT, *plane).exit_code == 0
    with Store.read(path) as store:
        (surface,) = [store.surface(name) for name in store.names("surfaces")]
        error = surface.x.policy["product_error"]
        assert 0 < error < 5e-3
        assert any(product_note(error) in note for note in prepare_curve(store).notes)
    assert run("surface", EXACT, *plane).exit_code == 0
    with Store.read(path) as store:
        exact = [s for s in map(store.surface, store.names("surfaces")) if s.name != surface.name]
    assert len(exact) == 1
    assert "product_error" not in exact[0].x.policy


def test_more_probes_and_draws_keep_the_largest_error_said_before(path):
    for command, more in (
        ("density", ("--probes", 3, "--steps", 5)), ("trace", ("--probes", 5)), ("subsets", (*SUBSETS[:3], 3)),
    ):  # fmt: skip
        run(command, INEXACT, "--store", path, *COMMANDS[command][0])
        held = record_of(path, command)
        with Store.write(path) as store:
            add = {"density": store.add_density, "trace": store.add_trace, "subsets": store.add_subsets}[command]
            add(replace(held, product_error=0.5))
        assert run(command, INEXACT, "--store", path, *more).exit_code == 0
        found = record_of(path, command)
        assert found.product_error == 0.5
        assert (len(found.users) > len(held.users)) if command == "subsets" else (found.probes > held.probes)


def test_merged_records_keep_the_larger_error(path):
    for command, joined in (
        ("curvature", joined_eigenpairs), ("density", joined_probes), ("trace", joined_probes),
        ("subsets", joined_subsets),
    ):  # fmt: skip
        run(command, INEXACT, "--store", path, *COMMANDS[command][0])
        held = record_of(path, command)
        assert joined(path, "one", held, held) is held
        assert joined(path, "one", held, replace(held, product_error=0.5)).product_error == 0.5
        assert joined(path, "one", replace(held, product_error=None), held).product_error == held.product_error


def test_sharpness_of_such_products_notes_it(path):
    result = run("sharpness", INEXACT, "--store", path, "--measures", "eigenvalues,trace,relative-flatness")
    assert result.exit_code == 0
    with Store.read(path) as store:
        measures = store.sharpness("cubed_network").measures
    assert {m.measure for m in measures} >= {"lambda_max", "lambda_ratio", "trace", "relative_flatness"}
    assert all("central differences, off by up to" in measure.note for measure in measures)
    assert "central differences" in result.output


def test_the_csv_of_eigenvalues_has_it_beside_them():
    pairs = eigenpairs_of(cubed_network(), name="one", checkpoint="one")
    rows = list(csv.DictReader(io.StringIO(eigenpairs_csv(pairs).decode())))
    assert [float(row["product_error"]) for row in rows] == [pairs.product_error] * 2
    exact = list(csv.DictReader(io.StringIO(eigenpairs_csv(replace(pairs, product_error=None)).decode())))
    assert [row["product_error"] for row in exact] == ["", ""]


def test_residuals_of_a_ratio_map_hold_the_error_of_its_products(path, monkeypatch):
    axis = Axis(0, 0.1, 2)
    measured = compute_ratio_map(path, cubed_network(), grid=Grid(axis, axis), name="with", checkpoint_name="one")
    monkeypatch.setattr(Hessian, "relative_error", None)
    without = compute_ratio_map(path, cubed_network(), grid=Grid(axis, axis), name="without", checkpoint_name="one")
    for end in ("max", "min"):
        more = measured.values[f"residual_{end}"] - without.values[f"residual_{end}"]
        assert (more > 0).all()
        assert (more <= 5e-3 * abs(measured.values[f"lambda_{end}"])).all()
