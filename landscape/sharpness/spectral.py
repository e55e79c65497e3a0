"""Sharpness from eigenvalues that are known already: lambda_max ||w||^2 and lambda_1 / lambda_5. No loss is taken.

An eigenvalue lies within its residual of the one reported; each measure carries what that makes of it as the setting
`residual`. Neither is free of all re-scalings: both stay when all weights are scaled together and the function is kept.
"""

from collections.abc import Sequence

import torch

from landscape.errors import InvalidArgument
from landscape.objective import Objective
from landscape.records import Eigenpairs, SharpnessMeasure


def from_eigenpairs(objective: Objective, pairs: Eigenpairs) -> tuple[SharpnessMeasure, ...]:
    """All measures that these eigenpairs allow: the ratio only where there are five."""
    measures = [curvature_times_norm(objective, pairs)]
    if "lambda_5" in pairs.labels:
        measures.append(eigenvalue_ratio(pairs))
    return tuple(measures)


def curvature_times_norm(objective: Objective, eigenpairs: Eigenpairs) -> SharpnessMeasure:
    """lambda_max ||w||^2: unchanged when all weights are re-scaled together by a change that keeps the function."""
    k = eigenpairs.labels.index("lambda_max")
    squared = torch.linalg.vector_norm(objective.layout.flatten(objective.weights)).item() ** 2
    note = "" if eigenpairs.converged[k] else "lambda_max did not converge"
    value, residual = float(eigenpairs.values[k]) * squared, float(eigenpairs.residuals[k]) * squared
    setting = {"residual": residual}
    return SharpnessMeasure("lambda_max_norm_squared", setting, value, None, int(eigenpairs.products[k]), note)


def eigenvalue_ratio(eigenpairs: Eigenpairs, *, other: int = 5) -> SharpnessMeasure:
    """lambda_1 / lambda_k, how far the largest curvature stands out (Jastrzebski et al. 2020 follow k = 5).

    Raises:
        InvalidArgument: fewer eigenpairs than that.
    """
    label = f"lambda_{other}"
    if label not in eigenpairs.labels:
        raise InvalidArgument(f"expected eigenpairs down to {label}, got {', '.join(eigenpairs.labels)}")
    places: Sequence[int] = [eigenpairs.labels.index(name) for name in ("lambda_max", label)]
    (first, fifth), (r1, r5) = eigenpairs.values[places], eigenpairs.residuals[places]
    note = "" if eigenpairs.converged[places].all() else "not all eigenvalues converged"
    residual = float(abs(r1 / fifth) + abs(first * r5 / fifth**2)) if fifth else float("inf")
    value = float(first / fifth) if fifth else float("inf")
    cost = int(max(eigenpairs.products[places]))
    return SharpnessMeasure("lambda_ratio", {"residual": residual, "k": other}, value, None, cost, note)
