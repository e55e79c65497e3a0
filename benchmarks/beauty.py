"""Every bar of speed and memory on Beauty, measured in one run: `python benchmarks/beauty.py`.

Prints a Markdown table and exits with 1 if a bar is missed or two layouts disagree about the loss. Nothing else should
be running: two threads on two cores lose far more than half of their speed to a third. On a busy machine `--threads 1
--clock cpu` still gives ratios to trust.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from matmuls import matmuls
from on_beauty import CLOCKS, new_trainer, options_of, train_epoch, verdict
from padded import PaddedBatch, pad, padded_scores
from timing import Table, side_by_side
from torch import Tensor

from landscape.curvature.operators import Hessian
from landscape.executors.here import Here, Pool
from landscape.grid import Grid, parse_axis
from landscape.memory import peak_memory_mib
from landscape.objective import gradient_at, loss_at
from landscape.surface.resume import surface_task
from samrec.config import make_config
from samrec.data.batches import shuffled_groups
from samrec.data.catalog import open_data
from samrec.data.interactions import Interactions
from samrec.data.negatives import NegativeSampler
from samrec.data.split import evaluation_sequences, seen_items, training_sequences
from samrec.evaluation.ranking import full_ranks
from samrec.models.dropout import Dropout
from samrec.models.losses import binary_cross_entropy
from samrec.models.sasrec import SASRec
from samrec.objective import SequenceObjective, load
from samrec.training.checkpoint import create_run

PADDED_CHUNK = 256  # users: of 128, 256, 512 and 1024 the fastest for the padded loss and gradient
POINTS = 12  # of a surface, enough to see a pool at its pace


def main() -> int:
    parser = options_of(__doc__, SECTIONS, threads=2)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: this process's own time")
    parser.add_argument("--ranking-alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.ranking_alone:
        return ranking_alone(options.data)
    options.clock = CLOCKS[options.clock]
    return verdict(SECTIONS, options)


def training(table: Table, interactions: Interactions, options: argparse.Namespace) -> None:
    """Epochs: ours, padded, the matmuls, and with SAM."""
    with tempfile.TemporaryDirectory() as folder:
        ours = new_trainer(Path(folder) / "plain", interactions, options.data)
        sam = new_trainer(Path(folder) / "sam", interactions, options.data, rho=0.1)
        padded = PaddedTrainer(interactions)
        compare_steps(table, interactions)
        shapes = [tuple(example.batch.items.shape) for example in ours.examples(1)]
        seconds = side_by_side(
            {
                "ours": lambda: train_epoch(ours),
                "matmuls": matmuls(ours.model, shapes, backward=True),
                "SAM": lambda: train_epoch(sam),
                "padded": padded.epoch,
            },
            repeats=options.repeats,
            clock=options.clock,
        )
    told = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    table.at_most("training epoch / padded", seconds["ours"] / seconds["padded"], 0.2, "", told)
    table.at_most("training epoch / matmuls", seconds["ours"] / seconds["matmuls"], 6, "")
    table.at_most("SAM epoch / SASRec epoch", seconds["SAM"] / seconds["ours"], 2.1, "")


class PaddedTrainer:
    """The same epochs on padded rows: same data, batches, dropout, optimizer."""

    def __init__(self, interactions: Interactions) -> None:
        self.model = fresh_model(interactions)
        self.sequences = training_sequences(interactions)
        self.sampler = NegativeSampler(interactions)
        self.token_users = np.repeat(self.sequences.users, np.diff(self.sequences.offsets))
        self.dropout = Dropout(0.5, torch.Generator().manual_seed(0))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)
        self.rng = np.random.default_rng(0)

    def epoch(self) -> None:
        targets = self.sequences.targets
        negatives = self.sampler.draw(self.rng, self.token_users)
        candidates = np.concatenate([targets[:, None], negatives], axis=1)
        for group in shuffled_groups(len(self.sequences), 256, self.rng):
            batch = pad(self.sequences.items, self.sequences.offsets, candidates, group[group >= 0], 50)
            self.dropout.draw()
            self.optimizer.zero_grad(set_to_none=True)
            mean_loss(padded_scores(self.model, batch, dropout=self.dropout)).backward()
            self.optimizer.step()


def compare_steps(table: Table, interactions: Interactions) -> None:
    """One Adam step in float64 with dropout 0, packed and padded."""
    model = fresh_model(interactions).double()
    other = fresh_model(interactions).double()
    objective = SequenceObjective(model, interactions, users=256, tokens=10**9)
    chunk, batch = objective.chunks[0], padded_chunks(objective, interactions, 10**9)[0]
    with_packed = mean_loss(model(chunk.batch, chunk.candidates))
    with_padded = mean_loss(padded_scores(other, batch))
    for loss in (with_packed, with_padded):
        loss.backward()
    pairs = list(zip(model.parameters(), other.parameters(), strict=True))
    in_gradient = max((a.grad - b.grad).abs().max().item() for a, b in pairs)
    table.at_most("one step in float64: loss off by", abs(with_packed - with_padded).item(), 1e-10, "")
    table.at_most("one step in float64: gradient off by", in_gradient, 1e-10, "")


def frozen(table: Table, interactions: Interactions, options: argparse.Namespace) -> None:
    """The frozen loss and its gradient over all training users, and H·v."""
    objective = SequenceObjective(fresh_model(interactions), interactions)
    chunks = padded_chunks(objective, interactions, PADDED_CHUNK)
    model = fresh_model(interactions)
    shapes = [tuple(chunk.batch.items.shape) for chunk in objective.chunks]
    losses = {
        "ours": lambda: loss_at(objective, objective.weights).value,
        "padded": lambda: padded_loss(model, chunks),
        "matmuls": matmuls(model, shapes, backward=False),
    }
    off = abs(losses["ours"]() - losses["padded"]())
    table.at_most("frozen loss in float32: off by", off, 1e-6, "")
    report(table, "frozen loss", side_by_side(losses, repeats=options.repeats, clock=options.clock))
    gradients = {
        "ours": lambda: gradient_at(objective, objective.weights),
        "padded": lambda: padded_gradient(model, chunks),
        "matmuls": matmuls(model, shapes, backward=True),
    }
    report(table, "gradient", side_by_side(gradients, repeats=options.repeats, clock=options.clock))
    product = Hessian(objective)
    vector = torch.randn(objective.layout.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    seconds = side_by_side({"H·v": lambda: product(vector)}, repeats=options.repeats, clock=options.clock)
    table.row("H·v", f"{seconds['H·v']:.2f} s")


def report(table: Table, what: str, seconds: dict[str, float]) -> None:
    told = ", ".join(f"{name} {value:.3g} s" for name, value in seconds.items())
    table.at_most(f"{what} / padded", seconds["ours"] / seconds["padded"], round(1 / 7, 4), "", told)
    table.at_most(f"{what} / matmuls", seconds["ours"] / seconds["matmuls"], 3, "")


def padded_chunks(objective: SequenceObjective, interactions: Interactions, users: int) -> list[PaddedBatch]:
    """The objective's own users, targets and negatives on padded rows."""
    sequences = training_sequences(interactions)
    candidates = np.zeros((len(sequences.items), 2), dtype=np.int64)
    row_of = np.empty(interactions.users, dtype=np.int64)
    row_of[sequences.users] = np.arange(len(sequences))
    members = np.concatenate([row_of[chunk.users] for chunk in objective.chunks])
    for chunk in objective.chunks:
        rows = row_of[chunk.users]
        lengths = np.diff(sequences.offsets)[rows]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        candidates[np.repeat(sequences.offsets[rows], lengths) + within] = chunk.candidates.numpy()
    groups = np.array_split(members, -(-len(members) // users))
    return [pad(sequences.items, sequences.offsets, candidates, group, 50) for group in groups]


def padded_loss(model: SASRec, chunks: list[PaddedBatch]) -> float:
    with torch.no_grad():
        total = sum(summed_loss(padded_scores(model, chunk)) for chunk in chunks)
    return float(total) / sum(len(chunk.slots) for chunk in chunks)


def padded_gradient(model: SASRec, chunks: list[PaddedBatch]) -> list[Tensor]:
    total = [torch.zeros_like(parameter, dtype=torch.float64) for parameter in model.parameters()]
    for chunk in chunks:
        loss = summed_loss(padded_scores(model, chunk))
        torch._foreach_add_(total, list(torch.autograd.grad(loss, list(model.parameters()))))
    return total


def summed_loss(scores: Tensor) -> Tensor:
    return binary_cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64)).double().sum()


def mean_loss(scores: Tensor) -> Tensor:
    return binary_cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64)).mean()


def surface(table: Table, interactions: Interactions, options: argparse.Namespace) -> None:
    """Points of a surface a second, in one process and in a pool of one-thread processes."""
    with tempfile.TemporaryDirectory() as folder:
        run = create_run(Path(folder) / "run", make_config(data=str(Path(options.data).resolve())), interactions)
        run.save_best(fresh_model(interactions).state_dict())
        objective = load(str(run.path), device="cpu")
        grid = Grid(parse_axis(f"-1:1:{POINTS}"), parse_axis("0:1:2"))
        task = surface_task(objective, grid)
        points = [tuple(point) for point in grid.coordinates.tolist()]
        here = seconds_a_point(Here(), task, points[:POINTS])
        pool = seconds_a_point(Pool(options.threads), task, points)
    table.row(f"a surface point in this process, {options.threads} threads", f"{here:.3g} s")
    table.at_most(
        f"51 × 51 points, {options.threads} one-thread workers",
        51 * 51 * pool / 60,
        20,
        " min",
        f"{pool:.3g} s a point",
    )


def seconds_a_point(executor: Here | Pool, task: object, points: list[tuple[float, ...]]) -> float:
    """At the executor's pace: from the fourth point to the last."""
    times = [time.perf_counter() for _ in executor.run(task, points)]
    return (times[-1] - times[3]) / (len(times) - 4)


def ranking(table: Table, interactions: Interactions, options: argparse.Namespace) -> None:
    """Full ranking of all test users, in a process of its own so that its peak memory is known."""
    del interactions
    command = [sys.executable, __file__, "--ranking-alone", "--data", options.data, "--threads", str(options.threads)]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(3)]
    seconds = float(np.median([float(run[0]) for run in runs]))
    table.at_most("full ranking of all test users", seconds, 3, " s")
    table.at_most("its process at its peak", max(float(run[1]) for run in runs), 1, " GiB")


def ranking_alone(data: str) -> int:
    interactions = open_data(data)
    model = fresh_model(interactions).eval()
    sequences, seen = evaluation_sequences(interactions, "test"), seen_items(interactions, "test")
    began = time.perf_counter()
    full_ranks(model, sequences, seen, interactions.item_count)
    print(time.perf_counter() - began, peak_memory_mib() / 1024)
    return 0


def commands(table: Table, interactions: Interactions, options: argparse.Namespace) -> None:
    """The commands as a user starts them."""
    del interactions
    folder = Path(sys.executable).parent
    for name in ("samrec", "landscape"):
        seconds = side_by_side({name: lambda name=name: quietly(folder / name, "--help")}, repeats=options.repeats + 2)
        table.at_most(f"`{name} --help`", seconds[name], 0.5, " s")
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        quietly(folder / "samrec", "demo", "--out", str(Path(place) / "demo"))
        table.at_most("`samrec demo`", time.perf_counter() - began, 60, " s")


def quietly(program: Path, *arguments: str) -> None:
    subprocess.run([program, *arguments], check=True, capture_output=True)


def fresh_model(interactions: Interactions) -> SASRec:
    model = SASRec(interactions.item_count)
    model.initialise(torch.Generator().manual_seed(0))
    return model


SECTIONS = {"training": training, "frozen": frozen, "surface": surface, "ranking": ranking, "commands": commands}

if __name__ == "__main__":
    sys.exit(main())
