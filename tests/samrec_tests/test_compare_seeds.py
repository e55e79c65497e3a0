"""Differences between methods over seeds: paired where seeds are shared, of Welch where none is, named where alone."""

from pathlib import Path

import pytest
from samrec_tests.s3rec_files import write_s3rec_text
from samrec_tests.small_comparisons import make_run

from samrec.data.synthetic import make_synthetic
from samrec.evaluation.paired import USERS_LEVEL, WELCH_LEVEL
from samrec.experiments.members import open_members
from samrec.experiments.table import markdown


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with data.txt."""
    folder = tmp_path_factory.mktemp("compare")
    write_s3rec_text(make_synthetic(users=40, items=200, clusters=3).interactions, folder / "data.txt")
    return folder


def differences_of(place, tmp_path, plain, sam):
    """The differences between runs of these seeds, by the method, and the table's text."""
    from samrec.evaluation.evaluate import evaluate_run
    from samrec.experiments.comparison_tables import differences_table
    from samrec.experiments.table import _differences

    runs = [make_run(tmp_path / f"p{seed}", place / "data.txt", seed=seed) for seed in plain]
    runs += [make_run(tmp_path / f"s{seed}", place / "data.txt", seed=seed, rho=0.1) for seed in sam]
    members = open_members([run.path for run in runs])
    evaluations = {member.name: evaluate_run(member.run) for member in members}
    table = differences_table(members, evaluations, 0)
    return table.columns, markdown([_differences(table, ["HR@10"])]), evaluations


def test_seeds_without_a_partner_are_named(place, tmp_path):
    columns, text, _ = differences_of(place, tmp_path, [1, 2, 3], [3, 4, 5])
    assert set(zip(columns["a"], columns["b"], strict=True)) == {("p3", "s3")}
    assert "in no difference: seed 1, 2 of SASRec and 4, 5 of SAMRec (rho 0.1)." in text


def test_methods_without_a_common_seed_are_not_called_paired(place, tmp_path):
    import scipy.stats

    columns, text, evaluations = differences_of(place, tmp_path, [1, 2], [7, 9])
    hits = {name: evaluation.metrics["HR@10"] for name, evaluation in evaluations.items()}
    row = (columns["metric"] == "HR@10") & (columns["level"] == WELCH_LEVEL)
    assert set(columns["level"]) == {USERS_LEVEL, WELCH_LEVEL}
    assert columns["units"][row] == [4]
    values = [hits["s7"], hits["s9"]], [hits["p1"], hits["p2"]]
    expected = scipy.stats.ttest_ind(*values, equal_var=False)
    interval = expected.confidence_interval(0.95)
    found = [columns[name][row].item() for name in ("p_value", "low", "high")]
    assert found == pytest.approx([expected.pvalue, interval.low, interval.high], rel=1e-9)
    assert "share no seed: of their runs, p1 (seed 1) and s7 (seed 7) are compared on the same users" in text
    assert WELCH_LEVEL in text


def test_two_runs_of_different_seeds_have_the_users_level_alone(place, tmp_path):
    columns, text, _ = differences_of(place, tmp_path, [1], [7])
    assert set(columns["level"]) == {USERS_LEVEL}
    assert "no seeds are paired" in text
