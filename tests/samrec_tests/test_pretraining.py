"""Pre-training runs: they learn, resume bit for bit, take SAM, and are refused in one line where they cannot be."""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from samrec_tests import small_pretraining as small
from samrec_tests.small_runs import assert_same_tensors, data

from samrec.data.interactions import Attributes
from samrec.errors import CheckpointError, ConfigError, DataError, Diverged, RunError
from samrec.training.files import read_tensors, write_tensors
from samrec.training.pretrain import PreTrainer, users_seen
from samrec.training.pretrain_run import PretrainRun

SAM = {"rho": 0.05, "epochs": 4}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that nothing interrupted."""
    return small.pretrained(tmp_path_factory.mktemp("unbroken") / "run", **SAM)


def started(path, epochs, **changes):
    """A run stopped after some epochs without a word."""
    trainer = small.trainer(path, **{**SAM, **changes})
    for _ in range(epochs):
        trainer.epoch()
    return trainer.run


def test_a_run_leaves_its_record_its_history_and_its_last_weights(unbroken):
    assert sorted(file.name for file in unbroken.path.iterdir()) == ["history.jsonl", "run.json", "state.safetensors"]
    assert unbroken.record["losses"] == ["aap", "mip", "map", "sp"]
    assert (unbroken.record["status"], unbroken.record["stopped"]) == ("finished", "cap")
    assert unbroken.record["cost"]["epochs"] == 4
    steps = math.ceil(sum(min(length - 2, 16) for length in data().lengths.tolist()) / 100)
    assert [entry["gradients"] for entry in unbroken.history()] == [2 * steps * epoch for epoch in (1, 2, 3, 4)]
    for entry in unbroken.history():
        assert sum(entry["shares"].values()) == pytest.approx(1, rel=1e-6)
        assert "heads" in entry["shares"]


def test_attributes_and_masked_items_are_learnt(tmp_path):
    run = small.pretrained(tmp_path / "run", epochs=6, dropout=0.1, learning_rate=3e-3)
    first, last = run.history()[0]["losses"], run.history()[-1]["losses"]
    for name in ("aap", "mip", "map"):
        assert last[name] < 0.98 * first[name], name


def test_the_history_tells_each_loss_a_term_and_their_weighted_sum_a_prefix(tmp_path):
    trainer = small.trainer(tmp_path / "run", batch_size=10_000, learning_rate=1e-12)
    (batch,) = trainer.batches(1)
    entry = trainer.epoch()
    weighted = sum(
        entry["losses"][name] * batch.counts[name] * weight for name, weight in trainer.config.weights.items()
    )
    assert trainer.config.weights == {"aap": 0.2, "mip": 1.0, "map": 1.0, "sp": 0.5}
    assert entry["loss"] * batch.prefixes == pytest.approx(weighted, rel=1e-9)
    assert entry["losses"]["sp"] == pytest.approx(math.log(2), abs=0.02)  # nothing learnt yet
    assert entry["losses"]["aap"] == pytest.approx(
        trainer.model.attribute_embedding.num_embeddings * math.log(2), rel=0.02
    )


@pytest.mark.parametrize("epochs", [0, 1, 3, 4])
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(epochs, unbroken, tmp_path):
    path = started(tmp_path / "run", epochs).path
    (path / ".state.safetensors.1.aside").write_bytes(b"cut off by a kill")
    with (path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 9, "loss": 1.0, "losses": {}}\n{"epo')
    small.assert_same_pretraining(small.pretrained(path, resume=True, **SAM), unbroken)
    assert not list(path.glob(".*.aside"))


FAMILY = [
    {"rho": 0.05, "sam_period": 3},  # LookSAM
    {"rho": 0.5, "asam": True, "rho_schedule": "linear", "rho_epochs": 2},
    {"optimizer": "adamw", "weight_decay": 0.1, "l2": 1e-4},
    {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 1e-4, "rho": 0.05, "sam_period": 2, "sam_between": "plain"},
]


@pytest.mark.parametrize("changes", FAMILY, ids=lambda changes: "-".join(changes))
def test_the_family_and_the_optimizers_are_those_of_training_and_resume_bit_for_bit(changes, tmp_path):
    whole = small.pretrained(tmp_path / "whole", **changes)
    small.trainer(tmp_path / "part", **changes).epoch()
    small.assert_same_pretraining(small.pretrained(tmp_path / "part", resume=True, **changes), whole)
    plain = small.pretrained(
        tmp_path / "plain", **{name: changes[name] for name in ("learning_rate",) if name in changes}
    )
    assert whole.recipe != plain.recipe
    name = "item_embedding.weight"
    assert not torch.equal(whole.state().weights[name], plain.state().weights[name])


def test_an_ascent_every_third_step_takes_a_third_of_sams_gradients_more(tmp_path):
    plain, look = (small.pretrained(tmp_path / str(k), epochs=2, **of) for k, of in ((0, {}), (3, FAMILY[0])))
    steps = plain.record["cost"]["gradients"]
    assert look.record["cost"]["gradients"] == steps + math.ceil(steps / 3)
    assert look.config.name == "S3-Rec pre-training with LookSAM (rho 0.05, k 3)"


def test_a_step_of_plain_sgd_is_the_gradient_of_the_weighted_sum(tmp_path):
    trainer = small.trainer(tmp_path / "run", optimizer="sgd", learning_rate=0.01, dropout=0.0, l2=0.5)
    (batch, *_) = trainer.batches(1)
    before = {name: parameter.detach().clone() for name, parameter in trainer.named.items()}
    total = sum(trainer.config.weights[name] * loss for name, loss in trainer.model(batch).items())
    gradients = dict(zip(trainer.named, torch.autograd.grad(total, trainer.named.values()), strict=True))
    ascent = trainer.step.take(batch)
    assert ascent.loss == pytest.approx(total.item(), rel=1e-12)
    for name, parameter in trainer.named.items():
        expected = before[name] - 0.01 * (gradients[name] + 0.5 * before[name])
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-5, atol=1e-6)


KILLED = """
import sys, torch
torch.set_num_threads(int(sys.argv[2]))
from samrec_tests import small_pretraining as small
small.pretrained(sys.argv[1], rho=0.05, epochs=4)
"""


def test_a_run_killed_at_any_moment_and_resumed_is_the_unbroken_one(unbroken, tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run"), str(torch.get_num_threads())]
    process = subprocess.Popen(command, env=environment)
    history = tmp_path / "run" / "history.jsonl"
    while process.poll() is None and not (history.exists() and history.read_bytes().count(b"\n") >= 2):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    resumed = small.pretrained(tmp_path / "run", resume=True, **SAM)
    small.assert_same_pretraining(resumed, unbroken)


def test_sam_with_rho_0_is_adam_bit_for_bit(tmp_path):
    adam = small.pretrained(tmp_path / "adam", epochs=2)
    sam = small.pretrained(tmp_path / "sam", epochs=2, sam=True)
    states = [read_tensors(run.path / "state.safetensors")[0] for run in (adam, sam)]
    assert_same_tensors(*states)
    assert [entry["losses"] for entry in adam.history()] == [entry["losses"] for entry in sam.history()]
    assert [entry["sharpness"] for entry in sam.history()] == [0.0, 0.0]
    assert sam.record["cost"]["gradients"] == 2 * adam.record["cost"]["gradients"]


def test_sam_with_fresh_dropout_is_not_adam_even_at_rho_0(tmp_path):
    adam = small.pretrained(tmp_path / "adam", epochs=1)
    sam = small.pretrained(tmp_path / "sam", epochs=1, sam=True, sam_dropout="fresh")
    name = "item_embedding.weight"
    assert not torch.equal(adam.state().weights[name], sam.state().weights[name])


def test_every_epoch_draws_anew_and_every_seed(tmp_path):
    def inputs(trainer, epoch):
        return [batch.masked.batch.items for batch in trainer.batches(epoch)]

    trainer, other = small.trainer(tmp_path / "run"), small.trainer(tmp_path / "other", seed=1)
    assert all(map(torch.equal, inputs(trainer, 1), inputs(trainer, 1)))
    assert not all(map(torch.equal, inputs(trainer, 1), inputs(trainer, 2)))
    assert not all(map(torch.equal, inputs(trainer, 1), inputs(other, 1)))


def test_a_share_sees_the_sequences_of_its_users_alone(tmp_path):
    """Users outside of the share may have had anything: not a bit of the weights changes."""
    interactions = data()
    chosen = np.isin(np.arange(interactions.users), users_seen(small.config(data_fraction=0.5), interactions))
    assert chosen.sum() == interactions.users // 2
    others = np.repeat(~chosen, interactions.lengths)
    items = np.where(others, interactions.item_count + 1 - interactions.items, interactions.items).astype(np.int32)
    elsewhere = replace(interactions, items=items)
    share = {"epochs": 2, "data_fraction": 0.5}
    one = small.pretrained(tmp_path / "one", interactions=interactions, **share)
    other = small.pretrained(tmp_path / "other", interactions=elsewhere, **share)
    assert_same_tensors(one.state().weights, other.state().weights)
    steps = math.ceil(sum(min(length - 2, 16) for length in interactions.lengths[chosen].tolist()) / 100)
    assert one.record["cost"]["gradients"] == 2 * steps
    assert one.recipe == PretrainRun(other.path).recipe != small.pretrained(tmp_path / "all", epochs=2).recipe


def test_a_share_of_a_single_user_has_no_rival_segments_and_says_so(tmp_path):
    with pytest.raises(DataError, match=r"expected two or more users, .* got 1"):
        small.pretrained(tmp_path / "run", data_fraction=1e-9)
    assert not (tmp_path / "run").exists()
    assert small.pretrained(tmp_path / "run", data_fraction=1e-9, sp=0, epochs=1).record["status"] == "finished"


def without_attributes():
    return replace(data(), attributes=None)


def test_data_without_attributes_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(DataError, match="expected item attributes"):
        small.pretrained(tmp_path / "run", interactions=without_attributes())
    assert not (tmp_path / "run").exists()


def test_losses_left_out_are_named_by_the_record_and_have_no_weights(tmp_path):
    run = small.pretrained(tmp_path / "run", interactions=without_attributes(), aap=0, map=0)
    assert run.record["losses"] == ["mip", "sp"]
    assert run.history()[0]["losses"].keys() == {"mip", "sp"}
    assert {name for name in run.state().weights if name.startswith(("heads", "attribute"))} == {
        f"heads.{name}.{part}" for name in ("mip", "sp") for part in ("weight", "bias")
    }


def test_a_run_resumes_where_a_loss_never_had_a_term(tmp_path):
    pairs = small.tiny(rows=[[1, 2, 3], [4, 5, 6], [7, 8, 9]])  # prefixes of one item: no segments, nothing shown
    whole = small.pretrained(tmp_path / "whole", interactions=pairs, epochs=3)
    part = small.pretrained(tmp_path / "part", interactions=pairs, epochs=1)
    part.update(
        status="running", config={**part.record["config"], "epochs": 3}, fingerprints=whole.record["fingerprints"]
    )
    small.assert_same_pretraining(small.pretrained(tmp_path / "part", interactions=pairs, epochs=3, resume=True), whole)


def test_segments_alone_leave_batches_of_single_items_out(tmp_path):
    alone = {"aap": 0, "mip": 0, "map": 0}
    run = small.pretrained(tmp_path / "run", interactions=small.tiny(), batch_size=1, epochs=2, **alone)
    longer = sum(max(len(row) - 3, 0) for row in small.ROWS)  # prefixes of two or more items
    assert run.record["cost"]["gradients"] == 2 * longer
    pairs = small.tiny(rows=[[1, 2, 3], [4, 5, 6]])
    with pytest.raises(DataError, match="two or more training items for SP alone"):
        small.pretrained(tmp_path / "none", interactions=pairs, **alone)
    assert not (tmp_path / "none").exists()


def test_a_run_is_neither_written_over_nor_resumed_as_another(unbroken):
    with pytest.raises(RunError, match="expected no run"):
        small.pretrained(unbroken.path, **SAM)
    with pytest.raises(RunError, match=r"rho 0\.05 there, 0\.1 asked"):
        small.pretrained(unbroken.path, resume=True, **{**SAM, "rho": 0.1})
    with pytest.raises(RunError, match="was trained on"):
        small.pretrained(unbroken.path, resume=True, interactions=data(seed=1), **SAM)
    known = data().attributes
    others = replace(data(), attributes=Attributes(np.roll(known.values, 1), known.offsets, known.count))
    with pytest.raises(RunError, match="expected the item attributes"):
        small.pretrained(unbroken.path, resume=True, interactions=others, **SAM)
    again = small.pretrained(unbroken.path, resume=True, **SAM)
    small.assert_same_pretraining(again, unbroken)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mask": 1.0}, "mask"),
        ({"heads": 3}, "heads"),
        ({"sp": -1.0}, "sp"),
        ({"aap": 0, "mip": 0, "map": 0, "sp": 0}, "one of aap, mip, map, sp"),
        ({"patience": 3}, "patience"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes, word):
    with pytest.raises(ConfigError, match=word):
        small.config(**changes)


@pytest.mark.parametrize("name", ["weights/heads.map.weight", "moments/heads.map.weight/exp_avg"])
def test_a_state_that_does_not_fit_is_refused_by_name(name, tmp_path):
    run = started(tmp_path / "run", 1)
    tensors, metadata = read_tensors(run.path / "state.safetensors")
    tensors[name] = tensors[name][:-1].contiguous()
    write_tensors(run.path / "state.safetensors", tensors, metadata)
    with pytest.raises(CheckpointError, match=r"heads\.map\.weight"):
        PreTrainer(run, data())


def test_a_gradient_that_is_not_finite_is_kept_as_divergence_and_names_its_step(tmp_path):
    calls = itertools.count(1)

    def spoil(tensors):
        if next(calls) == 6:  # three a step: the count of prefixes, the first pass, the second
            tensors[1].view(-1)[5] = torch.inf

    trainer = small.trainer(tmp_path / "run", spoil, rho=0.05)
    with pytest.raises(Diverged, match="epoch 1: step 2: expected a finite gradient"):
        trainer.fit()
    assert PretrainRun(tmp_path / "run").record["status"] == "diverged"


@pytest.mark.parametrize(
    ("changes", "where"), [({"rho": 1e6}, "at the perturbed weights"), ({"learning_rate": 30.0}, "a loss below")]
)
def test_a_run_that_learns_less_than_nothing_has_diverged(changes, where, tmp_path):
    with pytest.raises(Diverged, match=where):
        small.pretrained(tmp_path / "run", **changes)
    assert PretrainRun(tmp_path / "run").record["status"] == "diverged"


def test_the_position_counts_gradients_and_epochs(unbroken):
    metadata = read_tensors(unbroken.path / "state.safetensors")[1]
    assert json.loads(metadata["position"])["epoch"] == 4
    assert json.loads(metadata["position"])["gradients"] == unbroken.record["cost"]["gradients"]
