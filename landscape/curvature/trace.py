"""Trace, diagonal and Frobenius norm of an operator from products with random probes, each with its standard error.

Letters: H the operator over n coordinates, z a probe of independent signs, Q an orthonormal basis, m products.

    tr H        = E z.Hz                            Hutchinson (1989)
    diag H      = E z * Hz                          Bekas, Kokiopoulou and Saad (2007)
    ||H||_F^2   = E |Hz|^2
    tr H_bb     = E sum over b of z_i (Hz)_i        the trace of a diagonal block b

All four come from the same products, so `hutchinson` gives them together. `hutch_plus_plus` (Meyer, Musco, Musco and
Woodruff 2021) takes the trace of what a sketch has found exactly and probes only the rest, which pays where a few
eigenvalues make up most of ||H||_F and costs a little where they do not. A trained network's Hessian has many of both
signs: measure before preferring it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from landscape.blocks import masks_of_all
from landscape.curvature.coordinates import Coordinates, Counted, hessian_in, images, rademacher
from landscape.curvature.operators import Product
from landscape.describe import provenance
from landscape.errors import InvalidArgument
from landscape.estimates import Floats, mean_and_error, root_and_error
from landscape.objective import LossValue, Objective, check_frozen
from landscape.parameters import Vector
from landscape.product_error import largest_of
from landscape.progress import progress
from landscape.records import Scalars
from landscape.spectra import Trace

Method = Literal["hutchinson", "hutch++"]

PROBES = 32
AT_ONCE = 4  # vectors in a block of products: a third less time than one by one, on a trained SASRec


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value from random probes and the evidence for it."""

    value: float
    standard_error: float  # over probes; NaN for a single one
    samples: Floats  # (probes,) whose mean (of a Frobenius norm: root of the mean) is the value
    products: int  # operator products spent


@dataclass(frozen=True, slots=True)
class Hutchinson:
    """What one set of probes says of an operator; every estimate took the same products."""

    trace: Estimate
    frobenius_norm: Estimate
    blocks: dict[str, Estimate]  # the trace of each diagonal block asked for
    diagonal: Vector  # (n,) in units of an eigenvalue
    diagonal_error: Vector  # (n,) standard error of each entry; NaN for a single probe


def hutchinson(
    product: Product,
    size: int,
    *,
    probes: int = PROBES,
    seed: int = 0,
    first: int = 0,
    blocks: Mapping[str, Bool[Tensor, " free"]] | None = None,
    at_once: int = AT_ONCE,
    device: torch.device | str = "cpu",
) -> Hutchinson:
    """Trace, Frobenius norm, diagonal and traces of blocks by independent signs. One product a probe.

    A trace's standard error is sqrt(2 / probes) times the Frobenius norm of H without its diagonal. A block's is larger
    than that of the block alone, since its rows meet the signs of all columns: probe the block itself
    (`Hessian(objective, block=...)`) where it must be known better.

    Args:
        product: v -> Hv; `matmat` is used where it has one.
        size: n.
        probes: at least 1; an error takes 2.
        seed: of the signs. A probe depends on seed, size and its own number alone.
        first: number of the first probe, to go on where an earlier call ended.
        blocks: masks over the coordinates whose traces are wanted too; they cost nothing.
        at_once: probes in one `matmat`; no result depends on it but for rounding.
        device: where the vectors live.

    Raises:
        InvalidArgument: fewer than one probe, or a mask of another length.
        NonFiniteProduct: a product held a NaN or an infinity.
    """
    _check(probes, at_once)
    chosen = {name: mask.to(device) for name, mask in (blocks or {}).items()}
    if wrong := [name for name, mask in chosen.items() if len(mask) != size]:
        raise InvalidArgument(f"expected masks of {size:,} coordinates, got another length for {', '.join(wrong)}")
    mean, scatter = (torch.zeros(size, dtype=torch.float64, device=device) for _ in range(2))
    traces, squares, parts = [], [], []
    for start in range(0, probes, at_once):
        Z = _signs(size, seed, range(first + start, first + min(start + at_once, probes)), device)
        HZ = images(product, Z)
        terms = Z * HZ
        traces.append(terms.sum(dim=0))
        squares.append(HZ.square().sum(dim=0))
        parts.append(torch.stack([terms[mask].sum(dim=0) for mask in chosen.values()]) if chosen else terms[:0])
        for count, column in enumerate(terms.T, start + 1):  # Welford's update
            step = column - mean
            mean += step / count
            scatter += step * (column - mean)
    error = (scatter / max(probes - 1, 1) / probes).sqrt() if probes > 1 else torch.full_like(mean, math.nan)
    by_block = torch.cat(parts, dim=1).cpu().numpy()
    return Hutchinson(
        trace=_mean(torch.cat(traces).cpu().numpy(), probes),
        frobenius_norm=_root(torch.cat(squares).cpu().numpy(), probes),
        blocks={name: _mean(samples, probes) for name, samples in zip(chosen, by_block, strict=True)},
        diagonal=mean,
        diagonal_error=error,
    )


def hutch_plus_plus(
    product: Product,
    size: int,
    *,
    products: int = 3 * (PROBES // 3),
    seed: int = 0,
    at_once: int = AT_ONCE,
    device: torch.device | str = "cpu",
) -> Estimate:
    """The trace with a third of the products each for a sketch, its exact trace, and probes of the rest.

    Given the sketch Q, tr(Q' H Q) is exact and the rest, (I - QQ') H (I - QQ'), is probed without bias: the standard
    error is that of the rest over its products / 3 probes and says all there is to say. With few of them it is itself
    known poorly (Student's t with products / 3 - 1 degrees of freedom). Memory: products / 3 vectors and as many more.

    Args:
        product: v -> Hv; `matmat` is used where it has one.
        size: n.
        products: m, rounded down to a multiple of 3; at least 6, for an error.
        seed: of the signs.
        at_once: columns in one `matmat`.
        device: where the vectors live.

    Raises:
        InvalidArgument: fewer than 6 products.
        NonFiniteProduct: a product held a NaN or an infinity.
    """
    third = products // 3
    if third < 2:
        raise InvalidArgument(f"expected at least 6 products for Hutch++, got {products}")
    _check(third, at_once)
    columns = min(third, size)  # a sketch of all there is leaves nothing to probe
    Q = torch.linalg.qr(_in_parts(product, _signs(size, seed, range(columns), device), at_once))[0]
    found = (Q * _in_parts(product, Q, at_once)).sum().item()
    G = _signs(size, seed, range(third, 2 * third), device)
    for _ in range(2):  # the second time for rounding
        G -= Q @ (Q.T @ G)
    rest = (G * _in_parts(product, G, at_once)).sum(dim=0).cpu().numpy()
    return _mean(found + rest, 2 * columns + third)


def _in_parts(product: Product, V: Float[Tensor, "n k"], at_once: int) -> Float[Tensor, "n k"]:
    return torch.cat([images(product, part) for part in torch.split(V, at_once, dim=1)], dim=1)


def _signs(size: int, seed: int, numbers: range, device: torch.device | str) -> Float[Tensor, "n k"]:
    return torch.stack([rademacher(size, seed, number) for number in numbers], dim=1).to(device)


def _check(probes: int, at_once: int) -> None:
    if probes < 1 or at_once < 1:
        raise InvalidArgument(f"expected at least 1 probe and 1 at once, got {probes} and {at_once}")


def _mean(samples: Floats, products: int) -> Estimate:
    return Estimate(*mean_and_error(samples), np.asarray(samples), products)


def _root(samples: Floats, products: int) -> Estimate:
    return Estimate(*root_and_error(samples), np.asarray(samples), products)


def trace_of(
    objective: Objective,
    *,
    name: str,
    checkpoint: str,
    method: Method = "hutchinson",
    probes: int = PROBES,
    seed: int = 0,
    block: str | None = None,
    relative: bool = True,
    at_once: int = AT_ONCE,
    held: Trace | None = None,
    centre: LossValue | None = None,
    command: str = "",
) -> Trace:
    """Traces and Frobenius norms of an objective's Hessian at its weights, as a record for the store.

    By Hutchinson also the traces of the layout's blocks and row groups, from the same products. `probes` products, as
    many again in relative coordinates.

    Args:
        objective: the frozen loss.
        name: of the record.
        checkpoint: name of the checkpoint the objective stands on.
        method: "hutchinson" or "hutch++".
        probes: how many in the end, those of `held` among them; of Hutch++ the products, a third of which are probes.
        seed: of the signs.
        block: the diagonal block of the Hessian that belongs to a named block of weights; all of it by default.
        relative: also in coordinates relative to |w|, which re-scaling leaves alone.
        at_once: probes in one block of products.
        held: traces of the same objective and settings to go on with (not by Hutch++, whose sketch would be another).
        centre: the loss at the weights where it is known; two losses otherwise.
        command: kept in the provenance.

    Raises:
        NotFrozen, NonFiniteLoss: the objective gives no one finite loss at the checkpoint.
        NonFiniteProduct: a product held a NaN or an infinity.
        InvalidArgument: an option outside what it may be.
    """
    loss = check_frozen(objective) if centre is None else centre
    device = next(iter(objective.weights.values())).device
    masks = {} if block is not None or method == "hutch++" else masks_of_all(objective.layout)
    first = 0 if held is None or method == "hutch++" else held.probes
    _check(probes - first, at_once)
    frames: list[Coordinates] = ["raw", "relative"] if relative else ["raw"]
    rows: list[tuple[str, str, str, int]] = []
    samples: list[Floats] = []
    products, error = 0, None if held is None else held.product_error
    with progress(f"Hessian products, {checkpoint}", len(frames) * (probes - first)) as advance:
        for frame in frames:
            operator = hessian_in(objective, block=block, coordinates=frame)
            counted = Counted(operator, advance)
            shared: dict[str, Any] = {"seed": seed, "at_once": at_once, "device": device}
            found: dict[tuple[str, str], Estimate]
            if method == "hutch++":
                found = {("trace", "all"): hutch_plus_plus(counted, operator.size, products=probes, **shared)}
            else:
                new = hutchinson(counted, operator.size, probes=probes - first, first=first, blocks=masks, **shared)
                found = {("trace", "all"): new.trace, ("frobenius_norm", "all"): new.frobenius_norm}
                found |= {("trace", part): estimate for part, estimate in new.blocks.items()}
            products += found["trace", "all"].products
            error = largest_of(error, operator.relative_error)
            for (quantity, part), estimate in found.items():
                size = operator.size if part == "all" else int(masks[part].sum())
                rows.append((quantity, part, frame, size))
                samples.append(estimate.samples)
    table = np.stack(samples)
    if held is not None and first:
        table, products = np.concatenate([held.samples, table], axis=1), products + held.products
    quantities, parts, frames_of_rows, sizes = zip(*rows, strict=True)
    return Trace(
        name,
        checkpoint,
        quantities,
        parts,
        frames_of_rows,
        np.array(sizes, dtype=np.int64),
        table,
        products,
        provenance(objective, command),
        loss.value,
        settings_of(method=method, probes=probes, seed=seed, block=block, relative=relative),
        error,
    )


def settings_of(*, method: Method, probes: int, seed: int, block: str | None, relative: bool) -> Scalars:
    """What makes two traces of one objective the same but for their number of probes (of Hutch++: that too)."""
    sketched: Scalars = {"products": probes} if method == "hutch++" else {}
    return {"method": method, "seed": seed, "block": block, "relative": relative, "probe": "rademacher", **sketched}
