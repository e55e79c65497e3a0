"""What figures and the report of a large store cost: `python benchmarks/figures.py`, start-up of each process included.

The store holds 3 checkpoints x 4 surfaces x 201 x 201 points. Its figures are what somebody asks `landscape plot` for:
all twelve surfaces as contours on one colour scale and as reliefs on one height, two commands. The report is that of
`landscape report`. Prints a Markdown table and exits with 1 if a bar is missed. `--clock cpu` counts the processes' own
time, for a machine that others work on too. Processes may keep bytecode, as Python does unless told otherwise: the
first run of each writes it and does not count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import Table

from landscape.grid import Axis, Grid
from landscape.records import Checkpoint, Direction, Provenance, Status, Surface
from landscape.store import Store

CHECKPOINTS, SEEDS, POINTS = 3, 4, 201
MEGABYTE = 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--keep", type=Path, help="a folder for the store, the figures and the report")
    options = parser.parse_args()
    table = Table()
    table.head()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        store = folder / "large.h5"
        store.unlink(missing_ok=True)
        fill(store)
        start = seconds([["landscape", "--help"]], options)
        commands = {
            "contours": ["landscape", "plot", store, "--kind", "contour", "--out", folder / "contour.png"],
            "reliefs": ["landscape", "plot", store, "--kind", "relief", "--out", folder / "relief.png"],
        }
        each = {name: seconds([command], options) for name, command in commands.items()}
        told = ", ".join(f"{name} {value:.2g} s" for name, value in each.items())
        table.at_most("figures: contours and reliefs of 12 surfaces", sum(each.values()), 5, " s", told)
        one = [*commands["contours"][:-1], folder / "one.png", "--surface", "checkpoint-1-seed-0"]
        table.row("a contour of one surface", f"{seconds([one], options):.2g} s (`--help` alone {start:.2g} s)")
        page = folder / "large.html"
        spent = seconds([["landscape", "report", store, "--out", page]], options)
        table.row("the report", f"{spent:.2g} s")
        table.at_most("size of the report", page.stat().st_size / MEGABYTE, 5, " MB")
    return table.verdict()


def fill(path: Path) -> None:
    """Bowls of different sharpness, each with a second valley and ripples, and a little noise in every point."""
    axis = Axis(-1, 1, POINTS)
    grid = Grid(axis, axis)
    alpha, beta = grid.coordinates.T.reshape(2, *grid.shape)
    rng = np.random.default_rng(0)
    done = np.full(grid.shape, Status.DONE, dtype=np.uint8)
    with Store.write(path) as store:
        for number in range(1, CHECKPOINTS + 1):
            name = f"checkpoint-{number}"
            store.add_checkpoint(Checkpoint(name, hash=name, norm=100.0, parameters=1000))
            for seed in range(SEEDS):
                bowl = number * (alpha**2 + 0.6 * beta**2 + 0.4 * np.sin(seed + 3 * alpha) * beta)
                ripples = 0.05 * np.cos(9 * alpha + seed) * np.cos(7 * beta) + rng.normal(0, 1e-3, grid.shape)
                x, y = (Direction("filter", seed, {}, hash=f"{seed}{k}" * 16, norm=100.0) for k in "xy")
                origin = Provenance("made:numbers", {"loss": "made"}, command="python benchmarks/figures.py")
                values = {"loss": 0.75 + bowl + ripples}
                axes = (grid.alpha.values, grid.alpha.values)
                store.add_surface(Surface(f"{name}-seed-{seed}", name, *axes, done, values, x, y, origin))


def seconds(commands: list[list[object]], options: argparse.Namespace) -> float:
    """Median time of these processes in turn, after one run that does not count."""
    found = []
    told = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(options.repeats + 1):
        began = now(options.clock)
        for command in commands:
            program, *rest = map(str, command)
            place = Path(sys.executable).with_name(program)
            subprocess.run([place, *rest], check=True, stdout=subprocess.DEVNULL, env=told)
        found.append(now(options.clock) - began)
    return statistics.median(found[1:])


def now(clock: str) -> float:
    """Wall-clock seconds, or the processor time of all children so far."""
    if clock == "wall":
        return time.perf_counter()
    spent = os.times()
    return spent.children_user + spent.children_system


if __name__ == "__main__":
    sys.exit(main())
