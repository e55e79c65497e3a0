"""What the book says, to whom it says nothing, and that its rows are the published ones."""

import csv

import pytest
from samrec_tests.shared import SHARED, real_file

from samrec.config import make_config
from samrec.data.catalog import open_data
from samrec.evaluation.protocol import Candidates, conditions_of
from samrec.evaluation.reference_book import DATA_SETS, MODELS, Ended, look_up
from samrec.fingerprints import fingerprint
from samrec.pretrain_config import make_pretrain_config

FINGERPRINTS = {name: fingerprint for fingerprint, name in DATA_SETS.items()}
SASREC = {"method": "sasrec", "loss": "bce", "sam": False}


def pretraining(**changes):
    """What a run keeps of a finished pre-training: that of the defaults, or with these fields instead."""
    made = make_pretrain_config(**{"data": "somewhere", "epochs": 30, **changes})
    return {"run": "there", "sha256": "0" * 64, "epochs": made.epochs, "recipe": fingerprint(made.without_seed)}


def s3rec(**changes):
    return {"method": "s3rec", "loss": "bce", "pretrained": pretraining(**changes)}


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
    assert looked_up(s3rec(), HR_10=0.064).metrics["HR@10"].verdict == "below"


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


@pytest.mark.parametrize("method", ["sasrec", "cl4srec", "s3rec"])
@pytest.mark.parametrize("free", [{}, {"seed": 7, "epochs": 20, "patience": 3, "data": "elsewhere/Beauty.txt"}])
def test_a_run_of_the_methods_defaults_is_the_published_method(method, free):
    own = {"pretrained": pretraining()} if method == "s3rec" else {}
    config = make_config(**{"data": "x", "method": method, **own, **free})
    assert looked_up(config.model_dump()).model == MODELS[method]


@pytest.mark.parametrize(
    "changed",
    [
        {"dropout": 0.2},
        {"size": 32},
        {"heads": 1},
        {"layers": 1},
        {"max_length": 20},
        {"batch_size": 128},
        {"micro_batch": 64},
        {"learning_rate": 1e-4},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "adamw"},
        {"optimizer": "adamw", "weight_decay": 0.01},
        {"l2": 1e-5},
        {"negatives": "s3rec"},
        {"negative_count": 4},
        {"loss": "gbce"},
        {"loss": "gbce", "negative_count": 1, "gbce_t": 0.0},
        {"loss": "sampled-softmax"},
        {"data_fraction": 0.8},
        {"split": "leave-last-2"},
        {"stop_metric": "HR@10"},
        {"sam": True},
        {"rho": 0.1},
        {"rho": 0.1, "asam": True},
        {"rho": 0.1, "sam_group": "body"},
        {"rho": 0.1, "sam_users": 64},
        {"rho": 0.1, "sam_period": 5},
        {"rho": 0.1, "rho_schedule": "cosine"},
        {"method": "cl4srec", "contrast": {"weight": 0.2}},
        {"method": "cl4srec", "contrast": {"similarity": "cosine"}},
        {"method": "cl4srec", "dropout": 0.2},
    ],
    ids=str,
)
def test_a_run_that_differs_from_the_methods_defaults_is_not_the_published_method(changed):
    assert looked_up(make_config(**{"data": "x", **changed}).model_dump()) is None


@pytest.mark.parametrize(
    "changed",
    [
        *({"rho": 0.1}, {"sam": True}, {"dropout": 0.2}, {"inner_sigmoid": False}, {"sp": 0}, {"aap": 1}),
        *({"mask": 0.5}, {"batch_size": 256}, {"learning_rate": 1e-4}, {"negatives": "s3rec"}),
    ],
    ids=str,
)
def test_another_pretraining_is_not_the_published_method(changed):
    assert looked_up(s3rec(**changed)) is None


@pytest.mark.parametrize("free", [{"seed": 3}, {"epochs": 150}, {"data": "elsewhere"}], ids=str)
def test_any_seed_and_length_of_the_pretraining_is(free):
    assert looked_up(s3rec(**free)).model == "S3Rec"


def test_a_configuration_with_fields_nobody_knows_is_not_the_published_method():
    assert looked_up({**SASREC, "spice": 1}) is None
    assert looked_up({**SASREC, "method": "s3rec"}) is None  # of no pre-training


@pytest.mark.parametrize(
    ("config", "ended", "words"),
    [
        (SASREC, Ended("finished", "patience"), []),
        (SASREC, None, []),
        ({**SASREC, "epochs": 5}, Ended("finished", "cap"), ["the cap of 5 epochs (published: at most 200"]),
        (make_config(data="x").model_dump(), Ended("finished", "cap"), ["the cap of 200 epochs (published: at most"]),
        (SASREC, Ended("running"), ["its training had not ended"]),
        (SASREC, Ended("diverged", "diverged"), ["its training diverged"]),
        (s3rec(epochs=5), Ended("finished", "patience"), ["pre-trained for 5 epochs (published: 100 to 150)"]),
        ({**s3rec(epochs=5), "epochs": 6}, Ended("finished", "cap"), ["the cap of 6 epochs", "pre-trained for 5 "]),
        (s3rec(epochs=100), Ended("finished", "patience"), []),
        ({"method": "cl4srec", "loss": "bce", "epochs": 9}, Ended("finished", "cap"), ["9 epochs (published: not kno"]),
    ],
)
def test_a_run_that_trained_for_less_is_told_so(config, ended, words):
    found = look_up(config, conditions(), {"HR@10": 0.02}, {"HR@10": 0.001}, ended=ended)
    assert found.metrics["HR@10"].verdict == "below"
    assert len(found.cut_short) == len(words)
    for told, word in zip(found.cut_short, words, strict=True):
        assert word in told


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
            own = {"pretrained": pretraining()} if method == "s3rec" else {}
            config = {**SASREC, "method": method, "loss": row["loss"], **own}
            metrics = {name: float(row[name]) for name in row if "@" in name and row[name]}
            found = look_up(config, conditions(row["dataset"]), metrics, dict.fromkeys(metrics, 1.0))
            assert found.metrics.keys() == metrics.keys()
            assert {place.verdict for place in found.metrics.values()} == {"inside"}
            assert row["source"] in found.sources
