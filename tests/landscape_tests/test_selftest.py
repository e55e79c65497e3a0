import json
import math

import pytest
import torch
from typer.testing import CliRunner

from landscape.cli.commands import app
from landscape.selftest import run as selftest
from landscape.sharpness.names import KINDS


@pytest.fixture(scope="module")
def checks():
    return selftest.run_selftest()


def test_every_known_answer_comes_out_on_this_machine(checks):
    assert [(check.name, check.error, check.note) for check in checks if not check.passed] == []


def test_surfaces_products_both_ends_and_sharpness_are_among_the_checks(checks):
    names = " | ".join(check.name for check in checks)
    for part in ("5 x 3", "store", "cosine", "lambda_min", "x 1e-06", "SAM", "average-case"):
        assert part in names


def test_every_sharpness_measure_there_is_has_a_known_answer_and_so_has_every_operator(checks):
    assert {check.measure for check in checks if check.measure} == set(KINDS)
    assert not [check.name for check in checks if check.measure and math.isnan(check.error)]
    names = " | ".join(check.name for check in checks)
    for part in ("Gauss-Newton", "empirical Fisher", "LOBPCG", "Lanczos", "relative Hessian", "Hutch++", "density"):
        assert part in names


def run(monkeypatch, *arguments):
    for slow in ("_spectra", "_sharpness"):  # the fixture above runs them
        monkeypatch.setattr(selftest, slow, lambda _: iter(()))
    monkeypatch.setattr(selftest, "KNOWN_FORMS", ())
    return CliRunner().invoke(app, ["selftest", "--device", "cpu", *arguments])


def test_the_command_prints_a_table_and_leaves_with_zero(monkeypatch):
    result = run(monkeypatch)
    assert result.exit_code == 0
    assert "0 failed" in result.stdout


def test_a_wrong_product_is_caught(monkeypatch):
    exact = selftest.Hessian

    def doubled(objective):
        product = exact(objective)
        return lambda v: 2 * product(v)

    monkeypatch.setattr(selftest, "Hessian", doubled)
    result = run(monkeypatch, "--json")
    assert result.exit_code == 1
    failed = {check["name"] for check in json.loads(result.stdout)["checks"] if not check["passed"]}
    assert failed == {
        "Hessian of a quadratic, batches of 1",
        "Hessian of a quadratic, batches of 9",
        "product against the dense Hessian",
        "product against differences of the gradient",
        "lambda_max of a network against dense eigh",
        "lambda_min of a network against dense eigh",
        "trace by Hutchinson, in standard errors",
        "Frobenius norm, in standard errors",
        "trace by Hutch++, in standard errors",
        "spectral density: mean of each probe",
        "spectral density: mean square of each probe",
    }


def test_a_check_that_breaks_is_reported_and_the_others_still_run(monkeypatch):
    def broken(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(selftest, "compute_surface", broken)
    result = run(monkeypatch)
    assert result.exit_code == 1
    assert "OSError: no space left" in result.stdout
    assert "spectral density: mean of each probe" in result.stdout


def test_an_error_that_is_not_a_number_does_not_pass():
    assert not selftest.Check("x", float("nan"), 1.0).passed
    assert selftest.Check("x", 1.0, 1.0).passed
    assert torch.get_default_dtype() == torch.float32  # measuring changes no global
