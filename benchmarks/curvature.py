"""Bars of curvature on Beauty: `python benchmarks/curvature.py --run RUN`; other tools: `curvature_peers.py`.

Ratios of this process's own time, taken in turn, so that a busy machine does no harm; `--clock wall --threads 2` on an
idle one gives seconds. Prints a Markdown table and exits with 1 if a bar is missed.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, cast

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


class OfGraph:
    """The same objective by automatic differentiation; with the kernels of one derivative, or those of products."""

    def __init__(self, objective: SequenceObjective, *, differentiable_twice: bool) -> None:
        self.layout, self.weights, self.chunks = objective.layout, objective.weights, objective.chunks
        self.loss = objective.loss
        self._outputs, self._twice = objective.outputs, differentiable_twice

    def outputs(self, params: Any, chunk: Any, *, differentiable_twice: bool = False) -> Tensor:
        return self._outputs(params, chunk, differentiable_twice=differentiable_twice or self._twice)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", required=True, help="a SASRec run folder of Beauty")
    parser.add_argument("--users", type=int, help="for the products; all training users by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("--only", choices=SECTIONS, nargs="*", default=["products", "eigenpairs"])
    parser.add_argument("--brief", action="store_true", help="products by hand and gradients alone")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.seconds = CLOCKS[options.clock]
    print(f"torch {torch.__version__}, {options.threads} threads, {options.clock}, medians of {options.repeats}\n")
    table = Table()
    table.head()
    for name in options.only:
        SECTIONS[name](table, options)
    return table.verdict()


def products(table: Table, options: argparse.Namespace) -> None:
    """One product and a block of four, beside gradients."""
    objective = load(options.run, device="cpu", loss="bce", users=options.users)
    generator = torch.Generator().manual_seed(0)
    V = torch.randn(objective.layout.size, 4, dtype=torch.float64, generator=generator)
    v = V[:, 0].clone()
    exact = Hessian(objective)
    double = Hessian(objective, method="double-backward")
    forward = Hessian(objective, method="forward-over-reverse")
    near = Hessian(objective, method="central-differences")
    fused, plain = (cast(Any, OfGraph(objective, differentiable_twice=twice)) for twice in (False, True))
    ends = lanczos(exact, exact.size, start=v, tolerance=1e-2)
    for what, u in {"a random v": v, **{label: pair.vector for label, pair in ends.items()}}.items():
        image = double(u)
        for name, other in (("by hand", exact), ("forward over reverse", forward), ("central differences", near)):
            off = (torch.linalg.vector_norm(other(u) - image) / torch.linalg.vector_norm(image)).item()
            said = other.relative_error
            shown = f"{off:.1g}" if said is None else f"{off:.1g} (it says at most {said:.1g})"
            table.row(f"{name}, {what}: off double backward by", shown, "", None if said is None else off <= said)
    gradients = {
        "by hand": lambda: gradient_at(objective, objective.weights),
        "of the graph": lambda: gradient_at(plain, objective.weights),
        "of the graph, fused attention": lambda: gradient_at(fused, objective.weights),
    }
    others = {
        "double backward": lambda: double(v),
        "forward over reverse": lambda: forward(v),
        "central differences": lambda: near(v),
        "Gauss-Newton": lambda: GaussNewton(objective)(v),
        "empirical Fisher": lambda: EmpiricalFisher(objective)(v),
    }
    runs = {**gradients, "H·v": lambda: exact(v), "block of 4": lambda: exact @ V}
    if not options.brief:
        runs |= others
    seconds = side_by_side(runs, repeats=options.repeats, clock=options.seconds)
    fastest = min(gradients, key=lambda name: seconds[name])
    for name in gradients:
        table.row(f"gradient {name}", f"{seconds[name]:.3g} s", "", None)
    table.at_most(f"H·v / fastest gradient ({fastest})", seconds["H·v"] / seconds[fastest], 2.6, "")
    table.at_most(f"block of 4 / fastest gradient ({fastest})", seconds["block of 4"] / seconds[fastest], 7, "")
    for name in gradients:
        if name != fastest:
            told = ", ".join(f"{seconds[what] / seconds[name]:.3g}" for what in ("H·v", "block of 4"))
            table.row(f"H·v and block of 4 / gradient {name}", told)
    for name in (name for name in others if name in runs):
        table.row(f"{name} / fastest gradient", f"{seconds[name] / seconds[fastest]:.3g}")


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
