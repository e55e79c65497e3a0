"""Both ends of an objective's spectrum as a record for the store, by Lanczos, power iteration or LOBPCG."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.curvature.basis import BasisPlan, plan_basis
from landscape.curvature.eigenpair import MAX_PRODUCTS, TOLERANCE, Eigenpair
from landscape.curvature.lanczos import lanczos
from landscape.curvature.lobpcg import lobpcg_ends
from landscape.curvature.mass import mass_of
from landscape.curvature.operators import Hessian, Product
from landscape.curvature.power import power_iteration
from landscape.describe import provenance
from landscape.errors import InvalidArgument
from landscape.objective import LossValue, Objective, check_frozen
from landscape.progress import progress
from landscape.records import Eigenpairs

SOLVERS = ("lanczos", "power", "lobpcg")


def eigenpairs_of(
    objective: Objective,
    *,
    name: str,
    checkpoint: str,
    method: str = "lanczos",
    top: int = 1,
    bottom: int = 1,
    block: str | None = None,
    start: Tensor | None = None,
    confirm: bool = False,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    centre: LossValue | None = None,
    command: str = "",
) -> Eigenpairs:
    """Both ends of the objective's Hessian at its weights, as a record for the store.

    `converged` proves of each pair that it is one, not that it is the outermost; `confirm` looks for others.

    Args:
        objective: the frozen loss.
        name: of the record.
        checkpoint: name of the checkpoint the objective stands on.
        method: "lanczos" has the fewest products and keeps up to 80 vectors, of a large model fewer and in float32 (see
            `plan_basis`; the record's settings say so); "power" keeps four; "lobpcg" is SciPy's.
        top: pairs wanted from the upper end.
        bottom: pairs wanted from the lower end; power iteration has one.
        block: the Hessian of this block of the weights alone.
        start: where Lanczos starts, (n,) or (n, k), such as the sum of `eigenvectors_of` another checkpoint.
        confirm: of Lanczos, see there.
        seed: of the random starts.
        tolerance: accepted residual relative to the value.
        max_products: in all by Lanczos, for each pair by power iteration, for each end by LOBPCG. A product costs about
            three gradients.
        centre: the loss at the weights where it is known; two losses otherwise.
        command: kept in the provenance.

    Raises:
        NotFrozen, NonFiniteLoss: the objective gives no one finite loss at the checkpoint.
        NonFiniteProduct: a product held a NaN or an infinity.
        InvalidArgument: an option outside what it may be, or one that the method does not take.
    """
    loss = check_frozen(objective) if centre is None else centre
    settings: dict[str, Any] = {"top": top, "tolerance": tolerance, "seed": seed, "max_products": max_products}
    operator = Hessian(objective, block=block)
    plan = plan_of(operator.size, method=method, top=top, bottom=bottom, start=start, tolerance=tolerance)
    pairs = find_ends(
        operator,
        method=method,
        bottom=bottom,
        start=start,
        confirm=confirm,
        label=checkpoint,
        **settings,
    )
    found = list(pairs.values())
    further = {"bottom": (bottom, 1), "block": (block, None), "confirm": (confirm, False)}
    settings |= {key: value for key, (value, default) in further.items() if value != default}
    if start is not None:
        settings["warm_start"] = True
    settings |= plan.facts if plan else {}
    return Eigenpairs(
        name=name,
        checkpoint=checkpoint,
        method=method,
        labels=tuple(pairs),
        values=np.array([pair.value for pair in found]),
        residuals=np.array([pair.residual for pair in found]),
        converged=np.array([pair.converged for pair in found]),
        products=np.array([pair.products for pair in found], dtype=np.int64),
        tolerance=tolerance,
        provenance=provenance(objective, command),
        loss=loss.value,
        settings=settings,
        mass=mass_of(objective.layout, [pair.vector for pair in found], block=block),
        product_error=operator.relative_error,
    )


def eigenvectors_of(
    objective: Objective,
    *,
    top: int = 1,
    bottom: int = 1,
    block: str | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    label: str = "",
) -> Tensor:
    """The eigenvectors of both ends by Lanczos, (n, top + bottom), the largest eigenvalue's first: a warm start.

    Converged or not: a start need not be exact.
    """
    pairs = find_ends(
        Hessian(objective, block=block),
        top=top, bottom=bottom, seed=seed, tolerance=tolerance, max_products=max_products, label=label,
    )  # fmt: skip
    return torch.stack([pair.vector for pair in pairs.values()], dim=1)


def find_ends(
    operator: Hessian,
    *,
    method: str = "lanczos",
    top: int = 1,
    bottom: int = 1,
    start: Tensor | None = None,
    confirm: bool = False,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    label: str = "",
) -> dict[str, Eigenpair]:
    """Pairs by name with a progress bar; the arguments are those of `eigenpairs_of`."""
    check_solver(method, bottom=bottom, warm=start is not None, confirm=confirm)
    with progress(f"Hessian products, {label} (at most)", products_at_most(method, top, bottom, max_products)) as step:

        def counted(v: Tensor) -> Tensor:
            result = operator(v)
            step(1)
            return result

        product: Product = counted
        plan = plan_of(operator.size, method=method, top=top, bottom=bottom, start=start, tolerance=tolerance)
        kept: dict[str, Any] = {"basis": plan.vectors, "dtype": plan.dtype} if plan else {}
        shared: dict[str, Any] = {
            "top": top, "seed": seed, "tolerance": tolerance, "max_products": max_products, "device": operator.device,
        }  # fmt: skip
        ways: dict[str, Callable[[], dict[str, Eigenpair]]] = {
            "lanczos": lambda: lanczos(
                product, operator.size, bottom=bottom, start=start, confirm=confirm, **kept, **shared
            ),
            "power": lambda: power_iteration(product, operator.size, **shared),
            "lobpcg": lambda: lobpcg_ends(product, operator.size, bottom=bottom, **shared),
        }
        return ways[method]()


def plan_of(
    size: int, *, method: str, top: int, bottom: int, start: Tensor | None = None, tolerance: float = TOLERANCE
) -> BasisPlan | None:
    """What Lanczos will keep of vectors of this size; None of other methods, or where no pair is asked for."""
    if method != "lanczos" or top + bottom < 1:
        return None
    width = 1 if start is None or start.ndim == 1 else start.shape[1]
    return plan_basis(size, top + bottom, width=width, tolerance=tolerance)


def check_solver(method: str, *, bottom: int = 1, warm: bool = False, confirm: bool = False) -> None:
    """Refuse a method that is none, and what it cannot do.

    Raises:
        InvalidArgument: in one line what was expected.
    """
    if method not in SOLVERS:
        raise InvalidArgument(f"expected a method out of {', '.join(SOLVERS)}, got {method!r}")
    if method == "power" and bottom != 1:
        raise InvalidArgument(f"expected one pair from the lower end by power iteration, got {bottom}; take lanczos")
    if method != "lanczos" and (warm or confirm):
        raise InvalidArgument(f"expected the method lanczos for {'a warm start' if warm else 'confirm'}, got {method}")


def products_at_most(method: str, top: int, bottom: int, max_products: int) -> int:
    """How many products a run may take."""
    return {"lanczos": 1, "power": top + 1, "lobpcg": (top > 0) + (bottom > 0)}.get(method, 1) * max_products
