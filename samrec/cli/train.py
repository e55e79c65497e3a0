"""`samrec train`: one run, early stopping on validation, resumable after any interruption."""

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.running import emit, one_of
from samrec.cli import stage_options as options
from samrec.config import RunConfig, make_config

DEFAULTS = options.defaults_of(RunConfig)


def train(
    data: options.Data,
    out: options.Out,
    method: Annotated[
        str,
        typer.Option(
            **one_of("sasrec", "cl4srec", "s3rec"),
            help="sasrec, cl4srec with its contrast of two views, or s3rec from a pre-training run.",
        ),
    ] = DEFAULTS.method,
    pretrained: Annotated[
        Path | None, typer.Option(help="S3-Rec: the run of samrec pretrain to start from; --resume knows it.")
    ] = None,
    loss: Annotated[
        str,
        typer.Option(
            **one_of("bce", "gbce", "sampled-softmax", "ce"),
            help="bce, gbce or sampled-softmax (negatives drawn anew), or ce (over all items).",
        ),
    ] = DEFAULTS.loss,
    negative_count: Annotated[
        int | None,
        typer.Option(help="Negatives a target.", show_default="1 for bce, 256 for gbce and sampled-softmax"),
    ] = DEFAULTS.negative_count,
    gbce_t: Annotated[
        float | None, typer.Option(help="gBCE's calibration, from 0 (that is bce) to 1.", show_default="0.75")
    ] = DEFAULTS.gbce_t,
    rho: options.Rho = DEFAULTS.rho,
    sam: options.Sam = DEFAULTS.sam,
    sam_group: options.SamGroup = DEFAULTS.sam_group,
    sam_dropout: options.SamDropout = DEFAULTS.sam_dropout,
    sam_users: Annotated[
        int | None, typer.Option(help="m-SAM: an ascent for every so many users of a batch.")
    ] = DEFAULTS.sam_users,
    sam_period: options.SamPeriod = DEFAULTS.sam_period,
    sam_between: options.SamBetween = DEFAULTS.sam_between,
    sam_alpha: options.SamAlpha = DEFAULTS.sam_alpha,
    asam: options.Asam = DEFAULTS.asam,
    asam_eta: options.AsamEta = DEFAULTS.asam_eta,
    rho_schedule: options.RhoSchedule = DEFAULTS.rho_schedule,
    rho_epochs: options.RhoEpochs = DEFAULTS.rho_epochs,
    rho_factor: options.RhoFactor = DEFAULTS.rho_factor,
    seed: Annotated[int, typer.Option(help="Weights, order, negatives and dropout.")] = DEFAULTS.seed,
    epochs: Annotated[int, typer.Option(help="At most this many.")] = DEFAULTS.epochs,
    patience: Annotated[
        int, typer.Option(help="Stop after this many epochs without a better NDCG@20.")
    ] = DEFAULTS.patience,
    batch_size: Annotated[int, typer.Option(help="Users a step.")] = DEFAULTS.batch_size,
    micro_batch: Annotated[
        int | None, typer.Option(help="Users a pass, to save memory; the step stays that of the batch.")
    ] = DEFAULTS.micro_batch,
    optimizer: options.Optimizer = DEFAULTS.optimizer,
    learning_rate: options.LearningRate = DEFAULTS.learning_rate,
    momentum: options.Momentum = DEFAULTS.momentum,
    weight_decay: options.WeightDecay = DEFAULTS.weight_decay,
    l2: options.L2 = DEFAULTS.l2,
    dropout: options.Dropout = DEFAULTS.dropout,
    size: options.Size = DEFAULTS.size,
    heads: options.Heads = DEFAULTS.heads,
    layers: options.Layers = DEFAULTS.layers,
    max_length: Annotated[int, typer.Option(help="Newest items a sequence keeps.")] = DEFAULTS.max_length,
    data_fraction: Annotated[
        float, typer.Option(help="Share of the training sequences to learn from; all users are evaluated.")
    ] = DEFAULTS.data_fraction,
    negatives: options.Negatives = DEFAULTS.negatives,
    cl_weight: Annotated[
        float | None, typer.Option(help="CL4SRec: weight of the contrast.", show_default="0.1")
    ] = None,
    cl_temperature: Annotated[
        float | None, typer.Option(help="CL4SRec: similarities are divided by it.", show_default="1.0")
    ] = None,
    cl_similarity: Annotated[
        str | None, typer.Option(**one_of("dot", "cosine"), help="CL4SRec: dot or cosine.", show_default="dot")
    ] = None,
    cl_vectors: Annotated[
        str | None,
        typer.Option(
            **one_of("last", "all"),
            help="CL4SRec: a view is its last hidden state, or all of them.",
            show_default="last",
        ),
    ] = None,
    cl_operators: Annotated[
        str | None, typer.Option(help="CL4SRec: what views are drawn from.", show_default="crop,mask,reorder")
    ] = None,
    cl_crop: Annotated[float | None, typer.Option(help="CL4SRec: share that crop keeps.", show_default="0.6")] = None,
    cl_mask: Annotated[
        float | None, typer.Option(help="CL4SRec: share that mask replaces.", show_default="0.3")
    ] = None,
    cl_reorder: Annotated[
        float | None, typer.Option(help="CL4SRec: share that reorder shuffles.", show_default="0.6")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Held out: leave-one-out, leave-last-N, or time:T1,T2 (validation and test from then).")
    ] = DEFAULTS.split,
    keep_every: Annotated[
        int | None,
        typer.Option(min=1, help="Keep the weights of every N-th epoch too, as RUN@epoch-N; 0 is the start."),
    ] = None,
    tensorboard: options.Tensorboard = None,
    resume: options.Resume = False,
    data_dir: options.DataDir = None,
    strict: options.Strict = False,
    threads: options.Threads = None,
    device: options.Device = "auto",
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Train a sequential recommender; with --rho it is SAMRec, with --method cl4srec CL4SRec.

    Example: samrec train --data Beauty --rho 0.1 --epochs 400 --seed 1 --out runs/beauty-sam-1

    LookSAM: --rho 0.1 --sam-period 5. ASAM: --rho 1 --asam. m-SAM: --rho 0.1 --sam-users 64. They combine.
    """
    from samrec.training.checkpoint import Run
    from samrec.training.cost import estimate_cost
    from samrec.training.pretrained import find_pretrained
    from samrec.training.trainer import train as train_run

    interactions, where, chosen = options.opened(data, data_dir=data_dir, strict=strict, threads=threads, device=device)
    contrast = {
        "weight": cl_weight,
        "temperature": cl_temperature,
        "similarity": cl_similarity,
        "vectors": cl_vectors,
        "operators": None if cl_operators is None else cl_operators.split(","),
        "crop": cl_crop,
        "mask": cl_mask,
        "reorder": cl_reorder,
    }
    contrast = {name: value for name, value in contrast.items() if value is not None}
    start = None
    if pretrained is not None:
        shape = {"size": size, "heads": heads, "layers": layers, "max_length": max_length}
        start = find_pretrained(pretrained, interactions, shape=shape, data_fraction=data_fraction, seed=seed)
    elif resume and method == "s3rec" and (out / "run.json").exists():
        start = Run(out).config.pretrained
    config = make_config(
        data=where,
        method=method,
        pretrained=start,
        loss=loss,
        negative_count=negative_count,
        gbce_t=gbce_t,
        contrast=contrast or None,
        rho=rho,
        sam=sam,
        sam_group=sam_group,
        sam_dropout=sam_dropout,
        sam_users=sam_users,
        sam_period=sam_period,
        sam_between=sam_between,
        sam_alpha=sam_alpha,
        asam=asam,
        asam_eta=asam_eta,
        rho_schedule=rho_schedule,
        rho_epochs=rho_epochs,
        rho_factor=rho_factor,
        seed=seed,
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        micro_batch=micro_batch,
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
        split=split,
    )
    if dry_run:
        options.tell_cost(estimate_cost(config, interactions, device=chosen), as_json=as_json)
        return
    options.warn_before(interactions, out, resume=resume)
    run = train_run(
        config, interactions, out, resume=resume, device=chosen, keep_every=keep_every, tensorboard=tensorboard
    )
    record = run.record
    best, cost = record["best"], record["cost"]
    emit(
        as_json,
        {"run": str(out), **record},
        f"{config.name}, seed {config.seed}: best epoch {best['epoch']} of {cost['epochs']}, "
        f"validation {config.stop_metric} {best[config.stop_metric]:.4f}, stopped by {record['stopped']}, "
        f"{cost['gradients']:,} gradients, {cost['seconds']:,.0f} s -> {out}",
    )
