"""What each method's epoch costs beside SASRec's, on Beauty: `python benchmarks/methods.py`.

Prints a Markdown table and exits with 1 if a bar is missed. Ratios of this process's own time, taken in turn, so that
a busy machine does no harm; one thread unless told otherwise.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch
from timing import Table, side_by_side

from samrec.config import make_config
from samrec.data.catalog import open_data
from samrec.data.interactions import Interactions
from samrec.training.checkpoint import create_run
from samrec.training.trainer import Trainer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data/Beauty.txt", help="Beauty in the S3-Rec text format")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=SECTIONS, nargs="*", default=list(SECTIONS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, medians of {options.repeats}\n")
    table = Table()
    table.head()
    interactions = open_data(options.data)
    for name in options.only:
        SECTIONS[name](table, interactions, options)
    print(f"\n{'missed: ' + ', '.join(table.failed) if table.failed else 'every bar is met'}")
    return 1 if table.failed else 0


def sam_family(table: Table, interactions: Interactions, options: argparse.Namespace) -> None:
    """Training epochs, without validation, of SAM and its variants."""
    variants = {
        "SASRec": {},
        "SAM": {"rho": 0.1},
        "ASAM": {"rho": 1.0, "asam": True},
        "LookSAM, k 5": {"rho": 0.1, "sam_period": 5},
        "plain steps between, k 5": {"rho": 0.1, "sam_period": 5, "sam_between": "plain"},
        "m-SAM, m 64": {"rho": 0.1, "sam_users": 64},
        "micro-batches of 64": {"micro_batch": 64},
    }
    bars = {"SAM": 2.1, "LookSAM, k 5": 1.5}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            name: Trainer(
                create_run(Path(folder) / str(place), make_config(data=options.data, **changes), interactions),
                interactions,
                show=False,
            )
            for place, (name, changes) in enumerate(variants.items())
        }
        seconds = side_by_side(
            {name: lambda trainer=trainer: train_epoch(trainer) for name, trainer in trainers.items()},
            repeats=options.repeats,
            clock=time.process_time,
        )
    for name, value in seconds.items():
        if name in bars:
            table.at_most(f"{name}: epoch / SASRec epoch", value / seconds["SASRec"], bars[name], "", f"{value:.2f} s")
        else:
            table.row(f"{name}: epoch / SASRec epoch", f"{value / seconds['SASRec']:.3g} ({value:.2f} s)")


def train_epoch(trainer: Trainer) -> None:
    trainer.model.train()
    for parts in trainer.steps(1):
        trainer.step.take(*parts)


SECTIONS = {"sam_family": sam_family}

if __name__ == "__main__":
    sys.exit(main())
