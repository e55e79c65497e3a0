"""Options that several commands share, each declared once; a command gives them their defaults."""

from pathlib import Path
from typing import Annotated

import typer

Targets = Annotated[list[str], typer.Argument(help="loader:where, as in samrec:runs/beauty or module:function.")]
Store = Annotated[Path, typer.Option(help="The study's store; made if missing.")]
StoreToGoOn = Annotated[Path, typer.Option(help="The study's store; made if missing, gone on with if not finished.")]
Block = Annotated[str | None, typer.Option(help="Only this block of weights; all of them by default.")]
Name = Annotated[str | None, typer.Option(help="Name in the store; the checkpoint's by default.")]
Workers = Annotated[int | None, typer.Option(help="Processes of one thread each; this process by default.")]
Users = Annotated[int | None, typer.Option(help="Units of data taken; all by default.")]
Loss = Annotated[str | None, typer.Option(help="Loss; the one trained with by default.")]
Split = Annotated[str, typer.Option(help="Split of the data that the loss is taken on.")]
Data = Annotated[str | None, typer.Option(help="Where the target's data lies now: a name or a file.")]
Replace = Annotated[bool, typer.Option(help="Replace the record of this name, whatever it is of.")]
Threads = Annotated[int | None, typer.Option(help="Threads for PyTorch.")]
ThreadsHere = Annotated[int | None, typer.Option(help="Threads for PyTorch in this process.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON only.")]
