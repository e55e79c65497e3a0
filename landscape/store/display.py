"""A store in brief, as a notebook shows it: what it holds, by kind, and which surfaces are not finished."""

from typing import get_args

from landscape.display import Display, SortableTable
from landscape.store.reading import Kind, RecordsInStore


def display_of_store(store: RecordsInStore) -> Display:
    """The names of its records by kind; reads every surface for its status."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    held = {kind: store.names(kind) for kind in kinds if kind != "nodes"}
    rows = tuple((kind, len(names), ", ".join(names)) for kind, names in held.items() if names)
    unfinished = [name for name in held["surfaces"] if not store.surface(name).is_finished]
    notes = (f"Not finished: {', '.join(unfinished)}.",) if unfinished else ()
    return Display("Store", store.path.name, {}, (SortableTable("", ("holds", "", "by name"), rows),), notes)
