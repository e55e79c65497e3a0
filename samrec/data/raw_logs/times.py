"""Times of raw logs as whole microseconds since 1970 UTC, from numbers of any unit or from dates as text.

A file has one way of writing time: the one that reads most of its first rows. Text without a zone is taken as UTC.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from samrec.errors import ConfigError

Unit = Literal["seconds", "milliseconds", "microseconds", "nanoseconds"]
NUMBER = "number"
FORMS = (  # the first that reads most wins
    NUMBER,
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%+",
)
_PER_SECOND: dict[Unit, int] = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Clock:
    """How one file writes time."""

    form: str = NUMBER
    unit: Unit = "seconds"  # of numbers

    def microseconds(self, text: pl.Expr) -> pl.Expr:
        """The times of a column of text; null where it is no time."""
        text = text.str.strip_chars()
        if self.form != NUMBER:
            zoned = self.form.endswith("z") or self.form == "%+"
            moments = text.str.to_datetime(self.form, strict=False, time_unit="us", time_zone="UTC" if zoned else None)
            return moments.dt.timestamp("us")
        whole = text.cast(pl.Int64, strict=False)
        broken = text.cast(pl.Float64, strict=False) * (10**6 / _PER_SECOND[self.unit])
        broken = pl.when(broken.abs() < 2.0**62).then(broken.round())  # neither NaN nor infinite nor past the end
        return pl.coalesce(self._scaled(whole), broken.cast(pl.Int64, strict=False))

    def _scaled(self, whole: pl.Expr) -> pl.Expr:
        if self.unit == "nanoseconds":
            return whole // 1000
        factor = 10**6 // _PER_SECOND[self.unit]
        return pl.when(whole.abs() <= _LARGEST // factor).then(whole * factor)


def find_clock(sample: pl.Series, unit: str = "seconds") -> Clock:
    """The clock that reads most of a sample of times written as text.

    Raises:
        ConfigError: a unit of time that there is not.
    """
    if unit not in get_args(Unit):
        raise ConfigError(f"expected one of the time units {', '.join(get_args(Unit))}, got {unit!r}")
    clocks = [Clock(form, unit) for form in FORMS]  # type: ignore[arg-type]
    frame = pl.DataFrame({"time": sample})
    read = [frame.select(clock.microseconds(pl.col("time")).is_not_null().sum()).item() for clock in clocks]
    return clocks[read.index(max(read))]
