"""Memory and time of ranking, sampled ranking and top items: `python benchmarks/evaluation.py`.

Every measurement is a process of its own. Memory is how far the kernel's mark of its peak (VmHWM, set back before)
rises above what the process took when data and model were there; seconds are processor time of one thread. Linux only.
Leaves with 1 if memory grows with the users by more than what comes back, or beyond its bar with the items.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from timing import Table

from landscape.memory import peak_memory_mib
from samrec.data.interactions import Interactions
from samrec.data.negatives import NegativeSampler
from samrec.evaluation.beyond_accuracy import beyond_accuracy
from samrec.evaluation.held_out import HeldOut, held_out
from samrec.evaluation.ranking import full_ranks
from samrec.evaluation.sampled_ranking import sampled_ranks
from samrec.models.sasrec import SASRec

LENGTH = 9  # items a user, as on Beauty
FEW, MANY = 10_000, 80_000  # users
ITEMS = 12_000
CASES = [  # what, users, items
    ("full", FEW, ITEMS),
    ("full", MANY, ITEMS),
    ("sampled", FEW, ITEMS),
    ("sampled", MANY, ITEMS),
    ("lists", FEW, ITEMS),
    ("lists", MANY, ITEMS),
    ("full", 2_000, 10 * ITEMS),
    ("lists", 2_000, 10 * ITEMS),
]
GROWTH = 24  # MiB more for 70,000 users more: what comes back for each, and what the allocator keeps
BAR = 400  # MiB at 120,000 items, of which the float64 item table is 59


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", nargs=3, metavar=("WHAT", "USERS", "ITEMS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.alone:
        return alone(options.alone[0], int(options.alone[1]), int(options.alone[2]))
    table = Table()
    table.head()
    rises: dict[tuple[str, int], float] = {}
    for what, users, items in CASES:
        command = [sys.executable, __file__, "--alone", what, str(users), str(items)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        seconds, before, rise = map(float, out)
        rises[what, users] = rise
        name = f"{what}: {users:,} users, {items:,} items"
        told = f"{seconds:.1f} s, {before:.0f} MiB before"
        if items > ITEMS:
            table.at_most(f"{name}: peak rises by", rise, BAR, " MiB", told)
        elif users == MANY:
            table.at_most(
                f"{name}: peak rises more by", rise - rises[what, FEW], GROWTH, " MiB", f"{rise:.0f} in all, {told}"
            )
        else:
            table.row(f"{name}: peak rises by", f"{rise:.0f} MiB ({told})")
    return 1 if table.failed else 0


def alone(what: str, users: int, items: int) -> int:
    parts = made(users, items)
    model = SASRec(items).eval()
    model.initialise(torch.Generator().manual_seed(0))
    sampler = NegativeSampler(parts.interactions, rule="s3rec")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what it takes now
    before, began = peak_memory_mib(), time.process_time()
    if what == "full":
        full_ranks(model, parts.sequences, parts.seen, items)
    elif what == "sampled":
        sampled_ranks(model, parts.sequences, parts.sequences.users, parts.seen, sampler)
    else:
        beyond_accuracy(model, parts)
    print(time.process_time() - began, before, peak_memory_mib() - before)
    return 0


def made(users: int, items: int) -> HeldOut:
    """Random sequences of one length."""
    rng = np.random.default_rng(0)
    interactions = Interactions(
        "made",
        rng.integers(1, items + 1, users * LENGTH).astype(np.int32),
        np.arange(users + 1, dtype=np.int64) * LENGTH,
        items,
        np.arange(1, users + 1, dtype=np.int64),
    )
    return held_out(interactions, "test", 50)


if __name__ == "__main__":
    sys.exit(main())
