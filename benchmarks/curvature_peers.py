"""Other tools' top-2 eigenpairs beside ours: `python benchmarks/curvature_peers.py --run RUN`, [benchmark] installed.

Ours on packed rows, theirs on the padded design of S3-Rec's code, the same users, targets and negatives. Each works in
a process of its own, under a limit: a peer stopped there counts with what it took, a lower bound. The residuals of all
vectors are taken with our operator, by double backward; ours then works to the worst residual that the peer reached, so
that both are timed at equal residual. Processor time by default; `--clock wall --threads 2` on an idle machine.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from padded import PaddedBatch, pad, padded_scores
from scipy.sparse.linalg import eigsh
from timing import Table
from torch import Tensor, nn

from landscape.curvature.lanczos import lanczos
from landscape.curvature.operators import Hessian
from samrec.data.split import training_sequences
from samrec.models.losses import binary_cross_entropy
from samrec.objective import SequenceObjective, load

TOLERANCE = 1e-3
LEAST_TOLERANCE = 1e-6  # ours, where a peer left no residual to speak of
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Found = tuple[Any, Any]  # two eigenvalues, and their vectors as columns


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="a SASRec run folder of Beauty")
    parser.add_argument("--users", type=int, default=256, help="of the padded model, one batch")
    parser.add_argument("--limit", type=float, default=300, help="seconds of processor time for each")
    parser.add_argument("--only", choices=PEERS, nargs="*", default=list(PEERS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help=argparse.SUPPRESS)
    parser.add_argument("--solve", help=argparse.SUPPRESS)
    parser.add_argument("--into", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.solve:
        return solve(options)
    print(f"torch {torch.__version__}, {options.threads} threads, {options.users} users, {options.clock}\n")
    table = Table()
    table.head()
    with tempfile.TemporaryDirectory() as folder:
        compare(table, options, Path(folder))
    return table.verdict()


def compare(table: Table, options: argparse.Namespace, folder: Path) -> None:
    exact = Hessian(load(options.run, device="cpu", loss="bce", users=options.users), method="double-backward")
    for name in options.only:
        seconds, told, reached = outcome(options, name, folder, exact)
        tolerance = max(reached, LEAST_TOLERANCE) if reached < 1 else TOLERANCE
        own, own_told, own_reached = outcome(options, "ours", folder, exact, tolerance)
        if seconds is None or own is None:
            table.row(name, f"{told}; ours {own_told}", "at least 10", False)
            continue
        passes = seconds / own >= 10 and own_reached <= tolerance
        table.row(f"{name} / ours", f"{seconds / own:.3g} ({told}; ours {own_told})", "at least 10", passes)


def outcome(
    options: argparse.Namespace, name: str, folder: Path, exact: Hessian, tolerance: float = TOLERANCE
) -> tuple[float | None, str, float]:
    """Seconds, what is told of them, and the worst relative residual; None and infinity where there is none."""
    into = folder / f"{name}.npz"
    into.unlink(missing_ok=True)
    given = ["--run", options.run, "--users", str(options.users), "--threads", str(options.threads)]
    given += ["--limit", str(options.limit), "--clock", options.clock, "--tolerance", str(tolerance)]
    command = [sys.executable, __file__, *given, "--solve", name, "--into", str(into)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not into.exists():
        return None, f"failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}", np.inf
    kept = np.load(into)
    if "values" not in kept:
        return float(kept["seconds"]), f"stopped after {kept['seconds']:.0f} s, a lower bound", np.inf
    values, vectors = kept["values"], torch.from_numpy(kept["vectors"])
    residuals = torch.linalg.vector_norm(exact @ vectors - vectors * torch.from_numpy(values), dim=0).numpy()
    relative = residuals / np.abs(values)
    told = ", ".join(f"{value:.4g}" for value in values)
    off = ", ".join(f"{one:.1g}" for one in relative)
    seconds = float(kept["seconds"])
    return seconds, f"{seconds:.3g} s: {told}; relative residuals {off}", float(relative.max())


def solve(options: argparse.Namespace) -> int:
    """One tool's answer, into a file."""
    warnings.simplefilter("ignore")
    tokens = {} if options.solve == "ours" else {"tokens": 10**9}
    objective = load(options.run, device="cpu", loss="bce", users=options.users, **tokens)
    seconds_now = CLOCKS[options.clock]
    work = (
        by_us(objective, options.tolerance)
        if options.solve == "ours"
        else PEERS[options.solve](PaddedModel(objective), one_batch())
    )
    began = seconds_now()
    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, options.limit)
    try:
        values, vectors = work()
    except OutOfTime:
        np.savez(options.into, seconds=seconds_now() - began)
        return 0
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = seconds_now() - began
    values, vectors = np.asarray(values, dtype=np.float64), np.asarray(vectors, dtype=np.float64)
    if options.solve != "ours":  # they move the padding row too, which has no curvature
        width = objective.weights["item_embedding.weight"].shape[1]
        assert next(iter(objective.weights)) == "item_embedding.weight"
        vectors = vectors[width:]
    order = np.argsort(values)[::-1]
    vectors = vectors[:, order] / np.linalg.norm(vectors[:, order], axis=0)
    np.savez(options.into, values=values[order], vectors=vectors, seconds=seconds)
    return 0


class OutOfTime(Exception):
    """The limit is reached."""


def stop(*_: object) -> None:
    raise OutOfTime


class PaddedModel(nn.Module):
    """The padded design as a module of one batch, whose parameters other tools differentiate."""

    def __init__(self, objective: SequenceObjective) -> None:
        super().__init__()
        self.sasrec = objective._model.requires_grad_(True)
        (self.batch,) = padded_batches(objective)

    def forward(self, index: Tensor) -> Tensor:
        del index
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return padded_scores(self.sasrec, self.batch)


def one_batch() -> Any:
    return [(torch.zeros(1, dtype=torch.int64), torch.zeros(1))]


def mean_loss(scores: Tensor, _: Tensor) -> Tensor:
    return binary_cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64)).mean()


def by_us(objective: SequenceObjective, tolerance: float) -> Callable[[], Found]:
    def work() -> Found:
        operator = Hessian(objective)
        pairs = lanczos(operator, operator.size, top=2, bottom=0, tolerance=tolerance).values()
        return [pair.value for pair in pairs], np.stack([pair.vector.numpy() for pair in pairs], axis=1)

    return work


def by_curvlinops(model: nn.Module, data: Any) -> Callable[[], Found]:
    import curvlinops

    class Loss(nn.Module):
        reduction = "mean"

        def forward(self, scores: Tensor, target: Tensor) -> Tensor:
            return mean_loss(scores, target)

    def work() -> Found:
        operator = curvlinops.HessianLinearOperator(
            model, Loss(), list(model.parameters()), data, num_data=1, check_deterministic=False
        )
        start = np.random.default_rng(0).standard_normal(operator.shape[0])
        values, vectors = eigsh(operator.to_scipy(), k=2, which="LA", tol=TOLERANCE, v0=start)
        return values, vectors

    return work


def by_eigenthings(model: nn.Module, data: Any) -> Callable[[], Found]:
    import hessian_eigenthings as he

    def work() -> Found:
        operator = he.HessianOperator(model, data, he.supervised_loss(mean_loss))
        found = he.lanczos(operator, k=2, which="LA", tol=TOLERANCE, seed=0, reorthogonalize=True, max_iter=100)
        vectors = np.asarray(found.eigenvectors)
        return np.asarray(found.eigenvalues), vectors if vectors.shape[1] == 2 else vectors.T

    return work


def by_pyhessian(model: nn.Module, data: Any) -> Callable[[], Found]:
    import pyhessian

    def work() -> Found:
        tool = pyhessian.hessian(model, mean_loss, data=data[0], cuda=False)
        values, vectors = tool.eigenvalues(maxIter=200, tol=1e-4, top_n=2)
        flat = [torch.cat([part.detach().reshape(-1) for part in vector]).numpy() for vector in vectors]
        return values, np.stack(flat, axis=1)

    return work


def padded_batches(objective: SequenceObjective) -> list[PaddedBatch]:
    """The objective's own users, targets and negatives on padded rows, a batch a chunk."""
    sequences = training_sequences(objective.interactions)
    row_of = np.empty(objective.interactions.users, dtype=np.int64)
    row_of[sequences.users] = np.arange(len(sequences))
    candidates = np.zeros((len(sequences.items), 2), dtype=np.int64)
    found = []
    for chunk in objective.chunks:
        rows = row_of[chunk.users]
        lengths = np.diff(sequences.offsets)[rows]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        candidates[np.repeat(sequences.offsets[rows], lengths) + within] = chunk.candidates.numpy()
        found.append(pad(sequences.items, sequences.offsets, candidates, rows, 50))
    return found


PEERS = {"curvlinops": by_curvlinops, "hessian-eigenthings": by_eigenthings, "pyhessian": by_pyhessian}

if __name__ == "__main__":
    raise SystemExit(main())
