"""Bars of curvature on Beauty: `python benchmarks/curvature.py --run RUN`; other tools: `curvature_peers.py`.

Ratios of this process's own time, taken in turn, so that a busy machine does no harm; `--clock wall --threads 2` on an
idle one gives seconds. Prints a Markdown table and exits with 1 if a bar is missed.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from timing import Table, side_by_side
from torch import Tensor

from landscape.curvature.lanczos import lanczos
from landscape.curvature.operators import EmpiricalFisher, GaussNewton, Hessian
from landscape.objective import gradient_at
from samrec.objective import SequenceObjective, load

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
TOLERANCE = 1e-3
USERS = 2048


class PlainKernels:
    """The same objective by the kernels that products take: another candidate for the fastest gradient."""

    def __init__(self, objective: SequenceObjective) -> None:
        self.layout, self.weights, self.chunks = objective.layout, objective.weights, objective.chunks
        self.loss = objective.loss
        self._outputs = objective.outputs

    def outputs(self, params: Any, chunk: Any) -> Tensor:
        return self._outputs(params, chunk, differentiable_twice=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="a SASRec run folder of Beauty")
    parser.add_argument("--users", type=int, help="for the products; all training users by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--only", choices=SECTIONS, nargs="*", default=["products", "eigenpairs"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.seconds = CLOCKS[options.clock]
    print(f"torch {torch.__version__}, {options.threads} threads, {options.clock}, medians of {options.repeats}\n")
    table = Table()
    table.head()
    for name in options.only:
        SECTIONS[name](table, options)
    print(f"\n{'missed: ' + ', '.join(table.failed) if table.failed else 'every bar is met'}")
    return 1 if table.failed else 0


def products(table: Table, options: argparse.Namespace) -> None:
    """One product and a block of four, beside gradients."""
    objective = load(options.run, device="cpu", loss="bce", users=options.users)
    generator = torch.Generator().manual_seed(0)
    V = torch.randn(objective.layout.size, 4, dtype=torch.float64, generator=generator)
    v = V[:, 0].clone()
    exact = Hessian(objective, method="double-backward")
    forward = Hessian(objective, method="forward-over-reverse")
    near = Hessian(objective, method="central-differences")
    plain: Any = PlainKernels(objective)
    image = exact(v)
    for name, other in (("forward over reverse", forward), ("central differences", near)):
        off = (torch.linalg.vector_norm(other(v) - image) / torch.linalg.vector_norm(image)).item()
        said = "" if other.relative_error is None else f" (it says {other.relative_error:.1g})"
        table.row(f"{name}: off double backward by", f"{off:.1g}{said}")
    seconds = side_by_side(
        {
            "gradient": lambda: gradient_at(objective, objective.weights),
            "its kernels' gradient": lambda: gradient_at(plain, objective.weights),
            "H·v": lambda: exact(v),
            "forward over reverse": lambda: forward(v),
            "central differences": lambda: near(v),
            "Gauss-Newton": lambda: GaussNewton(objective)(v),
            "empirical Fisher": lambda: EmpiricalFisher(objective)(v),
            "block of 4": lambda: exact @ V,
        },
        repeats=options.repeats,
        clock=options.seconds,
    )
    gradient = seconds["gradient"]
    told = ", ".join(f"{name} {value:.3g} s" for name, value in seconds.items())
    table.at_most("H·v / gradient", seconds["H·v"] / gradient, 2.6, "", told)
    table.at_most("block of 4 / gradient", seconds["block of 4"] / gradient, 7, "")
    fastest = min(gradient, seconds["its kernels' gradient"])
    table.at_most("H·v / fastest gradient", seconds["H·v"] / fastest, 2.6, "")
    table.at_most("block of 4 / fastest gradient", seconds["block of 4"] / fastest, 7, "")
    for name in ("forward over reverse", "central differences", "Gauss-Newton", "empirical Fisher"):
        table.row(f"{name} / gradient", f"{seconds[name] / gradient:.3g}")


def eigenpairs(table: Table, options: argparse.Namespace) -> None:
    """Top-5 and the lowest eigenvalue: products, beside a plain Lanczos and eigsh from the same start."""
    objective = load(options.run, device="cpu", loss="bce", users=USERS)
    operator = Hessian(objective)
    start = torch.randn(operator.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    began = options.seconds()
    found = lanczos(operator, operator.size, top=5, bottom=1, start=start, tolerance=TOLERANCE)
    seconds = options.seconds() - began
    spent = found["lambda_max"].products
    values = ", ".join(f"{pair.value:.4g}" for pair in found.values())
    settled = all(pair.converged for pair in found.values())
    table.row("top-5 and the lowest", f"{values} ({seconds:.0f} s)", "all converged", settled)
    plain = plain_lanczos(operator, start, top=5, bottom=1)
    table.at_most("products", spent, 50, "")
    table.at_most("products / plain Lanczos", spent / plain, 1.1, "", f"{plain} products")
    counted = Counted(operator)
    scipy = counted.to_scipy()
    top = eigsh(scipy, k=5, which="LA", tol=TOLERANCE, v0=start.numpy(), return_eigenvectors=False)
    table.row("eigsh, top-5 alone", f"{counted.products} products: {', '.join(f'{x:.4g}' for x in np.sort(top)[::-1])}")


class Counted:
    """An operator that counts."""

    def __init__(self, operator: Hessian) -> None:
        self.operator, self.products = operator, 0

    def to_scipy(self) -> Any:
        from scipy.sparse.linalg import LinearOperator

        def product(x: np.ndarray) -> np.ndarray:
            self.products += 1
            return self.operator(torch.from_numpy(x.reshape(-1).copy())).numpy()

        return LinearOperator((self.operator.size, self.operator.size), matvec=product, dtype=np.float64)


def plain_lanczos(
    operator: Callable[[Tensor], Tensor], start: Tensor, *, top: int, bottom: int, most: int = 120
) -> int:
    """Products that a textbook Lanczos takes with full reorthogonalisation and no restart, residuals looked at."""
    V = [start / torch.linalg.vector_norm(start)]
    alpha: list[float] = []
    beta: list[float] = []
    for count in range(1, most + 1):
        w = operator(V[-1])
        alpha.append(torch.dot(w, V[-1]).item())
        for _ in range(2):
            for v in V:
                w = w - torch.dot(v, w) * v
        beta.append(torch.linalg.vector_norm(w).item())
        V.append(w / beta[-1])
        T = np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1)
        values, vectors = np.linalg.eigh(T)
        if count >= top + bottom:
            wanted = [*range(count - top, count), *range(bottom)]
            if all(beta[-1] * abs(vectors[-1, k]) <= TOLERANCE * abs(values[k]) for k in wanted):
                return count
    return most


SECTIONS = {"products": products, "eigenpairs": eigenpairs}

if __name__ == "__main__":
    raise SystemExit(main())
