"""Every error `landscape` raises on purpose.

All of them are misuse or unusable input: the command line prints their message as one line and leaves with exit code 2.
A run that did not settle is a result, not an error, and never raised.
"""


class LandscapeError(Exception):
    """Base class; its message says in one line what was expected and what came."""

    exit_code = 2


class InvalidArgument(LandscapeError, ValueError):
    """An option or argument outside what it may be."""


class UnknownTarget(LandscapeError):
    """A `loader:where` that names no loader, or that its loader cannot open."""


class NotFrozen(LandscapeError):
    """An objective gave two different losses at the same weights."""


class NonFiniteLoss(LandscapeError):
    """The loss or a product at the origin is NaN or infinite, so nothing around it can be measured."""


class NonFiniteProduct(LandscapeError):
    """A product Hv held a NaN or an infinity."""


class WorkerDied(LandscapeError):
    """A worker process ended without a word: killed, out of memory, or its program cannot be imported again."""

    def __init__(self, message: str, items: tuple[object, ...] = ()) -> None:
        """`items` are those it held, answered by nobody."""
        super().__init__(message)
        self.items = items


class StoreError(LandscapeError):
    """A store that cannot be opened, read or written: missing, truncated, of another format, no space left."""


class StoreLocked(StoreError):
    """Another process is writing this store."""


class StoreMismatch(StoreError):
    """The store holds something else under this name: another checkpoint, grid, direction or objective."""
