"""What computing asks of an executor: a task that can be sent elsewhere and opened there, and its items.

What travels is a recipe (the task), plain items and plain results; nothing live. An executor decides where and in which
order; the caller gets every item back with its result, once.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


@runtime_checkable
class Task(Protocol[Item_contra, Result_co]):
    """Picklable; expensive things (data, weights) are built by `open`, once a worker."""

    def open(self) -> Callable[[Item_contra], Result_co]:
        """The function that turns one item into its result."""
        ...


@runtime_checkable
class Executor(Protocol):
    """A place where tasks run."""

    def run(self, task: Task[Item, Result], items: Sequence[Item]) -> Iterator[tuple[Item, Result]]:
        """Every item with its result, as they become ready, begun in the order given. Closing it stops the work."""
        ...
