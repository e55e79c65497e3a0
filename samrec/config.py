"""The resolved configuration of a run: frozen, validated, written into run.json."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from samrec.data.holdout import Holdout, parse_holdout
from samrec.errors import ConfigError
from samrec.evaluation.metrics import METRICS


class RunConfig(BaseModel):
    """Everything that decides what a run becomes. Defaults are those of the S3-Rec code (Zhou et al. 2020)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str  # a catalog name or a file
    method: Literal["sasrec"] = "sasrec"
    loss: Literal["bce", "ce"] = "bce"
    split: str = "leave-one-out"  # or leave-last-N, or time:T1,T2; see samrec.data.holdout
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

    @model_validator(mode="after")
    def _fields_agree(self) -> "RunConfig":
        if self.size % self.heads:
            raise ValueError(f"size must be a multiple of heads, got {self.size} and {self.heads}")
        if self.stop_metric not in METRICS:
            raise ValueError(f"stop_metric must be one of {', '.join(METRICS)}, got {self.stop_metric}")
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
    def name(self) -> str:
        """What tables call it."""
        return f"SAMRec (rho {self.rho:g})" if self.sam else "SASRec"

    @property
    def without_seed(self) -> dict[str, Any]:
        """The fields in which two seeds of one experiment agree."""
        return self.model_dump(exclude={"seed"})


def make_config(**values: Any) -> RunConfig:
    """Validate, with one clear line for the first thing that is wrong."""
    try:
        return RunConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}: {said}, got {first['input']!r}" if where else said) from None
