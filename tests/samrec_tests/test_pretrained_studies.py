"""Studies with S3-Rec: its cells alone start from a pre-training, of their own share of the data and their own seed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from samrec_tests import small_pretraining, small_runs
from samrec_tests.test_cli_train import assert_one_line
from samrec_tests.test_study_tables import rows_of

from samrec.config import Pretrained, make_config
from samrec.errors import ConfigError, RunError
from samrec.experiments.pretrainings import Pretrainings, read_pretrainings
from samrec.experiments.studies import changed, study_named
from samrec.experiments.study_folder import StudyFolder, define, held, open_study
from samrec.experiments.study_tables import study_tables
from samrec.experiments.study_values import read_values
from samrec.training.checkpoint import Run

BASE = make_config(data="synthetic", epochs=100)
SHAPE = {"size": 8, "heads": 2, "layers": 1, "max_length": 16}
SMALL = [f"{name}={value}" for name, value in (("size", 8), ("layers", 1), ("max_length", 16), ("batch_size", 20))]
SHARED = ["--data", "data.txt", "--device", "cpu", "--no-figures", "--base", "epochs=1"]
SHARED += [text for value in SMALL for text in ("--base", value)]


def told(share, seed, epochs=3):
    """A pre-training, as a configuration tells of it."""
    drawn_by = {} if share == 1 else {"fraction_seed": seed}
    hashed = f"{share}/{seed}/{epochs}".ljust(64, "0")
    return Pretrained(run="there", sha256=hashed, epochs=epochs, recipe=str(share), data_fraction=share, **drawn_by)


def known(*pairs):
    """Pre-trainings of these shares and seeds."""
    found = {}
    for share, seed in pairs:
        found.setdefault(share, {})[seed] = told(share, seed)
    return Pretrainings(found)


def fine_tuned(study):
    return [cell for cell in study.cells if cell.config.method == "s3rec"]


def test_methods_compares_s3rec_with_and_without_sam_beside_the_others_where_it_can_start():
    plain = study_named("methods", BASE)
    study = study_named("methods", BASE, None, known((1.0, 0)))
    assert study.cells[: len(plain.cells)] == plain.cells
    assert [(cell.label, cell.against) for cell in study.cells[len(plain.cells) :]] == [
        ("S3-Rec", "SASRec"),
        ("S3-Rec with SAM (rho 0.1)", "S3-Rec"),
    ]
    assert {cell.config.pretrained for cell in plain.cells} == {None}
    for seed in (0, 1, 7):
        assert {cell.of_seed(seed).pretrained for cell in fine_tuned(study)} == {told(1.0, 0)}


def test_shares_of_the_data_have_s3rec_only_where_a_pre_training_saw_that_share():
    pool = known((1.0, 0), (0.4, 1), (0.4, 2))
    study = study_named("data-fraction", BASE, None, pool)
    cells = {cell.config.data_fraction: cell for cell in fine_tuned(study)}
    assert set(cells) == {0.4, 1.0}
    assert len(study.cells) == len(study_named("data-fraction", BASE).cells) + 2
    assert cells[0.4].against == "SASRec, data fraction 0.4"
    assert cells[0.4].config.epochs == 250
    assert [cells[0.4].of_seed(seed).pretrained for seed in (1, 2)] == [told(0.4, 1), told(0.4, 2)]
    assert cells[1.0].of_seed(2).pretrained == told(1.0, 0)
    with pytest.raises(ConfigError, match=r"a pre-training of seed 3 for S3-Rec, data fraction 0\.4, got .* 1, 2"):
        cells[0.4].of_seed(3)


def test_where_s3rec_is_the_base_every_share_needs_a_pre_training():
    base = changed(BASE, method="s3rec", pretrained=told(1.0, 0))
    pool = known(*((share, 0) for share in (0.2, 0.4, 0.6, 0.8, 1.0)))
    study = study_named("data-fraction", base, None, pool)
    assert {cell.config.method for cell in study.cells} == {"s3rec", "cl4srec"}
    for cell in fine_tuned(study):
        assert cell.config.pretrained == told(cell.config.data_fraction, 0)
    with pytest.raises(ConfigError, match=r"expected a pre-training on data_fraction 0\.6 for S3-Rec, got those on"):
        study_named("data-fraction", base, None, known((1.0, 0), (0.8, 0)))


def test_a_grid_gives_the_pre_training_to_its_s3rec_cells_alone():
    study = study_named("grid", BASE, {"method": ["sasrec", "s3rec"], "rho": [0, 0.1]}, known((1.0, 0)))
    assert [cell.label for cell in study.cells] == ["SASRec", "SAMRec (rho 0.1)", "S3-Rec", "S3-Rec with SAM (rho 0.1)"]
    assert [cell.config.pretrained is not None for cell in study.cells] == [False, False, True, True]
    shares = study_named(
        "grid", BASE, {"method": ["s3rec", "sasrec"], "data_fraction": [1, 0.5]}, known((1.0, 0), (0.5, 4))
    )
    assert [cell.of_seed(4).pretrained for cell in shares.cells] == [told(1.0, 0), told(0.5, 4), None, None]
    with pytest.raises(ConfigError, match="expected a pre-training on data_fraction 1"):
        study_named("grid", BASE, {"method": ["sasrec", "s3rec"]})


def test_several_on_all_of_the_data_serve_a_seed_each():
    (cell, _) = fine_tuned(study_named("methods", BASE, None, known((1.0, 1), (1.0, 2))))
    assert [cell.of_seed(seed).pretrained for seed in (1, 2)] == [told(1.0, 1), told(1.0, 2)]
    with pytest.raises(ConfigError, match="a pre-training of seed 3"):
        cell.of_seed(3)


def test_pre_trainings_that_nothing_starts_from_are_refused():
    with pytest.raises(ConfigError, match=r"got none in rho; --base method=s3rec"):
        study_named("rho", BASE, None, known((1.0, 0)))
    with pytest.raises(ConfigError, match=r"on data_fraction 0\.5 to start .* got none in methods"):
        study_named("methods", BASE, None, known((0.5, 0)))


def placed(folder, shares=((0.5, 1), (0.5, 2)), **changes):
    """Pre-training runs beside another folder."""
    for share, seed in shares:
        path = folder / f"share-{share:g}-seed-{seed}"
        small_pretraining.pretrained(path, epochs=1, data_fraction=share, seed=seed, **changes)
    (folder / "other").mkdir()
    return folder


def test_a_folder_of_pre_trainings_is_read_as_its_runs(tmp_path):
    small_runs.trained(tmp_path / "sasrec", epochs=1)
    found = read_pretrainings([placed(tmp_path)], small_runs.data(), shape=SHAPE).by_share
    assert {share: list(seeds) for share, seeds in found.items()} == {0.5: [1, 2]}
    with pytest.raises(RunError, match=r"got none in .*other"):
        read_pretrainings([tmp_path / "other"], small_runs.data(), shape=SHAPE)
    shutil.copytree(tmp_path / "share-0.5-seed-1", tmp_path / "copy")
    with pytest.raises(ConfigError, match=r"got two of 0\.5 and seed 1"):
        read_pretrainings([tmp_path], small_runs.data(), shape=SHAPE)
    shutil.rmtree(tmp_path / "copy")
    small_pretraining.pretrained(tmp_path / "longer", epochs=2, data_fraction=0.5, seed=3)
    with pytest.raises(ConfigError, match="differ in their seed alone"):
        read_pretrainings([tmp_path], small_runs.data(), shape=SHAPE)


def test_a_study_keeps_what_every_seed_starts_from_and_takes_more_with_more_seeds(tmp_path):
    def defined(pool, seeds, **options):
        study = study_named("data-fraction", BASE, None, pool)
        with held(tmp_path / "study"):
            return define(tmp_path / "study", study, seeds, "0" * 64, **options)

    def starts(folder: StudyFolder):
        runs = [run.config for run in folder.runs if run.config.method == "s3rec"]
        return {run.seed: run.pretrained.sha256 for run in runs if run.data_fraction == 0.4}

    first = known((0.4, 1), (0.4, 2))
    with pytest.raises(ConfigError, match="a pre-training of seed 3"):
        defined(first, [1, 2, 3])
    assert not (tmp_path / "study" / "study.json").exists()
    two = {seed: told(0.4, seed).sha256 for seed in (1, 2)}
    assert starts(defined(first, [1, 2])) == starts(open_study(tmp_path / "study")) == two
    assert starts(defined(known((0.4, 3)), [3], extend=True)) == {**two, 3: told(0.4, 3).sha256}
    assert starts(open_study(tmp_path / "study")) == {**two, 3: told(0.4, 3).sha256}
    other = Pretrainings({0.4: {1: told(0.4, 1), 2: told(0.4, 1).model_copy(update={"fraction_seed": 2})}})
    with pytest.raises(RunError, match=r"pre-training of seed 2 of S3-Rec, data fraction 0\.4: .* there, .* asked"):
        defined(other, [1, 2, 3])
    longer = Pretrainings({0.4: {4: told(0.4, 4, epochs=4)}})
    with pytest.raises(RunError, match=r"pretrained of S3-Rec, data fraction 0\.4: '3 epochs of .*' there, '4 epochs"):
        defined(longer, [4], extend=True)


# From the command line


def test_sasrec_and_s3rec_are_swept_side_by_side_and_again_without_a_second_training(samrec, tmp_path):
    small_pretraining.pretrained(tmp_path / "first", epochs=1)
    command = ["sweep", "grid", "--vary", "method=sasrec,s3rec", "--seeds", "1,2", "--out", "study", *SHARED]
    code, out, err = samrec(*command, "--pretrained", "first", "--json")
    assert (code, err) == (0, "")
    assert len(json.loads(out)["trained"]) == 4
    assert Run(tmp_path / "study" / "sasrec-seed-1").config.pretrained is None
    assert Run(tmp_path / "study" / "s3-rec-seed-2").config.pretrained.run == str(tmp_path / "first")
    assert json.loads(samrec(*command, "--pretrained", "first", "--json")[1])["trained"] == []
    assert_one_line(samrec(*command), "expected a pre-training on data_fraction 1")


def test_budgets_count_what_the_pre_training_took(samrec, tmp_path):
    first = small_pretraining.pretrained(tmp_path / "first", epochs=1).record["cost"]
    command = ["sweep", "grid", "--vary", "method=sasrec,s3rec", "--seeds", "1", "--out", "study", *SHARED]
    assert samrec(*command, "--pretrained", "first")[0] == 0
    study = open_study(tmp_path / "study")
    start = study.study.cells[1].config.pretrained
    assert (start.gradients, start.seconds) == (first["gradients"], first["seconds"])
    budgets = rows_of(study_tables(read_values(study))["budgets"])
    own = {name: Run(tmp_path / "study" / "sasrec-seed-1").record["cost"][name] for name in ("epochs", "gradients")}
    assert own["gradients"] < first["gradients"]
    reached = {row["budget"]: row["reached"] for row in budgets}
    assert (reached["epochs"], reached["gradients"]) == (1, 0)
    note = f"not in epochs: S3-Rec: 1 epochs, {first['gradients']:,} gradients."
    assert note in (tmp_path / "study" / "tables" / "study.md").read_text()

    record = json.loads((tmp_path / "study" / "study.json").read_text())
    for name in ("gradients", "seconds"):  # of a study from before they were kept
        del record["cells"][1]["config"]["pretrained"][name]
    record["cells"] = [{**record["cells"][1], "against": None}, {**record["cells"][0], "against": "S3-Rec"}]
    (tmp_path / "study" / "study.json").write_text(json.dumps(record))
    unknown = {row["budget"]: row for row in rows_of(study_tables(read_values(open_study(study.path)))["budgets"])}
    assert (unknown["epochs"]["reached"], unknown["gradients"]["reached"]) == (1, 0)
    assert np.isnan(unknown["gradients"]["amount"])
    assert unknown["gradients"]["value_against"] == unknown["epochs"]["value_against"] > 0


def test_a_sweep_over_shares_takes_each_seeds_own_pre_training(samrec, tmp_path):
    placed(tmp_path / "first")
    command = [
        "sweep",
        "grid",
        "--vary",
        "method=sasrec,s3rec",
        "--base",
        "data_fraction=0.5",
        "--out",
        "study",
        *SHARED,
    ]
    assert_one_line(samrec(*command, "--seeds", "1,3", "--pretrained", "first"), "a pre-training of seed 3")
    code, _, err = samrec(*command, "--seeds", "1,2", "--pretrained", "first")
    assert (code, err) == (0, "")
    for seed in (1, 2):
        start = Run(tmp_path / "study" / f"s3-rec-seed-{seed}").config.pretrained
        assert (Path(start.run).name, start.fraction_seed) == (f"share-0.5-seed-{seed}", seed)
    assert samrec("sweep", "--out", "study", "--tables-only", "--no-figures")[0] == 0
    assert_one_line(samrec("sweep", "rho", "--out", "x", *SHARED, "--pretrained", "first"), "got none in rho")
