"""An epoch of S3-Rec's pre-training on Beauty beside one of SASRec: `python benchmarks/pretrain.py`.

An epoch has 1,503 steps of the same shape, so some dozens of them drawn at random tell its time; `--whole` takes all of
them. Prints a Markdown table and exits with 1 if the bar is missed. On a busy machine `--threads 1 --clock cpu` counts
this process's own time.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from timing import Table, side_by_side

from samrec.config import make_config
from samrec.data.catalog import open_data
from samrec.pretrain_config import make_pretrain_config
from samrec.training.checkpoint import create_run
from samrec.training.pretrain import PreTrainer
from samrec.training.pretrain_run import create_pretrain_run
from samrec.training.trainer import Trainer

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
SECONDS = 60  # an epoch at most, on two cores
STEPS = 96


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="../shared/data/Beauty.txt", help="Beauty in the S3-Rec text format")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: this process's own time")
    parser.add_argument("--whole", action="store_true", help="time whole epochs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, {options.threads} threads, medians of {options.repeats}, load {load:.1f}\n")
    table = Table()
    table.head()
    data = open_data(options.data)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        plain = make_pretrain_config(data=options.data)
        sam = make_pretrain_config(data=options.data, rho=0.1)
        ours = PreTrainer(create_pretrain_run(place / "plain", plain, data), data, show=False)
        climbing = PreTrainer(create_pretrain_run(place / "sam", sam, data), data, show=False)
        sasrec = Trainer(create_run(place / "sasrec", make_config(data=options.data), data), data, show=False)
        steps = ours.steps_an_epoch if options.whole else STEPS

        def pretrain(trainer: PreTrainer) -> None:
            for batch in itertools.islice(trainer.batches(1), steps):
                trainer.step.take(batch)

        def train() -> None:
            sasrec.model.train()
            for example in sasrec.examples(1):
                sasrec.step.take(example)

        seconds = side_by_side(
            {"pre-training": lambda: pretrain(ours), "with SAM": lambda: pretrain(climbing), "SASRec": train},
            repeats=options.repeats,
            clock=CLOCKS[options.clock],
        )
    whole = ours.steps_an_epoch
    epoch = seconds["pre-training"] * whole / steps
    told = f"SASRec {seconds['SASRec']:.2f} s, ratio {epoch / seconds['SASRec']:.1f}; {steps} of {whole} steps"
    table.at_most("pre-training epoch", epoch, SECONDS, " s", told)
    table.at_most("pre-training with SAM / without", seconds["with SAM"] / seconds["pre-training"], 2.1, "")
    return table.verdict()


if __name__ == "__main__":
    sys.exit(main())
