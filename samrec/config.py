"""The resolved configuration of a run: frozen, validated, written into run.json."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from samrec.errors import ConfigError
from samrec.evaluation.metrics import METRICS

LossName = Literal["bce", "gbce", "sampled-softmax", "ce"]
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


class RunConfig(BaseModel):
    """Everything that decides what a run becomes. Defaults are those of the S3-Rec code (Zhou et al. 2020)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str  # a catalog name or a file
    method: Literal["sasrec", "cl4srec"] = "sasrec"
    loss: LossName = "bce"
    negative_count: int | None = Field(default=None, ge=1)  # a target; None: the loss's own, see OWN_OPTIONS
    gbce_t: float | None = Field(default=None, ge=0, le=1)  # gBCE's calibration, 0 is BCE
    contrast: Contrast | None = None  # CL4SRec's; None: its defaults
    negatives: Literal["training", "s3rec"] = "training"  # which items a negative may not be
    size: int = Field(default=64, ge=1)
    heads: int = Field(default=2, ge=1)
    layers: int = Field(default=2, ge=1)
    max_length: int = Field(default=50, ge=1)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    batch_size: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    epochs: int = Field(default=200, ge=1)  # a cap
    patience: int = Field(default=10, ge=1)  # epochs without a better validation score
    stop_metric: str = "NDCG@20"
    rho: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    sam: bool = False  # two passes a step even where rho is 0
    sam_group: Literal["all", "body", "embeddings"] = "all"
    sam_dropout: Literal["replayed", "fresh"] = "replayed"
    seed: int = Field(default=0, ge=0, lt=2**63)  # as a store holds it

    @model_validator(mode="before")
    @classmethod
    def _rho_means_sam(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("rho"):
            values = {**values, "sam": True}
        return values

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
        if self.size % self.heads:
            raise ValueError(f"size must be a multiple of heads, got {self.size} and {self.heads}")
        if self.stop_metric not in METRICS:
            raise ValueError(f"stop_metric must be one of {', '.join(METRICS)}, got {self.stop_metric}")
        return self

    @property
    def name(self) -> str:
        """What tables call it."""
        if self.method == "cl4srec":
            return f"CL4SRec with SAM (rho {self.rho:g})" if self.sam else "CL4SRec"
        return f"SAMRec (rho {self.rho:g})" if self.sam else "SASRec"

    @property
    def without_seed(self) -> dict[str, Any]:
        """The fields in which two seeds of one experiment agree."""
        return self.model_dump(exclude={"seed"})


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


def make_config(**values: Any) -> RunConfig:
    """Validate, with one clear line for the first thing that is wrong."""
    try:
        return RunConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}: {said}, got {first['input']!r}" if where else said) from None
