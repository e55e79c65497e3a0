"""`samrec pretrain`: S3-Rec's first stage, resumable after any interruption; `samrec train --method s3rec` goes on."""

from typing import Annotated

import typer

from landscape.cli.running import emit
from samrec.cli import stage_options as options


def pretrain(
    data: options.Data,
    out: options.Out,
    epochs: Annotated[int, typer.Option(help="All of them are trained.")] = 100,
    aap: Annotated[float, typer.Option(help="Weight of attributes at shown items; 0 leaves the loss out.")] = 0.2,
    mip: Annotated[float, typer.Option(help="Weight of masked items.")] = 1.0,
    map_: Annotated[float, typer.Option("--map", help="Weight of attributes at masked items.")] = 1.0,
    sp: Annotated[float, typer.Option(help="Weight of segments.")] = 0.5,
    inner_sigmoid: Annotated[
        bool, typer.Option("--inner-sigmoid/--no-inner-sigmoid", help="Of MIP's and SP's scores; the original has it.")
    ] = True,
    mask: Annotated[float, typer.Option(help="Share of items masked, beside the last one.")] = 0.2,
    rho: options.Rho = 0.0,
    sam: options.Sam = False,
    sam_group: options.SamGroup = "all",
    sam_dropout: options.SamDropout = "replayed",
    sam_period: options.SamPeriod = 1,
    sam_between: options.SamBetween = "look",
    sam_alpha: options.SamAlpha = 0.7,
    asam: options.Asam = False,
    asam_eta: options.AsamEta = 0.01,
    rho_schedule: options.RhoSchedule = "constant",
    rho_epochs: options.RhoEpochs = None,
    rho_factor: options.RhoFactor = 0.5,
    seed: Annotated[int, typer.Option(help="Weights, order, masks, segments, negatives and dropout.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Prefixes a step.")] = 100,
    optimizer: options.Optimizer = "adam",
    learning_rate: options.LearningRate = 1e-3,
    momentum: options.Momentum = 0.0,
    weight_decay: options.WeightDecay = 0.0,
    l2: options.L2 = 0.0,
    dropout: options.Dropout = 0.5,
    size: options.Size = 64,
    heads: options.Heads = 2,
    layers: options.Layers = 2,
    max_length: Annotated[int, typer.Option(help="Newest items of a training part that take part.")] = 50,
    data_fraction: Annotated[
        float, typer.Option(help="Share of the training sequences to see: that of samrec train with this and --seed.")
    ] = 1.0,
    negatives: options.Negatives = "training",
    resume: options.Resume = False,
    data_dir: options.DataDir = None,
    strict: options.Strict = False,
    threads: options.Threads = None,
    device: options.Device = "auto",
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Pre-train S3-Rec's trunk with four losses on items, attributes and segments; needs item attributes.

    Data without attributes: --aap 0 --map 0 leaves those two losses out.

    Example: samrec pretrain --data Beauty --out runs/beauty-pre

    Then: samrec train --data Beauty --method s3rec --pretrained runs/beauty-pre --out runs/beauty-s3rec
    """
    from samrec.pretrain_config import make_pretrain_config
    from samrec.training.pretrain import estimate_pretrain_cost
    from samrec.training.pretrain import pretrain as pretrain_run

    interactions, where, chosen = options.opened(data, data_dir=data_dir, strict=strict, threads=threads, device=device)
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
        sam_period=sam_period,
        sam_between=sam_between,
        sam_alpha=sam_alpha,
        asam=asam,
        asam_eta=asam_eta,
        rho_schedule=rho_schedule,
        rho_epochs=rho_epochs,
        rho_factor=rho_factor,
        seed=seed,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        l2=l2,
        dropout=dropout,
        size=size,
        heads=heads,
        layers=layers,
        max_length=max_length,
        data_fraction=data_fraction,
        negatives=negatives,
    )
    if dry_run:
        options.tell_cost(estimate_pretrain_cost(config, interactions, device=chosen), as_json=as_json)
        return
    options.warn_before(interactions, out, resume=resume)
    run = pretrain_run(config, interactions, out, resume=resume, device=chosen)
    last, cost = run.history()[-1], run.record["cost"]
    told = ", ".join(f"{name.upper()} {loss:.4f}" for name, loss in last["losses"].items())
    emit(
        as_json,
        {"run": str(out), **run.record, "losses": last["losses"]},
        f"{config.name}, seed {config.seed}: {told} after epoch {last['epoch']}, norm of the trunk "
        f"{last['weight_norm']:.1f}, {cost['gradients']:,} gradients, {cost['seconds']:,.0f} s -> {out}",
    )
