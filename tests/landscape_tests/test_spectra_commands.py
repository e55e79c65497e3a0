"""`landscape trace`, `density` and `subsets`: numbers on the screen are those in the store, and reruns go on."""

import json

import numpy as np
import pytest
import torch
from landscape_tests.known import Quadratic, dense_hessian, quadratic, small_network
from typer.testing import CliRunner

from landscape.cli.commands import app
from landscape.errors import InvalidArgument, StoreMismatch
from landscape.objective import ModelObjective
from landscape.store import Store

HERE = "landscape_tests.test_spectra_commands"
QUADRATIC, NETWORK = "landscape_tests.known:quadratic", f"{HERE}:blocks"


def blocks() -> ModelObjective:
    """The small network, all of its data in one chunk."""
    return small_network(batch_size=21)


def further() -> ModelObjective:
    """The same, trained further."""
    return small_network(batch_size=21, fit=60)


def part(*, users: int | None = None, seed: int = 0) -> ModelObjective:
    """The small network on a random subset."""
    whole = small_network(batch_size=21)
    chosen = torch.randperm(21, generator=torch.Generator().manual_seed(seed))[: users or 21]
    (chunk,) = whole.chunks
    return ModelObjective(whole.model, [(chunk.inputs[chosen], chunk.targets[chosen])], whole._loss)


def wandering(*, users: int | None = None, seed: int = 0) -> Quadratic:
    """Other weights for every seed."""
    del users
    return quadratic(seed=seed)


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def printed(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_traces_on_the_screen_are_those_in_the_store_and_near_the_truth(path):
    (shown,) = printed("trace", NETWORK, "--store", path, "--probes", 12)["traces"]
    kept = Store.read(path).trace("blocks")
    assert [(row["value"], row["standard_error"]) for row in shown["estimates"]] == list(kept.estimates)
    assert (kept.probes, kept.products) == (12, 24)
    value, error = kept.estimate("trace")
    assert abs(value - dense_hessian(blocks()).trace().item()) < 4.4 * error  # t at 11 degrees of freedom, 1 in 1000
    table = run("trace", NETWORK, "--store", path, "--probes", 12).stdout
    assert "hidden" in table
    assert "±" in table


def test_several_checkpoints_are_compared_with_the_first_by_the_same_probes(path):
    targets = NETWORK, f"{HERE}:further", f"{HERE}:part"
    found = printed("trace", *targets, "--store", path, "--probes", 4, "--no-relative")
    first, second = (Store.read(path).trace(name) for name in ("blocks", "further"))
    assert {row["of"] for row in found["differences"]} == {"further"}  # part has other coordinates
    for row in found["differences"]:
        values = [record.estimate("trace", block=row["block"])[0] for record in (first, second)]
        assert row["value"] == pytest.approx(values[1] - values[0], abs=1e-9)
    assert "further − blocks" in run("trace", *targets, "--store", path, "--probes", 4, "--no-relative").stdout


def test_more_probes_go_on_and_fewer_measure_nothing(path):
    printed("trace", QUADRATIC, "--store", path, "--probes", 4)
    before = Store.read(path).trace("quadratic")
    printed("trace", QUADRATIC, "--store", path, "--probes", 7)
    after = Store.read(path).trace("quadratic")
    assert np.array_equal(after.samples[:, :4], before.samples)
    assert (after.probes, after.products) == (7, 14)
    (shown,) = printed("trace", QUADRATIC, "--store", path, "--probes", 2)["traces"]
    assert shown["probes"] == 7
    assert Store.read(path).trace("quadratic").provenance == after.provenance


def test_a_density_goes_on_in_the_same_numbers_and_is_inspected(path, tmp_path):
    printed("density", QUADRATIC, "--store", path, "--probes", 1, "--steps", 5)
    (shown,) = printed("density", QUADRATIC, "--store", path, "--probes", 3, "--steps", 5)["densities"]
    printed("density", QUADRATIC, "--store", tmp_path / "whole.h5", "--probes", 3, "--steps", 5)
    kept, whole = (Store.read(one).density("quadratic") for one in (path, tmp_path / "whole.h5"))
    assert kept.nodes == pytest.approx(whole.nodes, abs=1e-12)  # but for rounding: probes were grouped otherwise
    assert (shown["probes"], shown["products"], shown["dimension"]) == (3, 15, 12)
    assert shown["smallest_node"] < 0 < shown["largest_node"]
    printed("trace", QUADRATIC, "--store", path, "--probes", 2)
    listed = printed("inspect", path)
    assert listed["densities"][0]["largest_node"] == shown["largest_node"]
    assert {row["coordinates"] for row in listed["traces"]} == {"raw", "relative"}
    assert listed["curvature"] == []


def test_another_setting_needs_another_name_or_replace(path):
    printed("density", QUADRATIC, "--store", path, "--probes", 1, "--steps", 4)
    refused = run("density", QUADRATIC, "--store", path, "--probes", 1, "--steps", 5)
    assert isinstance(refused.exception, StoreMismatch)
    assert "expected steps 4, got steps 5" in str(refused.exception)
    printed("density", QUADRATIC, "--store", path, "--probes", 1, "--steps", 5, "--replace")
    assert Store.read(path).density("quadratic").nodes.shape == (1, 5)


def test_a_block_and_relative_coordinates_are_records_of_their_own(path):
    printed("density", NETWORK, "--store", path, "--probes", 1, "--steps", 4, "--block", "hidden.*")
    printed("density", NETWORK, "--store", path, "--probes", 1, "--steps", 4, "--relative")
    printed("trace", NETWORK, "--store", path, "--probes", 2, "--block", "rows:untouched", "--no-relative")
    store = Store.read(path)
    assert store.names("densities") == ["blocks-hidden-", "blocks-relative"]
    assert store.density("blocks-hidden-").dimension == 25
    assert store.trace("blocks-rows-untouched").estimates == ((0.0, 0.0), (0.0, 0.0))
    refused = run("trace", NETWORK, "--store", path, "--block", "heads")
    assert isinstance(refused.exception, InvalidArgument)
    assert "expected a block out of embedding, hidden" in str(refused.exception)


def test_hutch_plus_plus_has_the_trace_alone(path):
    (shown,) = printed("trace", QUADRATIC, "--store", path, "--probes", 36, "--method", "hutch++")["traces"]
    assert [row["quantity"] for row in shown["estimates"]] == ["trace", "trace"]
    truth = quadratic().matrix.trace().item()
    assert shown["estimates"][0]["value"] == pytest.approx(truth, abs=1e-9)  # the sketch holds all 12 coordinates


def test_subsets_are_measured_once_each_and_lists_grow(path):
    target = f"{HERE}:part"
    first = printed("subsets", target, "--store", path, "--users", "8,16", "--draws", 1)
    assert [row["users"] for row in first["subsets"][0]["draws"]] == [8, 16]
    printed("subsets", target, "--store", path, "--users", "16", "--draws", 2)
    kept = Store.read(path).subsets("part")
    assert list(zip(kept.users.tolist(), kept.seeds.tolist(), strict=True)) == [(8, 0), (16, 0), (16, 1)]
    dense = torch.linalg.eigvalsh(dense_hessian(part(users=16, seed=1)))
    assert kept.values[2] == pytest.approx([dense[-1].item(), dense[0].item()], rel=1e-3)
    assert kept.values[0].tolist() == [first["subsets"][0]["draws"][0][end] for end in ("lambda_max", "lambda_min")]
    assert printed("inspect", path)["subsets"][0]["draws"] == 3


def test_ends_that_do_not_converge_are_kept_and_leave_with_three(path):
    result = run("subsets", f"{HERE}:part", "--store", path, "--users", 8, "--draws", 1, "--max-products", 2)
    assert result.exit_code == 3
    assert "NO" in result.stdout
    assert not Store.read(path).subsets("part").converged.any()


def test_draws_with_other_weights_are_refused(path):
    refused = run("subsets", f"{HERE}:wandering", "--store", path, "--users", "4", "--draws", 2)
    assert isinstance(refused.exception, InvalidArgument)
    assert "same weights for every draw" in str(refused.exception)


def test_curvature_says_where_each_eigenvector_lives(path):
    (shown,) = printed("curvature", NETWORK, "--store", path, "--top", 2)["curvature"]
    own = [block for block in shown["share_of_weights"] if not block.startswith("rows:")]
    values, vectors = torch.linalg.eigh(dense_hessian(blocks()))
    sizes = blocks().layout.sizes
    by_tensor = dict(zip(sizes, torch.split(vectors[:, -1] ** 2, list(sizes.values())), strict=True))
    for block in own:
        truth = sum(part.sum().item() for name, part in by_tensor.items() if name.startswith(f"{block}."))
        assert shown["mass"]["lambda_max"][block] == pytest.approx(truth, abs=1e-3)
    for masses in shown["mass"].values():
        assert sum(masses[block] for block in own) == pytest.approx(1, abs=1e-9)
        assert masses["rows:untouched"] < 1e-9
    assert sum(shown["share_of_weights"][block] for block in own) == pytest.approx(1)
    assert "lives in" in run("curvature", NETWORK, "--store", path, "--top", 2).stdout
    assert len(values) == 85


def test_a_blocks_eigenvector_lives_in_the_block(path):
    (shown,) = printed("curvature", NETWORK, "--store", path, "--block", "hidden")["curvature"]
    assert shown["share_of_weights"] == {"hidden": 1.0}
    assert shown["mass"]["lambda_max"]["hidden"] == pytest.approx(1)


@pytest.mark.parametrize("command", ["trace", "density", "subsets"])
def test_a_dry_run_says_the_cost_and_writes_nothing(path, command):
    row = printed(command, f"{HERE}:part", "--store", path, "--dry-run")["dry_run"][0]
    assert row["products_at_most"] == {"trace": 64, "density": 480, "subsets": 3600}[command]
    assert row["seconds_at_most"] > 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("trace", "--probes", 1), "--probes of at least 2"),
        (("trace", "--method", "hutch++", "--probes", 5), "--probes of at least 6"),
        (("trace", "--method", "xtrace"), "hutchinson, hutch"),
        (("density", "--steps", 1), "2 --steps"),
        (("subsets", "--users", "0,4"), "--users of at least 1"),
        (("subsets", "--tolerance", "1.5"), "between 0 and 1"),
    ],
)
def test_misuse_is_one_line_before_a_store_is_made(path, command, told):
    refused = run(*command, QUADRATIC, "--store", path)
    assert isinstance(refused.exception, InvalidArgument)
    assert told in str(refused.exception)
    assert not path.exists()


def test_each_is_drawn_from_the_store_by_its_kind(path, tmp_path):
    shared = f"{HERE}:part", "--store", path
    printed("curvature", *shared)
    printed("density", *shared, "--probes", 1, "--steps", 3)
    printed("trace", *shared, "--probes", 2)
    printed("subsets", *shared, "--users", "8", "--draws", 1)
    for kind in ("density", "mass", "trace", "subsets"):
        out = tmp_path / f"{kind}.png"
        assert printed("plot", path, "--kind", kind, "--out", out, "--dpi", 60)["kind"] == kind
        assert out.read_bytes().startswith(b"\x89PNG")
