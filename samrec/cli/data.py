"""`samrec data`: get interactions, make them of a raw log, look at them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samrec.cli.fetch import fetch
from samrec.cli.prepare import prepare

if TYPE_CHECKING:
    from samrec.data.id_map import IdMap, Kind

data = typer.Typer(
    help="Get interactions, make them of a raw log, look at them.\n\nExample: samrec data describe Beauty",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MANY_GAPS = 10  # times the items that occur: ids that were meant for something else
_LABELS = {
    "users": "users",
    "items": "items",
    "items_that_occur": "items that occur",
    "interactions": "interactions",
    "mean_length": "mean length",
    "shortest": "shortest",
    "longest": "longest",
    "density": "density",
    "users_with_repeats": "users with a repeated item",
    "test_targets_already_seen": "test targets already seen",
    "attributes": "item attributes",
    "training_tokens": "training input tokens (cut to 50)",
    "times": "times",
    "dropped": "sequences dropped (under 3 items)",
    "own_ids_of_users": "own ids of users",
    "own_ids_of_items": "own ids of items",
    "fingerprint": "fingerprint",
}


@data.callback()
def _group() -> None:
    """Get interactions, make them of a raw log, look at them.

    Example: samrec data describe Beauty
    """


@data.command()
def describe(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A data set's name, or a file.", show_default=False)],
    data_dir: Annotated[Path | None, typer.Option(help="Where to look for a named data set first.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse sequences of fewer than 3 items.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What is in a data set, and how many tokens training on it takes.

    Example: samrec data describe synthetic --json
    """
    from landscape.cli.running import emit
    from samrec.data.catalog import open_data

    interactions = open_data(name, data_dir=data_dir, strict=strict)
    statistics = interactions.describe()
    if Path(interactions.source).is_file():
        statistics |= {f"own_ids_of_{kind}": len(own) for kind, own in _id_maps(Path(interactions.source)).items()}
    largest, occurring = int(statistics["items"]), int(statistics["items_that_occur"])
    if largest > MANY_GAPS * occurring:
        typer.echo(
            f"warning: the largest id, {largest:,}, is more than {MANY_GAPS} times the {occurring:,} items that occur, "
            "and a model keeps a row for every id up to it",
            err=True,
        )
    shown = {key: value for key, value in statistics.items() if key != "items_that_occur" or occurring < largest}
    emit(as_json, statistics, _table(shown))


def _id_maps(text: Path) -> "dict[Kind, IdMap]":
    from samrec.data.id_map import KINDS, id_map_path, read_id_map

    return {kind: read_id_map(text, kind) for kind in KINDS if id_map_path(text, kind).is_file()}


data.command()(fetch)
data.command()(prepare)


def _table(statistics: dict[str, str | int | float]) -> str:
    width = max(map(len, _LABELS.values()))
    lines = [f"{label:<{width}}  {_shown(key, statistics[key])}" for key, label in _LABELS.items() if key in statistics]
    return "\n".join([f"{statistics['name']} ({statistics['source']})", *lines])


def _shown(key: str, value: str | int | float) -> str:
    if key in ("density", "test_targets_already_seen"):
        return f"{100 * float(value):.3g} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}" if isinstance(value, float) else value
