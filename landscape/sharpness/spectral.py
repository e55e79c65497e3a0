"""Sharpness from spectra that are known: both ends, lambda_max ||w||^2, lambda_1 / lambda_5, trace, Frobenius norm.

Letters: H the Hessian of the frozen loss, D = diag(|w|), lambda its eigenvalues from the largest down.

    raw           lambda_max, lambda_min, lambda_max ||w||^2, lambda_1 / lambda_5, tr H, ||H||_F
    relative      tr DHD, ||DHD||_F: unchanged where weights are re-scaled and the function is kept

An eigenvalue lies within its residual of the one reported: the setting `residual` of its measures says what that makes
of them. A trace has a standard error over its probes. lambda_max ||w||^2 and the ratio stay only when all weights are
scaled alike, and count as raw. Of a block, w and H are the block's own. Works on records alone: no loss, no torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.errors import InvalidArgument
from landscape.product_error import product_note
from landscape.records import Eigenpairs, Provenance, SharpnessMeasure
from landscape.spectra import Trace
from landscape.store.refusals import same_objective

COMPANIONS = ("lambda_max_norm_squared", "lambda_ratio")  # taken from any eigenvalues that the store holds
ENDS = ("lambda_max", "lambda_min", *COMPANIONS)
TRACES = ("trace", "frobenius_norm")
SPECTRAL = (*ENDS, *TRACES)  # one value of each a block and scale: however it was found, there is one truth
RATIO_TO = 5
SCALE_OF = {"raw": "absolute", "relative": "relative"}


def identity_of(measure: SharpnessMeasure) -> tuple[str, str]:
    """What sets a number apart from others of a report: of a spectrum not how closely it is known."""
    own = measure.measure in SPECTRAL
    keys = ("scale", "block", "k") if own else sorted(key for key in measure.setting if key != "residual")
    return measure.measure, repr([(key, measure.setting.get(key)) for key in keys])


def uncertainty_of(measure: SharpnessMeasure) -> float:
    """How far off a number of a spectrum may be: its residual or standard error, infinite where neither is known."""
    known = measure.setting.get("residual", measure.standard_error)
    return float("inf") if known is None or np.isnan(known) else float(known)


def from_eigenpairs(pairs: Eigenpairs, norm: float) -> tuple[SharpnessMeasure, ...]:
    """All measures that these eigenpairs allow; `norm` is ||w|| of the weights they are of."""
    return (*ends_of(pairs), *companions_of(pairs, norm))


def ends_of(pairs: Eigenpairs) -> tuple[SharpnessMeasure, ...]:
    """lambda_max and lambda_min, as far as they are among these eigenpairs."""
    found = [(label, *_pair(pairs, label)) for label in ("lambda_max", "lambda_min") if label in pairs.labels]
    return tuple(_measure(pairs, label, [label], value, residual) for label, value, residual in found)


def companions_of(pairs: Eigenpairs, norm: float) -> tuple[SharpnessMeasure, ...]:
    """lambda_max ||w||^2, and the ratio where there are five eigenvalues."""
    measures = []
    if "lambda_max" in pairs.labels:
        value, residual = (part * norm**2 for part in _pair(pairs, "lambda_max"))
        measures.append(_measure(pairs, "lambda_max_norm_squared", ["lambda_max"], value, residual))
        if f"lambda_{RATIO_TO}" in pairs.labels:
            measures.append(eigenvalue_ratio(pairs))
    return tuple(measures)


def eigenvalue_ratio(eigenpairs: Eigenpairs, *, other: int = RATIO_TO) -> SharpnessMeasure:
    """lambda_1 / lambda_k, how far the largest curvature stands out (Jastrzebski et al. 2020 follow k = 5).

    Raises:
        InvalidArgument: fewer eigenpairs than that.
    """
    label = f"lambda_{other}"
    if not {"lambda_max", label} <= set(eigenpairs.labels):
        raise InvalidArgument(f"expected eigenpairs down to {label}, got {', '.join(eigenpairs.labels)}")
    (first, r1), (fifth, r5) = _pair(eigenpairs, "lambda_max"), _pair(eigenpairs, label)
    residual = abs(r1 / fifth) + abs(first * r5 / fifth**2) if fifth else float("inf")
    value = first / fifth if fifth else float("inf")
    return _measure(eigenpairs, "lambda_ratio", ["lambda_max", label], value, residual, k=other)


def from_trace(trace: Trace) -> tuple[SharpnessMeasure, ...]:
    """Trace and Frobenius norm of the record's own block, raw and relative, as far as it has them."""
    measures = []
    frames = list(dict.fromkeys(trace.coordinates))
    method = {"method": "hutch++"} if trace.settings.get("method") == "hutch++" else {}
    rows = zip(trace.quantities, trace.blocks, trace.coordinates, trace.estimates, strict=True)
    for quantity, block, frame, (value, error) in rows:
        if block == "all":
            setting = {
                "scale": SCALE_OF[frame],
                **method,
                "probes": trace.probes,
                "seed": trace.settings.get("seed", 0),
            }
            setting |= _block_of(trace)
            cost = trace.products // len(frames)
            measures.append(SharpnessMeasure(quantity, setting, value, error, cost, product_note(trace.product_error)))
    return tuple(measures)


def stored_measures(
    store: Any, checkpoint_hash: str, origin: Provenance, norm: Callable[[str | None], float] | None = None
) -> tuple[SharpnessMeasure, ...]:
    """What a store's spectra of these weights and this objective say; with companions where `norm` of a block is known.

    Where several records say the same, the one that knows it most closely.
    """
    there = {name: store.checkpoint(name).hash for name in store.names("checkpoints")}
    found: list[SharpnessMeasure] = []
    for kind, read in (("curvature", store.eigenpairs), ("traces", store.trace)):
        for name in store.names(kind):
            record = read(name)
            if there.get(record.checkpoint) != checkpoint_hash or not same_objective(record.provenance, origin):
                continue
            if kind == "traces":
                found += from_trace(record)
            else:
                found += ends_of(record)
                if norm is not None:
                    found += companions_of(record, norm(record.settings.get("block")))
    return closest((), found)


def closest(held: Sequence[SharpnessMeasure], others: Sequence[SharpnessMeasure]) -> tuple[SharpnessMeasure, ...]:
    """The measures held with those others that are not there yet, or are known more closely than the one there."""
    place = {identity_of(measure): measure for measure in held}
    for measure in others:
        there = place.get(identity_of(measure))
        if there is None or uncertainty_of(measure) < uncertainty_of(there):
            place[identity_of(measure)] = measure
    return tuple(place.values())


def with_all_ends(pairs: Eigenpairs, norm: float) -> tuple[SharpnessMeasure, ...]:
    """The four measures of `ENDS` also where there are fewer than six eigenvalues and these are all of them.

    The last one is then lambda_min too, and a ratio that does not exist is NaN and says why.
    """
    if "lambda_min" not in pairs.labels:
        last: dict[str, Any] = {key: np.append(getattr(pairs, key), getattr(pairs, key)[-1]) for key in
                ("values", "residuals", "converged", "products")}  # fmt: skip
        pairs = replace(pairs, labels=(*pairs.labels, "lambda_min"), mass=None, **last)
    measures = from_eigenpairs(pairs, norm)
    if len(measures) == len(ENDS):
        return measures
    missing = _measure(pairs, "lambda_ratio", [], float("nan"), float("nan"), k=RATIO_TO)
    return (*measures, replace(missing, note=f"no lambda_{RATIO_TO}: fewer eigenvalues"))


def _pair(pairs: Eigenpairs, label: str) -> tuple[float, float]:
    k = pairs.labels.index(label)
    return float(pairs.values[k]), float(pairs.residuals[k])


def _measure(
    pairs: Eigenpairs, name: str, labels: Sequence[str], value: float, residual: float, **setting: int
) -> SharpnessMeasure:
    places = [pairs.labels.index(label) for label in labels]
    open_ones = [label for label, k in zip(labels, places, strict=True) if not pairs.converged[k]]
    unsettled = f"{' and '.join(open_ones)} did not converge" if open_ones else ""
    note = "; ".join(filter(None, (unsettled, product_note(pairs.product_error))))
    cost = int(max(pairs.products[places or slice(None)], default=0))
    allowed = pairs.settings.get("max_products", cost)
    about = {"residual": residual, "tolerance": pairs.tolerance, "max_products": allowed, **setting, **_block_of(pairs)}
    return SharpnessMeasure(name, about, value, None, cost, note)


def _block_of(record: Eigenpairs | Trace) -> dict[str, Any]:
    block = record.settings.get("block")
    return {} if block is None else {"block": block}
