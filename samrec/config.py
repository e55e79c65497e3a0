"""The resolved configuration of a run: frozen, validated, written into run.json."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from samrec.complaints import complaint
from samrec.data.holdout import LEAVE_ONE_OUT, Holdout, parse_holdout
from samrec.errors import ConfigError
from samrec.evaluation.metrics import METRICS
from samrec.stage_config import SAM, Condition, StageConfig

LossName = Literal["bce", "gbce", "sampled-softmax", "ce"]
TOLD_AS: Mapping[str, str] = {"cl4srec": "CL4SRec", "s3rec": "S3-Rec"}  # methods that keep their name with SAM
Operator = Literal["crop", "mask", "reorder"]
LOSSES: tuple[str, ...] = get_args(LossName)
OWN_OPTIONS: Mapping[str, Mapping[str, int | float]] = {  # of each loss; the counts of gBCE are its authors'
    "bce": {"negative_count": 1},
    "gbce": {"negative_count": 256, "gbce_t": 0.75},
    "sampled-softmax": {"negative_count": 256},
    "ce": {},
}


class Contrast(BaseModel):
    """CL4SRec's contrastive term. Defaults are the paper's (Xie et al. 2022); public versions differ in all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=0.1, ge=0, allow_inf_nan=False)  # times NT-Xent, added to the loss
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    similarity: Literal["dot", "cosine"] = "dot"
    vectors: Literal["last", "all"] = "last"  # the newest item's hidden state, or those of all positions side by side
    operators: tuple[Operator, ...] = ("crop", "mask", "reorder")  # one of them is drawn for each view
    crop: float = Field(default=0.6, gt=0, le=1)  # share of the sequence that is kept
    mask: float = Field(default=0.3, ge=0, le=1)  # share of the items that are replaced by the mask
    reorder: float = Field(default=0.6, ge=0, le=1)  # share of the sequence that is shuffled

    @model_validator(mode="after")
    def _some_operator(self) -> "Contrast":
        if not self.operators:
            raise ValueError(f"expected one or more operators out of {', '.join(get_args(Operator))}")
        return self


class Pretrained(BaseModel):
    """Where a run's first weights come from: what is told of an S3-Rec pre-training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str  # the folder; no part of any fingerprint
    sha256: str  # of the trunk's tensors
    epochs: int
    recipe: str  # fingerprint of the pre-training's configuration without its seed
    data_fraction: float = 1.0  # share of the training sequences it saw
    fraction_seed: int | None = None  # which drew that share; None for all of them, which no seed has a part in
    gradients: int | None = None  # what it took; None where that was not kept; no part of any fingerprint
    seconds: float | None = None

    def check_share(self, data_fraction: float, seed: int) -> None:
        """ValueError unless it saw the very sequences that a run of this fraction and seed learns from."""
        if self.data_fraction != data_fraction:
            raise ValueError(
                f"expected a pre-training on data_fraction {data_fraction:g} as the run's, got one on "
                f"{self.data_fraction:g}: {self.run}"
            )
        if self.fraction_seed not in (None, seed):
            raise ValueError(
                f"expected a pre-training on the share {data_fraction:g} that seed {seed} draws, got one on that of "
                f"seed {self.fraction_seed}: {self.run}"
            )


class RunConfig(StageConfig):
    """Everything that decides what a run becomes. Defaults are those of the S3-Rec code (Zhou et al. 2020)."""

    method: Literal["sasrec", "cl4srec", "s3rec"] = "sasrec"
    pretrained: Pretrained | None = None  # S3-Rec's first stage
    loss: LossName = "bce"
    negative_count: int | None = Field(default=None, ge=1)  # a target; None: the loss's own, see OWN_OPTIONS
    gbce_t: float | None = Field(default=None, ge=0, le=1)  # gBCE's calibration, 0 is BCE
    contrast: Contrast | None = None  # CL4SRec's; None: its defaults
    split: str = "leave-one-out"  # or leave-last-N, or time:T1,T2; see samrec.data.holdout
    batch_size: int = Field(default=256, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)  # users a pass; the step is that of the whole batch
    patience: int = Field(default=10, ge=1)  # epochs without a better validation score
    stop_metric: str = "NDCG@20"
    sam_users: int | None = Field(default=None, ge=1)  # m-SAM: an ascent for every so many users

    NEEDS: ClassVar[Mapping[str, Condition]] = {
        "micro_batch": ("no sam_users, which cut a batch themselves", lambda config: config.sam_users is None),
        "sam_users": SAM,
        **StageConfig.NEEDS,
    }

    @model_validator(mode="before")
    @classmethod
    def _options_of_what_was_chosen(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        loss, method = values.get("loss", "bce"), values.get("method", "sasrec")
        if loss in LOSSES:
            given = {name: values.get(name) for name in ("negative_count", "gbce_t")}
            values = {**values, **loss_options(loss, **given)}
        if method == "cl4srec":
            values = {**values, "contrast": Contrast() if values.get("contrast") is None else values["contrast"]}
        elif values.get("contrast") is not None:
            raise ValueError(f"expected options of the contrast with the method cl4srec, got them with {method}")
        return values

    @model_validator(mode="after")
    def _fields_agree(self) -> "RunConfig":
        if self.stop_metric not in METRICS:
            raise ValueError(f"stop_metric must be one of {', '.join(METRICS)}, got {self.stop_metric}")
        if self.method == "cl4srec" and self.part_size and self.part_size < self.batch_size:
            raise ValueError(
                "cl4srec contrasts the views of the whole batch: expected no micro_batch and no sam_users below "
                f"batch_size {self.batch_size}, got {self.part_size}"
            )
        for field in ("micro_batch", "sam_users"):
            if (getattr(self, field) or 0) > self.batch_size:
                raise ValueError(
                    f"{field} must be at most batch_size, got {getattr(self, field)} and {self.batch_size}"
                )
        if self.method == "s3rec" and self.pretrained is None:
            raise ValueError("expected a pre-training run (pretrained) with the method s3rec, got none")
        if self.method == "s3rec" and self.split != LEAVE_ONE_OUT.name:
            raise ValueError(f"expected the split {LEAVE_ONE_OUT.name}, which pre-training reads, got {self.split}")
        if self.method == "s3rec" and self.pretrained is not None:
            self.pretrained.check_share(self.data_fraction, self.seed)
        if self.method != "s3rec" and self.pretrained is not None:
            raise ValueError(
                f"expected a pre-training run (pretrained) with the method s3rec, got it with {self.method}"
            )
        return self

    @field_validator("split")
    @classmethod
    def _split_is_known(cls, value: str) -> str:
        return parse_holdout(value).name

    @property
    def holdout(self) -> Holdout:
        """Which interactions are held out."""
        return parse_holdout(self.split)

    @property
    def part_size(self) -> int | None:
        """Users of each part of a batch that is not taken whole."""
        return self.sam_users or self.micro_batch

    @property
    def name(self) -> str:
        """What tables call it: the method, and in brackets whatever differs from its usual form."""
        return self._method_name() + self.differences_told

    def _method_name(self) -> str:
        if self.method in TOLD_AS:
            return TOLD_AS[self.method] + (f" with {self.sam_name}" if self.sam else "")
        if not self.sam:
            return "SASRec"
        return "SAMRec" if self.sam_name == "SAM" else self.sam_name

    @property
    def parts_told(self) -> list[str]:
        """What a name says of m-SAM."""
        return [] if self.sam_users is None else [f"m {self.sam_users}"]

    @property
    def without_seed(self) -> dict[str, Any]:
        """The fields in which two seeds of one experiment agree."""
        fields = super().without_seed
        if self.pretrained is not None:  # its weights come from a seed of their own
            fields["pretrained"] = f"{self.pretrained.epochs} epochs of {self.pretrained.recipe[:12]}"
        return fields


def loss_options(loss: str, **given: int | float | None) -> dict[str, int | float | None]:
    """The settings of a loss: those given, its own defaults for the others, None where it has no such setting.

    Raises:
        ValueError: a setting is given that the loss does not have.
    """
    own = OWN_OPTIONS[loss]
    for name, value in given.items():
        if value is not None and name not in own:
            having = ", ".join(other for other in LOSSES if name in OWN_OPTIONS[other])
            raise ValueError(f"expected {name} with the loss {having}, got it with {loss}")
    return {name: own.get(name) if value is None else value for name, value in given.items()}


def loss_facts(loss: str, **given: int | float | None) -> dict[str, int | float]:
    """What a loss's name alone does not say of it; BCE with one negative goes without saying."""
    found = {name: value for name, value in loss_options(loss, **given).items() if value is not None}
    return {} if (loss, found) == ("bce", OWN_OPTIONS["bce"]) else found


def make_config(**values: Any) -> RunConfig:
    """Validate, with one clear line for the first thing that is wrong.

    Raises:
        ConfigError: a field that cannot be, or two that cannot go together.
    """
    try:
        return RunConfig(**values)
    except ValidationError as error:
        raise ConfigError(complaint(error)) from None
