"""`samrec pretrain`: S3-Rec's first stage, resumable after any interruption; `samrec train --method s3rec` goes on."""

from typing import Annotated

import typer

from landscape.cli.running import emit
from samrec.cli import stage_options as options
from samrec.pretrain_config import PretrainConfig, make_pretrain_config

DEFAULTS = options.defaults_of(PretrainConfig)


def pretrain(
    data: options.Data,
    out: options.Out,
    epochs: Annotated[int, typer.Option(help="All of them are trained.")] = DEFAULTS.epochs,
    aap: Annotated[
        float, typer.Option(help="Weight of attributes at shown items; 0 leaves the loss out.")
    ] = DEFAULTS.aap,
    mip: Annotated[float, typer.Option(help="Weight of masked items.")] = DEFAULTS.mip,
    map_: Annotated[float, typer.Option("--map", help="Weight of attributes at masked items.")] = DEFAULTS.map,
    sp: Annotated[float, typer.Option(help="Weight of segments.")] = DEFAULTS.sp,
    inner_sigmoid: Annotated[
        bool, typer.Option("--inner-sigmoid/--no-inner-sigmoid", help="Of MIP's and SP's scores; the original has it.")
    ] = DEFAULTS.inner_sigmoid,
    mask: Annotated[float, typer.Option(help="Share of items masked, beside the last one.")] = DEFAULTS.mask,
    rho: options.Rho = DEFAULTS.rho,
    sam: options.Sam = DEFAULTS.sam,
    sam_group: options.SamGroup = DEFAULTS.sam_group,
    sam_dropout: options.SamDropout = DEFAULTS.sam_dropout,
    sam_period: options.SamPeriod = DEFAULTS.sam_period,
    sam_between: options.SamBetween = DEFAULTS.sam_between,
    sam_alpha: options.SamAlpha = DEFAULTS.sam_alpha,
    asam: options.Asam = DEFAULTS.asam,
    asam_eta: options.AsamEta = DEFAULTS.asam_eta,
    rho_schedule: options.RhoSchedule = DEFAULTS.rho_schedule,
    rho_epochs: options.RhoEpochs = DEFAULTS.rho_epochs,
    rho_factor: options.RhoFactor = DEFAULTS.rho_factor,
    seed: Annotated[int, typer.Option(help="Weights, order, masks, segments, negatives and dropout.")] = DEFAULTS.seed,
    batch_size: Annotated[int, typer.Option(help="Prefixes a step.")] = DEFAULTS.batch_size,
    optimizer: options.Optimizer = DEFAULTS.optimizer,
    learning_rate: options.LearningRate = DEFAULTS.learning_rate,
    momentum: options.Momentum = DEFAULTS.momentum,
    weight_decay: options.WeightDecay = DEFAULTS.weight_decay,
    l2: options.L2 = DEFAULTS.l2,
    dropout: options.Dropout = DEFAULTS.dropout,
    size: options.Size = DEFAULTS.size,
    heads: options.Heads = DEFAULTS.heads,
    layers: options.Layers = DEFAULTS.layers,
    max_length: Annotated[
        int, typer.Option(help="Newest items of a training part that take part.")
    ] = DEFAULTS.max_length,
    data_fraction: Annotated[
        float, typer.Option(help="Share of the training sequences to see: that of samrec train with this and --seed.")
    ] = DEFAULTS.data_fraction,
    negatives: options.Negatives = DEFAULTS.negatives,
    tensorboard: options.Tensorboard = None,
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
    run = pretrain_run(config, interactions, out, resume=resume, device=chosen, tensorboard=tensorboard)
    last, cost = run.history()[-1], run.record["cost"]
    told = ", ".join(f"{name.upper()} {loss:.4f}" for name, loss in last["losses"].items())
    emit(
        as_json,
        {"run": str(out), **run.record, "losses": last["losses"]},
        f"{config.name}, seed {config.seed}: {told} after epoch {last['epoch']}, norm of the trunk "
        f"{last['weight_norm']:.1f}, {cost['gradients']:,} gradients, {cost['seconds']:,.0f} s -> {out}",
    )
