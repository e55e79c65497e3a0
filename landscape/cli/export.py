"""`landscape export`: what a store holds, for ParaView, spreadsheets, and tomgoldstein/loss-landscape."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landscape.cli import options
from landscape.cli.running import emit

if TYPE_CHECKING:
    from landscape.store import Store


class Format(StrEnum):
    """Whose files."""

    VTK = "vtk"
    CSV = "csv"
    LOSS_LANDSCAPE = "loss-landscape"


ENDINGS = {Format.VTK: ".vtr", Format.CSV: ".csv", Format.LOSS_LANDSCAPE: ".h5"}
LOST = "directions, checkpoint and provenance stay in the store"


def export(
    store: Annotated[Path, typer.Argument(help="The store; a writer may be at work on it.")],
    form: Annotated[Format, typer.Option("--format", help="vtk (ParaView), csv or loss-landscape.")],
    out: Annotated[Path, typer.Option(help="Folder for the files, a file a record; made if missing.")],
    surface: Annotated[list[str] | None, typer.Option(help="Only these surfaces; everything by default.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write surfaces as files of other programs; as CSV eigenvalues, sharpness, traces and tables too.

    Example: landscape export study.h5 --format vtk --out paraview
    """
    from landscape.errors import InvalidArgument, StoreError
    from landscape.plots.saving import written_aside
    from landscape.store import Store

    opened = Store.read(store)
    contents = _contents(opened, form, surface)
    if not contents:
        raise InvalidArgument(f"expected something to export as {form} in {store}, found nothing")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise StoreError(f"cannot make the folder {out}: {problem.strerror}") from problem
    files = [str(written_aside(out / name, content)) for name, content in contents.items()]
    emit(as_json, {"store": str(store), "format": form, "files": files, "lost": LOST}, "\n".join([*files, LOST]))


def _contents(store: "Store", form: Format, chosen: list[str] | None) -> dict[str, bytes]:
    """File name -> content, all of it before anything is written."""
    from typing import get_args

    from landscape.exchange import csv_files, loss_landscape, vtk_files
    from landscape.store.reading import TableKind

    write = {
        Format.VTK: vtk_files.surface_vtk,
        Format.CSV: csv_files.surface_csv,
        Format.LOSS_LANDSCAPE: loss_landscape.loss_landscape_bytes,
    }[form]
    names = store.names("surfaces") if chosen is None else chosen
    found = {f"{name}{ENDINGS[form]}": write(store.surface(name)) for name in names}
    if form is Format.CSV and chosen is None:
        for name in store.names("curvature"):
            found[f"{name}.curvature.csv"] = csv_files.eigenpairs_csv(store.eigenpairs(name))
        for name in store.names("sharpness"):
            found[f"{name}.sharpness.csv"] = csv_files.sharpness_csv(store.sharpness(name))
        for name in store.names("traces"):
            found[f"{name}.trace.csv"] = csv_files.trace_csv(store.trace(name))
        for kind in get_args(TableKind):
            for name in store.names(kind):
                found[f"{name}.{kind}.csv"] = csv_files.table_csv(store.table(kind, name))
    return found
