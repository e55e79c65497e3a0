"""One number of one sharpness measure: the record that names, reports and drawing stand on. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalars = Mapping[str, float | int | str | bool | None]  # settings, JSON values


@dataclass(frozen=True, slots=True)
class SharpnessMeasure:
    """One number of one measure at one setting."""

    measure: str  # "sam", "average_case", ...
    setting: Scalars  # rho, sigma, draws, adaptive, ...
    value: float
    standard_error: float | None  # None where the value is exact for the objective
    cost: int  # gradients or losses over the whole objective; of spectra Hessian products, shared by what came of them
    note: str = ""  # "lower bound", "exact for these users", ...
    seconds: float | None = field(default=None, compare=False)  # spent on it; None where no clock ran
