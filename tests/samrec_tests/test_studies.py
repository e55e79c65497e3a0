"""Named experiments change what they say and nothing else; grids; shares of the data that contain each other."""

import itertools
import json

import numpy as np
import pytest
from samrec_tests import small_runs

from samrec.config import make_config
from samrec.data.split import nested_share
from samrec.errors import ConfigError, DataError
from samrec.experiments.members import methods_of, open_members
from samrec.experiments.studies import LOSSES, STUDIES, changed, described_studies, family_of, grid, study_named
from samrec.training.trainer import train

BASE = make_config(data="synthetic", seed=5, epochs=100)
VARIES = {
    "sam": {"rho", "sam", "epochs"},
    "rho": {"rho", "sam", "epochs"},
    "data-fraction": {"rho", "sam", "epochs", "patience", "data_fraction", "method", "contrast"},
    "dropout": {"rho", "sam", "epochs", "dropout"},
    "weight-decay": {"rho", "sam", "epochs", "weight_decay"},
    "l2": {"rho", "sam", "epochs", "l2"},
    "regularisers": {"rho", "sam", "epochs", "dropout", "weight_decay", "optimizer"},
    "loss": {"rho", "sam", "epochs", "loss", "negative_count", "gbce_t"},
    "sam-family": {"rho", "sam", "epochs"}.union(*family_of(BASE)),
    "methods": {"rho", "sam", "epochs", "method", "contrast"},
}
OWN_BASE = {"weight-decay": {"optimizer"}}  # what a study changes in every cell


def differences(one, other):
    theirs = other.model_dump()
    return {name for name, value in one.model_dump().items() if theirs[name] != value}


def cells_of(study):
    return {cell.label: cell for cell in study.cells}


def test_every_study_is_checked_here():
    assert set(VARIES) == set(STUDIES) == set(described_studies())


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_changes_the_fields_it_says_and_no_other(name):
    study = study_named(name, BASE)
    assert set(study.varies) == VARIES[name]
    changed_from_base = set().union(*(differences(BASE, cell.config) for cell in study.cells))
    assert changed_from_base == VARIES[name] | OWN_BASE.get(name, set())


@pytest.mark.parametrize("name", STUDIES)
def test_the_baseline_is_the_base_itself_and_every_comparison_is_within_the_study(name):
    study = study_named(name, BASE)
    assert differences(study.baseline.config, BASE) == OWN_BASE.get(name, set())
    assert study.baseline.against is None
    assert {cell.against for cell in study.cells} - {None} <= set(cells_of(study))
    assert study.question.endswith("?")


@pytest.mark.parametrize("name", [name for name in STUDIES if name != "sam-family"])
def test_sam_is_compared_with_the_same_without_it_and_has_twice_its_cap(name):
    cells = cells_of(study_named(name, BASE))
    for cell in cells.values():
        if cell.config.sam:
            plain = cells[cell.against].config
            assert differences(plain, cell.config) == {"rho", "sam", "epochs"}
            assert cell.config.epochs == 2 * plain.epochs


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_decay_is_studied_with_the_optimizer_asked_for(optimizer):
    cells = study_named("weight-decay", changed(BASE, optimizer=optimizer)).cells
    assert {cell.config.optimizer for cell in cells} == {optimizer}
    assert [cell.config.weight_decay for cell in cells if not cell.config.sam] == [0, 0.01, 0.1]


@pytest.mark.parametrize(
    ("name", "field", "base"),
    [("l2", "l2", {"l2": 0.5}), ("weight-decay", "weight_decay", {"optimizer": "sgd", "weight_decay": 0.5})],
)
def test_the_bases_own_value_comes_first_and_is_the_baseline(name, field, base):
    study = study_named(name, changed(BASE, **base))
    assert getattr(study.baseline.config, field) == 0.5
    assert len({getattr(cell.config, field) for cell in study.cells}) == 4


@pytest.mark.parametrize("name", STUDIES)
def test_a_base_with_sam_is_refused_where_the_study_adds_it(name):
    with pytest.raises(ConfigError, match=rf"expected a base without SAM for the study '{name}'.*got rho 0\.5"):
        study_named(name, changed(BASE, rho=0.5))


@pytest.mark.parametrize(("batch_size", "users"), [(256, 64), (30, 8), (20, 5), (5, 2), (2, 1)])
def test_m_sam_climbs_for_a_quarter_of_the_bases_batch(batch_size, users):
    study = study_named("sam-family", changed(BASE, batch_size=batch_size))
    assert {cell.config.sam_users for cell in study.cells} == {None, users}
    assert (len(study.cells), study.notes) == (8, ())


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ({"method": "cl4srec"}, "cl4srec contrasts the views of the whole batch"),
        ({"micro_batch": 32}, "micro_batch 32 has no effect"),
    ],
)
def test_a_member_that_the_base_cannot_have_is_left_out_with_a_word(base, why):
    study = study_named("sam-family", changed(BASE, **base))
    assert {cell.config.sam_users for cell in study.cells} == {None}
    assert len(study.cells) == 7
    assert len(study.notes) == 1
    assert study.notes[0].startswith("Left out, as this base cannot have it: SAM with sam_users 64 (")
    assert why in study.notes[0]


def test_a_batch_of_one_user_has_no_part_to_climb_for():
    assert len(study_named("sam-family", changed(BASE, batch_size=1)).cells) == 7


def test_the_radii_are_the_papers_and_lie_on_one_line():
    cells = study_named("rho", BASE).cells
    assert [cell.setting for cell in cells] == [0, 0.001, 0.01, 0.1, 1, 10]
    assert [cell.config.rho for cell in cells] == [0, 0.001, 0.01, 0.1, 1, 10]
    assert {cell.line for cell in cells} == {""}


def test_less_data_gets_as_many_steps_to_stop_in():
    for cell in study_named("data-fraction", BASE).cells:
        share = cell.config.data_fraction
        assert cell.config.patience * share == pytest.approx(10, abs=0.5)
        assert cell.config.epochs * share == pytest.approx(200 if cell.config.sam else 100, abs=1)


def test_plain_losses_are_compared_with_the_plain_baseline():
    assert {cell.config.loss for cell in study_named("loss", BASE).cells} == set(LOSSES)
    cells = cells_of(study_named("loss", BASE))
    assert cells["SASRec, loss ce"].against == "SASRec, loss bce"
    assert cells["SAMRec (rho 0.1), loss ce"].against == "SASRec, loss ce"


def test_a_grid_is_every_combination_in_order_and_its_first_is_the_baseline():
    study = grid(BASE, {"loss": ["bce", "ce"], "rho": [0, 0.05]})
    assert [(cell.config.loss, cell.config.rho, cell.config.sam) for cell in study.cells] == [
        ("bce", 0, False),
        ("bce", 0.05, True),
        ("ce", 0, False),
        ("ce", 0.05, True),
    ]
    assert {cell.config.epochs for cell in study.cells} == {100}
    assert [cell.against for cell in study.cells] == [None, *["SASRec, loss bce"] * 3]
    assert study.axis == "rho"
    assert [cell.line for cell in study.cells] == ["loss bce", "loss bce", "loss ce", "loss ce"]


def test_a_field_that_a_name_may_leave_out_tells_cells_apart_all_the_same():
    labels = [cell.label for cell in grid(changed(BASE, rho=0.1), {"sam_group": ["all", "body", "embeddings"]}).cells]
    assert len(set(labels)) == 3
    assert ["body" in label for label in labels] == [False, True, False]


def test_a_pretrained_base_stays_so_where_its_method_does():
    pretrained = {"run": "there", "sha256": "0" * 64, "epochs": 3, "recipe": "of it"}
    base = changed(BASE, method="s3rec", pretrained=pretrained)
    found = {cell.config.method: cell.config.pretrained for cell in study_named("methods", base).cells}
    assert found == {"s3rec": base.pretrained, "cl4srec": None}
    with pytest.raises(ConfigError, match=r"expected a pre-training on data_fraction 0\.8 for S3-Rec, got .* none"):
        study_named("data-fraction", base)


def test_a_grid_may_go_back_from_sam_to_plain():
    cells = grid(changed(BASE, rho=0.1), {"rho": [0.1, 0]}).cells
    assert [cell.config.sam for cell in cells] == [True, False]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({}, "expected fields to vary"),
        ({"rh": [0, 1]}, "expected a field out of .*rho.*, got 'rh'; did you mean rho"),
        ({"seed": [1, 2]}, "expected a field out of"),
        ({"data": ["a", "b"]}, "expected a field out of"),
        ({"keep_seen": [True, False]}, "expected a field out of"),
        ({"split": ["leave-one-out", "leave-last-2"]}, "expected one split in all runs of a study.*leave-last-2"),
        ({"rho": [0, 0.1], "split": ["leave-one-out", "leave-last-2"]}, "expected one split in all runs"),
        ({"rho": [0.1]}, "at least two values of rho"),
        ({"rho": [0.1, 0.1]}, "settings that differ"),
        ({"rho": [0, -1]}, "rho"),
        ({"loss": ["bce", "hinge"]}, "loss"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(vary, message):
    with pytest.raises(ConfigError, match=message):
        grid(BASE, vary)


def test_unknown_studies_and_stray_fields_are_refused():
    with pytest.raises(ConfigError, match="expected a study out of sam, rho"):
        study_named("radius", BASE)
    with pytest.raises(ConfigError, match="alone"):
        study_named("rho", BASE, {"loss": ["bce", "ce"]})


def test_smaller_shares_lie_inside_larger_ones():
    rows = np.arange(10, 110)
    shares = [nested_share(rows, share, np.random.default_rng(7)) for share in (0.2, 0.4, 0.6, 0.8, 1.0)]
    assert [len(share) for share in shares] == [20, 40, 60, 80, 100]
    for small, large in itertools.pairwise(shares):
        assert set(small) < set(large)
    assert shares[-1].tolist() == rows.tolist()
    assert set(nested_share(rows, 0.2, np.random.default_rng(8))) != set(shares[0])
    assert len(nested_share(rows, 1e-9, np.random.default_rng(7))) == 1
    with pytest.raises(DataError, match="fraction"):
        nested_share(rows, 0, np.random.default_rng(7))


def test_a_run_on_a_share_takes_its_sequences_alone_and_validates_everybody(tmp_path):
    trainers = {share: small_runs.trainer(tmp_path / str(share), data_fraction=share) for share in (0.25, 0.5, 1.0)}
    trained_on = {share: set(trainer.trained_on) for share, trainer in trainers.items()}
    assert trained_on[0.25] < trained_on[0.5] < trained_on[1.0] == set(range(len(trainers[1.0].sequences)))
    small = trainers[0.25]
    targets = sum(len(example.targets) for example in small.examples(1))
    assert targets == small.sequences.lengths[sorted(trained_on[0.25])].sum()
    assert len(small.validation) == small_runs.data().users
    other = small_runs.trainer(tmp_path / "other", data_fraction=0.25, seed=1)
    assert set(other.trained_on) != trained_on[0.25]


def test_runs_made_before_a_field_existed_group_with_those_that_leave_it_at_its_default(tmp_path):
    folders = [tmp_path / "old", tmp_path / "new", tmp_path / "other"]
    for folder, changes in zip(folders, ({"seed": 0}, {"seed": 1}, {"seed": 0, "data_fraction": 0.5}), strict=True):
        train(small_runs.config(epochs=1, **changes), small_runs.data(), folder)
    record = json.loads((folders[0] / "run.json").read_text())
    del record["config"]["data_fraction"]
    record["fingerprints"]["training_without_seed"] = "of the fields there were"
    (folders[0] / "run.json").write_text(json.dumps(record))
    groups = methods_of(open_members(folders))
    assert [sorted(member.name for member in group) for group in groups.values()] == [["new", "old"], ["other"]]


def test_dropout_and_weight_decay_together_keep_adam_where_there_is_no_decay():
    study = study_named("regularisers", BASE)
    told = [(c.config.dropout, c.config.optimizer, c.config.weight_decay, c.config.rho) for c in study.cells]
    settings = [(rate, *decay) for rate in (0.5, 0.2) for decay in (("adam", 0.0), ("adamw", 1e-4))]
    assert told == [(*setting, radius) for setting in settings for radius in (0.0, 0.1)]
    plain = [cell.label for cell in study.cells[::2]]
    assert [cell.against for cell in study.cells[1::2]] == plain
    assert [cell.against for cell in study.cells[::2]] == [None, *[plain[0]] * 3]
    decayed = study_named("regularisers", changed(BASE, optimizer="sgd", weight_decay=0.1))
    assert {cell.config.optimizer for cell in decayed.cells} == {"sgd"}
    assert {cell.config.weight_decay for cell in decayed.cells} == {0.1, 0.0, 1e-4}
