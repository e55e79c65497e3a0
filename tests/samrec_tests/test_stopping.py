"""What a shorter patience would have chosen is what a run with that patience chooses."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samrec_tests import small_studies

from samrec.experiments.stopping import best_before_stop, stopping_section, stopping_table
from samrec.experiments.study_folder import open_study
from samrec.experiments.study_values import read_values

KEPT = sorted(path.parent for path in (Path(__file__).parents[2] / "studies").glob("*/study.json"))


@given(st.lists(st.integers(0, 6).map(float), min_size=1, max_size=30), st.integers(1, 8))
def test_epoch_by_epoch_it_stops_where_nothing_better_came_for_so_long(scores, patience):
    seen, stalled = [scores[0]], 0
    for score in scores[1:]:
        if stalled == patience:
            break
        stalled = 0 if score > max(seen) else stalled + 1
        seen.append(score)
    assert best_before_stop(scores, patience) == (seen.index(max(seen)) + 1, max(seen))


@pytest.mark.parametrize("study", KEPT, ids=lambda path: path.name)
def test_of_kept_runs_their_own_patience_gives_the_epoch_they_kept_and_their_end(study):
    for run in read_values(open_study(study)).runs:
        if run.record.get("stopped") == "patience":  # not by a cap, nor waiting to be begun
            config = run.planned.config
            scores = [entry["validation"][config.stop_metric] for entry in run.history]
            epoch, score = best_before_stop(scores, config.patience)
            assert (epoch, score) == (run.record["best"]["epoch"], run.record["best"][config.stop_metric])
            assert len(scores) == epoch + config.patience


def test_a_run_with_less_patience_is_the_beginning_of_one_with_more(tmp_path):
    found = {}
    for name, patience in (("long", 7), ("short", 5)):
        (tmp_path / name).mkdir()
        found[name], _ = small_studies.swept(tmp_path / name, seeds=(1,), epochs=60, patience=patience)
    long, short = found["long"], found["short"]
    table = stopping_table(read_values(long))
    columns = {name: column.tolist() for name, column in table.columns.items()}
    ended = [run for run in read_values(short).runs if run.record["stopped"] == "patience"]
    assert ended
    for run in ended:
        row = list(zip(columns["cell"], columns["patience"], strict=True)).index((run.planned.cell, 5))
        assert columns["best_epoch"][row] == run.record["best"]["epoch"]
        assert columns["validation"][row] == run.record["best"]["NDCG@20"]
        assert np.isnan(columns["deviation"][row])  # of one seed
    section = stopping_section(table)
    assert section.header == ("cell", "patience 5", "patience 7")
    assert all(len(row) == 3 for row in section.rows)
