"""Options that several commands have, in the same words."""

from pathlib import Path
from typing import Annotated

import typer

DataNow = Annotated[str | None, typer.Option(help="Where the run's data lies now: a name or a file.")]
DataDir = Annotated[Path | None, typer.Option(help="Where to look for a data name first.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of this process.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON only.")]
