"""Fine-tuning starts with exactly the pre-trained tensors, or not at all."""

import json
from typing import Literal, get_args, get_origin

import pytest
import torch
from samrec_tests import small_pretraining, small_runs
from samrec_tests.s3rec_files import write_s3rec_text
from samrec_tests.small_runs import assert_same_runs, assert_same_tensors, data
from samrec_tests.test_cli_train import SMALL, assert_one_line

from samrec.data.s3rec_text import attributes_path
from samrec.errors import CheckpointError, ConfigError, RunError
from samrec.fingerprints import fingerprint
from samrec.objective import load
from samrec.pretrain_config import PretrainConfig
from samrec.training.checkpoint import Run, create_run
from samrec.training.files import read_tensors, write_tensors
from samrec.training.pretrain import PreTrainer
from samrec.training.pretrain_run import PretrainRun
from samrec.training.pretrained import find_pretrained
from samrec.training.trainer import Trainer, train

SHAPE = {"size": 8, "heads": 2, "layers": 1, "max_length": 16}


@pytest.fixture
def first(tmp_path):
    """A finished pre-training run."""
    return small_pretraining.pretrained(tmp_path / "first", epochs=2)


def fine_tuning(path, **changes):
    """The configuration of a run that starts from it."""
    return small_runs.config(method="s3rec", pretrained=find_pretrained(path, data(), shape=SHAPE), **changes)


def spoil(path, change):
    """Change the tensors of a pre-training run's state."""
    tensors, metadata = read_tensors(path / "state.safetensors")
    change(tensors)
    write_tensors(path / "state.safetensors", tensors, metadata)


def test_a_run_starts_with_exactly_the_pre_trained_tensors(first, tmp_path):
    config = fine_tuning(first.path)
    trainer = Trainer(create_run(tmp_path / "run", config, data()), data())
    ours = trainer.model.state_dict()
    theirs = first.state().weights
    assert_same_tensors(ours, {name: theirs[name] for name in ours})
    assert {"item_embedding.weight", "position_embedding.weight", "blocks.0.expand.weight"} <= ours.keys()
    plain = Trainer(create_run(tmp_path / "plain", small_runs.config(), data()), data()).model.state_dict()
    assert not any(torch.equal(ours[name], plain[name]) for name in ours)


def test_it_is_a_sasrec_from_there_on(first, tmp_path):
    write_s3rec_text(data(), tmp_path / "data.txt")
    run = train(fine_tuning(first.path, data=str(tmp_path / "data.txt")), data(), tmp_path / "run")
    assert run.config.name == "S3-Rec"
    plain = train(small_runs.config(), data(), tmp_path / "plain")
    assert run.load_model().state_dict().keys() == plain.load_model().state_dict().keys()
    objective = load(str(run.path), device="cpu")
    assert torch.equal(objective.weights["item_embedding.weight"], run.load_model().item_embedding.weight)


def test_the_pre_trainings_hash_and_epochs_travel_in_the_record_and_the_fingerprint(first, tmp_path):
    other = small_pretraining.pretrained(tmp_path / "other", epochs=2, seed=1)
    longer = small_pretraining.pretrained(tmp_path / "longer", epochs=3)
    runs = [create_run(tmp_path / f"run-{run.name}", fine_tuning(run.path), data()) for run in (first, other, longer)]
    told = [run.record["config"]["pretrained"] for run in runs]
    assert [one["epochs"] for one in told] == [2, 2, 3]
    assert len({one["sha256"] for one in told}) == 3
    prints = [run.record["fingerprints"] for run in runs]
    assert len({one["training"] for one in prints}) == 3
    assert (
        prints[0]["training_without_seed"] == prints[1]["training_without_seed"] != prints[2]["training_without_seed"]
    )


def test_the_inner_sigmoid_is_part_of_the_recipe_only_where_it_is_left_out(first, tmp_path):
    assert "inner_sigmoid" in first.record["config"]
    later = ("inner_sigmoid", "data_fraction")
    before = {name: value for name, value in first.config.without_seed.items() if name not in later}
    assert first.recipe == fingerprint(before)
    single = small_pretraining.pretrained(tmp_path / "single", epochs=2, inner_sigmoid=False)
    assert single.recipe != first.recipe
    assert not torch.equal(single.state().weights["heads.sp.weight"], first.state().weights["heads.sp.weight"])


def test_where_the_pre_training_lies_is_no_part_of_a_fingerprint(first, tmp_path):
    before = create_run(tmp_path / "before", fine_tuning(first.path), data())
    moved = first.path.rename(tmp_path / "moved")
    after = create_run(tmp_path / "after", fine_tuning(moved), data())
    assert before.record["fingerprints"] == after.record["fingerprints"]
    assert before.record["config"]["pretrained"]["run"] != after.record["config"]["pretrained"]["run"]


def test_a_resumed_run_is_the_unbroken_one_and_needs_the_pre_training_no_more(first, tmp_path):
    config = fine_tuning(first.path)
    whole = train(config, data(), tmp_path / "whole")
    trainer = Trainer(create_run(tmp_path / "part", config, data()), data())
    trainer.epoch()
    (first.path / "state.safetensors").unlink()
    assert_same_runs(train(config, data(), tmp_path / "part", resume=True), whole)


def test_pre_trained_weights_that_changed_since_are_refused(first, tmp_path):
    config = fine_tuning(first.path)
    spoil(first.path, lambda tensors: tensors["weights/input_norm.bias"].add_(1))
    with pytest.raises(CheckpointError, match="expected pre-trained weights"):
        train(config, data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "value"), [("size", 16), ("heads", 4), ("layers", 2), ("max_length", 20)])
def test_another_shape_is_refused(name, value, first):
    with pytest.raises(RunError, match=f"with {name} {value} as asked, got {name} {SHAPE[name]}"):
        find_pretrained(first.path, data(), shape={**SHAPE, name: value})


def test_a_fine_tuning_of_a_share_starts_from_a_pre_training_on_the_very_same_share(tmp_path):
    half = small_pretraining.pretrained(tmp_path / "half", epochs=1, data_fraction=0.5, seed=3).path
    config = small_runs.config(
        method="s3rec",
        data_fraction=0.5,
        seed=3,
        pretrained=find_pretrained(half, data(), shape=SHAPE, data_fraction=0.5, seed=3),
    )
    assert (config.pretrained.data_fraction, config.pretrained.fraction_seed) == (0.5, 3)
    tuned = Trainer(create_run(tmp_path / "run", config, data()), data())
    seen = PreTrainer(PretrainRun(half), data()).data.prefixes.users
    assert set(seen.tolist()) == set(tuned.sequences.users[tuned.trained_on].tolist())
    assert len(set(seen.tolist())) == 30


@pytest.mark.parametrize(
    ("made", "asked", "words"),
    [
        ((0.5, 3), (0.25, 3), "on data_fraction 0.25 as asked, got 0.5"),
        ((0.5, 3), (1.0, 3), "on data_fraction 1 as asked, got 0.5"),
        ((1.0, 3), (0.5, 3), "on data_fraction 0.5 as asked, got 1"),
        ((0.5, 3), (0.5, 4), "the share 0.5 that seed 4 draws, got that of seed 3"),
    ],
)
def test_another_share_is_refused(made, asked, words, tmp_path):
    fraction, seed = made
    path = small_pretraining.pretrained(tmp_path / "first", epochs=1, data_fraction=fraction, seed=seed).path
    with pytest.raises(RunError, match=words):
        find_pretrained(path, data(), shape=SHAPE, data_fraction=asked[0], seed=asked[1])
    told = find_pretrained(path, data(), shape=SHAPE)
    with pytest.raises(ConfigError, match="expected a pre-training on"):
        small_runs.config(method="s3rec", pretrained=told, data_fraction=asked[0], seed=asked[1])


def test_a_pre_training_on_all_of_the_data_serves_every_seed_and_its_recipe_is_that_of_before(first):
    for seed in (0, 1, 2):
        found = find_pretrained(first.path, data(), shape=SHAPE, data_fraction=1.0, seed=seed)
        assert (found.data_fraction, found.fraction_seed) == (1.0, None)
    config = fine_tuning(first.path).model_dump()
    older = {name: config["pretrained"][name] for name in ("run", "sha256", "epochs", "recipe")}
    assert fingerprint(config) == fingerprint({**config, "pretrained": older})


def test_other_data_are_refused(first):
    with pytest.raises(RunError, match="was trained on"):
        find_pretrained(first.path, data(seed=1), shape=SHAPE)


def test_a_pre_training_that_is_not_finished_is_refused(tmp_path):
    trainer = small_pretraining.trainer(tmp_path / "run")
    trainer.epoch()
    with pytest.raises(RunError, match="expected a finished pre-training run, got one that is running"):
        find_pretrained(tmp_path / "run", data(), shape=SHAPE)


def poisoned(tensors):
    tensors["weights/blocks.0.query.weight"][0, 0] = torch.nan


def missing(tensors):
    del tensors["weights/item_embedding.weight"]


def misshapen(tensors):
    tensors["weights/item_embedding.weight"] = tensors["weights/item_embedding.weight"][:-1].contiguous()


def strange(tensors):
    tensors["weights/extra"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (poisoned, "NaN or infinity"),
        (missing, "expected a tensor item_embedding.weight"),
        (misshapen, "of shape"),
        (strange, "got also extra"),
        (dict.clear, "got none"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, words, first):
    spoil(first.path, change)
    with pytest.raises(CheckpointError, match=words):
        find_pretrained(first.path, data(), shape=SHAPE)


def test_a_method_and_its_pre_training_come_together(first):
    told = find_pretrained(first.path, data(), shape=SHAPE)
    with pytest.raises(ConfigError, match="expected a pre-training run"):
        small_runs.config(method="s3rec")
    with pytest.raises(ConfigError, match="got it with sasrec"):
        small_runs.config(pretrained=told)


# From the command line


MODEL = ["--data", "data.txt", *SMALL[: SMALL.index("--batch-size")], "--device", "cpu"]
PRETRAIN = ["pretrain", *MODEL, "--epochs", 1, "--out", "first"]
FINE_TUNE = ["train", *MODEL, "--epochs", 1, "--method", "s3rec", "--out", "run"]


def test_from_pre_training_to_scores(samrec, tmp_path):
    code, out, err = samrec(*PRETRAIN)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert out.startswith("S3-Rec pre-training, seed 0: AAP ")
    code, out, err = samrec(*FINE_TUNE, "--pretrained", "first", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["config"]["pretrained"]["epochs"] == 1
    assert Run(tmp_path / "run").config.pretrained.run == str(tmp_path / "first")
    assert samrec("evaluate", "run", "--json")[0] == 0


def test_a_resume_takes_the_pre_training_from_the_run(samrec, tmp_path):
    samrec(*PRETRAIN)
    samrec(*FINE_TUNE, "--pretrained", "first")
    before = Run(tmp_path / "run").record
    (tmp_path / "first").rename(tmp_path / "moved")
    assert samrec(*FINE_TUNE, "--resume")[0] == 0
    assert Run(tmp_path / "run").record == before
    assert samrec(*FINE_TUNE, "--resume", "--pretrained", "moved")[0] == 0
    assert_one_line(samrec(*FINE_TUNE, "--out", "new", "--resume"), "expected a pre-training run")


def test_a_share_goes_from_pre_training_to_fine_tuning(samrec, tmp_path):
    half = ("--data-fraction", 0.5, "--seed", 2)
    assert samrec(*PRETRAIN, *half)[0] == 0
    assert_one_line(samrec(*FINE_TUNE, "--pretrained", "first"), "on data_fraction 1 as asked, got 0.5")
    assert_one_line(samrec(*FINE_TUNE, "--pretrained", "first", *half[:3], 3), "that seed 3 draws, got that of seed 2")
    assert not (tmp_path / "run").exists()
    assert samrec(*FINE_TUNE, "--pretrained", "first", *half)[0] == 0
    assert_one_line(samrec(*PRETRAIN, "--out", "other", "--data-fraction", 0), "data_fraction")


def test_json_is_all_there_is_on_stdout_and_a_finished_run_comes_back(samrec):
    code, out, err = samrec(*PRETRAIN, "--json", "--rho", 0.05)
    record = json.loads(out)
    assert (code, err, record["status"], record["config"]["sam"]) == (0, "", "finished", True)
    assert record["losses"].keys() == {"aap", "mip", "map", "sp"}
    assert samrec(*PRETRAIN, "--json", "--rho", 0.05, "--resume") == (0, out, "")


def test_pre_training_takes_the_options_of_sam_and_of_the_optimizer(samrec, tmp_path):
    look = ("--rho", 0.05, "--sam-period", 2, "--optimizer", "adamw", "--weight-decay", 0.1)
    assert samrec(*PRETRAIN, *look)[1].startswith("S3-Rec pre-training with LookSAM (rho 0.05, k 2, AdamW, decay 0.1)")
    config = PretrainRun(tmp_path / "first").config
    assert (config.sam, config.sam_period, config.optimizer, config.weight_decay) == (True, 2, "adamw", 0.1)
    assert_one_line(samrec(*PRETRAIN, "--sam-period", 2), "sam_period 2 has no effect")
    _, text, _ = samrec("pretrain", "--help")
    for name, field in PretrainConfig.model_fields.items():
        if get_origin(field.annotation) is Literal:
            assert "|".join(get_args(field.annotation)) in text, name


@pytest.mark.parametrize("as_json", [True, False])
def test_a_dry_run_writes_nothing(as_json, samrec, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    code, out, err = samrec(*PRETRAIN, "--dry-run", *(["--json"] if as_json else []))
    assert (code, err) == (0, "")
    assert sorted(tmp_path.rglob("*")) == before
    assert json.loads(out)["gradients"] > 0 if as_json else "steps an epoch: " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected a pre-training run"),
        (("--pretrained", "nowhere"), "nowhere"),
        (("--pretrained", "data.txt"), "data.txt"),
        (("--pretrained", "first", "--size", "16"), "got size 8"),
        (("--pretrained", "first", "--method", "sasrec"), "got it with sasrec"),
    ],
)
def test_a_pre_training_that_is_missing_or_does_not_fit_is_one_line(arguments, words, samrec, tmp_path):
    samrec(*PRETRAIN)
    assert_one_line(samrec(*FINE_TUNE, *arguments), words)
    assert not (tmp_path / "run").exists()


def test_a_pre_training_cut_short_or_of_another_kind_is_one_line(samrec, tmp_path):
    samrec(*PRETRAIN)
    state = tmp_path / "first" / "state.safetensors"
    content = state.read_bytes()
    state.write_bytes(content[:-100])
    assert_one_line(samrec(*FINE_TUNE, "--pretrained", "first"), "whole safetensors file")
    state.write_bytes(content)
    assert samrec(*FINE_TUNE, "--pretrained", "first")[0] == 0
    assert_one_line(samrec(*FINE_TUNE, "--out", "other", "--pretrained", "run"), "samrec pretraining 1")
    assert_one_line(samrec("evaluate", "first"), "samrec run 1")


def test_data_without_attributes_are_one_line_that_names_the_way_out(samrec, tmp_path):
    attributes_path(tmp_path / "data.txt").unlink()
    assert_one_line(samrec(*PRETRAIN), "expected item attributes", "weight of 0")
    assert not (tmp_path / "first").exists()
    assert samrec(*PRETRAIN, "--aap", 0, "--map", 0)[0] == 0
    assert PretrainRun(tmp_path / "first").record["losses"] == ["mip", "sp"]


@pytest.mark.parametrize(("option", "value"), [("--mask", "1"), ("--sp", "-1"), ("--epochs", "0"), ("--rho", "nan")])
def test_misuse_is_one_line(option, value, samrec, tmp_path):
    assert_one_line(samrec(*PRETRAIN, option, value), option.removeprefix("--"))
    assert not (tmp_path / "first").exists()
