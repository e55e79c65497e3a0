"""`samrec train`: one run, early stopping on validation, resumable after any interruption."""

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.running import emit


def train(
    data: Annotated[str, typer.Option(help="A data set's name, or a file in the S3-Rec text format.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    method: Annotated[str, typer.Option(help="The model.")] = "sasrec",
    loss: Annotated[str, typer.Option(help="bce (one negative a target) or ce (over all items).")] = "bce",
    rho: Annotated[float, typer.Option(help="Radius of SAM's ascent; 0 is the base optimizer.")] = 0.0,
    sam: Annotated[bool, typer.Option("--sam", help="Take SAM's two passes even at rho 0.")] = False,
    sam_group: Annotated[str, typer.Option(help="What the ascent perturbs: all, body or embeddings.")] = "all",
    sam_dropout: Annotated[str, typer.Option(help="Masks of the second pass: replayed or fresh.")] = "replayed",
    seed: Annotated[int, typer.Option(help="Weights, order, negatives and dropout.")] = 0,
    epochs: Annotated[int, typer.Option(help="At most this many.")] = 200,
    patience: Annotated[int, typer.Option(help="Stop after this many epochs without a better NDCG@20.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Users a step.")] = 256,
    learning_rate: Annotated[float, typer.Option(help="Adam's.")] = 1e-3,
    dropout: Annotated[float, typer.Option(help="On hidden states and attention probabilities.")] = 0.5,
    size: Annotated[int, typer.Option(help="Width of the hidden states.")] = 64,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = 2,
    layers: Annotated[int, typer.Option(help="Transformer blocks.")] = 2,
    max_length: Annotated[int, typer.Option(help="Newest items a sequence keeps.")] = 50,
    negatives: Annotated[
        str, typer.Option(help="Items a negative may not be: training, or s3rec (validation and test item too).")
    ] = "training",
    split: Annotated[
        str, typer.Option(help="Held out: leave-one-out, leave-last-N, or time:T1,T2 (validation and test from then).")
    ] = "leave-one-out",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out from its last epoch.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where to look for a named data set first.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Sequences too short are an error.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of this process.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's record as JSON.")] = False,
) -> None:
    """Train a sequential recommender; with --rho it is SAMRec.

    Example: samrec train --data Beauty --rho 0.1 --epochs 400 --seed 1 --out runs/beauty-sam-1
    """
    import torch

    from landscape.devices import choose_device
    from samrec.config import make_config
    from samrec.data.catalog import open_data
    from samrec.training.cost import estimate_cost
    from samrec.training.trainer import train as train_run

    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    interactions = open_data(data, data_dir=data_dir, strict=strict)
    where = str(Path(data).resolve()) if Path(data).is_file() else data
    config = make_config(
        data=where,
        method=method,
        loss=loss,
        rho=rho,
        sam=sam,
        sam_group=sam_group,
        sam_dropout=sam_dropout,
        seed=seed,
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        learning_rate=learning_rate,
        dropout=dropout,
        size=size,
        heads=heads,
        layers=layers,
        max_length=max_length,
        negatives=negatives,
        split=split,
    )
    if dry_run:
        cost = estimate_cost(config, interactions, device=chosen)
        emit(as_json, cost, "\n".join(f"{name.replace('_', ' ')}: {value:,}" for name, value in cost.items()))
        return
    if interactions.dropped:
        typer.echo(f"dropped {interactions.dropped:,} sequences of fewer than 3 items", err=True)
    run = train_run(config, interactions, out, resume=resume, device=chosen)
    record = run.record
    best, cost = record["best"], record["cost"]
    emit(
        as_json,
        {"run": str(out), **record},
        f"{config.name}, seed {config.seed}: best epoch {best['epoch']} of {cost['epochs']}, "
        f"validation {config.stop_metric} {best[config.stop_metric]:.4f}, stopped by {record['stopped']}, "
        f"{cost['gradients']:,} gradients, {cost['seconds']:,.0f} s -> {out}",
    )
