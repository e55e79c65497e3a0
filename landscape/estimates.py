"""What random probes say: means with their standard errors, and a spectral density as a smooth curve. NumPy alone.

A standard error here is that of a mean over independent probes, from their own spread: value +- t se covers the truth
at the rate of Student's t with probes - 1 degrees of freedom, as far as the samples are normal.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mean_and_error(samples: Floats) -> tuple[float, float]:
    """The mean of samples (probes,) and its standard error, NaN for a single one."""
    error = float(np.std(samples, ddof=1)) / math.sqrt(len(samples)) if len(samples) > 1 else math.nan
    return float(np.mean(samples)), error


def root_and_error(samples: Floats) -> tuple[float, float]:
    """The root of the mean of non-negative samples (probes,) and its standard error by the delta method.

    The mean is unbiased, its root is not: too small by about error^2 / (2 value), which the error makes visible.
    """
    mean, error = mean_and_error(samples)
    root = math.sqrt(mean)
    return root, error / (2 * root) if root > 0 else 0.0 * error


def moments(nodes: Floats, weights: Floats, power: int) -> Floats:
    """Sum of weight times node^power for each probe, from (probes, steps) each; nodes of weight 0 may be NaN."""
    terms: Floats = np.where(weights > 0, weights * np.nan_to_num(nodes) ** power, 0.0)
    sums: Floats = terms.sum(axis=1)
    return sums


def smoothed(nodes: Floats, weights: Floats, grid: Floats, *, width: float) -> Floats:
    """A density for each probe, (probes, points): a Gaussian of this standard deviation at each node, by its weight.

    Each row integrates to 1 over the whole line, so to 1 over a grid that reaches several widths beyond the nodes in
    steps of at most a width.

    Args:
        nodes: (probes, steps), NaN where a probe has fewer.
        weights: (probes, steps), a row sums to 1.
        grid: (points,) where the density is wanted, in units of an eigenvalue.
        width: standard deviation of the kernel, in the same units; what is narrower than it cannot be seen.
    """
    curves = np.zeros((len(nodes), len(grid)))
    for curve, theta, weight in zip(curves, nodes, weights, strict=True):  # a few probes
        there = weight > 0
        distance = (grid[:, None] - theta[there]) / width
        curve += np.exp(-0.5 * distance**2) @ weight[there] / (width * math.sqrt(2 * math.pi))
    return curves
