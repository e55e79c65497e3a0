"""Both ends of the spectrum on random subsets of the data: how many users a curvature needs to be trusted.

A loss over fewer units is another loss: its largest eigenvalue is too large on average, since the maximum over
directions is taken after the noise has been added. The curve over sizes, with several draws of each for its spread,
shows where that has died down.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from landscape.curvature.eigenpair import MAX_PRODUCTS, TOLERANCE
from landscape.curvature.ends import find_ends
from landscape.curvature.operators import Hessian
from landscape.describe import provenance
from landscape.errors import InvalidArgument
from landscape.objective import Objective, loss_at
from landscape.parameters import content_hash
from landscape.product_error import largest_of
from landscape.progress import progress
from landscape.records import Scalars
from landscape.spectra import Subsets

Draw = tuple[int, int]  # users and seed
ENDS = ("lambda_max", "lambda_min")


def subsets_of(
    objective_on: Callable[[int, int], Objective],
    draws: Sequence[Draw],
    *,
    name: str,
    checkpoint: str,
    tolerance: float = TOLERANCE,
    max_products: int = MAX_PRODUCTS,
    held: Subsets | None = None,
    keep: Callable[[Subsets], None] | None = None,
    command: str = "",
) -> Subsets:
    """Both ends for every draw by Lanczos, as a record for the store; rows in the order of users, then seed.

    Args:
        objective_on: opens the objective on so many units with this seed; its weights are always the same.
        draws: (users, seed) wanted.
        name: of the record.
        checkpoint: name of the checkpoint that all of them stand on.
        tolerance: accepted residual of an eigenvalue relative to it.
        max_products: for each draw.
        held: draws of the same settings that are there already; they stay and are not measured again.
        keep: called with the record so far after each draw, so that a kill loses none.
        command: kept in the provenance.

    Raises:
        InvalidArgument: no draw, or draws with different weights.
        NonFiniteProduct: a product held a NaN or an infinity.
    """
    if not draws:
        raise InvalidArgument("expected at least one draw, got none")
    record = held
    there = set() if held is None else set(zip(held.users.tolist(), held.seeds.tolist(), strict=True))
    missing = [draw for draw in dict.fromkeys(draws) if draw not in there]
    weights = None
    with progress(f"subsets of the data, {checkpoint}", len(missing)) as advance:
        for users, seed in missing:
            objective = objective_on(users, seed)
            found = content_hash(objective.weights)
            if weights not in (None, found):
                raise InvalidArgument(f"expected the same weights for every draw, got others for seed {seed}")
            weights = found
            hessian = Hessian(objective)
            pairs = find_ends(hessian, seed=seed, tolerance=tolerance, max_products=max_products)
            ends = [pairs[label] for label in ENDS]
            row: dict[str, Any] = {
                "users": np.array([users]),
                "seeds": np.array([seed]),
                "losses": np.array([loss_at(objective, objective.weights).value]),
                "values": np.array([[pair.value for pair in ends]]),
                "residuals": np.array([[pair.residual for pair in ends]]),
                "converged": np.array([[pair.converged for pair in ends]]),
                "products": np.array([max(pair.products for pair in ends)]),
            }
            if record is not None:
                row = {key: np.concatenate([getattr(record, key), column]) for key, column in row.items()}
            order = np.lexsort([row["seeds"], row["users"]])
            record = Subsets(
                name,
                checkpoint,
                **{key: column[order] for key, column in row.items()},
                provenance=provenance(objective, command),
                settings=settings_of(tolerance=tolerance, max_products=max_products),
                product_error=largest_of(hessian.relative_error, None if record is None else record.product_error),
            )
            if keep is not None:
                keep(record)
            advance(1, loss=f"{row['losses'][-1]:.4f}")
    assert record is not None
    return record


def settings_of(*, tolerance: float, max_products: int) -> Scalars:
    """What makes two records of subsets the same but for their draws."""
    return {"method": "lanczos", "tolerance": tolerance, "max_products": max_products}
