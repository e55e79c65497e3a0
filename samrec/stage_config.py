"""What the configurations of training and of pre-training share: shape, optimizer, the SAM family, the seed."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Condition = tuple[str, Callable[[Any], bool]]  # what a field needs, in words, and whether a configuration has it
SAM: Condition = ("SAM: a rho above 0, or sam", lambda config: config.sam)
LOOK: Condition = (
    "LookSAM: sam_period above 1 and sam_between look",
    lambda config: config.sam_period > 1 and config.sam_between == "look",
)


class StageConfig(BaseModel):
    """Fields of both stages. Defaults are those of the S3-Rec code (Zhou et al. 2020), of SAM those of its papers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str  # a catalog name or a file
    negatives: Literal["training", "s3rec"] = "training"  # which items a negative may not be
    size: int = Field(default=64, ge=1)
    heads: int = Field(default=2, ge=1)
    layers: int = Field(default=2, ge=1)
    max_length: int = Field(default=50, ge=1)
    data_fraction: float = Field(default=1.0, gt=0, le=1)  # share of the training sequences; all users are evaluated
    dropout: float = Field(default=0.5, ge=0, le=0.9999)  # masks know multiples of 2**-16
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
    momentum: float = Field(default=0.0, ge=0, lt=1)  # of sgd
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)  # decoupled: no part of SAM's ascent
    l2: float = Field(default=0.0, ge=0, allow_inf_nan=False)  # l2 / 2 ||w||^2 in the loss: part of it
    epochs: int = Field(default=200, ge=1)  # a cap
    rho: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    sam: bool = False  # two passes a step even where rho is 0
    sam_group: Literal["all", "body", "embeddings"] = "all"
    sam_dropout: Literal["replayed", "fresh"] = "replayed"
    sam_period: int = Field(default=1, ge=1)  # k: an ascent in the first of every k steps
    sam_between: Literal["look", "plain"] = "look"  # the other steps: LookSAM's, or the base optimizer's
    sam_alpha: float = Field(default=0.7, ge=0, allow_inf_nan=False)  # LookSAM's
    asam: bool = False  # the ascent in coordinates scaled by |w| + eta
    asam_eta: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    rho_schedule: Literal["constant", "linear", "cosine", "step"] = "constant"
    rho_epochs: int | None = Field(default=None, ge=1)  # the schedule's length; for cosine the cap by default
    rho_factor: float = Field(default=0.5, ge=0, allow_inf_nan=False)  # of the schedule "step"
    seed: int = Field(default=0, ge=0, lt=2**63)  # as a store holds it

    NEEDS: ClassVar[Mapping[str, Condition]] = {  # where a field that is not at its default does anything
        "momentum": ("optimizer sgd", lambda config: config.optimizer == "sgd"),
        "weight_decay": ("optimizer adamw or sgd; adam takes l2", lambda config: config.optimizer != "adam"),
        "sam_group": SAM,
        "sam_dropout": SAM,
        "sam_period": SAM,
        "sam_between": ("sam_period above 1", lambda config: config.sam_period > 1),
        "sam_alpha": LOOK,
        "asam": SAM,
        "asam_eta": ("asam", lambda config: config.asam),
        "rho_schedule": ("a rho above 0", lambda config: config.rho > 0),
        "rho_epochs": ("a rho_schedule", lambda config: config.rho_schedule != "constant"),
        "rho_factor": ("rho_schedule step", lambda config: config.rho_schedule == "step"),
    }

    @model_validator(mode="before")
    @classmethod
    def _rho_means_sam(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("rho"):
            values = {**values, "sam": True}
        return values

    @model_validator(mode="after")
    def _shared_fields_agree(self) -> "StageConfig":
        if self.size % self.heads:
            raise ValueError(f"size must be a multiple of heads, got {self.size} and {self.heads}")
        if self.rho_schedule in ("linear", "step") and self.rho_epochs is None:
            raise ValueError(f"rho_schedule {self.rho_schedule} needs rho_epochs, its length in epochs, got none")
        for field, (condition, holds) in self.NEEDS.items():
            value = getattr(self, field)
            if value != type(self).model_fields[field].default and not holds(self):
                raise ValueError(f"{field} {value} has no effect: expected it only with {condition}")
        return self

    @property
    def without_seed(self) -> dict[str, Any]:
        """The fields in which two seeds of one experiment agree."""
        return self.model_dump(exclude={"seed"})

    @property
    def parts_told(self) -> list[str]:
        """What a name says of SAM's parts of a batch, where it has some."""
        return []

    @property
    def sam_name(self) -> str:
        """The member of SAM's family."""
        periodic = self.sam_period > 1
        prefix = ("m-" if self.parts_told else "") + ("Look" if periodic and self.sam_between == "look" else "")
        return prefix + ("ASAM" if self.asam else "SAM")

    @property
    def differences_told(self) -> str:
        """In brackets whatever of SAM and of the optimizer is not as usual; empty if nothing is."""
        told = [*(self._sam_told() if self.sam else ()), *self._optimizer_told()]
        return f" ({', '.join(told)})" if told else ""

    def _sam_told(self) -> list[str]:
        periodic, look = self.sam_period > 1, self.sam_between == "look"
        told = {
            f"rho {self.rho:g}": True,
            f"{self.rho_schedule} over {self.rho_epochs or self.epochs} epochs": self.rho_schedule != "constant",
            f"factor {self.rho_factor:g}": self.rho_schedule == "step",
            f"k {self.sam_period}": periodic and look,
            f"alpha {self.sam_alpha:g}": periodic and look and self.sam_alpha != 0.7,
            f"plain steps between, k {self.sam_period}": periodic and not look,
            f"eta {self.asam_eta:g}": self.asam and self.asam_eta != 0.01,
            **dict.fromkeys(self.parts_told, True),
            f"{self.sam_group} only": self.sam_group != "all",
            "fresh dropout": self.sam_dropout == "fresh",
        }
        return [words for words, holds in told.items() if holds]

    def _optimizer_told(self) -> list[str]:
        told = {
            {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}[self.optimizer]: self.optimizer != "adam",
            f"momentum {self.momentum:g}": self.momentum > 0,
            f"decay {self.weight_decay:g}": self.weight_decay > 0,
            f"L2 {self.l2:g}": self.l2 > 0,
        }
        return [words for words, holds in told.items() if holds]
