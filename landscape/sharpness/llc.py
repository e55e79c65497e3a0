"""The local learning coefficient by SGLD (Lau et al. 2023): how fast the volume of weights with low loss grows.

Letters: w* the checkpoint, L the mean loss, n the number of targets, beta = 1 / log n, gamma how strongly the chain is
held near w*, epsilon the step, xi standard Gaussian.

    LLC = n beta (E L(w) - L(w*)),   w from  exp(-n beta L(w) - gamma/2 ||w - w*||^2)
    w  <-  w - epsilon/2 (n beta grad L(w) + gamma (w - w*)) + sqrt(epsilon) xi

d/2 at a regular minimum of d parameters where gamma is small, less where the loss is degenerate. On a quadratic with
curvatures h each direction gives n beta h / (2 (n beta h + gamma)), times 1 / (1 - epsilon (n beta h + gamma) / 4) for
the chain's finite step: gamma, the step and the temperature are part of what is measured. The gradient is that of all
the data or of a random batch of units a step.

A chain needs 2 / (epsilon (n beta h + gamma)) steps to forget where it started, so at most 2 / (epsilon gamma). A value
whose chains still move on is called unsettled: where the second half of the draws differs from the first by more than
the stated error and by more than chance (a t-test over chains, at 1 %), where chains ended below L(w*) and so left
the basin, or where they were no numbers any more. It is kept as it is, negative ones too. It is the most delicate
measure here and converges slowly in high dimensions. Compare checkpoints at equal settings only.
"""

import math
from collections.abc import Sequence

import torch
from scipy.special import stdtrit

from landscape.errors import InvalidArgument
from landscape.objective import Objective, gradient_at, loss_at
from landscape.parameters import Vector
from landscape.records import SharpnessMeasure
from landscape.sharpness.m_sharpness import mean_and_error
from landscape.sharpness.perturbation import displaced, scale_of
from landscape.sharpness.units import unit_count, with_units

CHANCE = 0.01  # of calling settled chains unsettled


def local_learning_coefficient(
    objective: Objective,
    *,
    chains: int = 4,
    draws: int = 100,
    burn_in: int = 100,
    epsilon: float = 1e-4,
    gamma: float = 1000.0,
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
        epsilon: step of the chain. With gamma as by default it forgets its start in 20 draws, which settled on SASRec;
            1e-6 and 100 still climbed. n beta times the largest curvature times epsilon must stay below 4.
        gamma: strength of the pull to w*.
        batch: units of a random batch a step; all by default.
        block: the only weights that move; all by default.
        seed: of the noise and the batches.

    Returns:
        With a note that begins with "unsettled" and says why, where the chains have not settled (`is_settled`).
        Chains that became infinite make the value NaN or infinite.

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
    values, halves = [], []
    for chain in range(chains):
        rises = _chain(objective, stretch, temper, epsilon, gamma, batch, burn_in + draws, (seed, chain), centre)
        kept = rises[burn_in:]
        values.append(temper * sum(kept) / draws)
        half = draws // 2
        halves.append((temper * sum(kept[:half]) / half, temper * sum(kept[-half:]) / half))
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
    value, error = mean_and_error(values)
    return SharpnessMeasure("llc", setting, value, error, cost, unsettled(halves, error or 0.0))


def unsettled(halves: Sequence[tuple[float, float]], error: float) -> str:
    """Why chains have not settled, from the means of the first and the last half of each, or nothing.

    Args:
        halves: of each chain, in units of the value.
        error: the value's standard error; a drift below it does no harm.
    """
    lost = sum(not (math.isfinite(first) and math.isfinite(last)) for first, last in halves)
    if lost:
        return f"unsettled: {lost} of {len(halves)} chains were not finite, a smaller epsilon or more gamma may help"
    reasons = []
    drift, spread = mean_and_error([last - first for first, last in halves])
    if abs(drift) > max(error, float(stdtrit(len(halves) - 1, 1 - CHANCE / 2)) * (spread or 0.0)):
        reasons.append(f"from one half of the draws to the next the value moved by {drift:+.3g} ± {spread:.1g}")
    below = sum(last < 0 for _, last in halves)
    if below:
        reasons.append(f"{below} of {len(halves)} chains ended below the checkpoint: they left the basin")
    return f"unsettled: {'; '.join(reasons)}" if reasons else ""


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
