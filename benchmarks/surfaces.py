"""What surfaces cost: Chebyshev beside exact, exact beside other tools, and memory: `python benchmarks/surfaces.py`.

Prints a Markdown table and exits with 1 if a bar is missed. This process's own time at one thread, so that a busy
machine does no harm; with `--clock wall --threads 2 --workers 2` two cores each in its own best way, ours a process of
one thread a core, on an idle machine. The Chebyshev section measures every point of 51 x 51 exactly too: minutes, or
more where others work. Peers come with the extra `[benchmark]`; one that is not installed is said to be missing.
"""

import argparse
import importlib
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from padded_s3rec import PaddedS3Rec
from timing import Table, side_by_side
from torch import Tensor, nn

from landscape.curvature.ends import eigenpairs_of
from landscape.executors.here import Pool
from landscape.grid import Grid, parse_axis
from landscape.memory import peak_memory_mib
from landscape.objective import ModelObjective, loss_at
from landscape.surface.evaluate import SurfaceTask
from landscape.surface.from_nodes import compute_chebyshev_surface
from landscape.surface.resume import compute_surface, surface_task
from samrec.objective import load, parse_where
from samrec.training.checkpoint import Run

ITEMS = 1_562_500  # of 64 numbers each: 100 million
SPAN = Grid(parse_axis("-1:1:51"), parse_axis("-1:1:51"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", default="runs/beauty-sas-1", help="a finished run folder")
    parser.add_argument("--users", type=lambda text: None if text == "all" else int(text), default=2048)
    parser.add_argument("--points", type=int, default=9, help="of a plane of each tool: a square number")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0], help="of the directions, for Chebyshev surfaces")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes of ours beside other tools; 0: this one")
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu", help="of points beside other tools")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=SECTIONS, nargs="*", default=list(SECTIONS))
    parser.add_argument("--memory-alone", choices=("line", "eigenpair"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_alone:
        return memory_alone(options.memory_alone)
    if options.workers and options.clock == "cpu":
        parser.error("--workers needs --clock wall: processor time is this process's own")
    print(f"torch {torch.__version__}, {options.threads} threads\n")
    table = Table()
    table.head()
    for name in options.only:
        SECTIONS[name](table, options)
    return table.verdict()


def chebyshev(table: Table, options: argparse.Namespace) -> None:
    """51 x 51 points from nodes and measured, what each costs and how far apart they are."""
    objective = load(options.run, users=options.users, device="cpu")
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            asked = {"grid": SPAN, "checkpoint_name": "w", "seed": seed}
            began = time.process_time()
            few = compute_chebyshev_surface(f"{folder}/few.h5", objective, name="few", **asked)
            middle = time.process_time()
            exact = compute_surface(f"{folder}/exact.h5", objective, name="exact", **asked)
            seconds = middle - began, time.process_time() - middle
        truth, value = exact.values["loss"], few.values["loss"]
        error, rise = np.abs(value - truth), truth - exact.centre["loss"]
        near = truth <= 2 * exact.centre["loss"]
        told = f"{few.approximation['points']} points {seconds[0]:.1f} s, 2,601 points {seconds[1]:.1f} s"
        what = f"51 x 51 Chebyshev surface, seed {seed}"
        table.row(
            f"{what}: faster by",
            f"{seconds[1] / seconds[0]:.1f} ({told})",
            "at least 12",
            seconds[1] >= 12 * seconds[0],
        )
        table.at_most(f"{what}: error / range", 100 * error.max() / np.ptp(truth), 0.1, " %")
        table.at_most(
            f"{what}: stated error / range", 100 * few.approximation["errors"]["loss"] / np.ptp(truth), 0.1, " %"
        )
        table.at_most(f"{what}: error / (rise + 0.001) below 2 L0", 100 * (error / (rise + 1e-3))[near].max(), 2, " %")
        stated = few.approximation["errors"]["loss"]
        table.row(f"{what}: true error / stated", f"{error.max() / stated:.2f}", "at most 1", error.max() <= stated)
        off = np.abs(few.values["standard_error"] - exact.values["standard_error"]).max()
        table.row(f"{what}: standard error off by", f"{off:.1e} of {exact.values['standard_error'].max():.1e}")


def peers(table: Table, options: argparse.Namespace) -> None:
    """A point of an exact plane: ours on packed tokens, theirs on the padded model of the S3-Rec design."""
    objective = load(options.run, users=options.users, device="cpu")
    padded = PaddedS3Rec(Run(parse_where(options.run)[0]).load_model("best").eval(), objective.chunks)
    off = abs(padded().item() - loss_at(objective, objective.weights).value)
    table.at_most("padded model of the S3-Rec design: loss off by", off, 1e-6, "")
    task, places = surface_task(objective, SPAN), [(0.1 * k, -0.1 * k) for k in range(options.points)]
    runs: dict[str, Callable[[], object]] = {}
    if not options.workers:
        measure = task.open()
        runs["ours"] = lambda: [measure(place) for place in places]
    for name, make in (("loss-landscapes", loss_landscapes_points), ("landscaper", landscaper_points)):
        try:
            runs[name] = make(padded, round(options.points**0.5))
        except ImportError as missing:
            table.row(f"exact point, {name}", f"not measured: {missing}")
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    seconds = side_by_side(runs, repeats=options.repeats, clock=clock)
    if options.workers:
        seconds["ours"] = statistics.median(pooled(task, places, options.workers) for _ in range(options.repeats))
    for name, value in seconds.items():
        if name != "ours":
            ratio, own = value / seconds["ours"], seconds["ours"] / options.points
            told = f"{value / options.points:.3g} s and {own:.3g} s a point"
            table.row(f"exact point, {name} / ours", f"{ratio:.1f} ({told})", "at least 15", ratio >= 15)


def pooled(task: SurfaceTask, places: Sequence[tuple[float, float]], workers: int) -> float:
    """Seconds on the clock for as many points as there are places, once all workers are at work."""
    ends = [time.perf_counter() for _ in Pool(workers).run(task, [*places, *places])]
    return (ends[-1] - ends[workers]) / (len(ends) - 1 - workers) * len(places)


def loss_landscapes_points(padded: PaddedS3Rec, side: int) -> Callable[[], object]:
    """A filter-normalised plane of side x side points."""
    import loss_landscapes
    from loss_landscapes.metrics import Metric

    class Loss(Metric):
        def __call__(self, model_wrapper: Any) -> float:
            return model_wrapper.modules[0]().item()

    return lambda: loss_landscapes.random_plane(padded, Loss(), 1, side, normalization="filter", deepcopy_model=True)


def landscaper_points(padded: PaddedS3Rec, side: int) -> Callable[[], object]:
    """A plane of side x side points along two random directions, by its computing part alone."""
    found = importlib.util.find_spec("landscaper")
    if found is None:
        raise ImportError("landscaper is not installed (pip install --no-deps landscaper)")
    package = types.ModuleType("landscaper")  # its __init__ imports topology tools that want NumPy below 2
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["landscaper"] = package
    compute_loss_landscape = importlib.import_module("landscaper.compute").compute_loss_landscape

    directions = [[torch.randn_like(one) for one in padded.parameters()] for _ in range(2)]
    return lambda: compute_loss_landscape(
        padded, None, directions, lambda model, _: model().item(), steps=side, dim=2, device="cpu"
    )


def memory(table: Table, options: argparse.Namespace) -> None:
    """A line and a top eigenpair at 100 million parameters, in processes of their own: GiB beyond weights, gradient."""
    for what in ("line", "eigenpair"):
        command = [sys.executable, __file__, "--memory-alone", what, "--threads", str(options.threads)]
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        if ran.returncode:
            table.row(f"100 million parameters: {what}", ran.stderr.strip().splitlines()[-1], "runs", False)
            continue
        beyond, seconds, told = ran.stdout.strip().split(maxsplit=2)
        measured = f"{told}, {float(seconds):.0f} s"
        table.at_most(f"100 million parameters: {what}, beyond model and gradient", float(beyond), 4, " GiB", measured)


def memory_alone(what: str) -> int:
    """Prints GiB beyond the model and its gradient, seconds, and what was found."""
    torch.manual_seed(0)
    table = nn.Embedding(ITEMS, 64)
    with torch.no_grad():
        table.weight.mul_(0.05)
    ids = torch.randint(0, ITEMS, (512, 3))
    objective = ModelObjective(ItemPairs(table), [(ids, ids)], lambda z, _: F.softplus(-z).double())
    del table, objective.model.table.weight
    objective.model.table.weight = nn.Parameter(torch.empty(ITEMS, 64, device="meta"))
    own = 2 * sum(weight.nbytes for weight in objective.weights.values()) / 2**30
    before = _resident() - own / 2
    began = time.process_time()
    if what == "line":
        with tempfile.TemporaryDirectory() as folder:
            line = compute_surface(
                f"{folder}/line.h5", objective, grid=Grid(parse_axis("-1:1:5")), name="line", checkpoint_name="w"
            )
        told = f"loss {line.values['loss'].min():.4f} to {line.values['loss'].max():.4f} at 5 points"
    else:
        found = eigenpairs_of(objective, name="w", checkpoint="w", top=1, bottom=0, max_products=100)
        value, residual, products = (part.item() for part in (found.values, found.residuals, found.products))
        kept = f"{found.settings['basis']} vectors kept in {found.settings['basis_dtype']}"
        told = (
            f"{value:.4g} with residual {residual:.1g}, {products} products, converged {found.converged.all()}, {kept}"
        )
    print(peak_memory_mib() / 1024 - before - own, time.process_time() - began, told)
    return 0


class ItemPairs(nn.Module):
    """Scores of items beside the mean of two others: as little as a table of items can be trained with."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table

    def forward(self, ids: Tensor) -> Tensor:
        found = self.table(ids)
        return (found[:, 0] * found[:, 1:].mean(dim=1)).sum(dim=-1)


def _resident() -> float:
    """GiB of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**30


SECTIONS = {"chebyshev": chebyshev, "peers": peers, "memory": memory}

if __name__ == "__main__":
    sys.exit(main())
