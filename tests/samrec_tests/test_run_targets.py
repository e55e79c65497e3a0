"""A run folder as a target: named by its place, opened with its own loss, and built again from its recipe."""

import dataclasses

import pytest
import torch
from samrec_tests import small_runs

from landscape.objective import check_frozen, loss_at
from samrec.models.sasrec import SASRec
from samrec.objective import SequenceObjective, parse_where


def test_a_place_names_a_folder_and_which_weights(tmp_path):
    assert parse_where("runs/x") == (type(tmp_path)("runs/x"), "best")
    assert parse_where("runs/x@last") == (type(tmp_path)("runs/x"), "last")
    (tmp_path / "odd@name").mkdir()
    assert parse_where(f"{tmp_path}/odd@name") == (tmp_path / "odd@name", "best")
    assert parse_where(f"{tmp_path}/odd@name@last") == (tmp_path / "odd@name", "last")


def test_a_run_folder_opens_as_its_model_would_and_can_be_built_again(tmp_path):
    from samrec_tests.s3rec_files import write_s3rec_text

    from landscape.parameters import content_hash
    from samrec.config import make_config
    from samrec.data.s3rec_text import read_s3rec_text
    from samrec.objective import load
    from samrec.training.checkpoint import create_run

    write_s3rec_text(small_runs.data(), tmp_path / "data.txt")
    data = read_s3rec_text(tmp_path / "data.txt")
    run = create_run(tmp_path / "run", make_config(data=str(tmp_path / "data.txt"), size=8, max_length=12), data)
    model = SASRec(data.item_count, size=8, max_length=12)
    model.initialise(torch.Generator().manual_seed(0))
    run.save_best(model.state_dict())

    objective = load(str(tmp_path / "run"), users=9, seed=5, device="cpu")
    expected = SequenceObjective(model, data, users=9, seed=5)
    value = loss_at(objective, objective.weights).value
    assert value == loss_at(expected, expected.weights).value

    loader, _, where = objective.recipe.target.partition(":")
    assert loader == "samrec"
    again = load(where, **objective.recipe.settings)
    assert content_hash(again.weights) == content_hash(objective.weights)
    assert loss_at(again, again.weights).value == value
    assert again.facts == objective.facts
    assert dataclasses.asdict(again.recipe) == dataclasses.asdict(objective.recipe)


@pytest.mark.parametrize(
    ("changes", "own"),
    [
        ({"negative_count": 3}, {"loss": "bce", "negative_count": 3}),
        ({"loss": "gbce", "negative_count": 3, "gbce_t": 0.5}, {"loss": "gbce", "negative_count": 3, "gbce_t": 0.5}),
        ({"loss": "sampled-softmax", "negative_count": 3}, {"loss": "sampled-softmax", "negative_count": 3}),
        ({"loss": "ce"}, {"loss": "ce"}),
        ({"method": "cl4srec"}, {"loss": "bce"}),
    ],
)
def test_a_target_is_the_runs_own_loss_with_its_negatives_unless_a_loss_is_named(changes, own, tmp_path):
    from samrec_tests.s3rec_files import write_s3rec_text

    from landscape.targets import load_objective
    from samrec.data.s3rec_text import read_s3rec_text
    from samrec.training.trainer import train

    write_s3rec_text(small_runs.data(), tmp_path / "data.txt")
    data = read_s3rec_text(tmp_path / "data.txt")
    config = small_runs.config(data=str(tmp_path / "data.txt"), epochs=1, **changes)
    run = train(config, data, tmp_path / "run")

    for named, expected in ({}, own), ({"loss": "bce"}, {"loss": "bce"}), ({"loss": "bce", "negative_count": 2},) * 2:
        target = load_objective(f"samrec:{run.path}", device="cpu", **named)
        objective = SequenceObjective(run.load_model(), data, **expected)
        value = check_frozen(target).value
        assert value == loss_at(objective, objective.weights).value
        assert target.facts == objective.facts
        again = load_objective(target.recipe.target, **target.recipe.settings)
        assert loss_at(again, again.weights).value == value
