"""The order in which figures and tables show records: the baseline's first, with the first colour and place."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from landscape.changes import baseline_of, groups_of
from landscape.store import Store

Shown = TypeVar("Shown")


def baseline_first(
    store: Store, shown: Sequence[Shown], checkpoint: Callable[[Any], str] = lambda record: record.checkpoint
) -> list[Shown]:
    """The same, those of the baseline's checkpoints in front; as they are where no checkpoint names a group.

    Args:
        store: where the checkpoints are recorded.
        shown: records, in alphabetical order as a rule, which is kept among those of the baseline and among the rest.
        checkpoint: of which checkpoint one of them is.
    """
    groups = groups_of(store)
    if len(groups) < 2 or all(groups[group] == [group] for group in groups):
        return list(shown)
    first = groups[baseline_of(store)]
    return sorted(shown, key=lambda one: checkpoint(one) not in first)
