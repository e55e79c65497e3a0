"""`landscape import`: a surface that another program measured, into a store."""

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli import options
from landscape.cli.running import command_line, emit


def import_surface(
    file: Annotated[Path, typer.Argument(help="A surface of loss-landscape (.h5), or a .csv with alpha, beta, loss.")],
    store: options.Store,
    name: Annotated[str, typer.Option(help="Name in the store, of the surface and of what it stands on.")],
    series: Annotated[str, typer.Option(help="Of a loss-landscape file: train, test, ...")] = "train",
    as_json: options.AsJson = False,
) -> None:
    """Take in a surface without its checkpoint, which its record says; figures draw it like any other.

    Example: landscape import resnet56.h5 --store study.h5 --name resnet56
    """
    from landscape.errors import InvalidArgument
    from landscape.exchange.csv_files import read_surface_csv
    from landscape.exchange.loss_landscape import looks_like_one, read_loss_landscape
    from landscape.records import Status
    from landscape.store import Store

    if not file.is_file():
        raise InvalidArgument(f"expected a file to import, got {file}")
    command = command_line()
    if file.suffix.lower() == ".csv":
        found = read_surface_csv(file, name=name, command=command)
    elif looks_like_one(file):
        found = read_loss_landscape(file, name=name, series=series, command=command)
    else:
        raise InvalidArgument(f"expected a .csv or an HDF5 file with xcoordinates, got {file}")
    with Store.write(store) as writer:
        writer.check_surface(found.surface, found.checkpoint)
        writer.add_checkpoint(found.checkpoint)
        kept = writer.add_surface(found.surface)
    missing = int((kept.status == Status.PENDING).sum())
    odd = int((kept.status == Status.NON_FINITE).sum())
    payload = {
        "store": str(store),
        "surface": name,
        "shape": kept.shape,
        "values": list(kept.values),
        "missing": missing,
        "not_finite": odd,
        "checkpoint": None,
    }
    size = " x ".join(map(str, kept.shape))
    text = f"{name}: {size} points, {missing} not computed, {odd} not finite; {', '.join(kept.values)}; no checkpoint"
    emit(as_json, payload, text)
