"""Named experiments: functions that change a few fields of a base configuration, each in the name of one question.

Each gives a `Study`. SAM runs get twice the base's cap on epochs, so that it is patience that ends them.
"""

import difflib
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from samrec.config import RunConfig, make_config
from samrec.errors import ConfigError
from samrec.experiments.cells import Cell, Study
from samrec.experiments.pretrainings import NONE, Pretrainings

RHO = 0.1  # the paper's first experiment
RHOS = (0.001, 0.01, 0.1, 1.0, 10.0)  # the paper's sweep: the first should do nothing, the last should hurt
FRACTIONS = (0.2, 0.4, 0.6, 0.8, 1.0)  # the paper has .6 and .8
ASAM_RHO = 0.5  # on ASAM's own scale (Kwon et al. 2021)
DROPOUTS = (0.0, 0.2, 0.5)
WEIGHT_DECAYS = (0.0, 0.01, 0.1)  # times the learning rate a step
TOGETHER = {"dropout": (0.2, 0.5), "weight_decay": (0.0, 1e-4)}  # of the study of both
L2S = (0.0, 1e-5, 1e-4)  # half of it times ||w||^2: with ||w|| about 100 the last adds .5 to the loss
CONTRASTIVE = "cl4srec"
S3REC = "s3rec"
GRID = "grid"
FIELDS = RunConfig.model_fields
LOSSES: tuple[str, ...] = get_args(FIELDS["loss"].annotation)
TOLD = {
    *("method", "rho", "sam", "optimizer", "momentum", "weight_decay", "l2", "asam", "asam_eta", "sam_group"),
    *("sam_dropout", "sam_users", "sam_period", "sam_between", "sam_alpha", "rho_schedule", "rho_epochs", "rho_factor"),
}  # fields that the configuration's name may tell
PROTOCOL_FIELDS = ("split",)  # decide what a score is a score of: no table may hold two values of them
SWITCHES: dict[str, dict[str, Any]] = {  # what a changed field resets, unless given too: the configuration fills it in
    "rho": {"sam": False},
    "loss": {"negative_count": None, "gbce_t": None},
    "method": {"contrast": None, "pretrained": None},
}


def sam(base: RunConfig) -> Study:
    """Does SAM help, at equal epochs, equal gradients and equal time?"""
    cells = [_cell(base, ()), _cell(with_sam(base), ())]
    return Study("sam", _question(sam), _all_against_first(cells))


def rho(base: RunConfig) -> Study:
    """Which radius of SAM helps, and what does it do to curvature and sharpness?"""
    cells = [_cell(base, (), axis="rho"), *(_cell(with_sam(base, radius), (), axis="rho") for radius in RHOS)]
    return Study("rho", _question(rho), _all_against_first(cells), axis="rho")


def data_fraction(base: RunConfig, pretrainings: Pretrainings = NONE) -> Study:
    """Does SAM help more where there is less to learn from?

    Cap and patience are counted in passes over all of the data: with a fifth of it both are five times as many epochs,
    so that every share has the same number of steps to get better in before it is stopped. S3-Rec takes part at the
    shares that a pre-training saw; where it is the base itself, every share needs one.
    """
    cells = []
    for share in reversed(FRACTIONS):
        longer = {
            "data_fraction": share,
            "epochs": round(base.epochs / share),
            "patience": round(base.patience / share),
        }
        shared = changed(base, **_started(base, pretrainings, longer))
        some = _with_and_without_sam(shared, ("data_fraction",), axis="data_fraction")
        if base.method != CONTRASTIVE:
            contrastive = changed(shared, method=CONTRASTIVE)
            some.append(_cell(contrastive, ("data_fraction",), axis="data_fraction", against=some[0]))
        if base.method != S3REC and share in pretrainings.by_share:
            fine_tuned = changed(shared, method=S3REC, **pretrainings.fields(share))
            some.append(_cell(fine_tuned, ("data_fraction",), axis="data_fraction", against=some[0]))
        cells += some
    return Study("data-fraction", _question(data_fraction), tuple(cells), axis="data_fraction")


def dropout(base: RunConfig) -> Study:
    """Does SAM still help beside dropout, or instead of it?"""
    return _beside("dropout", dropout, base, "dropout", (base.dropout, *DROPOUTS))


def loss(base: RunConfig) -> Study:
    """Does SAM add anything to a better loss?"""
    cells: list[Cell] = []
    for name in dict.fromkeys((base.loss, *LOSSES)):
        cells += _with_and_without_sam(changed(base, loss=name), ("loss",), plain_against=cells[0] if cells else None)
    return Study("loss", _question(loss), tuple(cells))


def weight_decay(base: RunConfig) -> Study:
    """Does SAM still help beside decoupled weight decay, or instead of it?

    SGD and AdamW stay as they are. Adam has no such decay: it becomes AdamW, which is Adam where the decay is 0.
    """
    decaying = changed(base, optimizer="adamw") if base.optimizer == "adam" else base
    return _beside("weight-decay", weight_decay, decaying, "weight_decay", (base.weight_decay, *WEIGHT_DECAYS))


def l2(base: RunConfig) -> Study:
    """Does SAM still help beside an L2 term in the loss, or instead of it?"""
    return _beside("l2", l2, base, "l2", (base.l2, *L2S))


def regularisers(base: RunConfig) -> Study:
    """Does SAM still help beside dropout and weight decay together?

    Adam stays Adam where the decay is its own, so that these runs are those of other studies; elsewhere it is AdamW.
    """
    cells: list[Cell] = []
    dropouts, decays = ((getattr(base, name), *values) for name, values in TOGETHER.items())
    for rate, decay in itertools.product(dict.fromkeys(dropouts), dict.fromkeys(decays)):
        decaying = decay != base.weight_decay and base.optimizer == "adam"
        some = changed(base, dropout=rate, weight_decay=decay, **({"optimizer": "adamw"} if decaying else {}))
        cells += _with_and_without_sam(some, ("dropout",), plain_against=cells[0] if cells else None)
    return Study("regularisers", _question(regularisers), tuple(cells))


def sam_family(base: RunConfig) -> Study:
    """Which member of SAM's family helps, and at which cost?

    A member that the base cannot have, such as m-SAM with a method whose loss ties a batch together, is left out and
    told in the study's notes.
    """
    cells, notes = [_cell(base, ())], []
    for fields in family_of(base):
        try:
            cells.append(_cell(changed(with_sam(base), **fields), ()))
        except ConfigError as error:
            told = ", ".join(f"{name} {_plain(value)}" for name, value in fields.items())
            notes.append(f"Left out, as this base cannot have it: SAM with {told} ({error}).")
    return Study("sam-family", _question(sam_family), _all_against_first(cells), notes=tuple(notes))


def family_of(base: RunConfig) -> tuple[dict[str, Any], ...]:
    """What each member of SAM's family changes in SAM on this base; m-SAM climbs for a quarter of the batch."""
    members: tuple[dict[str, Any], ...] = (
        {},
        {"rho": ASAM_RHO, "asam": True},
        {"sam_period": 5},  # LookSAM
        {"sam_period": 5, "sam_between": "plain"},
        {"sam_users": -(-base.batch_size // 4)},
        {"sam_group": "body"},
        {"sam_group": "embeddings"},
    )
    return members if base.batch_size > 1 else tuple(fields for fields in members if "sam_users" not in fields)


def methods(base: RunConfig, pretrainings: Pretrainings = NONE) -> Study:
    """How do SASRec, SAMRec, CL4SRec and, from a pre-training, S3-Rec compare, and what does SAM add to each?"""
    plain = _with_and_without_sam(base, ())
    contrastive = _with_and_without_sam(changed(base, method=CONTRASTIVE), (), plain_against=plain[0])
    cells = [*plain, *contrastive]
    if base.method != S3REC and base.data_fraction in pretrainings.by_share:
        fine_tuned = changed(base, method=S3REC, **pretrainings.fields(base.data_fraction))
        cells += _with_and_without_sam(fine_tuned, (), plain_against=plain[0])
    return Study("methods", _question(methods), tuple(cells))


STUDIES: dict[str, Callable[..., Study]] = {
    "sam": sam,
    "rho": rho,
    "data-fraction": data_fraction,
    "dropout": dropout,
    "weight-decay": weight_decay,
    "l2": l2,
    "regularisers": regularisers,
    "loss": loss,
    "sam-family": sam_family,
    "methods": methods,
}
OF_METHODS = ("data-fraction", "methods")  # which add S3-Rec where there is a pre-training


def study_named(
    name: str,
    base: RunConfig,
    vary: Mapping[str, Sequence[Any]] | None = None,
    pretrainings: Pretrainings = NONE,
) -> Study:
    """A named study of this base, or the grid over what `vary` lists; S3-Rec's cells start from these pre-trainings.

    Raises:
        ConfigError: no such study, a grid without fields or fields without a grid, a value a field cannot have, no
            pre-training for a cell of S3-Rec, or pre-trainings that no cell starts from.
    """
    study = _named(name, base, vary, pretrainings)
    cells = tuple(
        replace(cell, starts=pretrainings.starts(cell.config.data_fraction)) if cell.config.method == S3REC else cell
        for cell in study.cells
    )
    if pretrainings.by_share and all(cell.config.method != S3REC for cell in cells):
        raise ConfigError(
            f"expected cells of S3-Rec on data_fraction {', '.join(f'{share:g}' for share in pretrainings.by_share)} "
            f"to start from the pre-trainings, got none in {name}; --base method=s3rec makes all of them S3-Rec"
        )
    return replace(study, cells=cells)


def _named(name: str, base: RunConfig, vary: Mapping[str, Sequence[Any]] | None, pretrainings: Pretrainings) -> Study:
    if name == GRID:
        return grid(base, vary or {}, pretrainings)
    if vary:
        raise ConfigError(f"expected fields to vary with the study {GRID!r} alone, got them with {name!r}")
    if name not in STUDIES:
        raise ConfigError(f"expected a study out of {', '.join([*STUDIES, GRID])}, got {name!r}")
    if base.sam:
        raise ConfigError(
            f"expected a base without SAM for the study {name!r}, which adds it itself, got rho {base.rho:g}; {GRID} "
            "takes any base"
        )
    return STUDIES[name](base, pretrainings) if name in OF_METHODS else STUDIES[name](base)


def described_studies() -> dict[str, str]:
    """The question of every named study."""
    return {name: _question(function) for name, function in STUDIES.items()}


def grid(base: RunConfig, vary: Mapping[str, Sequence[Any]], pretrainings: Pretrainings = NONE) -> Study:
    """Every combination of the values given, the first one being the baseline; nothing else changes.

    Raises:
        ConfigError: no field, an unknown one, one that all runs must share, or fewer than two of its values.
    """
    if not vary:
        raise ConfigError("expected fields to vary, such as rho=0,0.05,0.1, got none")
    for name, values in vary.items():
        if name in PROTOCOL_FIELDS:
            raise ConfigError(
                f"expected one {name} in all runs of a study, whose scores stand in one table (--base sets it), "
                f"got {name} to vary over {', '.join(map(str, values))}"
            )
        if name in ("seed", "data") or name not in FIELDS:
            known = [field for field in FIELDS if field not in ("seed", "data", *PROTOCOL_FIELDS)]
            near = difflib.get_close_matches(name, known, n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"expected a field out of {', '.join(known)}, got {name!r}{hint}")
        if len(values) < 2:
            raise ConfigError(f"expected at least two values of {name}, got {', '.join(map(str, values))}")
    settings = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    configs = [changed(base, **_started(base, pretrainings, setting)) for setting in settings]
    numeric = [name for name in vary if all(_is_number(getattr(config, name)) for config in configs)]
    axis = numeric[0] if numeric else None
    cells = [_cell(config, tuple(vary), axis=axis) for config in configs]
    if len({cell.label for cell in cells}) < len(cells):  # a name that does not tell a field after all
        cells = [_cell(config, tuple(vary), axis=axis, told=frozenset()) for config in configs]
    return Study(GRID, f"Every combination of {' and '.join(vary)}.", _all_against_first(cells), axis=axis)


def changed(base: RunConfig, **fields: Any) -> RunConfig:
    """The base with these fields instead; SAM is on exactly where rho is not 0, unless `sam` says otherwise."""
    reset = {other: value for name in fields for other, value in SWITCHES.get(name, {}).items()}
    return make_config(**{**base.model_dump(), **reset, **fields})


def with_sam(base: RunConfig, radius: float = RHO) -> RunConfig:
    """The base trained with SAM, its cap doubled."""
    return changed(base, rho=radius, epochs=2 * base.epochs)


def _started(base: RunConfig, pretrainings: Pretrainings, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, and where they make it S3-Rec on another share or for the first time, what that starts from."""
    method, share = fields.get("method", base.method), fields.get("data_fraction", base.data_fraction)
    if method != S3REC:
        return dict(fields)
    if base.pretrained is not None and share == base.data_fraction:
        return {"pretrained": base.pretrained, **fields}
    return {**pretrainings.fields(share), **fields}


def _beside(
    name: str, question: Callable[[RunConfig], Study], base: RunConfig, field: str, values: Sequence[float]
) -> Study:
    """Plain and SAM at every value of one field; plain cells against the base's own value, which comes first."""
    cells: list[Cell] = []
    for value in dict.fromkeys(values):
        plain_against = cells[0] if cells else None
        cells += _with_and_without_sam(
            changed(base, **{field: value}), (field,), axis=field, plain_against=plain_against
        )
    return Study(name, _question(question), tuple(cells), axis=field)


def _with_and_without_sam(
    base: RunConfig, shown: tuple[str, ...], *, axis: str | None = None, plain_against: Cell | None = None
) -> list[Cell]:
    plain = _cell(base, shown, axis=axis, against=plain_against)
    return [plain, _cell(with_sam(base), shown, axis=axis, against=plain)]


def _cell(
    config: RunConfig,
    shown: tuple[str, ...],
    *,
    axis: str | None = None,
    against: Cell | None = None,
    told: Collection[str] = TOLD,
) -> Cell:
    """A cell named by its method and the fields shown; what is on the axis is no part of its line's name."""
    extras = {name: f"{name.replace('_', ' ')} {_plain(getattr(config, name))}" for name in shown if name not in told}
    along = config if axis is None else config.model_copy(update={axis: FIELDS[axis].default})
    method = [along.name] if axis != "rho" else [config.method] if "method" in shown else []
    return Cell(
        label=", ".join([config.name, *extras.values()]),
        config=config,
        against=against.label if against else None,
        setting=None if axis is None else float(getattr(config, axis)),
        line=", ".join([*method, *(text for name, text in extras.items() if name != axis)]),
    )


def _all_against_first(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    first, *others = cells
    return (first, *(replace(cell, against=first.label) for cell in others))


def _question(function: Callable[[RunConfig], Study]) -> str:
    assert function.__doc__
    return function.__doc__.partition("\n")[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> str:
    return f"{value:g}" if _is_number(value) else str(value)
