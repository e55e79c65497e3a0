"""The resolved configuration of a pre-training run: frozen, validated, written into run.json."""

from typing import Any

from pydantic import Field, ValidationError, model_validator

from samrec.complaints import complaint
from samrec.errors import ConfigError
from samrec.stage_config import StageConfig

WEIGHTS = ("aap", "mip", "map", "sp")


class PretrainConfig(StageConfig):
    """Everything that decides what pre-training ends in. Defaults are those of the S3-Rec code (Zhou et al. 2020)."""

    aap: float = Field(default=0.2, ge=0, allow_inf_nan=False)  # weights of the losses; 0 leaves one out altogether
    mip: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    map: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    sp: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    inner_sigmoid: bool = True  # of MIP and SP, as in the S3-Rec code; on Beauty SP learns nothing with it
    mask: float = Field(default=0.2, ge=0, lt=1)  # the share of items masked, beside the last one
    batch_size: int = Field(default=100, ge=1)  # prefixes
    epochs: int = Field(default=100, ge=1)

    @model_validator(mode="after")
    def _fields_agree(self) -> "PretrainConfig":
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
        with_sam = f" with {self.sam_name}" if self.sam else ""
        return f"S3-Rec pre-training{with_sam}{self.differences_told}"


def make_pretrain_config(**values: Any) -> PretrainConfig:
    """Validate, with one clear line for the first thing that is wrong.

    Raises:
        ConfigError: a field that cannot be, or two that cannot go together.
    """
    try:
        return PretrainConfig(**values)
    except ValidationError as error:
        raise ConfigError(complaint(error)) from None
