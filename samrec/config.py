"""The resolved configuration of a run: frozen, validated, written into run.json."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from samrec.errors import ConfigError
from samrec.evaluation.metrics import METRICS


class Pretrained(BaseModel):
    """Where a run's first weights come from: what is told of an S3-Rec pre-training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str  # the folder; no part of any fingerprint
    sha256: str  # of the trunk's tensors
    epochs: int
    recipe: str  # fingerprint of the pre-training's configuration without its seed


class RunConfig(BaseModel):
    """Everything that decides what a run becomes. Defaults are those of the S3-Rec code (Zhou et al. 2020)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str  # a catalog name or a file
    method: Literal["sasrec", "s3rec"] = "sasrec"
    pretrained: Pretrained | None = None  # S3-Rec's first stage
    loss: Literal["bce", "ce"] = "bce"
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
        if self.method == "s3rec" and self.pretrained is None:
            raise ValueError("expected a pre-training run (pretrained) with the method s3rec, got none")
        if self.method != "s3rec" and self.pretrained is not None:
            raise ValueError(
                f"expected a pre-training run (pretrained) with the method s3rec, got it with {self.method}"
            )
        return self

    @property
    def name(self) -> str:
        """What tables call it."""
        if self.method == "s3rec":
            return f"S3-Rec with SAM (rho {self.rho:g})" if self.sam else "S3-Rec"
        return f"SAMRec (rho {self.rho:g})" if self.sam else "SASRec"

    @property
    def without_seed(self) -> dict[str, Any]:
        """The fields in which two seeds of one experiment agree."""
        fields = self.model_dump(exclude={"seed"})
        if self.pretrained is not None:  # its weights come from a seed of their own
            fields["pretrained"] = f"{self.pretrained.epochs} epochs of {self.pretrained.recipe[:12]}"
        return fields


def make_config(**values: Any) -> RunConfig:
    """Validate, with one clear line for the first thing that is wrong."""
    try:
        return RunConfig(**values)
    except ValidationError as error:
        raise ConfigError(complaint(error)) from None


def complaint(error: ValidationError) -> str:
    """One line for the first thing that is wrong."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return f"{where}: {said}, got {first['input']!r}" if where else said
