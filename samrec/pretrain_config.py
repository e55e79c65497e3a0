"""The resolved configuration of a pre-training run: frozen, validated, written into run.json."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from samrec.complaints import complaint
from samrec.errors import ConfigError

WEIGHTS = ("aap", "mip", "map", "sp")


class PretrainConfig(BaseModel):
    """Everything that decides what pre-training ends in. Defaults are those of the S3-Rec code (Zhou et al. 2020)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str  # a catalog name or a file
    size: int = Field(default=64, ge=1)
    heads: int = Field(default=2, ge=1)
    layers: int = Field(default=2, ge=1)
    max_length: int = Field(default=50, ge=1)
    data_fraction: float = Field(default=1.0, gt=0, le=1)  # the users that training on this share with this seed has
    dropout: float = Field(default=0.5, ge=0, lt=1 - 2**-17)  # masks know multiples of 2**-16
    aap: float = Field(default=0.2, ge=0, allow_inf_nan=False)  # weights of the losses; 0 leaves one out altogether
    mip: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    map: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    sp: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    inner_sigmoid: bool = True  # of MIP and SP, as in the S3-Rec code; on Beauty SP learns nothing with it
    mask: float = Field(default=0.2, ge=0, lt=1)  # the share of items masked, beside the last one
    negatives: Literal["training", "s3rec"] = "training"  # which items MIP's negative may not be
    batch_size: int = Field(default=100, ge=1)  # prefixes
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)  # Adam's
    epochs: int = Field(default=100, ge=1)
    rho: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    sam: bool = False  # two passes a step even where rho is 0
    sam_group: Literal["all", "body", "embeddings"] = "all"
    sam_dropout: Literal["replayed", "fresh"] = "replayed"
    seed: int = Field(default=0, ge=0, lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _rho_means_sam(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("rho"):
            values = {**values, "sam": True}
        return values

    @model_validator(mode="after")
    def _fields_agree(self) -> "PretrainConfig":
        if self.size % self.heads:
            raise ValueError(f"size must be a multiple of heads, got {self.size} and {self.heads}")
        if not self.weights:
            raise ValueError(f"one of {', '.join(WEIGHTS)} must be above 0, got 0 for all of them")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss that takes part."""
        return {name: weight for name in WEIGHTS if (weight := getattr(self, name))}

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"S3-Rec pre-training with SAM (rho {self.rho:g})" if self.sam else "S3-Rec pre-training"

    @property
    def without_seed(self) -> dict[str, Any]:
        """The fields in which two seeds of one experiment agree."""
        return self.model_dump(exclude={"seed"})


def make_pretrain_config(**values: Any) -> PretrainConfig:
    """Validate, with one clear line for the first thing that is wrong."""
    try:
        return PretrainConfig(**values)
    except ValidationError as error:
        raise ConfigError(complaint(error)) from None
