"""`samrec robustness`: scores of a run when its users' histories hold noise or are cut short."""

from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.running import LARGEST_SEED
from samrec.cli.evaluate import Split
from samrec.cli.options import DataDir, DataNow, Device, Json, Threads


def robustness(
    run: Annotated[Path, typer.Argument(help="A run folder, as samrec train or samrec import make it.")],
    noise: Annotated[str, typer.Option(help="Shares of noise items, such as 0.1,0.2.")] = "",
    truncate: Annotated[str, typer.Option(help="Numbers of newest items to keep, such as 5,10,20.")] = "",
    how: Annotated[str, typer.Option(help="Noise items replace items, or are put in after them: insert.")] = "replace",
    split: Annotated[Split, typer.Option(help="The last item of every sequence, or the one before.")] = Split.test,
    keep_seen: Annotated[bool, typer.Option("--keep-seen", help="Rank items of the user's history too.")] = False,
    sampled: Annotated[
        int | None, typer.Option(min=1, help="Rank among so many sampled negatives instead of all items.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the noise and of sampled negatives.")] = 0,
    data: DataNow = None,
    data_dir: DataDir = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Rank the same targets again with noise in what the model reads, or with its newest items alone.

    Candidates and masked items stay those of the clean ranking; differences to it are paired, user by user. Nothing is
    written.

    Example: samrec robustness runs/beauty --noise 0.1,0.2 --truncate 5,10,20
    """
    import dataclasses

    import torch

    from landscape.cli.measuring import numbers
    from landscape.cli.running import emit
    from landscape.devices import choose_device
    from samrec.cli.evaluation_text import robustness_table
    from samrec.errors import ConfigError
    from samrec.evaluation import robustness as measure
    from samrec.evaluation.held_out import held_out
    from samrec.evaluation.protocol import Candidates
    from samrec.training.checkpoint import Run

    if threads:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    kept = numbers(truncate, "--truncate")
    if any(number != int(number) for number in kept):
        raise ConfigError(f"expected whole numbers for --truncate, got {truncate!r}")
    if how not in ("replace", "insert"):
        raise ConfigError(f"expected --how replace or insert, got {how!r}")
    folder = Run(run)
    parts = held_out(
        folder.data(data, data_dir=data_dir), split.value, folder.config.max_length, holdout=folder.config.holdout
    )
    found = measure.robustness(
        folder.load_model("best").to(chosen),
        parts,
        noise=numbers(noise, "--noise"),
        truncate=[int(number) for number in kept],
        how="insert" if how == "insert" else "replace",
        seed=seed,
        keep_seen=keep_seen,
        candidates=Candidates(sampled, seed),
    )
    rows = [
        {field.name: getattr(one, field.name) for field in dataclasses.fields(one) if field.name != "ranks"}
        for one in found.perturbed
    ]
    payload = {
        "run": folder.name,
        "split": split.value,
        "metrics": found.metrics,
        "standard_errors": found.standard_errors,
        "targets": len(found.ranks),
        "seed": seed,
        "perturbed": rows,
        "protocol": found.protocol,
        "conditions": found.conditions,
    }
    emit(json, payload, None if json else robustness_table(folder.name, found))
