"""The spectral density of an operator by stochastic Lanczos quadrature, with the nodes and weights of every probe.

Letters: H the operator over n coordinates, z a probe, q_1 = z / |z|, T the tridiagonal matrix of k Lanczos steps from
q_1, theta its eigenvalues (nodes), s its eigenvectors, w = (first entry of s)^2 (weights).

The nodes and weights of a probe are the Gauss quadrature of the measure that z sees: they integrate polynomials up to
degree 2k - 1 exactly, so that sum w = 1, sum w theta = z.Hz / z.z and sum w theta^2 = |Hz|^2 / z.z. Averaged over
probes of independent signs the measure is the share of eigenvalues at each place (Golub and Welsch 1969; Lin, Saad and
Yang 2016). The outermost nodes are Ritz values: each comes with its residual, a true eigenvalue lies within that, and
none is outside the spectrum.

Every new vector is made orthogonal to all before it, so that no copies of an eigenvalue appear ("ghosts", which would
get their weight wrong): k vectors of n float64 in memory for each probe at work, 8 k n bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from landscape.curvature.coordinates import Coordinates, Counted, hessian_in, images, rademacher
from landscape.curvature.operators import Product
from landscape.describe import provenance
from landscape.errors import InvalidArgument
from landscape.estimates import Floats
from landscape.objective import LossValue, Objective, check_frozen
from landscape.product_error import largest_of
from landscape.progress import progress
from landscape.records import Scalars
from landscape.spectra import Density

PROBES = 8
STEPS = 60
AT_ONCE = 4  # probes together at most
MEMORY = 2**30  # bytes for the bases of those together, by default; one probe may take more
EXHAUSTED = 1e-12  # |next vector| / |Hq| below which the probe's whole space has been seen, up to rounding


@dataclass(frozen=True, slots=True)
class Quadrature:
    """Nodes and weights of every probe, ascending; a probe that ended early has NaN nodes of weight 0 at its end."""

    nodes: Floats  # (probes, steps) in units of an eigenvalue
    weights: Floats  # (probes, steps); each row sums to 1
    residuals: Floats  # (probes, steps) ||Hv - theta v|| of the Ritz vector behind each node
    products: int


def spectral_density(
    product: Product,
    size: int,
    *,
    probes: int = PROBES,
    steps: int = STEPS,
    seed: int = 0,
    first: int = 0,
    at_once: int | None = None,
    device: torch.device | str = "cpu",
) -> Quadrature:
    """Lanczos quadrature from probes of independent signs. `probes` times `steps` products at most.

    Args:
        product: v -> Hv, linear and symmetric; `matmat` is used where it has one.
        size: n.
        probes: at least 1; their spread is the error of whatever is read from the density.
        steps: k, of Lanczos; n at most. The outermost nodes need more of them than the moments.
        seed: of the signs. A probe depends on seed, size and its own number alone.
        first: number of the first probe, to go on where an earlier call ended.
        at_once: probes advanced together, memory grows with it; by default `probes_together`.
        device: where the vectors live.

    Raises:
        InvalidArgument: an option outside what it may be.
        NonFiniteProduct: a product held a NaN or an infinity.
    """
    if steps < 2:
        raise InvalidArgument(f"expected at least 2 Lanczos steps, got {steps}")
    steps = min(steps, size)
    at_once = probes_together(size, steps) if at_once is None else at_once
    if probes < 1 or at_once < 1:
        raise InvalidArgument(f"expected at least 1 probe and 1 at once, got {probes} and {at_once}")
    numbers = range(first, first + probes)
    rows: list[tuple[Floats, Floats, Floats]] = []
    products = 0
    for start in range(0, probes, at_once):
        together = numbers[start : start + at_once]
        Z = torch.stack([rademacher(size, seed, number) for number in together]).to(device)
        for alphas, betas in _lanczos(product, Z, steps):
            rows.append(_nodes(alphas, betas, steps))
            products += len(alphas)
    nodes, weights, residuals = (np.stack(column) for column in zip(*rows, strict=True))
    return Quadrature(nodes, weights, residuals, products)


def probes_together(size: int, steps: int) -> int:
    """How many probes to advance together: a block of products is cheaper than single ones, their bases cost memory."""
    return max(1, min(AT_ONCE, MEMORY // (8 * size * min(steps, size))))


def _lanczos(product: Product, starts: Float[Tensor, "probes n"], steps: int) -> list[tuple[list[float], list[float]]]:
    """Diagonal and off-diagonal of T for each start; the last off-diagonal entry is that of the step not taken."""
    probes, size = starts.shape
    basis = torch.empty(probes, steps, size, dtype=torch.float64, device=starts.device)
    basis[:, 0] = starts / torch.linalg.vector_norm(starts, dim=1, keepdim=True)
    entries: list[tuple[list[float], list[float]]] = [([], []) for _ in range(probes)]
    running = list(range(probes))
    for step in range(steps):
        HQ = images(product, basis[running, step].T)
        left = []
        for column, probe in enumerate(running):
            alphas, betas = entries[probe]
            known, image = basis[probe, : step + 1], HQ[:, column]
            alphas.append(torch.dot(known[step], image).item())
            before = torch.linalg.vector_norm(image).item()
            rest = image - alphas[-1] * known[step]
            if step:
                rest -= betas[-1] * known[step - 1]
            norm = torch.linalg.vector_norm(rest).item()
            for _ in range(2):  # twice is enough (Parlett), once where little was taken away
                rest = torch.addmv(rest, known.T, known @ rest, alpha=-1)
                was, norm = norm, torch.linalg.vector_norm(rest).item()
                if norm > 0.7 * was:
                    break
            betas.append(norm if norm > EXHAUSTED * before else 0.0)
            if betas[-1] and step + 1 < steps:
                basis[probe, step + 1] = rest / norm
                left.append(probe)
        running = left
        if not running:
            break
    return entries


def _nodes(alphas: list[float], betas: list[float], steps: int) -> tuple[Floats, Floats, Floats]:
    """Nodes, weights and residuals from T, filled up to so many steps."""
    off = betas[:-1]
    theta, s = np.linalg.eigh(np.diag(alphas) + np.diag(off, 1) + np.diag(off, -1))
    padding = (0, steps - len(theta))
    weights = s[0] ** 2
    return (
        np.pad(theta, padding, constant_values=np.nan),
        np.pad(weights / weights.sum(), padding),
        np.pad(betas[-1] * np.abs(s[-1]), padding, constant_values=np.nan),
    )


def density_of(
    objective: Objective,
    *,
    name: str,
    checkpoint: str,
    probes: int = PROBES,
    steps: int = STEPS,
    seed: int = 0,
    block: str | None = None,
    coordinates: Coordinates = "raw",
    at_once: int | None = None,
    held: Density | None = None,
    keep: Callable[[Density], None] | None = None,
    centre: LossValue | None = None,
    command: str = "",
) -> Density:
    """The spectral density of an objective's Hessian at its weights, as a record for the store.

    Args:
        objective: the frozen loss.
        name: of the record.
        checkpoint: name of the checkpoint the objective stands on.
        probes: how many in the end; those of `held` count.
        steps: of Lanczos for each; a product each.
        seed: of the signs.
        block: the diagonal block of the Hessian that belongs to a named block of weights; all of it by default.
        coordinates: "relative" for those relative to |w|, which re-scaling leaves alone.
        at_once: probes advanced together; by default `probes_together`.
        held: a density of the same objective and settings to go on with.
        keep: called with the record so far whenever probes are finished, so that a kill loses none.
        centre: the loss at the weights where it is known; two losses otherwise.
        command: kept in the provenance.

    Raises:
        NotFrozen, NonFiniteLoss: the objective gives no one finite loss at the checkpoint.
        NonFiniteProduct: a product held a NaN or an infinity.
        InvalidArgument: an option outside what it may be.
    """
    loss = check_frozen(objective) if centre is None else centre
    operator = hessian_in(objective, block=block, coordinates=coordinates)
    device = next(iter(objective.weights.values())).device
    at_once = probes_together(operator.size, steps) if at_once is None else at_once
    record, start = held, 0 if held is None else held.probes
    with progress(f"Lanczos steps, {checkpoint}", (probes - start) * min(steps, operator.size)) as advance:
        counted = Counted(operator, advance)
        for first in range(start, probes, at_once):
            added = spectral_density(
                counted,
                operator.size,
                probes=min(at_once, probes - first),
                steps=steps,
                seed=seed,
                first=first,
                at_once=at_once,
                device=device,
            )
            tables = added.nodes, added.weights, added.residuals
            if record is not None:
                before = record.nodes, record.weights, record.residuals
                tables = cast(Any, tuple(np.concatenate(pair) for pair in zip(before, tables, strict=True)))
            record = Density(
                name,
                checkpoint,
                *tables,
                dimension=operator.size,
                products=added.products + (0 if record is None else record.products),
                provenance=provenance(objective, command),
                loss=loss.value,
                settings=settings_of(steps=steps, seed=seed, block=block, coordinates=coordinates),
                product_error=largest_of(operator.relative_error, None if record is None else record.product_error),
            )
            if keep is not None:
                keep(record)
    if record is None:
        raise InvalidArgument(f"expected at least 1 probe, got {probes}")
    return record


def settings_of(*, steps: int, seed: int, block: str | None, coordinates: Coordinates) -> Scalars:
    """What makes two densities of one objective the same but for their number of probes."""
    return {"steps": steps, "seed": seed, "block": block, "coordinates": coordinates, "probe": "rademacher"}
