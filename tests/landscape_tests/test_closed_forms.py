"""Every sharpness measure with a closed form against it, over random quadratics of one to six dimensions.

Their spectra hold negative, tiny and zero eigenvalues in any basis. Estimates are held to six of their own standard
errors, searches to the maximum that they bound from below; the examples are the same in every run.
"""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from landscape_tests.known import quadratic
from landscape_tests.test_stated_errors import expected_llc
from landscape_tests.test_worst_case import largest_on_a_ball

from landscape.curvature.ends import eigenpairs_of
from landscape.curvature.trace import trace_of
from landscape.sharpness.average_case import average_case_sharpness, smoothed_loss
from landscape.sharpness.fisher_rao import fisher_rao_norm
from landscape.sharpness.flatness import pac_bayes_flatness
from landscape.sharpness.keskar import keskar_sharpness
from landscape.sharpness.llc import local_learning_coefficient
from landscape.sharpness.m_sharpness import m_sharpness
from landscape.sharpness.metric_sharpness import average_metric_drop, sam_metric_drop
from landscape.sharpness.relative_flatness import relative_flatness
from landscape.sharpness.sam_step import sam_sharpness
from landscape.sharpness.spectral import companions_of
from landscape.sharpness.worst_case import worst_case_sharpness

PROPERTIES = settings(derandomize=True, max_examples=30)
FEW = settings(derandomize=True, max_examples=12)
EIGENVALUES = st.sampled_from([0.0, 1e-6, -1e-6, 1e-3, -0.97, -0.2, 0.3, 0.96, 1.0, 2.5])
SCALES = st.sampled_from(["absolute", "relative"])


def quadratics(*, positive=False, least=1, most=6, at_minimum=False):
    """What `built` takes: eigenvalues in a random basis. Shape checks draw at random, which strategies must not."""
    values = st.lists(EIGENVALUES.map(abs) if positive else EIGENVALUES, min_size=least, max_size=most)
    return st.builds(partial, st.just(built), values, st.integers(0, 999), at_minimum=st.just(at_minimum))


def built(values, seed, *, at_minimum):
    """The quadratic of these eigenvalues, whose loss at the weights is 1."""
    a = torch.tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(a), len(a), generator=generator, dtype=torch.float64))[0]
    known = quadratic(basis @ a.diag() @ basis.T, units=4, batch_size=3, seed=seed, at_minimum=at_minimum)
    known.constant = 1.0 - (known.value(flat(known)) - known.constant)
    return known


def flat(known):
    return known.layout.flatten(known.weights)


def gradient(known):
    return known.matrix @ (flat(known) - known.minimum)


def stretch(known, scale):
    return torch.ones_like(flat(known)) if scale == "absolute" else flat(known).abs()


def rise(known, step, g=None):
    """Of the loss along a step, from its gradient and Hessian."""
    g = gradient(known) if g is None else g
    return (g @ step + step @ known.matrix @ step / 2).item()


def sams(known, scale, rho):
    """SAM's step by its formula."""
    g, T = gradient(known), stretch(known, scale)
    length = (T * g).norm()
    return rho * T**2 * g / length if length > 0 else 0 * g


def within(measure, truth, *, errors=6.0):
    return abs(measure.value - truth) <= errors * (measure.standard_error or 0.0) + 1e-10 * max(1.0, abs(truth))


@PROPERTIES
@given(quadratics(), SCALES, st.floats(0.0, 2.0))
def test_sams_step(spec, scale, rho):
    known = spec()
    step = sams(known, scale, rho)
    (measure,) = sam_sharpness(known, [rho], scale=scale)
    assert measure.value == pytest.approx(rise(known, step), rel=1e-9, abs=1e-12)


@PROPERTIES
@given(quadratics(), SCALES, st.floats(0.01, 1.0))
def test_the_average_case_and_lpf(spec, scale, sigma):
    known = spec()
    truth = sigma**2 / 2 * (stretch(known, scale) ** 2 * known.matrix.diagonal()).sum().item()
    (average,), (smoothed,) = (
        measured(known, [sigma], scale=scale, pairs=64) for measured in (average_case_sharpness, smoothed_loss)
    )
    assert within(average, truth)
    assert within(smoothed, 1.0 + truth)


@FEW
@given(quadratics(positive=True), SCALES, st.sampled_from([0.01, 0.3]))
def test_pac_bayes_flatness(spec, scale, tau):
    known = spec()
    trace = (stretch(known, scale) ** 2 * known.matrix.diagonal()).sum().item()
    assume(trace > 1e-3)
    flatness, sigma = pac_bayes_flatness(known, tau, scale=scale, pairs=48)
    assert within(flatness, trace / (2 * tau))
    assert within(sigma, (2 * tau / trace) ** 0.5)


@FEW
@given(quadratics())
def test_pac_bayes_flatness_of_any_curvature_is_where_the_mean_rise_is_tau(spec):
    known = spec()
    flatness, sigma = pac_bayes_flatness(known, 0.1, pairs=4)
    if math.isinf(sigma.value):
        (far,) = average_case_sharpness(known, [1e3], pairs=4)
        assert (flatness.value, far.value < 0.1 * 1e6) == (0.0, True)
    else:
        (there,) = average_case_sharpness(known, [sigma.value], pairs=4)
        assert there.value == pytest.approx(0.1, rel=2e-3)


@FEW
@given(quadratics(), SCALES, st.sampled_from([0.1, 1.5]))
def test_the_worst_case_in_a_ball(spec, scale, rho):
    known = spec()
    T = stretch(known, scale)
    A, g = (T[:, None] * known.matrix * T).numpy(), (T * gradient(known)).numpy()
    assume(np.linalg.norm(g) > 1e-4)
    truth = largest_on_a_ball(A, g, rho)
    (measure,) = worst_case_sharpness(known, [rho], scale=scale, steps=80, restarts=4)
    assert measure.value <= truth * (1 + 1e-9) + 1e-12
    assert measure.value >= truth * (1 - 1e-4) - 1e-12


def largest_in_a_box(A, g, half):
    """max of g.u + u.Au/2 over |u_i| <= half_i: on each face the stationary point, if it lies there."""
    best = 0.0
    for face in itertools.product((-1, 0, 1), repeat=len(g)):
        free = np.array(face) == 0
        u = np.array(face) * half
        if free.any():
            inner, *_ = np.linalg.lstsq(A[np.ix_(free, free)], -(g + A @ u)[free], rcond=None)
            u[free] = np.clip(inner, -half[free], half[free])  # clipped ones are points of the box, if not the best
        best = max(best, g @ u + u @ A @ u / 2)
    return best


@FEW
@given(quadratics(most=4), SCALES)
def test_the_worst_case_in_a_box_and_keskars(spec, scale):
    known = spec()
    A, g, T = known.matrix.numpy(), gradient(known).numpy(), stretch(known, scale).numpy()
    truth = largest_in_a_box(A, g, 0.3 * T)
    (measure,) = worst_case_sharpness(known, [0.3], p="inf", scale=scale, steps=60, restarts=8)
    assert measure.value <= truth * (1 + 1e-9) + 1e-12
    assert measure.value >= truth * (1 - 1e-4) - 1e-12
    truth = 100 * largest_in_a_box(A, g, 0.05 * (flat(known).abs() + 1).numpy()) / (1 + 1)
    found = keskar_sharpness(known, 0.05)
    assert found.value <= truth * (1 + 1e-9) + 1e-10
    assert found.value >= 0.99 * truth - 1e-10


@PROPERTIES
@given(quadratics(), SCALES, st.integers(1, 4), st.integers(0, 99))
def test_m_sharpness_of_batches(spec, scale, m, seed):
    known = spec()
    counts, slopes = (torch.cat([getattr(chunk, part) for chunk in known.chunks]) for part in ("counts", "slopes"))
    order, T = torch.randperm(4, generator=torch.Generator().manual_seed(seed)), stretch(known, scale)
    rises = []
    for k in range(4 // m):
        part = order[k * m : (k + 1) * m]
        own = gradient(known) + slopes[part].sum(dim=0) / counts[part].sum()
        length = (T * own).norm()
        assume(length > 1e-9)
        rises.append(rise(known, 0.3 * T**2 * own / length, own))
    (measure,) = m_sharpness(known, [0.3], m=m, batches=None, scale=scale, seed=seed)
    assert measure.value == pytest.approx(np.mean(rises), rel=1e-9, abs=1e-12)


@PROPERTIES
@given(quadratics())
def test_the_fisher_rao_norm(spec):
    known = spec()
    w = flat(known)
    assert fisher_rao_norm(known).value == pytest.approx((w @ known.matrix @ w).item(), rel=1e-9, abs=1e-12)


@FEW
@given(quadratics(least=6))
def test_relative_flatness(spec):
    known = spec()
    W, H = known.weights["table"], known.matrix[:3, :3]  # a table of one row
    assert within(relative_flatness(known, probes=64), (W.norm() ** 2 * H.trace()).item())


@FEW
@given(quadratics())
def test_trace_and_frobenius_norm(spec):
    known = spec()
    found = trace_of(known, name="q", checkpoint="c", probes=128)
    w = flat(known).abs()
    for coordinates, A in (("raw", known.matrix), ("relative", w[:, None] * known.matrix * w)):
        for quantity, truth in (("trace", A.trace().item()), ("frobenius_norm", A.norm().item())):
            value, error = found.estimate(quantity, coordinates=coordinates)
            assert abs(value - truth) <= 6 * error + 1e-10, (quantity, coordinates)


@FEW
@given(quadratics(least=2))
def test_lambda_max_times_norm_squared_and_the_ratio_of_eigenvalues(spec):
    known = spec()
    values = torch.linalg.eigvalsh(known.matrix).flip(0)
    top = 5 if len(values) == 6 else 1
    pairs = eigenpairs_of(known, name="q", checkpoint="c", top=top, tolerance=1e-6, max_products=400)
    squared = flat(known).norm().item() ** 2
    found = {measure.measure: measure for measure in companions_of(pairs, flat(known).norm().item())}
    norm = found["lambda_max_norm_squared"]
    assert abs(norm.value - values[0].item() * squared) <= norm.setting["residual"] + 1e-12 * squared
    assert ("lambda_ratio" in found) == (top == 5)
    if top == 5 and abs(values[4]) > 1e-2 and pairs.converged.all():
        ratio = found["lambda_ratio"]
        assert abs(ratio.value - (values[0] / values[4]).item()) <= 1.01 * ratio.setting["residual"] + 1e-9


@PROPERTIES
@given(quadratics(), SCALES, st.floats(0.0, 2.0))
def test_the_drop_of_a_linear_metric(spec, scale, rho):
    known = spec()
    step = sams(known, scale, rho)
    (along,) = sam_metric_drop(known, ["height"], [rho], scale=scale)
    assert along.value == pytest.approx(-2 * step[0].item(), rel=1e-9, abs=1e-12)  # two units, of once and thrice w_0
    (paired,) = average_metric_drop(known, ["height"], [0.3], scale=scale, pairs=2)
    assert paired.value == pytest.approx(0, abs=1e-12)


@FEW
@given(quadratics(positive=True, at_minimum=True), st.sampled_from([0.5, 2.0]))
def test_the_llc(spec, gamma):
    known = spec()
    for chunk in known.chunks:
        chunk.slopes.zero_()
    n = sum(float(chunk.counts.sum()) for chunk in known.chunks)
    settings = {"epsilon": 0.1, "gamma": gamma, "draws": 20, "burn_in": 10}
    truth = expected_llc(known, n=n, **settings)
    found = local_learning_coefficient(known, chains=10, **settings)
    assert within(found, truth, errors=8.0)
    assert found.value >= 0
