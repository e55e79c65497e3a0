"""Options that several commands have, in the same words."""

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli import options

Device = options.Device
DryRun = options.DryRun
Json = options.AsJson
DataNow = Annotated[str | None, typer.Option(help="Where the run's data lies now: a name or a file.")]
DataDir = Annotated[Path | None, typer.Option(help="Where to look for a data name first.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of this process.")]
