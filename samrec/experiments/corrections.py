"""P-values of many comparisons at once, adjusted: Holm against one false alarm, Benjamini-Hochberg against their share.

An adjusted p-value is compared with the level itself. NaN stands for a comparison that could not be made: it stays NaN
and does not count into the number of comparisons.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.stats import false_discovery_control

from samrec.errors import ConfigError


def holm(p_values: Float[np.ndarray, " comparisons"]) -> Float[np.ndarray, " comparisons"]:
    """At level a, the chance of even one false rejection is at most a, however the comparisons depend on each other.

    With p_(1) <= ... <= p_(m): adjusted p_(i) = max over j <= i of min(1, (m - j + 1) p_(j)).

    Raises:
        ConfigError: a value outside 0 to 1.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    return _among_known(p_values, _holm)


def benjamini_hochberg(p_values: Float[np.ndarray, " comparisons"]) -> Float[np.ndarray, " comparisons"]:
    """At level a, the expected share of false ones among the rejections is at most a, if tests are independent or
    positively dependent.

    Raises:
        ConfigError: a value outside 0 to 1.

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995).
    """
    return _among_known(p_values, lambda known: np.asarray(false_discovery_control(known, method="bh")))


def _holm(p_values: np.ndarray) -> np.ndarray:
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order]))
    return adjusted


def _among_known(p_values: np.ndarray, adjust: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    known = ~np.isnan(p_values)
    if not ((p_values[known] >= 0) & (p_values[known] <= 1)).all():
        raise ConfigError(f"expected p-values between 0 and 1, got {p_values[known].tolist()}")
    adjusted = np.full(len(p_values), np.nan)
    if known.any():
        adjusted[known] = adjust(np.asarray(p_values, dtype=np.float64)[known])
    return adjusted
