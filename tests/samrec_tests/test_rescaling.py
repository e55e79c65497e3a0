import dataclasses
import json

import pytest
import torch
from samrec_tests.small_runs import data, trained
from typer.testing import CliRunner

from landscape.errors import InvalidArgument
from landscape.objective import gradient_at, loss_at
from landscape.sharpness.names import is_invariant
from landscape.sharpness.plan import sharpness_plan
from landscape.sharpness.rescaling import rescaling_report
from landscape.sharpness.settings import SharpnessSettings
from landscape.sharpness.units import UnitsObjective, _Kept, with_units
from samrec.cli.commands import app
from samrec.errors import ConfigError
from samrec.models.sasrec import SASRec
from samrec.objective import SequenceObjective
from samrec.rescaling import RESCALINGS, rescaled

SETTINGS = SharpnessSettings(
    rhos=(0.1,),
    relative_rhos=(0.5,),
    box_rhos=(0.01,),
    relative_box_rhos=(0.05,),
    sigmas=(0.05,),
    relative_sigmas=(0.1,),
    pairs=4,
    steps=2,
    restarts=2,
    m=40,
    batches=2,
    probes=3,
    ranking_pairs=2,
)


def objective(loss="bce"):
    """A SASRec of two blocks whose biases and gains are away from where they start."""
    model = SASRec(data().item_count, size=8, heads=2, layers=2, max_length=16)
    generator = torch.Generator().manual_seed(0)
    model.initialise(generator)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
            if name == "item_embedding.weight":
                weight[0] = 0
    return SequenceObjective(model.double(), data(), loss=loss)


@pytest.mark.parametrize("loss", ["bce", "ce"])
@pytest.mark.parametrize("rescaling", RESCALINGS)
@pytest.mark.parametrize("factor", [4.0, 0.3])
def test_a_rescaling_changes_weights_and_neither_loss_nor_ranks(rescaling, factor, loss):
    here = objective(loss)
    weights = rescaled(here.weights, rescaling, factor)
    assert loss_at(here, weights).value == pytest.approx(loss_at(here, here.weights).value, rel=1e-12)
    assert (here.ranks(weights) == here.ranks(here.weights)).all()
    moved = [name for name, tensor in weights.items() if not torch.equal(tensor, here.weights[name])]
    assert len(moved) == {"query-key": 8, "value-output": 6, "tables": 4}[rescaling]


def test_invariant_measures_stay_and_raw_ones_move():
    here = objective()
    steps = sharpness_plan(
        ["sam", "average-case", "worst-case", "m-sharpness", "pac-bayes", "fisher-rao", "relative-flatness"], SETTINGS
    )
    found = rescaling_report(here, {name: rescaled(here.weights, name) for name in RESCALINGS}, steps)
    assert all(one.as_claimed for one in found)
    for rescaling in RESCALINGS:
        raw = [one for one in found if one.rescaling == rescaling and one.measure.setting.get("scale") == "absolute"]
        assert all(one.moved for one in raw), [one.name for one in raw if not one.moved]
        stayed = [one for one in found if one.rescaling == rescaling and not one.moved]
        assert {one.measure.measure for one in stayed} >= {"sam", "worst_case", "fisher_rao", "relative_flatness"}


def test_the_ranking_drops_of_relative_moves_stay_too():
    here = objective()
    found = rescaling_report(
        here, {"query-key": rescaled(here.weights, "query-key")}, sharpness_plan(["ranking"], SETTINGS), tolerance=1e-9
    )
    exact = [one for one in found if is_invariant(one.measure) and not one.measure.measure.startswith("worst_case")]
    assert {one.moved for one in exact} == {False}
    searched = [one for one in found if is_invariant(one.measure) and one not in exact]
    assert all(one.after == pytest.approx(one.measure.value, rel=1e-3, abs=1e-3) for one in searched)


def test_eigenvalues_move_and_trace_and_norm_relative_to_the_weights_stay_at_their_probes():
    here = objective()
    few = dataclasses.replace(SETTINGS, trace_probes=2, tolerance=1e-2)
    weights = {"query-key": rescaled(here.weights, "query-key")}
    found = rescaling_report(here, weights, sharpness_plan(["eigenvalues", "trace"], few))
    assert len({one.name for one in found}) == len(found) == 8
    moved = {one.name: one.moved for one in found}
    assert moved == {name: not name.endswith("|w|") for name in moved}
    relative = [one for one in found if one.name.endswith("|w|")]
    assert [one.after for one in relative] == pytest.approx([one.measure.value for one in relative], rel=1e-9)


def test_weights_that_compute_something_else_are_refused():
    here = objective()
    broken = dict(here.weights) | {"item_embedding.weight": 2 * here.weights["item_embedding.weight"]}
    with pytest.raises(InvalidArgument, match="keep the loss"):
        rescaling_report(here, {"doubled": broken}, sharpness_plan(["sam"], SETTINGS))
    for wrong in (("norms", 2.0), ("tables", 0.0)):
        with pytest.raises(ConfigError, match="expected a"):
            rescaled(here.weights, *wrong)


def test_some_users_packed_anew_are_the_same_objective_as_some_units_of_all_chunks():
    here = objective()
    units = torch.tensor([3, 17, 18, 40])
    anew = with_units(here, units)
    chosen = torch.cat([torch.from_numpy(chunk.users) for chunk in here.chunks])[units]
    assert sorted(torch.cat([torch.from_numpy(kept.chunk.users) for kept in anew.chunks]).tolist()) == sorted(
        chosen.tolist()
    )
    start, kept = 0, []
    for chunk in here.chunks:
        own = units[(units >= start) & (units < start + len(chunk.counts))] - start
        kept.append(_Kept(chunk, own, chunk.counts[own]))
        start += len(chunk.counts)
    masked = UnitsObjective(here, kept)
    one, other = gradient_at(anew, here.weights), gradient_at(masked, here.weights)
    assert one[0] == pytest.approx(other[0], rel=1e-12)
    torch.testing.assert_close(one[1], other[1], rtol=1e-9, atol=1e-14)


def test_the_command_says_which_measures_moved(tmp_path, monkeypatch):
    trained(tmp_path / "run", epochs=1)
    monkeypatch.setattr("samrec.training.checkpoint.Run.data", lambda *_, **__: data())
    result = CliRunner().invoke(
        app, ["rescaling", str(tmp_path / "run"), "--users", "20", "--measures", "sam", "--json"]
    )
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rescalings"]
    assert len(rows) == 6
    assert not any(row["moved"] for row in rows if row["measure"].endswith("|w|"))
    assert any(row["moved"] for row in rows)
