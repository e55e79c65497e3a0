"""A checkpoint that somebody else trained on Beauty, ranked by our code: the known scores to 4 decimals."""

import pytest
from samrec_tests.shared import DATA, SHARED

from samrec.data.catalog import open_data
from samrec.evaluation.evaluate import evaluate_run
from samrec.foreign import import_checkpoint

CHECKPOINT = SHARED / "reference" / "s3rec_sasrec_beauty_bce.safetensors"
BEAUTY = DATA / "Beauty.txt"

pytestmark = pytest.mark.skipif(
    not (CHECKPOINT.is_file() and BEAUTY.is_file()),
    reason=f"needs the reference checkpoint and Beauty.txt, looked for in {SHARED}",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("known") / "run"
    return import_checkpoint(CHECKPOINT, open_data(str(BEAUTY)), data=str(BEAUTY), out=out)


def rounded(result, *names):
    return [f"{result.metrics[name]:.4f}" for name in names]


def test_scores_with_seen_items_masked_are_the_known_ones(run):
    result = evaluate_run(run, "test")
    assert len(result.users) == 22_363
    assert rounded(result, "HR@5", "HR@10", "HR@20") == ["0.0356", "0.0550", "0.0846"]
    assert rounded(result, "NDCG@5", "NDCG@10", "NDCG@20") == ["0.0227", "0.0289", "0.0363"]
    assert result.targets_seen == 0  # no user of Beauty repeats an item


def test_scores_with_seen_items_kept_are_the_known_ones(run):
    result = evaluate_run(run, "test", keep_seen=True)
    assert rounded(result, "HR@10", "NDCG@10") == ["0.0468", "0.0203"]
