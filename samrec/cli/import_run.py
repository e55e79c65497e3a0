"""`samrec import`: a checkpoint of the S3-Rec family becomes a run folder."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from samrec.cli.options import DataDir, Json


class Loss(StrEnum):
    """What the checkpoint was trained with."""

    bce = "bce"
    ce = "ce"


def import_run(
    checkpoint: Annotated[Path, typer.Argument(help="A .safetensors file, or a .pt of plain tensors.")],
    data: Annotated[str, typer.Option(help="The data it was trained on: a name or a file.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    heads: Annotated[int, typer.Option(min=1, help="Attention heads, which leave no trace in the tensors.")] = 2,
    loss: Annotated[Loss, typer.Option(help="The loss it was trained with.")] = Loss.bce,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Make a run folder of a checkpoint that S3-Rec code trained (S3-Rec, its SASRec, code derived from it).

    Example: samrec import SASRec-Beauty.pt --data Beauty --out runs/beauty-s3rec
    """
    from landscape.cli.running import emit
    from samrec.data.catalog import open_data
    from samrec.foreign import import_checkpoint

    where = str(Path(data).resolve()) if Path(data).is_file() else data  # a run finds its data from any folder
    interactions = open_data(data, data_dir=data_dir)
    run = import_checkpoint(checkpoint, interactions, data=where, out=out, heads=heads, loss=loss.value)
    config, origin = run.config, run.record["imported"]
    emit(
        json,
        {"run": str(out), "config": config.model_dump(), "imported": origin},
        f"{out}: {interactions.item_count:,} items of {interactions.name}, size {config.size}, {config.layers} layers, "
        f"{config.heads} heads (not to be seen in the file); {len(origin['idle'])} tensors of pre-training left out",
    )
