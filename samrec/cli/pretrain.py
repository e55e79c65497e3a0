"""`samrec pretrain`: S3-Rec's first stage, resumable after any interruption; `samrec train --method s3rec` goes on."""

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.running import emit


def pretrain(
    data: Annotated[str, typer.Option(help="A data set's name, or a file in the S3-Rec text format.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    epochs: Annotated[int, typer.Option(help="All of them are trained.")] = 100,
    aap: Annotated[float, typer.Option(help="Weight of attributes at shown items; 0 leaves the loss out.")] = 0.2,
    mip: Annotated[float, typer.Option(help="Weight of masked items.")] = 1.0,
    map_: Annotated[float, typer.Option("--map", help="Weight of attributes at masked items.")] = 1.0,
    sp: Annotated[float, typer.Option(help="Weight of segments.")] = 0.5,
    inner_sigmoid: Annotated[
        bool, typer.Option("--inner-sigmoid/--no-inner-sigmoid", help="Of MIP's and SP's scores; the original has it.")
    ] = True,
    mask: Annotated[float, typer.Option(help="Share of items masked, beside the last one.")] = 0.2,
    rho: Annotated[float, typer.Option(help="Radius of SAM's ascent; 0 is the base optimizer.")] = 0.0,
    sam: Annotated[bool, typer.Option("--sam", help="Take SAM's two passes even at rho 0.")] = False,
    sam_group: Annotated[
        str, typer.Option(metavar="all|body|embeddings", help="What the ascent perturbs: all, body or embeddings.")
    ] = "all",
    sam_dropout: Annotated[
        str, typer.Option(metavar="replayed|fresh", help="Masks of the second pass: replayed or fresh.")
    ] = "replayed",
    seed: Annotated[int, typer.Option(help="Weights, order, masks, segments, negatives and dropout.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Prefixes a step.")] = 100,
    learning_rate: Annotated[float, typer.Option(help="Adam's.")] = 1e-3,
    dropout: Annotated[float, typer.Option(help="On hidden states and attention probabilities.")] = 0.5,
    size: Annotated[int, typer.Option(help="Width of the hidden states.")] = 64,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = 2,
    layers: Annotated[int, typer.Option(help="Transformer blocks.")] = 2,
    max_length: Annotated[int, typer.Option(help="Newest items of a training part that take part.")] = 50,
    data_fraction: Annotated[
        float, typer.Option(help="Share of the training sequences to see: that of samrec train with this and --seed.")
    ] = 1.0,
    negatives: Annotated[
        str,
        typer.Option(
            metavar="training|s3rec",
            help="Items a negative may not be: training, or s3rec (validation and test item too).",
        ),
    ] = "training",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out from its last epoch.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where to look for a named data set first.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Sequences too short are an error.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of this process.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run's record as JSON.")] = False,
) -> None:
    """Pre-train S3-Rec's trunk with four losses on items, attributes and segments; needs item attributes.

    Data without attributes: --aap 0 --map 0 leaves those two losses out.

    Example: samrec pretrain --data Beauty --out runs/beauty-pre
    then     samrec train --data Beauty --method s3rec --pretrained runs/beauty-pre --out runs/beauty-s3rec
    """
    import torch

    from landscape.devices import choose_device
    from samrec.data.catalog import open_data
    from samrec.pretrain_config import make_pretrain_config
    from samrec.training.pretrain import estimate_pretrain_cost
    from samrec.training.pretrain import pretrain as pretrain_run

    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    interactions = open_data(data, data_dir=data_dir, strict=strict)
    where = str(Path(data).resolve()) if Path(data).is_file() else data
    config = make_pretrain_config(
        data=where,
        epochs=epochs,
        aap=aap,
        mip=mip,
        map=map_,
        sp=sp,
        inner_sigmoid=inner_sigmoid,
        mask=mask,
        rho=rho,
        sam=sam,
        sam_group=sam_group,
        sam_dropout=sam_dropout,
        seed=seed,
        batch_size=batch_size,
        learning_rate=learning_rate,
        dropout=dropout,
        size=size,
        heads=heads,
        layers=layers,
        max_length=max_length,
        data_fraction=data_fraction,
        negatives=negatives,
    )
    if dry_run:
        cost = estimate_pretrain_cost(config, interactions, device=chosen)
        emit(as_json, cost, "\n".join(f"{name.replace('_', ' ')}: {value:,}" for name, value in cost.items()))
        return
    if interactions.dropped:
        typer.echo(f"dropped {interactions.dropped:,} sequences of fewer than 3 items", err=True)
    if resume and not (out / "run.json").exists():
        typer.echo(f"no run in {out}: starting one", err=True)
    run = pretrain_run(config, interactions, out, resume=resume, device=chosen)
    last, cost = run.history()[-1], run.record["cost"]
    told = ", ".join(f"{name.upper()} {loss:.4f}" for name, loss in last["losses"].items())
    emit(
        as_json,
        {"run": str(out), **run.record, "losses": last["losses"]},
        f"{config.name}, seed {config.seed}: {told} after epoch {last['epoch']}, norm of the trunk "
        f"{last['weight_norm']:.1f}, {cost['gradients']:,} gradients, {cost['seconds']:,.0f} s -> {out}",
    )
