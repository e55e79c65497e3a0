"""`landscape remove`: take measurements out of a store by name, for good."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landscape.cli import options
from landscape.cli.running import emit
from landscape.errors import InvalidArgument

if TYPE_CHECKING:
    from landscape.store.refusals import MeasuredKind


def remove(
    store: Annotated[Path, typer.Argument(help="The store.")],
    records: Annotated[list[str], typer.Argument(help="KIND/NAME, the kinds as `landscape inspect` lists them.")],
    as_json: options.AsJson = False,
) -> None:
    """Remove measurements; all of those named, or none where one of them is not there.

    No other command removes what it was not told to replace: measurements on weights that have changed since stay until
    they are removed here, or the new ones go into another store.

    Example: landscape remove study.h5 surfaces/sasrec-2d curvature/sasrec
    """
    from landscape.store import Store

    chosen = list(dict.fromkeys(_parsed(record) for record in records))
    Store.read(store)  # writing would create one
    with Store.write(store) as writer:
        for kind, name in chosen:
            writer.look_up(kind, name)
        for kind, name in chosen:
            writer.remove(kind, name)
    removed = [f"{kind}/{name}" for kind, name in chosen]
    emit(as_json, {"store": str(store), "removed": removed}, f"removed {', '.join(removed)}")


def _parsed(record: str) -> "tuple[MeasuredKind, str]":
    from landscape.store.refusals import MEASURED

    kind, slash, name = record.partition("/")
    for known in MEASURED:
        if kind == known and slash and name:
            return known, name
    raise InvalidArgument(f"expected KIND/NAME with a kind out of {', '.join(MEASURED)}, got {record!r}")
