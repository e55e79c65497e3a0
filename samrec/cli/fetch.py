"""`samrec data fetch`: get a public data set by name."""

from pathlib import Path
from typing import Annotated

import typer

from samrec.cli.options import Json
from samrec.data.public_files import BASE_URL


def fetch(
    name: Annotated[str, typer.Argument(help="Beauty, Sports_and_Outdoors, Toys_and_Games or Yelp.")],
    data_dir: Annotated[
        Path | None, typer.Option(help="The folder to put it in; by default $SAMREC_DATA or the user's cache.")
    ] = None,
    base_url: Annotated[str, typer.Option(help="A mirror: the address below which the files are.")] = BASE_URL,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files with other content.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be downloaded; write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Download a public data set, verified by SHA-256; files that are there already are verified and left alone.

    The data derive from the Amazon Reviews 2014 and Yelp releases, which are for research use.

    Example: samrec data fetch Beauty
    """
    from landscape.cli.running import emit
    from landscape.progress import progress
    from samrec.data.catalog import data_folders
    from samrec.data.fetch import fetch_data, public_files

    folder = data_dir.expanduser() if data_dir is not None else data_folders()[0]
    files = public_files(name)
    if dry_run:
        wanted = [{"url": f"{base_url.rstrip('/')}/{file.name}", "bytes": file.size} for file in files]
        lines = [f"{file['bytes']:>12,} bytes  {file['url']}" for file in wanted]
        emit(as_json, {"folder": str(folder), "files": wanted}, "\n".join([*lines, f"-> {folder} (--dry-run)"]))
        return
    with progress(f"fetching {name}", total=sum(file.size for file in files)) as bar:
        done = fetch_data(name, folder, base_url=base_url, overwrite=overwrite, advance=bar)
    lines = [f"{'downloaded' if each.downloaded else 'was there'}  {each.path}" for each in done]
    emit(as_json, {"folder": str(folder), "files": [each._asdict() for each in done]}, "\n".join(lines))
