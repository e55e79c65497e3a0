"""What each method's epoch costs beside SASRec's, on Beauty: `python benchmarks/methods.py`.

Prints a Markdown table and exits with 1 if a bar is missed. Ratios of this process's own time, taken in turn, so that
a busy machine does no harm; one thread unless told otherwise.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from on_beauty import new_trainer, options_of, train_epoch, verdict
from timing import Table, side_by_side

from landscape.memory import peak_memory_mib
from samrec.data.interactions import Interactions
from samrec.models.fused_cross_entropy import fused_cross_entropy
from samrec.models.losses import cross_entropy


def main() -> int:
    parser = options_of(__doc__, SECTIONS, threads=1)
    parser.add_argument("--memory-alone", nargs=2, metavar=("LOSS", "TOKENS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_alone:
        return memory_alone(options.memory_alone[0], int(options.memory_alone[1]))
    return verdict(SECTIONS, options)


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
    epochs_of(table, interactions, options, variants, bars={"SAM": 2.1, "LookSAM, k 5": 1.5})


def losses(table: Table, interactions: Interactions, options: argparse.Namespace) -> None:
    """Training epochs, without validation, of CL4SRec and of SASRec with other losses."""
    variants = {
        "SASRec": {},
        "CL4SRec": {"method": "cl4srec"},
        "full cross-entropy": {"loss": "ce"},
        "BCE, 16 negatives": {"negative_count": 16},
    }
    epochs_of(table, interactions, options, variants, bars={"CL4SRec": 4, "full cross-entropy": 5})


def epochs_of(
    table: Table,
    interactions: Interactions,
    options: argparse.Namespace,
    variants: dict[str, dict[str, object]],
    *,
    bars: dict[str, float],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            name: new_trainer(Path(folder) / str(place), interactions, options.data, **changes)
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


def memory(table: Table, interactions: Interactions, options: argparse.Namespace) -> None:
    """Peak memory of one loss and gradient of cross-entropy over 12,101 items, each in a process of its own."""
    del interactions, options
    grown = {}
    for loss in ("fused", "plain"):
        peaks = {tokens: peak_of(loss, tokens) for tokens in (1500, 3000, 6000)}
        grown[loss] = peaks[6000] - peaks[1500]
        told = ", ".join(f"{tokens:,} tokens {peak:,.0f} MiB" for tokens, peak in peaks.items())
        table.row(f"{loss} cross-entropy, peak above its inputs", told)
    scores = 4500 * 12101 * 4 / 2**20
    table.at_most("fused: growth by 4,500 tokens / the size of their scores", grown["fused"] / scores, 0.05, "")
    table.row("plain: growth by 4,500 tokens / the size of their scores", f"{grown['plain'] / scores:.3g}")


def peak_of(loss: str, tokens: int) -> float:
    command = [sys.executable, __file__, "--memory-alone", loss, str(tokens)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def memory_alone(loss: str, tokens: int) -> int:
    """Print by how many MiB one loss and gradient raise the peak of this process."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(12103, 64, generator=generator).requires_grad_()
    targets = torch.randint(1, 12102, (tokens,), generator=generator)
    states = torch.randn(tokens, 64, generator=generator).requires_grad_()

    def gradient(states: torch.Tensor, targets: torch.Tensor) -> None:
        if loss == "fused":
            value = fused_cross_entropy(states, table, targets, first=1, last=12101)
        else:
            value = cross_entropy(states @ table[1:12102].T, targets).sum()
        torch.autograd.grad(value, [states, table])

    gradient(states[:2], targets[:2])  # what is loaded and set up once
    before = peak_memory_mib()
    gradient(states, targets)
    print(peak_memory_mib() - before)
    return 0


SECTIONS = {"sam_family": sam_family, "losses": losses, "memory": memory}

if __name__ == "__main__":
    sys.exit(main())
