"""The reference book: what others published for the same data, model, loss and protocol, and where a score stands.

`published.csv` holds their rows, each with its source: full ranking on the test item of leave-one-out, seen items
masked. A data set is known by the fingerprint of its content, never by its name. The spread between rows of one model
is code and chance, not data. Where data, model, loss or protocol differ from all rows, or a run differs from the
method's defaults, the book says nothing. A run that trained for less than the published ones is told so.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from samrec.config import Pretrained, RunConfig, make_config
from samrec.errors import ConfigError
from samrec.evaluation.protocol import conditions_of
from samrec.fingerprints import fingerprint
from samrec.pretrain_config import make_pretrain_config

DATA_SETS = {  # fingerprints of the files that the S3-Rec authors published (`Interactions.fingerprint`)
    "7b08591813eef9621998958d0c4f689305d1c0e3dd22e79da8a5e54f9a2c4c81": "Beauty",
    "dffa14240e8b22fd81ec12e8d525078805bac429e8708a603837a2f6b58d5576": "Sports_and_Outdoors",
    "7334c1146db13172c586a3f979821525922f5a26b82e4131535ce51c2af4b5f9": "Toys_and_Games",
    "d8403309c6e97980cffa3620fcb06f972479c2ee48776ab086e79e7e5203ab03": "Yelp",
}
REPRODUCED: Mapping[tuple[str, str, str], Mapping[str, tuple[str, str]]] = {
    # where a score, rounded to a bound's digits, counts as a reproduction: wider than the rows, for other stop rules
    ("Beauty", "SASRec", "bce"): {"HR@10": (".055", ".0625"), "NDCG@10": (".029", ".034")},
    ("Sports_and_Outdoors", "SASRec", "bce"): {"HR@10": (".031", ".035"), "NDCG@10": (".0165", ".019")},
    ("Toys_and_Games", "SASRec", "bce"): {"HR@10": (".065", ".072"), "NDCG@10": (".032", ".040")},
    ("Yelp", "SASRec", "bce"): {"HR@10": (".025", ".028"), "NDCG@10": (".012", ".014")},
}
MODELS = {"sasrec": "SASRec", "cl4srec": "CL4SRec", "s3rec": "S3Rec"}  # our methods by the names in the rows
CAPS = {"SASRec": 200, "S3Rec": 200}  # epochs at most in the S3-Rec code; of the CL4SRec rows it is not known
PRETRAINED = (100, 150)  # epochs of pre-training behind the S3-Rec rows
LOSSES = ("bce", "ce")  # bce: one negative a target
FREE = ("seed", "epochs", "patience", "data")  # what a run of the published method may choose
DIGITS = 4  # of the published numbers

Verdict = Literal["inside", "above", "below"]


@dataclass(frozen=True, slots=True)
class Row:
    """What one source reported."""

    metrics: Mapping[str, float]
    source: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where one metric stands."""

    value: float
    low: float  # of the published values
    high: float
    sources: int  # that report this metric
    verdict: Verdict
    standard_errors_away: float  # from the nearer end, in our own standard errors; 0 inside
    reproduced: tuple[float, float] | None = None  # the range that counts as a reproduction, where one is known
    reproduced_verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class BookEntry:
    """A run's metrics against all published rows of its data set, model and loss."""

    data: str
    model: str
    loss: str
    metrics: dict[str, Place]
    sources: tuple[str, ...]
    cut_short: tuple[str, ...] = ()  # what ended the run, or its pre-training, early; a "below" may come from it


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run's training ended, as run.json tells it."""

    status: str  # "finished", "running", "diverged", "imported"
    stopped: str | None = None  # "patience", "cap", "diverged"; None where it has not ended, or is not known


def look_up(
    config: Mapping[str, Any],
    conditions: Mapping[str, str],
    metrics: Mapping[str, float],
    standard_errors: Mapping[str, float],
    *,
    ended: Ended | None = None,
) -> BookEntry | None:
    """Compare, or None where nothing was published for the same.

    Args:
        config: the run's resolved configuration; options that are not the published method's rule it out.
        conditions: the protocol of the scores.
        metrics: the scores.
        standard_errors: theirs.
        ended: what stopped the training; None where nobody knows.
    """
    data = DATA_SETS.get(conditions["data"])
    model, loss = published_method(config)
    if (
        data is None
        or model is None
        or dict(conditions) != conditions_of(conditions["data"], "leave-one-out, test", keep_seen=False)
    ):
        return None
    rows = _book().get((data, model, loss), [])
    places = {}
    for name, value in metrics.items():
        found = [row.metrics[name] for row in rows if name in row.metrics]
        if found:
            places[name] = _place(
                value, standard_errors[name], found, REPRODUCED.get((data, model, loss), {}).get(name)
            )
    sources = tuple(row.source for row in rows)
    return BookEntry(data, model, loss, places, sources, _cut_short(config, model, ended)) if places else None


def published_method(config: Mapping[str, Any]) -> tuple[str | None, str]:
    """The model and loss under which rows may speak of this configuration; no model where none may.

    A run is the published method only if every field that decides what it learns is that method's default: all but the
    seed, the cap on epochs, patience, and where things lie. S3-Rec's pre-training counts as such a field.
    """
    method, loss = str(config.get("method")), str(config.get("loss"))
    if method not in MODELS or loss not in LOSSES:
        return None, loss
    pretrained = config.get("pretrained")
    try:
        found = make_config(**{"data": "", **config})
        plain = make_config(data="", method=method, loss=loss, pretrained=pretrained)
    except ConfigError:  # of a version that knows other fields, or has none of the method's own
        return None, loss
    is_published = _learning(found) == _learning(plain) and (found.pretrained is None or _is_plain(found.pretrained))
    return (MODELS[method] if is_published else None), loss


def _learning(config: RunConfig) -> dict[str, Any]:
    return {name: value for name, value in config.model_dump().items() if name not in FREE}


def _is_plain(pretrained: Pretrained) -> bool:
    """Whether the pre-training was the published one, for however many epochs."""
    plain = make_pretrain_config(data="", epochs=pretrained.epochs)
    return pretrained.recipe == fingerprint(plain.without_seed)


def _cut_short(config: Mapping[str, Any], model: str, ended: Ended | None) -> tuple[str, ...]:
    """What the run, or its pre-training, had less of than the published ones, in words."""
    told = []
    published = f"at most {CAPS[model]}, with early stopping" if model in CAPS else "not known"
    if ended is not None and ended.stopped == "cap":
        cap = config.get("epochs", RunConfig.model_fields["epochs"].default)
        told.append(f"stopped by the cap of {cap} epoch{'s' if cap != 1 else ''} (published: {published})")
    elif ended is not None and ended.status in ("running", "diverged"):
        told.append("its training had not ended" if ended.status == "running" else "its training diverged")
    pretrained = config.get("pretrained")
    if pretrained is not None and pretrained["epochs"] < PRETRAINED[0]:
        epochs = f"{pretrained['epochs']} epoch{'s' if pretrained['epochs'] != 1 else ''}"
        told.append(f"pre-trained for {epochs} (published: {PRETRAINED[0]} to {PRETRAINED[1]})")
    return tuple(told)


def _place(value: float, error: float, published: list[float], reproduced: tuple[str, str] | None) -> Place:
    low, high = min(published), max(published)
    verdict = _verdict(value, f"{low:.{DIGITS}f}", f"{high:.{DIGITS}f}")
    outside = {"inside": 0.0, "above": value - high, "below": low - value}[verdict]
    return Place(
        value,
        low,
        high,
        len(published),
        verdict,
        standard_errors_away=outside / error if outside else 0.0,
        reproduced=None if reproduced is None else (float(reproduced[0]), float(reproduced[1])),
        reproduced_verdict=None if reproduced is None else _verdict(value, *reproduced),
    )


def _verdict(value: float, low: str, high: str) -> Verdict:
    """Against bounds as they are written: a value counts with as many digits as the bound has."""
    if round(value, len(low.partition(".")[2])) < float(low):
        return "below"
    return "above" if round(value, len(high.partition(".")[2])) > float(high) else "inside"


@cache
def _book() -> dict[tuple[str, str, str], list[Row]]:
    book: dict[tuple[str, str, str], list[Row]] = {}
    text = (files("samrec.evaluation") / "published.csv").read_text(encoding="utf-8")
    for line in csv.DictReader(text.splitlines()):
        key = line.pop("dataset"), line.pop("model"), line.pop("loss")
        source = line.pop("source")
        metrics = {name: float(value) for name, value in line.items() if value}
        book.setdefault(key, []).append(Row(metrics, source))
    return book
