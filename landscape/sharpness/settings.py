"""Radii and sizes of every sharpness measure, checked once: what a plan is made of."""

import math
from dataclasses import dataclass

from landscape.curvature.eigenpair import MAX_PRODUCTS, TOLERANCE
from landscape.curvature.trace import PROBES
from landscape.errors import InvalidArgument
from landscape.sharpness.flatness import TAU
from landscape.sharpness.perturbation import Scale, check_radii

SCALES: tuple[Scale, Scale] = ("absolute", "relative")
WHOLE = "whole"  # the block of all weights
RADII = ("rhos", "relative_rhos", "box_rhos", "relative_box_rhos", "sigmas", "relative_sigmas", "epsilons", "taus")
LEAST = {  # counts, and the least that says anything: an error takes two
    "pairs": 2, "steps": 1, "restarts": 1, "m": 1, "batches": 1, "iterations": 1, "probes": 2, "trace_probes": 2,
    "ranking_pairs": 2, "chains": 2, "draws": 2, "burn_in": 0, "llc_batch": 1, "max_products": 1, "seed": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SharpnessSettings:
    """Radii and sizes of every measure. Pairs of tuples belong together: absolute first, relative to |w| second.

    Raises:
        InvalidArgument: one is outside what it may be.
    """

    rhos: tuple[float, ...] = (0.01, 0.1, 1.0)
    relative_rhos: tuple[float, ...] = (0.1, 0.5, 2.0)  # .5 to 2 is what ASAM trains with (Kwon et al. 2021)
    box_rhos: tuple[float, ...] = (0.001,)  # of the worst case in the maximum norm
    relative_box_rhos: tuple[float, ...] = (0.01,)
    eta: float = 0.0  # of T = |w| + eta in steps and searches; above 0 scale invariance is given up
    sigmas: tuple[float, ...] = (0.005, 0.01)
    relative_sigmas: tuple[float, ...] = (0.05, 0.1)
    pairs: int = 20
    steps: int = 20  # gradients of an ascent
    restarts: int = 2
    m: int = 256
    batches: int | None = 8
    epsilons: tuple[float, ...] = (1e-3,)  # Keskar's boxes
    iterations: int = 10  # of L-BFGS-B in them
    taus: tuple[float, ...] = (TAU,)
    table: str | None = None  # of relative flatness; the largest by default
    probes: int = 20  # of relative flatness
    tolerance: float = TOLERANCE  # of eigenvalues, relative residual
    max_products: int = MAX_PRODUCTS  # for all eigenvalues together
    trace_probes: int = PROBES
    metrics: tuple[str, ...] = ("ndcg@10", "hr@10")
    ranking_pairs: int = 5
    chains: int = 4
    draws: int = 100
    burn_in: int = 100
    llc_epsilon: float = 1e-4
    gamma: float = 1000.0
    llc_batch: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in RADII:
            check_radii(getattr(self, name), name.rstrip("s").replace("_", " "))
        check_radii((self.eta, self.gamma), "eta and gamma")
        if not all(tau > 0 for tau in self.taus):
            raise InvalidArgument(f"expected tau above 0, got {min(self.taus)}")
        for name, least in LEAST.items():
            if (number := getattr(self, name)) is not None and number < least:
                raise InvalidArgument(f"expected {name.replace('_', ' ')} of at least {least}, got {number}")
        if not 0 < self.tolerance < 1:
            raise InvalidArgument(f"expected a relative tolerance between 0 and 1, got {self.tolerance}")
        if not 0 < self.llc_epsilon < math.inf:
            raise InvalidArgument(f"expected a step of the LLC's chains above 0 and finite, got {self.llc_epsilon}")

    def radii(self, scale: Scale) -> tuple[float, ...]:
        """Of steps and balls in the Euclidean norm."""
        return self.rhos if scale == "absolute" else self.relative_rhos

    def box_radii(self, scale: Scale) -> tuple[float, ...]:
        """Of balls in the maximum norm."""
        return self.box_rhos if scale == "absolute" else self.relative_box_rhos

    def deviations(self, scale: Scale) -> tuple[float, ...]:
        """Of noise."""
        return self.sigmas if scale == "absolute" else self.relative_sigmas
