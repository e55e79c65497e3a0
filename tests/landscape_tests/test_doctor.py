"""A made store for each finding, and a healthy one with none."""

import json
from dataclasses import replace

import numpy as np
import pytest
from landscape_tests.drawn_stores import direction
from typer.testing import CliRunner

from landscape.cli.commands import app
from landscape.doctor import diagnose
from landscape.grid import Axis, Grid
from landscape.records import (
    Checkpoint,
    Eigenpairs,
    Provenance,
    SharpnessMeasure,
    SharpnessReport,
    Surface,
)
from landscape.store import Store

LOSS = Provenance("tests:known", {"loss": "bce", "units": 500, "data": "d"}, command="landscape surface again")
CENTRE = 0.5


def bowl(alpha, beta):
    return 0.4 * alpha**2 + 0.2 * beta**2


def add(
    store,
    name="one",
    *,
    rise=bowl,
    error=0.001,
    share=1.0,
    norm=10.0,
    provenance=LOSS,
    x=None,
    y=None,
    values=(0.4, -0.1),
    settled=(True, True),
    centre=None,
):
    """A checkpoint with a plane, both ends of its spectrum and one raw sharpness, all healthy by default."""
    store.add_checkpoint(Checkpoint(name, hash=name, norm=norm, parameters=9))
    grid = Grid(Axis(-1, 1, 11), Axis(-1, 1, 9))
    empty = np.full(grid.shape, np.nan)
    x, y = x or direction(1), y or replace(direction(2), orthogonal_to="x", cosine=1e-17)
    store.add_surface(
        Surface(
            name,
            name,
            grid.alpha.values,
            grid.beta.values,
            np.zeros(grid.shape, dtype=np.uint8),
            {"loss": empty, "standard_error": empty, "rise": empty},
            x,
            y,
            provenance,
            centre or {"loss": CENTRE},
        )
    )
    order = grid.coarse_to_fine()[: round(share * grid.size)]
    points = grid.coordinates[order].T
    up = np.broadcast_to(rise(*points), points[0].shape)
    at_centre = (points == 0).all(axis=0)
    columns = {"loss": CENTRE + up, "standard_error": np.where(at_centre, 0, error), "rise": up}
    store.write_points(name, order, columns)
    ends = ("lambda_max", "lambda_min")
    counts = np.array([20, 30])
    residuals = np.array([1e-4, 2e-4])
    store.add_eigenpairs(
        Eigenpairs(name, name, "power", ends, np.array(values), residuals, np.array(settled), counts, 1e-3, provenance)
    )
    measure = SharpnessMeasure("sam", {"rho": 0.1, "scale": "absolute"}, 0.01, None, 2)
    store.add_sharpness(SharpnessReport(name, name, (measure,), provenance))


def found(tmp_path, *checkpoints):
    with Store.write(tmp_path / "study.h5") as store:
        for number, options in enumerate(checkpoints):
            add(store, **{"name": f"c{number}"} | options)
    return diagnose(Store.read(tmp_path / "study.h5"))


def test_a_healthy_store_has_no_findings(tmp_path):
    assert found(tmp_path, {}, {"norm": 10.5, "rise": lambda a, b: 2 * bowl(a, b)}) == []


def off_centre(alpha, beta):
    return bowl(alpha - 0.4, beta) - bowl(-0.4, 0 * beta)


@pytest.mark.parametrize(
    ("options", "finding", "evidence"),
    [
        ({"rise": off_centre}, "centre is not a minimum", {"alpha": 0.4, "beta": 0.0}),
        (
            {"rise": off_centre, "centre": {"loss": CENTRE, "gradient_norm": 0.7}},
            "centre is not a minimum",
            {"gradient_norm": 0.7},
        ),
        ({"rise": lambda a, b: 1e-3 * bowl(a, b), "error": 1e-6}, "span too small", {"loss_at_centre": CENTRE}),
        ({"rise": lambda a, b: 1e6 * bowl(a, b) ** 16, "error": 0}, "span too large", {"loss_at_centre": CENTRE}),
        ({"rise": lambda a, b: 1e3 * bowl(a, b)}, "span too large", {"reach": 1.0}),
        ({"error": 0.3}, "noise above signal", {"median_standard_error": 0.3}),
        ({"error": 0.05}, "subset too small", {"median_standard_error": 0.05}),
        ({"provenance": replace(LOSS, objective={"units": 12})}, "subset too small", {"units": 12}),
        ({"values": (0.4, -0.5)}, "largest eigenvalue in size is negative", {"lambda_min": -0.5}),
        ({"settled": (True, False)}, "eigenvalues not converged", {"lambda_min": {"value": -0.1, "residual": 2e-4}}),
        ({"share": 0.3}, "half finished", {"missing": 69, "points": 99}),
        (
            {"rise": lambda a, b: np.where(a > 0.9, np.nan, bowl(a, b))},
            "not finite",
            {"points": 9, "nearest": 1.0},
        ),
        ({"y": replace(direction(2), norm=4.0)}, "directions of unlike units", {"cosine": 0.0}),
        ({"y": replace(direction(2), kind="raw")}, "directions of unlike units", {"cosine": 0.0}),
        ({"y": replace(direction(2), cosine=0.2)}, "directions of unlike units", {"cosine": 0.2}),
    ],
)
def test_one_odd_thing_is_the_one_finding(tmp_path, options, finding, evidence):
    several = found(tmp_path, options)
    assert [one.finding for one in several] == [finding], several
    (one,) = several
    assert one.record.endswith("/c0")
    assert one.next
    for key, value in evidence.items():
        assert one.evidence[key] == pytest.approx(value)


@pytest.mark.parametrize(
    ("first", "second", "findings"),
    [
        ({}, {"norm": 20.0}, {"raw values at unlike norms": 2}),
        ({}, {"provenance": replace(LOSS, objective={**LOSS.objective, "loss": "ce"})}, {"unlike objectives": 3}),
        ({}, {"x": direction(5)}, {"directions drawn unlike": 1}),
        (
            {"x": replace(direction(1), kind="raw"), "y": replace(direction(2), kind="raw")},
            {"x": replace(direction(1), kind="raw"), "y": replace(direction(2), kind="raw"), "norm": 20.0},
            {"directions of unlike units": 1, "raw values at unlike norms": 2},
        ),
    ],
)
def test_what_cannot_be_compared_is_found_between_records(tmp_path, first, second, findings):
    several = found(tmp_path, first, second)
    assert {name: sum(one.finding == name for one in several) for name in {f.finding for f in several}} == findings
    assert all("c0" in one.record and "c1" in one.record for one in several)


def along_eigenvectors(checkpoint):
    x, y = (replace(direction(seed), kind="eigenvector", policy={"checkpoint": checkpoint}) for seed in (1, 2))
    return {"x": x, "y": replace(y, orthogonal_to="x", cosine=1e-17)}


@pytest.mark.parametrize("second", [{}, along_eigenvectors("b")])
def test_planes_that_only_their_checkpoint_can_have_are_no_unpaired_pictures(tmp_path, second):
    assert found(tmp_path, along_eigenvectors("a"), second) == []


def test_one_pair_of_surfaces_drawn_alike_is_enough(tmp_path):
    with Store.write(tmp_path / "study.h5") as store:
        add(store, "a")
        add(store, "b", x=direction(5))
        store.add_surface(replace(store.surface("b"), name="b-again", x=store.surface("a").x))
    with Store.read(tmp_path / "study.h5") as store:
        assert "directions drawn unlike" not in {one.finding for one in diagnose(store)}


def test_other_running_statistics_alone_are_no_other_loss(tmp_path):
    facts = [{**LOSS.objective, "fixed_tensors": text} for text in "ab"]
    assert found(tmp_path, *({"provenance": replace(LOSS, objective=one)} for one in facts)) == []


def test_a_ratio_map_is_a_surface_of_the_same_loss_whatever_found_its_eigenvalues(tmp_path):
    solver = {"curvature_tolerance": 1e-3, "max_products": 300, "solver_seed": 0}
    facts = [LOSS.objective, {**LOSS.objective, **solver}]
    assert found(tmp_path, *({"provenance": replace(LOSS, objective=one)} for one in facts)) == []


def test_lower_points_within_their_errors_are_no_finding(tmp_path):
    def dip(alpha, beta):
        return bowl(alpha, beta) - 0.002 * (np.abs(alpha - 0.2) < 0.01) - bowl(0.2, 0.0) * (np.abs(alpha - 0.2) < 0.01)

    assert "centre is not a minimum" not in {one.finding for one in found(tmp_path, {"rise": dip, "error": 0.01})}


def test_half_a_surface_names_the_command_that_goes_on(tmp_path):
    (one,) = found(tmp_path, {"share": 0.3})
    assert one.next.endswith("landscape surface again")


def test_the_command_prints_findings_and_leaves_with_zero(tmp_path):
    found(tmp_path, {"values": (0.4, -0.5)})
    path = str(tmp_path / "study.h5")
    text = CliRunner().invoke(app, ["doctor", path])
    assert text.exit_code == 0
    assert "lambda_min -0.5 is larger in size" in text.stdout
    printed = json.loads(CliRunner().invoke(app, ["doctor", path, "--json"]).stdout)
    (one,) = printed["findings"]
    assert set(one) == {"finding", "record", "says", "evidence", "next"}
    assert one["evidence"] == {"lambda_max": 0.4, "lambda_min": -0.5}
    with Store.write(tmp_path / "empty.h5"):
        pass
    assert "nothing odd" in CliRunner().invoke(app, ["doctor", str(tmp_path / "empty.h5")]).stdout
