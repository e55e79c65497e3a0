"""Eigenvalues, trace and Frobenius norm as sharpness measures: right, taken from the store, told once."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from landscape_tests.known import dense_hessian, quadratic, small_network
from typer.testing import CliRunner

from landscape.blocks import mask_of
from landscape.cli.commands import app
from landscape.curvature.ends import eigenpairs_of
from landscape.curvature.trace import trace_of
from landscape.describe import checkpoint_record
from landscape.errors import InvalidArgument, StoreError
from landscape.plots import matplotlib_figures
from landscape.plots.prepare import prepare_sharpness, prepare_sharpness_table
from landscape.report.contents import report_of
from landscape.report.verdict import verdict
from landscape.sharpness.names import KINDS, is_invariant, is_settled
from landscape.sharpness.plan import sharpness_plan
from landscape.sharpness.relative_flatness import relative_flatness
from landscape.sharpness.resume import compute_sharpness, held_measures, possible_steps
from landscape.sharpness.settings import SharpnessSettings
from landscape.sharpness.spectra_measured import measured_ends, measured_traces
from landscape.sharpness.spectral import SPECTRAL
from landscape.store import Store

TARGET = "landscape_tests.known:partial_network"
NAMED = {"name": "net", "checkpoint_name": "net"}
CLOSE = {"tolerance": 1e-6, "max_products": 2000, "seed": 0}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("block", [None, "hidden", "rows:untouched"])
def test_ends_traces_and_norms_are_those_of_the_dense_hessian_whole_and_of_a_block(block):
    small = small_network()
    w, H = small.layout.flatten(small.weights), dense_hessian(small)
    inside = torch.ones(len(w), dtype=torch.bool) if block is None else mask_of(small.layout, block)
    w, H = w[inside], H[inside][:, inside]
    values = torch.linalg.eigvalsh(H)
    found = {m.measure: m for m in measured_ends(small, block=block, **CLOSE)}
    scale = max(abs(values).max().item(), 1e-12)
    truths = {"lambda_max": values[-1], "lambda_min": values[0], "lambda_max_norm_squared": values[-1] * (w @ w)}
    for name, truth in truths.items():
        assert found[name].value == pytest.approx(truth.item(), rel=1e-6, abs=1e-9 * scale), name
        assert found[name].setting.get("block") == block
    if block == "rows:untouched":  # four weights the loss does not see
        assert np.isnan(found["lambda_ratio"].value)
        assert "fewer eigenvalues" in found["lambda_ratio"].note
    else:
        assert found["lambda_ratio"].value == pytest.approx((values[-1] / values[-5]).item(), rel=1e-6)
    relative = w.abs()[:, None] * H * w.abs()
    for measure in measured_traces(small, block=block, probes=40, seed=0):
        matrix = relative if measure.setting["scale"] == "relative" else H
        truth = (matrix.trace() if measure.measure == "trace" else matrix.norm()).item()
        assert measure.value == pytest.approx(truth, abs=4 * measure.standard_error + 1e-12)
        assert is_invariant(measure) is (measure.setting["scale"] == "relative")
        assert measure.cost == 40


def keep_spectra(path, objective, *, max_products=10, probes=8):
    with Store.write(path) as store:
        store.add_checkpoint(checkpoint_record(objective, "net"))
        shared = {"name": "spectrum", "checkpoint": "net"}
        store.add_eigenpairs(eigenpairs_of(objective, top=5, max_products=max_products, **shared))
        store.add_trace(trace_of(objective, probes=probes, **shared))


def test_what_the_store_knows_of_the_spectrum_is_not_measured_again_and_what_it_knows_less_well_is(path, monkeypatch):
    small = small_network()
    keep_spectra(path, small)
    steps = sharpness_plan(["eigenvalues", "trace"], SharpnessSettings(trace_probes=8, max_products=10))
    held = held_measures(path, small, steps, **NAMED)
    assert all(step.is_held(held) for step in steps)
    monkeypatch.setattr("landscape.sharpness.step.Step.run", lambda *_: pytest.fail("measured again"))
    report = compute_sharpness(path, small, steps, **NAMED)
    assert {m.measure for m in report.measures} == set(SPECTRAL)
    pairs, trace = Store.read(path).eigenpairs("spectrum"), Store.read(path).trace("spectrum")
    found = {(m.measure, m.setting.get("scale")): m for m in report.measures}
    assert found["lambda_min", None].value == pairs.values[-1]
    value, error = trace.estimate("frobenius_norm", coordinates="relative")
    assert (found["frobenius_norm", "relative"].value, found["frobenius_norm", "relative"].standard_error) == (
        value,
        error,
    )
    monkeypatch.undo()
    assert not all(map(is_settled, report.measures))
    closer = sharpness_plan(["eigenvalues", "trace"], SharpnessSettings(trace_probes=12, max_products=2000))
    assert not any(step.is_held(report.measures) for step in closer)
    again = compute_sharpness(path, small, closer, **NAMED)
    assert len(again.measures) == len(report.measures)  # one value of each, the closer one
    assert {m.setting["probes"] for m in again.measures if m.measure == "trace"} == {12}
    assert all(map(is_settled, again.measures))
    assert all(step.is_held(again.measures) for step in closer)
    kept = compute_sharpness(path, small, steps, **NAMED)
    assert kept.measures == again.measures  # the looser ones of the store do not come back


def test_spectra_of_other_weights_or_of_another_objective_are_left_alone(path):
    keep_spectra(path, small_network())
    steps = sharpness_plan(["eigenvalues", "trace"], SharpnessSettings(trace_probes=8))
    for other in (small_network(seed=3), small_network(units=14)):
        assert held_measures(path, other, steps, name="x", checkpoint_name="x") == ()


def test_an_eigenvalue_that_did_not_converge_is_kept_named_and_leaves_with_three(path):
    few = ("--measures", "eigenvalues,trace", "--trace-probes", 2, "--store", path, TARGET)
    done = run("sharpness", *few, "--max-products", 6)
    assert done.exit_code == 3
    assert "partial_network: λmax: lambda_max did not converge" in " ".join(done.stdout.split())
    open_ones = [m for m in Store.read(path).sharpness("partial_network").measures if not is_settled(m)]
    assert {m.measure for m in open_ones} >= {"lambda_max", "lambda_min"}
    assert run("sharpness", TARGET, "--store", path, "--pairs", 2).exit_code == 0  # nobody asked for it
    settled = run("sharpness", *few, "--json")
    assert (settled.exit_code, json.loads(settled.stdout)["converged"]) == (0, True)
    assert all(map(is_settled, Store.read(path).sharpness("partial_network").measures))


def test_verdict_and_report_show_no_value_twice(path):
    few = ("--store", path, "--measures", "eigenvalues,trace", "--trace-probes", 4)
    targets = (TARGET, "landscape_tests.known:second_network")
    assert run("sharpness", *targets, *few).exit_code == 0
    before = [item for finding in verdict(Store.read(path)) for item in finding.items]
    alone = report_of(Store.read(path), title="t", facts={})
    assert run("curvature", *targets, "--store", path, "--top", 5).exit_code == 0
    assert run("trace", *targets, "--store", path, "--probes", 4).exit_code == 0
    after = [item for finding in verdict(Store.read(path)) for item in finding.items]
    assert len(before) == len(after) == 6  # lambda_max, its companion, trace and norm of both kinds
    assert len({item.rsplit(" ", 1)[0] for item in after}) == 6
    both = report_of(Store.read(path), title="t", facts={})

    def sharpness_rows(report):
        (section,) = [section for section in report.sections if section.title == "Sharpness"]
        return sorted(row[1] for row in section.tables[0].rows if row[0] == "partial_network")

    assert len(sharpness_rows(alone)) == 8
    assert sharpness_rows(both) == ["λ1 / λ5 (raw)", "λmax × ‖w‖² (raw)"]


def test_both_figures_draw_negative_eigenvalues_and_keep_raw_and_relative_traces_apart(path, tmp_path):
    compute_sharpness(
        path, small_network(), sharpness_plan(["eigenvalues", "trace"], SharpnessSettings(trace_probes=4)), **NAMED
    )
    store = Store.read(path)
    raw, relative = (
        dict(columns)
        for _, columns in (
            (h, [(p.scale.label, p) for p in panels]) for h, panels in prepare_sharpness_table(store).columns
        )
    )
    assert {"λ", "tr H", "‖H‖F"} <= set(raw)
    assert set(relative) == {"tr H", "‖H‖F"}
    assert min(raw["λ"].marks[0].value) < 0
    assert [row for _, row in raw["λ"].categories] == ["λmax", "λmin"]
    assert len(prepare_sharpness(store).panels) == 8
    saved = matplotlib_figures.save(
        matplotlib_figures.sharpness_table(prepare_sharpness_table(store)), tmp_path / "t.png"
    )
    assert saved.stat().st_size > 5_000


@pytest.mark.parametrize(
    "refused",
    [
        ("curvature", TARGET, "--block", "zz"),
        ("curvature", TARGET, "--top", 1000),
        ("curvature", TARGET, "--tolerance", 2),
        ("trace", TARGET, "--block", "zz"),
        ("density", TARGET, "--block", "zz"),
        ("subsets", TARGET, "--users", "7", "--max-products", 1, "--tolerance", 3),
        ("ratio-map", TARGET, "--tolerance", 2),
        ("surface", TARGET, "--x=-1:1:3", "--directions", "nothing"),
        ("sharpness", TARGET, "--measures", "nothing"),
        ("sharpness", TARGET, "--measures", "sam", "--block", "whole", "--block", "zz"),
        ("sharpness", TARGET, "--measures", "sam,relative-flatness", "--table", "zz"),
        ("sharpness", TARGET, "--measures", "sam,relative-flatness", "--block", "norm"),
        ("sharpness", "landscape_tests.known:nobody"),
        ("sharpness", TARGET, "--epsilon", "-1"),
        ("sharpness", TARGET, "--tau", "0"),
        ("sharpness", TARGET, "--pairs", "1"),
    ],
    ids=lambda words: " ".join(map(str, (words[0], *words[2:]))),
)
def test_a_refused_command_leaves_nothing_behind(path, refused):
    done = run(*refused, "--store", path)
    assert getattr(done.exception, "exit_code", None) == 2, done.output
    assert "\n" not in str(done.exception)
    assert list(path.parent.iterdir()) == []


def test_a_store_that_holds_something_stays_when_a_command_is_refused_or_fails(path):
    assert run("curvature", TARGET, "--store", path).exit_code == 0
    before = path.read_bytes()
    assert run("curvature", TARGET, "--store", path, "--block", "zz").exit_code != 0
    assert path.read_bytes() == before
    other = path.with_name("other.h5")

    def fail():
        with Store.write(other) as store:
            store.add_checkpoint(checkpoint_record(small_network(), "net"))
            store.eigenpairs("nobody")

    with pytest.raises(StoreError, match="nobody"):
        fail()
    assert not other.exists()
    with Store.write(other):
        pass  # asked for, and empty
    assert other.exists()


def test_relative_flatness_of_a_block_is_that_of_the_rows_in_it_and_says_what_it_needs():
    known = quadratic()  # "table" has three columns; the rest is a vector
    rows = known.layout.shapes["table"][0]
    W, A = known.weights["table"], known.matrix[: 3 * rows, : 3 * rows]
    truth = sum(
        float(W[s] @ W[t]) * float(A[3 * s : 3 * s + 3, 3 * t : 3 * t + 3].trace())
        for s in range(rows)
        for t in range(rows)
    )
    found = relative_flatness(known, block="table", probes=400)
    assert found.value == pytest.approx(truth, abs=4 * found.standard_error)
    assert (found.setting["table"], found.setting["block"]) == ("table", "table")
    small = small_network()
    untouched = relative_flatness(small, block="rows:untouched", probes=2)
    assert (untouched.setting["table"], untouched.value) == ("embedding.weight", 0.0)
    assert relative_flatness(small, block="hidden", probes=2).setting["table"] == "hidden.weight"
    with pytest.raises(InvalidArgument, match=r"free weights of a tensor with two or more axes.*'norm'"):
        relative_flatness(small, block="norm")
    with pytest.raises(InvalidArgument, match=r"free weights of scores\.weight.*'hidden'"):
        relative_flatness(small, "scores.weight", block="hidden")
    steps = sharpness_plan(["all"], SharpnessSettings(), blocks=("norm", None))
    left = possible_steps(small_network(), steps)
    assert [step.block for step in left if step.family == "relative-flatness"] == [None]


def test_all_measures_are_asked_for_at_their_own_settings_and_no_search_is_made_twice(monkeypatch):
    settings = SharpnessSettings(epsilons=(1e-3, 5e-4), taus=(0.1, 0.2), eta=0.01, batches=None, llc_batch=3)
    steps = sharpness_plan(["all"], settings)
    wanted = [(name, dict(setting)) for step in steps for name, setting in step.expected]
    assert {name for name, _ in wanted} == set(KINDS)
    assert all(wanted.count(one) == 1 for one in wanted)
    assert {s["epsilon"] for name, s in wanted if name == "keskar"} == {1e-3, 5e-4}
    assert {s["tau"] for name, s in wanted if name == "pac_bayes"} == {0.1, 0.2}
    assert {s["eta"] for name, s in wanted if name == "worst_case" and s["scale"] == "relative"} == {0.01}
    small = small_network()
    monkeypatch.setattr(type(small), "metrics", refuse_metrics)
    without = possible_steps(small, steps)
    assert {name for step in without for name, _ in step.expected} == {n for n in KINDS if not n.endswith("_drop")}
    alone = sharpness_plan(["ranking"], settings)
    assert {step.family for step in alone} == {"ranking"}


def refuse_metrics(*_):
    raise InvalidArgument("expected no metrics")


@pytest.mark.parametrize(
    "wrong",
    [{"rhos": (-1.0,)}, {"taus": (0.0,)}, {"pairs": 1}, {"m": 0}, {"tolerance": 1.0}, {"eta": -1.0}, {"probes": 1}],
    ids=str,
)
def test_settings_outside_of_what_they_may_be_are_refused_when_they_are_made(wrong):
    with pytest.raises(InvalidArgument, match="expected"):
        dataclasses.replace(SharpnessSettings(), **wrong)


def test_with_an_eta_nothing_relative_is_called_invariant():
    (one,), (other,) = (
        sharpness_plan(["sam"], SharpnessSettings(rhos=(), relative_rhos=(0.5,), eta=eta))[0].run(small_network())
        for eta in (0.0, 0.1)
    )
    assert (is_invariant(one), is_invariant(other)) == (True, False)
