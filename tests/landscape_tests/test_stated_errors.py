"""Over 200 seeds the stated errors of every estimator hold the truth as often as they say, neither less nor more."""

import itertools
import math

import numpy as np
import pytest
import torch
from landscape_tests.known import Units, bowl, quadratic
from landscape_tests.rates import SEEDS, covered, holds_at_the_stated_rate, is_unbiased
from landscape_tests.spectra import Dense, symmetric
from landscape_tests.stores import PROVENANCE
from torch import nn

from landscape.curvature.density import spectral_density
from landscape.curvature.trace import trace_of
from landscape.estimates import mean_and_error, moments
from landscape.grid import Axis, Grid
from landscape.objective import ModelObjective, loss_at
from landscape.sharpness.average_case import average_case_sharpness, smoothed_loss
from landscape.sharpness.fisher_rao import fisher_rao_norm
from landscape.sharpness.flatness import pac_bayes_flatness
from landscape.sharpness.llc import local_learning_coefficient
from landscape.sharpness.m_sharpness import m_sharpness
from landscape.sharpness.names import is_settled
from landscape.sharpness.relative_flatness import relative_flatness
from landscape.spectra import Density, trace_differences
from landscape.surface.resume import surface_task

SCALES = ["absolute", "relative"]
PAIRS = 16  # rises are skewed, and in few dimensions too much so for a t-interval over fewer of them


def stretched(known, scale):
    w = known.layout.flatten(known.weights)
    return torch.ones_like(w) if scale == "absolute" else w.abs()


def columns(found):
    return [m.value for m in found], [m.standard_error for m in found]


def assert_honest(found, truth, *, degrees):
    values, errors = columns(found)
    assert holds_at_the_stated_rate(covered(values, errors, truth, degrees=degrees))
    assert is_unbiased(values, truth)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("measured", [average_case_sharpness, smoothed_loss], ids=["average case", "LPF"])
def test_of_the_average_case_and_of_lpf(measured, scale):
    known = bowl(24)
    truth = 0.005 * (stretched(known, scale) ** 2 * known.matrix.diagonal()).sum().item()
    if measured is smoothed_loss:
        truth += known.value(known.layout.flatten(known.weights))
    found = [measured(known, [0.1], scale=scale, pairs=PAIRS, seed=seed)[0] for seed in range(SEEDS)]
    assert_honest(found, truth, degrees=PAIRS - 1)


@pytest.mark.parametrize("scale", SCALES)
def test_of_pac_bayes_flatness_and_its_sigma(scale):
    known = bowl(24)
    truth = (stretched(known, scale) ** 2 * known.matrix.diagonal()).sum().item() / (2 * 0.3)
    found = [pac_bayes_flatness(known, 0.3, scale=scale, pairs=PAIRS, seed=seed) for seed in range(SEEDS)]
    assert_honest([flatness for flatness, _ in found], truth, degrees=PAIRS - 1)
    values, errors = columns([sigma for _, sigma in found])
    assert holds_at_the_stated_rate(covered(values, errors, truth**-0.5, degrees=PAIRS - 1))
    assert all(flatness.value == pytest.approx(sigma.value**-2, rel=1e-12) for flatness, sigma in found)


def test_of_relative_flatness():
    known = quadratic(size=12, units=2, batch_size=2)  # a table of three rows of three, a bias of three
    W, H = known.weights["table"], known.matrix[:9, :9].reshape(3, 3, 3, 3)
    truth = torch.einsum("ik,jk,iaja->", W, W, H).item()
    assert_honest(
        [relative_flatness(known, "table", probes=PAIRS, seed=seed) for seed in range(SEEDS)], truth, degrees=PAIRS - 1
    )


@pytest.mark.parametrize("scale", SCALES)
def test_of_m_sharpness_over_drawn_batches(scale):
    """Against the mean over all pairs of units, in closed form; eight pairs of sixty units are drawn."""
    known = bowl(6)
    units, batches = 60, 8
    slopes = torch.randn(units, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    known.chunks = [Units(torch.ones(units, dtype=torch.float64), slopes - slopes.mean(dim=0))]
    T = stretched(known, scale)
    g = known.matrix @ (known.layout.flatten(known.weights) - known.minimum)
    pairs = torch.tensor(list(itertools.combinations(range(units), 2)))
    own = g + known.chunks[0].slopes[pairs].mean(dim=1)
    steps = 0.2 * T**2 * own / (T * own).norm(dim=1, keepdim=True)
    rises = (own * steps).sum(dim=1) + 0.5 * ((steps @ known.matrix) * steps).sum(dim=1)
    found = [m_sharpness(known, [0.2], m=2, batches=batches, scale=scale, seed=seed)[0] for seed in range(SEEDS)]
    assert_honest(found, rises.mean().item(), degrees=batches - 1)


def softmax_data(units, seed):
    """Units with one to three targets each, drawn from one population: inputs, classes and how many targets count."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(units, 3, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (units, 3), generator=generator)
    valid = torch.arange(3) < torch.randint(1, 4, (units, 1), generator=generator)
    return x, torch.where(valid, y, -100), valid


def softmax_objective(units, seed):
    x, y, valid = softmax_data(units, seed)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Linear(4, 3).double()

    def loss(z, targets):
        return nn.functional.cross_entropy(z.transpose(1, 2), targets, reduction="none").sum(dim=1)

    objective = ModelObjective(model, [(x, y)], loss, counts=lambda targets: (targets >= 0).sum(dim=1))
    return objective, x, y, valid


def test_of_the_fisher_rao_norm_over_drawn_units():
    """Against a population of a million units, its forms written out."""
    objective, x, _, valid = softmax_objective(1_000_000, 10**6)
    w = objective.weights
    z = x @ w["weight"].T + w["bias"]  # linear in the weights: J w is the output itself
    p = z.softmax(dim=2)
    forms = (p * z**2).sum(dim=2) - (p * z).sum(dim=2) ** 2
    truth = (forms * valid).sum().item() / valid.sum().item()
    found = [fisher_rao_norm(softmax_objective(80, seed)[0]) for seed in range(SEEDS)]
    values, errors = columns(found)
    assert holds_at_the_stated_rate(covered(values, errors, truth, degrees=79))


def test_of_the_paired_rise_of_a_surface_over_drawn_units():
    """Against the rise of a population of a million units at three points of a plane."""
    population, *_ = softmax_objective(1_000_000, 10**6)
    centre = loss_at(population, population.weights).value
    points = [(0.5, 0.0), (-0.3, 0.8), (1.5, -1.0)]
    grid = Grid(Axis(-2, 2, 3), Axis(-2, 2, 3))
    hits = {point: [] for point in points}
    truth = {}
    for seed in range(SEEDS):
        measure = surface_task(softmax_objective(80, seed)[0], grid).open()
        for point in points:
            if point not in truth:
                truth[point] = loss_at(population, measure.weights_at(point)).value - centre  # the weights are the same
            found = measure(point)
            hits[point].append(covered(found["rise"], found["standard_error"], truth[point], degrees=79))
    for point in points:
        assert holds_at_the_stated_rate(hits[point]), point


@pytest.mark.parametrize("power", [1, 2, 3, 4])
def test_of_the_moments_of_a_spectral_density(power):
    A = symmetric(20) / 5
    truth = torch.linalg.matrix_power(A, power).trace().item()
    found = []
    for seed in range(SEEDS):
        density = spectral_density(Dense(A), 20, probes=16, steps=3, seed=seed, at_once=16)
        found.append(mean_and_error(20 * moments(density.nodes, density.weights, power)))
    values, errors = zip(*found, strict=True)
    assert holds_at_the_stated_rate(covered(values, errors, truth, degrees=15))
    assert is_unbiased(values, truth)


def test_of_the_negative_share_of_a_spectral_density():
    A = symmetric(12)
    values = torch.linalg.eigvalsh(A)
    truth = (-values.clamp(max=0).sum() / values.abs().sum()).item()
    hits = []
    for seed in range(SEEDS):
        found = spectral_density(Dense(A), 12, probes=24, steps=12, seed=seed, at_once=24)
        record = Density("d", "c", found.nodes, found.weights, found.residuals, 12, 288, PROVENANCE)
        hits.append(covered(*record.negative, truth, degrees=23))
    assert holds_at_the_stated_rate(hits)


def test_of_a_difference_of_traces_paired_over_probes():
    one, other = quadratic(symmetric(9), units=2, batch_size=2), quadratic(symmetric(9) * 1.1, units=2, batch_size=2)
    truth = (other.matrix.trace() - one.matrix.trace()).item()
    hits = []
    for seed in range(SEEDS):
        pair = [trace_of(o, name="q", checkpoint="c", probes=12, seed=seed, relative=False) for o in (one, other)]
        hits.append(covered(*trace_differences(*pair)["all", "raw"], truth, degrees=11))
    assert holds_at_the_stated_rate(hits)


def valley(curvatures):
    """A quadratic at its minimum, of whose units each has the whole gradient."""
    known = quadratic(torch.diag(torch.tensor(curvatures, dtype=torch.float64)), units=4, batch_size=4, at_minimum=True)
    known.chunks[0].slopes.zero_()
    return known


def expected_llc(known, *, epsilon, gamma, draws, burn_in, n=None):
    """Of a chain of any length: the variance of each direction goes v -> (1 - epsilon pull / 2)^2 v + epsilon."""
    n = float(known.chunks[0].counts.sum()) if n is None else n
    a = n / math.log(n) * torch.linalg.eigvalsh(known.matrix).numpy()
    v, total = np.zeros_like(a), 0.0
    for step in range(burn_in + draws):
        v = (1 - epsilon * (a + gamma) / 2) ** 2 * v + epsilon
        total += 0.5 * (a * v).sum() if step >= burn_in else 0.0
    return total / draws


SETTLED = {"epsilon": 0.25, "gamma": 0.5, "draws": 12, "burn_in": 6}


def test_of_the_llc_of_a_quadratic_whose_chains_are_settled_and_rarely_called_otherwise():
    known = valley([1.0, 0.5])
    found = [local_learning_coefficient(known, chains=4, seed=seed, **SETTLED) for seed in range(SEEDS)]
    assert_honest(found, expected_llc(known, **SETTLED), degrees=3)
    assert holds_at_the_stated_rate([is_settled(measure) for measure in found], rate=0.99)


def test_the_llc_of_a_settled_chain_is_its_closed_form_and_tends_to_half_the_dimension():
    known = valley([3.0, 1.0, 0.4, 0.2])
    n = float(known.chunks[0].counts.sum())
    a = n / math.log(n) * known.matrix.diagonal().numpy()
    for epsilon, gamma in ((0.1, 1.0), (0.01, 0.1), (1e-4, 1e-6)):
        closed = (0.5 * a / ((a + gamma) * (1 - epsilon * (a + gamma) / 4))).sum()
        long = round(40 / (epsilon * (a + gamma).min()))
        found = expected_llc(known, epsilon=epsilon, gamma=gamma, draws=1, burn_in=long)
        assert found == pytest.approx(closed, rel=1e-9)
    assert closed == pytest.approx(4 / 2, rel=1e-3)


def test_chains_that_still_climb_are_called_unsettled_and_their_value_is_that_of_the_climb():
    known = valley([1.0, 0.5, 0.5, 0.2, 0.1, 0.1] * 50)
    climbing = {"epsilon": 1e-3, "gamma": 1e-3, "draws": 20, "burn_in": 2}
    found = [local_learning_coefficient(known, chains=4, seed=seed, **climbing) for seed in range(10)]
    assert all(not is_settled(measure) and "the value moved by +" in measure.note for measure in found)
    assert np.mean([m.value for m in found]) == pytest.approx(expected_llc(known, **climbing), rel=0.1)
    assert expected_llc(known, **climbing | {"burn_in": 100_000}) > 20 * found[0].value
