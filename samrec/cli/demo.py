"""`samrec demo`: the whole path on synthetic data, in under a minute on two cores."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from landscape.cli.running import LARGEST_SEED, command_line
from samrec.cli.options import Json

RHO = 0.1
EPOCHS = 10
POINTS = 13
USERS = 128  # for curvature and sharpness: the comparison's default takes minutes
TOLERANCE = 1e-2


def demo(
    out: Annotated[Path, typer.Option(help="The folder for runs, store, figures and tables.")] = Path("samrec-demo"),
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of training and of everything measured.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="At most this many for each run.")] = EPOCHS,
    surface_points: Annotated[int, typer.Option(min=2, help="Points a side of each surface.")] = POINTS,
    threads: Annotated[int, typer.Option(min=1, help="Threads of this process; small models want one.")] = 1,
    as_json: Json = False,
) -> None:
    """Train SASRec and SAMRec on embedded synthetic data, and compare them: tables, figures and a store.

    Interrupted, the same command goes on.

    Example: samrec demo --out samrec-demo
    """
    import torch

    from samrec.cli.compare import show
    from samrec.config import make_config
    from samrec.data.catalog import open_data
    from samrec.experiments.compare import Options, compare_runs
    from samrec.training.trainer import train

    torch.set_num_threads(threads)
    interactions = open_data("synthetic")
    folders = []
    for name, rho in (("sasrec", 0.0), ("samrec", RHO)):
        config = make_config(data="synthetic", rho=rho, seed=seed, epochs=epochs, batch_size=64)
        print(f"training {config.name} on {interactions.users:,} synthetic users", file=sys.stderr)
        folders.append(train(config, interactions, out / name, resume=True).path)
    print("measuring scores, curvature, sharpness and surfaces", file=sys.stderr)
    options = Options(
        surface_points=surface_points,
        seed=seed,
        users=USERS,
        tolerance=TOLERANCE,
        max_products=200,
        sharpness_pairs=3,
    )
    command = command_line("samrec")
    show(compare_runs(folders, out / "study.h5", options, command=command), as_json=as_json)
