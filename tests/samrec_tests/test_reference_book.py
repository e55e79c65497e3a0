"""What the book says, to whom it says nothing, and that its rows are the published ones."""

import csv

import pytest
from samrec_tests.shared import SHARED, real_file

from samrec.config import make_config
from samrec.data.catalog import open_data
from samrec.evaluation.protocol import Candidates, conditions_of
from samrec.evaluation.reference_book import DATA_SETS, look_up

FINGERPRINTS = {name: fingerprint for fingerprint, name in DATA_SETS.items()}
SASREC = {"method": "sasrec", "loss": "bce", "sam": False}


def conditions(data="Beauty", split="leave-one-out, test", keep_seen=False, **more):
    return conditions_of(FINGERPRINTS.get(data, data), split, keep_seen=keep_seen, **more)


def looked_up(config=SASREC, where=None, error=0.001, **metrics):
    scores = {name.replace("_", "@"): value for name, value in metrics.items()} or {"HR@10": 0.058}
    return look_up(config, where or conditions(), scores, dict.fromkeys(scores, error))


@pytest.mark.parametrize(
    ("value", "verdict", "away"),
    [
        (0.058, "inside", 0),
        (0.05496, "inside", 0),  # as the sources print it, .0550
        (0.0605, "inside", 0),
        (0.0620, "above", 1.5),
        (0.0529, "below", 2.1),
    ],
)
def test_a_score_lies_inside_above_or_below_the_published_range(value, verdict, away):
    place = looked_up(HR_10=value).metrics["HR@10"]
    assert (place.low, place.high, place.sources) == (0.055, 0.0605, 4)
    assert place.verdict == verdict
    assert place.standard_errors_away == pytest.approx(away)


def test_a_reproduction_has_a_range_of_its_own():
    found = looked_up(HR_10=0.062, NDCG_10=0.0287)
    assert found.metrics["HR@10"].verdict == "above"
    assert found.metrics["HR@10"].reproduced == (0.055, 0.0625)
    assert found.metrics["HR@10"].reproduced_verdict == "inside"
    assert found.metrics["NDCG@10"].reproduced_verdict == "inside"  # .029 with as many digits as the bound
    assert looked_up(NDCG_10=0.0284).metrics["NDCG@10"].reproduced_verdict == "below"


def test_loss_and_model_choose_their_own_rows_and_sources():
    ce = looked_up({**SASREC, "loss": "ce"}, HR_10=0.058)
    assert (ce.loss, ce.metrics["HR@10"].low, ce.metrics["HR@10"].verdict) == ("ce", 0.0923, "below")
    assert ce.sources == ("Li-fAngyU/sequential_rec logs",)
    toys = looked_up({**SASREC, "method": "cl4srec"}, conditions("Toys_and_Games"), HR_5=0.05, HR_10=0.07)
    assert list(toys.metrics) == ["HR@5"]  # the source has no HR@10 there
    assert looked_up({**SASREC, "method": "s3rec"}, HR_10=0.064).metrics["HR@10"].verdict == "below"


@pytest.mark.parametrize(
    "changed",
    [
        {"where": conditions(split="leave-one-out, validation")},
        {"where": conditions(split="leave-last-3, test")},
        {"where": conditions(keep_seen=True)},
        {"where": conditions(candidates=Candidates(99))},
        {"where": conditions(data="0" * 64)},
        {"config": {**SASREC, "sam": True}},
        {"config": {**SASREC, "loss": "gbce"}},
        {"config": {**SASREC, "negative_count": 4}},
        {"config": {**SASREC, "data_fraction": 0.6}},
        {"config": {**SASREC, "method": "gru4rec"}},
        {"config": {**SASREC, "method": "cl4srec", "loss": "ce"}},
        {"MRR": 0.03},
    ],
)
def test_nothing_is_said_where_anything_differs(changed):
    assert looked_up(**changed) is None


def test_a_configuration_as_runs_keep_it_is_understood():
    assert looked_up(make_config(data="x").model_dump()).model == "SASRec"
    assert looked_up(make_config(data="x", rho=0.1).model_dump()) is None


@pytest.mark.parametrize("name", list(FINGERPRINTS))
def test_data_sets_are_known_by_their_content(name, tmp_path):
    copied = tmp_path / "other-name.txt"
    copied.write_bytes(real_file(f"{name}.txt").read_bytes())
    assert DATA_SETS[open_data(copied).fingerprint] == name


def test_the_rows_are_the_published_ones():
    published = SHARED / "reference" / "published.csv"
    if not published.is_file():
        pytest.skip(f"needs {published}")
    with published.open(newline="") as file:
        for row in csv.DictReader(file):
            method = {"SASRec": "sasrec", "CL4SRec": "cl4srec", "S3Rec": "s3rec"}.get(row["model"])
            if method is None:
                continue
            config = {**SASREC, "method": method, "loss": row["loss"]}
            metrics = {name: float(row[name]) for name in row if "@" in name and row[name]}
            found = look_up(config, conditions(row["dataset"]), metrics, dict.fromkeys(metrics, 1.0))
            assert found.metrics.keys() == metrics.keys()
            assert {place.verdict for place in found.metrics.values()} == {"inside"}
            assert row["source"] in found.sources
