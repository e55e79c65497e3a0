"""A progress bar for long measurements, in terminals and notebooks; nothing at all where nobody watches."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

BETWEEN_UPDATES = 0.25  # seconds, in a notebook
_in_use = False  # a terminal has room for one bar


class Advance(Protocol):
    """Says that n more steps are done; text replaces what stands behind the bar, as in `advance(1, loss="0.53")`."""

    def __call__(self, n: int = 1, **text: object) -> None:
        """Move on."""
        ...


@contextlib.contextmanager
def progress(description: str, total: int | None, *, show: bool = True) -> Iterator[Advance]:
    """Show how far `total` steps are (None: not known), with the time left, on stderr or below a notebook's cell.

    Silent when stderr is neither a terminal nor a notebook's, so logs and pipes stay clean; inside of another bar's
    block, whose place it would take; after `silence`; and without `show`. The bar goes when its block ends.
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
    notebook = _in_notebook()
    bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=notebook)
    with _below_cell(bar) if notebook else _on_terminal(bar) as updated:
        task = bar.add_task(description, total=total, text="")

        def advance(n: int = 1, **text: object) -> None:
            if text:
                bar.update(task, advance=n, text="  ".join(f"{key} {value}" for key, value in text.items()))
            else:
                bar.update(task, advance=n)
            updated()

        yield advance


@contextlib.contextmanager
def _on_terminal(bar: "Progress") -> Iterator[Callable[[], None]]:
    """The bar draws itself."""
    with bar:
        yield lambda: None


@contextlib.contextmanager
def _below_cell(bar: "Progress") -> Iterator[Callable[[], None]]:
    """The bar as an output of the cell that is replaced now and then, and empty at the end; it takes no widgets."""
    from IPython.display import display

    shown: Any = display(bar, display_id=True)  # type: ignore[no-untyped-call]
    last = time.monotonic()

    def updated() -> None:
        nonlocal last
        if time.monotonic() - last >= BETWEEN_UPDATES:
            shown.update(bar)
            last = time.monotonic()

    try:
        yield updated
    finally:
        shown.update({"text/plain": "", "text/html": ""}, raw=True)


def _nothing(n: int = 1, **text: object) -> None:
    """Nobody watches."""


def _is_watched() -> bool:
    return (sys.stderr is not None and sys.stderr.isatty()) or _in_notebook()


def _in_notebook() -> bool:
    shell: Any = sys.modules.get("IPython")  # never imported here: a notebook has it already
    found = shell.get_ipython() if shell is not None else None
    return found is not None and type(found).__name__ == "ZMQInteractiveShell"
