"""What benchmarks on Beauty share: their options, the way from sections to a verdict, runs and their epochs."""

import argparse
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from timing import Table

from samrec.config import make_config
from samrec.data.catalog import open_data
from samrec.data.interactions import Interactions
from samrec.training.checkpoint import create_run
from samrec.training.trainer import Trainer

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Section = Callable[[Table, Interactions, argparse.Namespace], None]


def options_of(description: str | None, sections: Mapping[str, Section], *, threads: int) -> argparse.ArgumentParser:
    """The options that all of them have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", default="../shared/data/Beauty.txt", help="Beauty in the S3-Rec text format")
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=sections, nargs="*", default=list(sections))
    return parser


def verdict(sections: Mapping[str, Section], options: argparse.Namespace) -> int:
    """Measure the sections asked for; 1 if a bar is missed."""
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, {options.threads} threads, medians of {options.repeats}, load {load:.1f}\n")
    table = Table()
    table.head()
    interactions = open_data(options.data)
    for name in options.only:
        sections[name](table, interactions, options)
    return table.verdict()


def new_trainer(folder: Path, interactions: Interactions, data: str, **changes: object) -> Trainer:
    """Of a run that was not started, with these fields changed."""
    run = create_run(folder, make_config(data=data, **changes), interactions)
    return Trainer(run, interactions, show=False)


def train_epoch(trainer: Trainer) -> None:
    """Its first epoch, without validation."""
    trainer.model.train()
    for parts in trainer.steps(1):
        trainer.step.take(*parts)
