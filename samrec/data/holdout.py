"""Which interactions are held out: the newest ones of every user, or all after a moment.

Either way a user's sequence is cut at two places, into a training, a validation and a test part:

    leave-one-out      s[:-2], s[-2:-1], s[-1:]
    leave-last-N       s[:-2n], s[-2n:-n], s[-n:]; n is N, less for a user of fewer than 2N + 1 items, at least 1
    time:T1,T2         items before T1, from T1 on before T2, from T2 on

Every item of a held-out part is a target under leave-last-N, and the model reads all that came before it. Under a time
split a user's first item of the part is the one target, so that nothing that is read, masked or drawn as a negative
comes from the part itself; a user without any, or with nothing before it, has no target. Negatives are drawn from items
that the training part has: an item's first appearance after T1 is future too. (Losses over all items know the whole
catalogue, and ranking ranks it.)
"""

import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Int64

from samrec.data.interactions import Interactions
from samrec.data.moments import moment, typed
from samrec.errors import ConfigError, DataError

Places = Int64[np.ndarray, " users"]


@dataclass(frozen=True, slots=True)
class LeaveLast:
    """The last `count` items are the test part, as many before them the validation part."""

    every_item: ClassVar[bool] = True  # whether all items of a held-out part are targets, or the first alone
    hides_future_items: ClassVar[bool] = False  # whether items that the training part lacks are unknown in training

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"expected to leave out 1 item or more, got {self.count}")

    @property
    def name(self) -> str:
        """What configurations and protocols call it, `leave-one-out` or `leave-last-N`; `parse_holdout` reads it."""
        return "leave-one-out" if self.count == 1 else f"leave-last-{self.count}"

    def cuts(self, interactions: Interactions) -> tuple[Places, Places]:
        """For each user, where in `interactions.items` the validation part begins, and the test part."""
        held_out = np.minimum(self.count, (interactions.lengths - 1) // 2)
        ends = interactions.offsets[1:]
        return ends - 2 * held_out, ends - held_out


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Two moments, microseconds since 1970 UTC: training before the first, test from the second on."""

    every_item: ClassVar[bool] = False
    hides_future_items: ClassVar[bool] = True

    validation_from: int
    test_from: int

    def __post_init__(self) -> None:
        if self.validation_from >= self.test_from:
            raise ConfigError(f"expected validation to begin before test, got {self.name}")

    @property
    def name(self) -> str:
        """`time:T1,T2`."""
        return f"time:{typed(self.validation_from)},{typed(self.test_from)}"

    def cuts(self, interactions: Interactions) -> tuple[Places, Places]:
        """As `LeaveLast.cuts`. Raises DataError for interactions without times."""
        if interactions.times is None:
            raise DataError(
                f"{interactions.name}: {self.name} needs times, and {interactions.source or 'the data'} has none; "
                "samrec data prepare keeps them"
            )
        starts = interactions.offsets[:-1]
        first, second = (
            starts + _sums((interactions.times < bound).astype(np.int64), interactions.offsets)
            for bound in (self.validation_from, self.test_from)
        )
        return first, second


Holdout = LeaveLast | TimeSplit
LEAVE_ONE_OUT = LeaveLast()


def parse_holdout(text: str) -> Holdout:
    """`leave-one-out`, `leave-last-3`, or `time:2013-07-01,2014-01-01`; ConfigError for anything else."""
    if text == LEAVE_ONE_OUT.name:
        return LEAVE_ONE_OUT
    found = re.fullmatch(r"leave-last-([0-9]{1,9})", text)
    if found is not None:
        return LeaveLast(int(found[1]))
    first, comma, second = text.removeprefix("time:").partition(",")
    if text.startswith("time:") and comma:
        return TimeSplit(moment(first), moment(second))
    raise ConfigError(f"expected leave-one-out, leave-last-N or time:T1,T2 with two dates, got {text!r}")


def part_name(holdout: Holdout, split: str) -> str:
    """What records call a split; leave-one-out goes without saying."""
    return split if holdout == LEAVE_ONE_OUT else f"{holdout.name}, {split}"


def _sums(values: Int64[np.ndarray, " interactions"], offsets: Int64[np.ndarray, " rows"]) -> Places:
    return np.add.reduceat(values, offsets[:-1])
