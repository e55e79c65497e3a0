"""One scale for values of any size: where they are drawn, between which bounds, and which numbers stand beside it.

A value v is drawn at v - offset (linear) or at log2 v (log). The offset is 0 unless all values agree in their first
three digits. Values far away from the bulk are drawn at the bound, and the bound's label says so;
none is dropped. The rules that choose are conventions of this file, not of any paper.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from landscape.errors import InvalidArgument

ASKED = ("auto", "linear", "log")
LOG_FROM_RATIO = 15.0  # positive values spread over more than this are drawn on a log scale
LOG_DECADES = 3.0  # a log scale ends this many decades from the median, on either side
LINEAR_BULK = 10.0  # a linear scale ends where the range is more than this many times that of nine tenths of the values
SAME_DIGITS = 1e-3  # a range smaller than this share of the values is drawn as the difference from an offset
ROUNDING = 1e-13  # a range smaller than this share of the values is no range at all


@dataclass(frozen=True, slots=True)
class Scale:
    """How values become heights and colours, the same for every panel of a figure."""

    label: str  # the value's name, with its offset and power of ten
    kind: Literal["linear", "log"]
    offset: float
    low: float  # bounds, as drawn
    high: float
    levels: tuple[float, ...]  # equally spaced, as drawn; the first is low and the last is high
    ticks: tuple[float, ...]  # some of the levels, as drawn
    tick_labels: tuple[str, ...]
    clipped_below: int = 0  # values drawn at the bound
    clipped_above: int = 0

    def drawn(self, values: ArrayLike) -> NDArray[np.float64]:
        """Where these values are drawn; NaN where they are NaN or infinite."""
        array = np.asarray(values, dtype=np.float64)
        array = np.where(np.isfinite(array), array, np.nan)
        if self.kind == "linear":
            return np.asarray(np.clip(array - self.offset, self.low, self.high))
        with np.errstate(divide="ignore", invalid="ignore"):
            heights = np.log2(np.maximum(array, 0.0))
        return np.asarray(np.clip(heights, self.low, self.high))

    def with_fewer_ticks(self, most: int) -> "Scale":
        """The same scale with at most so many ticks, every k-th, the one at zero among them where there is one."""
        every = -(-len(self.ticks) // most)
        zero = self.ticks.index(0.0) if 0.0 in self.ticks else 0
        kept = slice(zero % every, None, every)
        return replace(self, ticks=self.ticks[kept], tick_labels=self.tick_labels[kept])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the scale."""
        notes = ["log scale"] if self.kind == "log" else []
        for count, side in ((self.clipped_above, "above"), (self.clipped_below, "below")):
            if count:
                notes.append(f"{count:,} value{'s' if count > 1 else ''} {side} the scale drawn at its end")
        return tuple(notes)


def scale_of(name: str, *values: ArrayLike, allow_log: bool = True, asked: str = "auto") -> Scale:
    """The scale that shows all of these values: linear, or log where they are positive and far apart.

    Raises:
        InvalidArgument: `asked` is neither "auto", "linear" nor "log", or "log" for values that are not all above 0 or
            hardly differ.
    """
    if asked not in ASKED:
        raise InvalidArgument(f"expected a scale out of {', '.join(ASKED)}, got {asked!r}")
    finite = np.concatenate([np.asarray(array, dtype=np.float64).reshape(-1) for array in values] or [np.zeros(0)])
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return Scale(name, "linear", 0.0, 0.0, 1.0, (0.0, 1.0), (), ())
    low, high = float(finite.min()), float(finite.max())
    size = max(abs(low), abs(high))
    if high / 2 - low / 2 <= ROUNDING / 2 * size or size < 1e-300:
        return _constant(name, float(np.median(finite)))
    if asked == "log" and (low <= 0 or high < 2 * low):
        raise InvalidArgument(
            f"expected values above 0, the highest at least twice the lowest, for a log scale of {name}, "
            f"got {short(low)} to {short(high)}"
        )
    if asked == "log" or (asked == "auto" and allow_log and low > 0 and high / low > LOG_FROM_RATIO):
        return _log(name, finite)
    return _linear(name, finite)


def _constant(name: str, value: float) -> Scale:
    """A scale around the one value there is."""
    half = abs(value) / 10 or 1.0
    return Scale(
        name, "linear", 0.0, value - half, value + half, (value - half, value + half), (value,), (short(value),)
    )


def _log(name: str, values: NDArray[np.float64]) -> Scale:
    """Levels divide doublings, with labels at powers of two, or decades where the range is wide or the values small."""
    middle = float(np.median(values))
    reach = 10**LOG_DECADES
    low, high = max(float(values.min()), middle / reach), min(float(values.max()), middle * reach)
    below, above = int((values < low).sum()), int((values > high).sum())
    doublings = math.log2(high) - math.log2(low)
    whole = 1.0 if low > 0.2 and high < 2000 and doublings <= 10 else math.log2(10)  # between labels
    parts = 4 if doublings <= 5 or 1.0 < whole <= doublings / 2 <= 6 else 2  # levels between two labels
    parts = 8 if doublings < 2 * whole and whole > 1.0 else parts  # less than two decades
    step = whole / parts
    first, last = math.floor(math.log2(low) / step + 1e-9), math.ceil(math.log2(high) / step - 1e-9)
    first = first - first % parts if below else first  # a cut end carries a label
    last = last + -last % parts if above else last
    levels = tuple(index * step for index in range(first, last + 1))
    ticks = tuple(index * step for index in range(first, last + 1) if index % parts == 0)
    base = 2.0 if whole == 1.0 else 10.0
    labels = [short(base ** (index // parts)) for index in range(first, last + 1) if index % parts == 0]
    if len(ticks) < 3:
        powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        numbers = [float(f"{factor}e{power}") for power in powers for factor in (1, 2, 5)]
        numbers = [number for number in numbers if levels[0] - 1e-9 <= math.log2(number) <= levels[-1] + 1e-9]
        ticks, labels = tuple(math.log2(number) for number in numbers), [short(number) for number in numbers]
    shown = _with_ends(labels, ticks, levels, below, above)
    return Scale(name, "log", 0.0, levels[0], levels[-1], levels, ticks, shown, below, above)


def _linear(name: str, values: NDArray[np.float64]) -> Scale:
    low, high = _bulk(values)
    size = max(abs(low), abs(high))
    offset = 0.0
    if high - low < SAME_DIGITS * size:
        digits = 1 - math.floor(math.log10(high - low))
        offset = round(low, digits)
        name = (
            f"{name} − {offset:.{max(digits - 1, 0)}f}" if offset >= 0 else f"{name} + {-offset:.{max(digits - 1, 0)}f}"
        )
        offset = round(low, max(digits - 1, 0))
        low, high = low - offset, high - offset
    step = _nice_step((high - low) / 16)
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    below, above = (
        int((values - offset < first * step - 1e-6 * step).sum()),
        int((values - offset > last * step + 1e-6 * step).sum()),
    )
    first = first - first % 2 if below else first  # a cut end carries a label
    last = last + last % 2 if above else last
    levels = tuple(index * step for index in range(first, last + 1))
    ticks = tuple(index * step for index in range(first, last + 1) if index % 2 == 0)
    power = _power(max(abs(tick) for tick in ticks))
    labels = [fixed(tick, 2 * step, power) for tick in ticks]
    label = name if power == 0 else f"{name}  [10{superscript(power)}]"
    shown = _with_ends(labels, ticks, levels, below, above)
    return Scale(label, "linear", offset, levels[0], levels[-1], levels, ticks, shown, below, above)


def _bulk(values: NDArray[np.float64]) -> tuple[float, float]:
    """The range, cut where a tenth of the values takes up nearly all of it."""
    low, high = float(values.min()), float(values.max())
    tenth, ninth = (float(bound) for bound in np.quantile(values, (0.1, 0.9)))
    if ninth > low and high / LINEAR_BULK - low / LINEAR_BULK > ninth - low:
        high = ninth
    if high > tenth and high / LINEAR_BULK - low / LINEAR_BULK > high - tenth:
        low = tenth
    return low, high


def _with_ends(
    labels: Sequence[str], ticks: Sequence[float], levels: Sequence[float], below: int, above: int
) -> tuple[str, ...]:
    """Labels that say at a cut end that what lies beyond is drawn there too."""
    shown = list(labels)
    if above and shown and ticks[-1] == levels[-1]:
        shown[-1] = f"≥ {shown[-1]}"
    if below and shown and ticks[0] == levels[0]:
        shown[0] = f"≤ {shown[0]}"
    return tuple(shown)


def _nice_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least this."""
    power = math.floor(math.log10(least))
    factor = next(factor for factor in (1, 2, 2.5, 5, 10) if factor * 10.0**power >= least * (1 - 1e-9))
    return float(f"{factor}e{power}")


def _power(size: float) -> int:
    """The power of ten to take out of the labels: 0 for numbers people read at a glance."""
    power = math.floor(math.log10(size)) if size > 0 else 0
    return 0 if -2 <= power <= 3 else power


def decades(name: str, low: float, high: float, *, most: int) -> Scale:
    """A log scale between these bounds with labels at powers of ten, at most so many."""
    bottom, top = math.log2(low), math.log2(high) + 0.02 * (math.log2(high) - math.log2(low))
    powers = list(range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1))
    powers = powers[-1 :: -max(1, math.ceil(len(powers) / most))][::-1]
    ticks = tuple(power * math.log2(10) for power in powers)
    names = {0: "1", 1: "10"}
    labels = tuple(names.get(power, f"10{superscript(power)}") for power in powers)
    return Scale(name, "log", 0.0, bottom, top, (bottom, top), ticks, labels)


def room_around(scale: Scale) -> tuple[float, float]:
    """Both ends of the axis as drawn, with a little room beyond the scale's own."""
    room = 0.05 * (scale.high - scale.low)
    return scale.low - room, scale.high + room


def fixed(value: float, step: float, power: int = 0) -> str:
    """A tick's label with as many decimals as the distance between ticks asks for."""
    scaled, gap = value / 10.0**power, step / 10.0**power
    decimals = next((count for count in range(8) if abs(gap * 10**count - round(gap * 10**count)) < 1e-6), 8)
    text = f"{scaled:.{decimals}f}"
    return (text if float(text) else f"{0:.{decimals}f}").replace("-", "−")


def short(value: float, digits: int = 4) -> str:
    """A number for titles and labels: 4 digits, powers of ten as people write them, a true minus."""
    if not math.isfinite(value):
        return "not finite"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, power = text.split("e")
        text = f"10{superscript(int(power))}" if mantissa == "1" else f"{mantissa}×10{superscript(int(power))}"
    return text.replace("-", "−")


def shortened(text: str, longest: int) -> str:
    """Text of at most so many letters, without its middle where it is longer."""
    half = max(1, (longest - 1) // 2)
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def superscript(number: int) -> str:
    """An integer in raised digits."""
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
