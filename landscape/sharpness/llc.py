"""The local learning coefficient by SGLD (Lau et al. 2023): how fast the volume of weights with low loss grows.

Letters: w* the checkpoint, L the mean loss, n the number of targets, beta = 1 / log n, gamma how strongly the chain is
held near w*, epsilon the step, xi standard Gaussian.

    LLC = n beta (E L(w) - L(w*)),   w from  exp(-n beta L(w) - gamma/2 ||w - w*||^2)
    w  <-  w - epsilon/2 (n beta grad L(w) + gamma (w - w*)) + sqrt(epsilon) xi

d/2 at a regular minimum of d parameters where gamma is small, less where the loss is degenerate. The gradient is that
of all the data or of a random batch of units a step. Far from a minimum, or when the chain finds lower ground, the
value can be negative: it is kept, and the note says which chains left the basin (ended below L(w*)) or still climbed.
It is the most delicate measure here: it depends on epsilon, gamma and the number of draws, and converges slowly
in high dimensions. Compare checkpoints at equal settings only.
"""

import math

import torch

from landscape.errors import InvalidArgument
from landscape.objective import Objective, gradient_at, loss_at
from landscape.parameters import Vector
from landscape.records import SharpnessMeasure
from landscape.sharpness.m_sharpness import mean_and_error
from landscape.sharpness.perturbation import displaced, scale_of
from landscape.sharpness.units import unit_count, with_units

CLIMBING = 0.05  # a chain whose last half lies higher than its first by this share of the rise has not settled


def local_learning_coefficient(
    objective: Objective,
    *,
    chains: int = 4,
    draws: int = 100,
    burn_in: int = 100,
    epsilon: float = 1e-6,
    gamma: float = 100.0,
    batch: int | None = None,
    block: str | None = None,
    seed: int = 0,
) -> SharpnessMeasure:
    """The mean over chains and its standard error over them. A gradient a draw and chain, and with batches a loss too.

    Args:
        objective: the frozen loss; its weights are w*.
        chains: independent ones, at least 2.
        draws: averaged in each chain.
        burn_in: draws before those.
        epsilon: step of the chain; n beta times the largest curvature times epsilon must stay below 4.
        gamma: strength of the pull to w*.
        batch: units of a random batch a step; all by default.
        block: the only weights that move; all by default.
        seed: of the noise and the batches.

    Returns:
        With the note "k of m chains ended below the checkpoint: they left the basin" where that is so. Chains that
        became infinite make the value NaN or infinite.

    Raises:
        InvalidArgument: an option outside what it may be.
    """
    if chains < 2 or draws < 2 or burn_in < 0:
        raise InvalidArgument(
            f"expected at least 2 chains, 2 draws and no negative burn-in, got {chains}, {draws} and {burn_in}"
        )
    if not 0 < epsilon < math.inf or not 0 <= gamma < math.inf:
        raise InvalidArgument(f"expected epsilon above 0 and gamma at least 0, got {epsilon} and {gamma}")
    if batch is not None and batch < 1:
        raise InvalidArgument(f"expected at least 1 unit a batch, got {batch}")
    n = sum(float(chunk.counts.sum()) for chunk in objective.chunks)
    if n < 2:
        raise InvalidArgument(f"expected at least 2 targets, got {n:g}")
    temper = n / math.log(n)
    stretch = scale_of(objective, "absolute", block=block)
    centre = loss_at(objective, objective.weights).value
    values, below, climbing = [], 0, 0
    for chain in range(chains):
        rises = _chain(objective, stretch, temper, epsilon, gamma, batch, burn_in + draws, (seed, chain), centre)
        kept = rises[burn_in:]
        mean = sum(kept) / draws
        values.append(temper * mean)
        first, last = sum(kept[: draws // 2]) / (draws // 2), sum(kept[-(draws // 2) :]) / (draws // 2)
        below += last < 0
        climbing += last - first > CLIMBING * abs(mean)
    notes = [f"{below} of {chains} chains ended below the checkpoint: they left the basin"] if below else []
    notes += [f"{climbing} of {chains} chains still climbed: more burn-in"] if climbing else []
    setting = {
        "epsilon": float(epsilon),
        "gamma": float(gamma),
        "chains": chains,
        "draws": draws,
        "burn_in": burn_in,
        "batch": batch,
        "beta": 1 / math.log(n),
        "seed": seed,
        **({} if block is None else {"block": block}),
    }
    cost = chains * (burn_in + draws) * (1 if batch is None else 2)
    return SharpnessMeasure("llc", setting, *mean_and_error(values), cost, "; ".join(notes))


def _chain(
    objective: Objective,
    stretch: Vector,
    temper: float,
    epsilon: float,
    gamma: float,
    batch: int | None,
    draws: int,
    seed: tuple[int, int],
    centre: float,
) -> list[float]:
    """The rise of the whole loss at each draw."""
    # one stream a chain, whatever their number
    generator = torch.Generator().manual_seed((seed[0] * 1_000_003 + seed[1]) % (2**63))
    moving = (stretch != 0).double()
    d = torch.zeros_like(stretch)
    units = unit_count(objective)
    rises: list[float] = []
    loss, g = gradient_at(_batch(objective, batch, units, generator), objective.weights)
    for _ in range(draws):
        xi = torch.randn(len(d), generator=generator, dtype=torch.float64).to(d.device)
        d = moving * (d - epsilon / 2 * (temper * g + gamma * d) + math.sqrt(epsilon) * xi)
        params = displaced(objective, d)
        loss, g = gradient_at(_batch(objective, batch, units, generator), params)
        whole = loss if batch is None or batch >= units else loss_at(objective, params).value
        rises.append(whole - centre)
    return rises


def _batch(objective: Objective, batch: int | None, units: int, generator: torch.Generator) -> Objective:
    if batch is None or batch >= units:
        return objective
    return with_units(objective, torch.randperm(units, generator=generator)[:batch])
