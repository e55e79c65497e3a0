"""A progress bar for long measurements, in terminals and notebooks; nothing at all where nobody watches."""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Protocol

_in_use = False  # a terminal has room for one bar


class Advance(Protocol):
    """Says that n more steps are done; text replaces what stands behind the bar, as in `advance(1, loss="0.53")`."""

    def __call__(self, n: int = 1, **text: object) -> None:
        """Move on."""
        ...


@contextlib.contextmanager
def progress(description: str, total: int | None, *, show: bool = True) -> Iterator[Advance]:
    """Show how far `total` steps are (None: not known), with the time left, on stderr.

    Silent when stderr is neither a terminal nor a notebook, so logs and pipes stay clean; inside of another bar's
    block, whose place it would take; after `silence`; and without `show`. In a notebook it takes ipywidgets, and
    is silent without.
    """
    global _in_use
    if not show or _in_use or not _is_watched():
        yield _nothing
        return
    _in_use = True
    try:
        yield from _bar(description, total)
    finally:
        _in_use = False


def silence() -> None:
    """No bars from this process from now on: it is a worker, and its parent shows how far all of them are."""
    global _in_use
    _in_use = True


def _bar(description: str, total: int | None) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total, text="")

        def advance(n: int = 1, **text: object) -> None:
            if text:
                bar.update(task, advance=n, text="  ".join(f"{key} {value}" for key, value in text.items()))
            else:
                bar.update(task, advance=n)

        yield advance


def _nothing(n: int = 1, **text: object) -> None:
    """Nobody watches."""


def _is_watched() -> bool:
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    shell = sys.modules.get("IPython")  # never imported here: a notebook has it already
    found = shell.get_ipython() if shell is not None else None
    in_notebook = found is not None and type(found).__name__ == "ZMQInteractiveShell"
    return in_notebook and importlib.util.find_spec("ipywidgets") is not None
