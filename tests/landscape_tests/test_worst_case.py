import itertools
import math

import numpy as np
import pytest
import torch
from landscape_tests.known import Units, quadratic, small_network
from scipy.optimize import brentq

from landscape.errors import InvalidArgument
from landscape.objective import gradient_at
from landscape.sharpness.keskar import keskar_sharpness
from landscape.sharpness.m_sharpness import m_sharpness
from landscape.sharpness.perturbation import displaced
from landscape.sharpness.sam_step import sam_sharpness
from landscape.sharpness.units import with_units
from landscape.sharpness.worst_case import worst_case_sharpness


def flat_gradient(known):
    return known.matrix @ (known.layout.flatten(known.weights) - known.minimum)


def largest_on_a_ball(A, g, rho):
    """max of g.u + u.Au/2 over ||u|| <= rho, by the secular equation of the trust-region problem."""
    values, vectors = np.linalg.eigh(A)
    c = vectors.T @ g

    def length(shift):
        return np.linalg.norm(c / (shift - values)) - rho

    low = max(values[-1], 0.0)
    if low > values[-1] and length(low) <= 0:  # the maximum is inside
        u = c / (low - values)
    else:
        shift = brentq(length, low + 1e-12, low + np.linalg.norm(g) / rho + abs(values).max() + 1, xtol=1e-14)
        u = c / (shift - values)
    return float(c @ u + (values * u) @ u / 2)


@pytest.mark.parametrize("scale", ["absolute", "relative"])
@pytest.mark.parametrize("seed", range(2))
def test_the_worst_case_of_a_quadratic_is_that_of_the_secular_equation(scale, seed):
    known = quadratic(seed=seed)
    T = torch.ones(12).double() if scale == "absolute" else known.layout.flatten(known.weights).abs()
    A, g = (T[:, None] * known.matrix * T).numpy(), (T * flat_gradient(known)).numpy()
    for rho in (0.1, 1.5):
        (measure,) = worst_case_sharpness(known, [rho], scale=scale, steps=150, restarts=3)
        truth = largest_on_a_ball(A, g, rho)
        assert measure.value == pytest.approx(truth, rel=1e-6)
        assert measure.value <= truth * (1 + 1e-12)
        assert "lower bound" in measure.note


def test_the_worst_case_in_the_maximum_norm_of_a_convex_quadratic_is_at_a_corner():
    half = quadratic(size=9).matrix
    known = quadratic(half @ half.T)
    g = flat_gradient(known)
    corners = 0.3 * torch.tensor(list(itertools.product((-1.0, 1.0), repeat=9)), dtype=torch.float64)
    truth = (corners @ g + ((corners @ known.matrix) * corners).sum(dim=1) / 2).max().item()
    (measure,) = worst_case_sharpness(known, [0.3], p="inf", steps=40, restarts=12)
    assert measure.value == pytest.approx(truth, rel=1e-9)


def test_the_ascent_never_ends_below_sams_step_nor_outside_the_ball():
    small = small_network(zero_row=1)
    for scale in ("absolute", "relative"):
        (step,) = sam_sharpness(small, [0.5], scale=scale)
        (search,) = worst_case_sharpness(small, [0.5], scale=scale, steps=8, restarts=2)
        (wide,) = worst_case_sharpness(small, [0.5], scale=scale, p="inf", steps=8)
        assert step.value <= search.value + 1e-12
        assert search.value <= wide.value + 1e-12  # the ball lies in the box


@pytest.mark.parametrize("p", ["2", "inf"])
def test_a_row_of_zeros_neither_makes_the_adaptive_norm_nan_nor_switches_the_projection_off(p, monkeypatch):
    small = small_network(zero_row=1)
    w = small.layout.flatten(small.weights)
    assert (w == 0).sum() >= 4
    seen = []

    def watched(objective, params):
        seen.append(small.layout.flatten(params) - w)
        return gradient_at(objective, params)

    monkeypatch.setattr("landscape.sharpness.worst_case.gradient_at", watched)
    (measure,) = worst_case_sharpness(small, [0.2], p=p, scale="relative", steps=6)
    assert math.isfinite(measure.value)
    assert measure.value > 0
    moves = torch.stack(seen)
    u = moves[:, w != 0] / w[w != 0].abs()
    order = 2 if p == "2" else float("inf")
    assert torch.linalg.vector_norm(u, ord=order, dim=1).max() <= 0.2 * (1 + 1e-9)
    assert (moves[:, w == 0] == 0).all()  # in relative coordinates a zero stays


def test_eta_lets_a_row_of_zeros_move():
    small = small_network(zero_row=1)
    still, moving = (
        worst_case_sharpness(small, [0.5], scale="relative", eta=eta, steps=5)[0].value for eta in (0, 0.1)
    )
    assert moving > still


def test_at_a_minimum_random_starts_find_the_steepest_way():
    known = quadratic(torch.diag(torch.tensor([1.0, 2.0, 5.0, 0.5])), at_minimum=True)
    known.chunks = [Units(chunk.counts, torch.zeros_like(chunk.slopes)) for chunk in known.chunks]
    alone, restarted = (worst_case_sharpness(known, [0.4], steps=60, restarts=count)[0].value for count in (1, 3))
    assert alone == 0
    assert restarted == pytest.approx(0.5 * 5 * 0.16, rel=1e-6)


def test_a_loss_that_overflows_in_the_ball_is_an_infinite_rise():
    known = quadratic(1e3 * torch.eye(4, dtype=torch.float64))
    (measure,) = worst_case_sharpness(known, [1e200], steps=4)
    assert measure.value == math.inf


def test_keskars_sharpness_of_a_convex_quadratic_is_that_of_the_best_corner():
    half = quadratic(size=9).matrix
    known = quadratic(half @ half.T, constant=0.5)
    g, half_box = flat_gradient(known), 0.05 * (known.layout.flatten(known.weights).abs() + 1)
    corners = half_box * torch.tensor(list(itertools.product((-1.0, 1.0), repeat=9)), dtype=torch.float64)
    rise = (corners @ g + ((corners @ known.matrix) * corners).sum(dim=1) / 2).max().item()
    centre = known.value(known.layout.flatten(known.weights))
    measure = keskar_sharpness(known, 0.05)
    assert measure.value == pytest.approx(100 * rise / (1 + centre), rel=1e-9)
    assert measure.note == "lower bound"


def test_keskars_search_does_not_stop_at_a_minimum_where_the_gradient_is_zero():
    known = quadratic(torch.diag(torch.tensor([1.0, 2.0, 5.0])), at_minimum=True, constant=0.0)
    known.chunks = [Units(chunk.counts, torch.zeros_like(chunk.slopes)) for chunk in known.chunks]
    box = 0.1 * (known.layout.flatten(known.weights).abs() + 1)
    assert keskar_sharpness(known, 0.1).value == pytest.approx(50 * (known.matrix.diagonal() @ box**2).item(), rel=1e-9)


def test_m_sharpness_is_the_mean_of_the_batches_own_steps_in_closed_form():
    known = quadratic(units=8, batch_size=3)
    counts = torch.cat([chunk.counts for chunk in known.chunks])
    slopes = torch.cat([chunk.slopes for chunk in known.chunks])
    order = torch.randperm(8, generator=torch.Generator().manual_seed(5))
    d = known.layout.flatten(known.weights) - known.minimum
    rises = []
    for part in order.split(2):
        g = known.matrix @ d + slopes[part].sum(dim=0) / counts[part].sum()
        rises.append((0.3 * g.norm() + 0.045 * (g @ known.matrix @ g) / (g @ g)).item())

    (measure,) = m_sharpness(known, [0.3], m=2, batches=None, seed=5)

    assert measure.value == pytest.approx(np.mean(rises), rel=1e-10)
    assert measure.standard_error == pytest.approx(np.std(rises, ddof=1) / 2, rel=1e-10)


def test_m_sharpness_of_one_batch_is_the_sharpness_of_all_and_smaller_batches_are_sharper():
    known = quadratic(units=8)
    (whole,), (one,) = sam_sharpness(known, [0.3]), m_sharpness(known, [0.3], m=8)
    assert one.value == pytest.approx(whole.value, rel=1e-12)
    assert one.standard_error is None
    (step,), (ascent,) = (m_sharpness(known, [0.3], m=2, form=form, steps=30) for form in ("step", "ascent"))
    assert whole.value < step.value <= ascent.value


def test_some_units_are_an_objective_of_their_own_whatever_the_chunks():
    chosen = torch.tensor([0, 5, 6, 20])
    gradients = [
        gradient_at(with_units(small_network(batch_size=size), chosen), small_network().weights)[1]
        for size in (1, 7, 21)
    ]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradients[0], gradients[2], rtol=1e-12, atol=1e-14)
    assert len(with_units(small_network(batch_size=7), chosen).chunks) == 2  # the one between is not computed


@pytest.mark.parametrize("block", ["hidden.*", "rows:untouched"])
def test_a_block_alone_moves(block, monkeypatch):
    from landscape.blocks import mask_of

    small = small_network()
    mask, w = mask_of(small.layout, block), small.layout.flatten(small.weights)
    moves = []

    def watched(objective, step):
        moves.append(step)
        return displaced(objective, step)

    monkeypatch.setattr("landscape.sharpness.worst_case.displaced", watched)
    (measure,) = worst_case_sharpness(small, [0.5], block=block, steps=4)
    assert measure.setting["block"] == block
    assert all((step[~mask] == 0).all() for step in moves)
    assert (measure.value > 0) == (block != "rows:untouched")  # rows the data never reaches raise nothing
    assert torch.equal(small.layout.flatten(small.weights), w)


@pytest.mark.parametrize(
    "refused",
    [
        lambda o: worst_case_sharpness(o, [-1.0]),
        lambda o: worst_case_sharpness(o, [1.0], steps=0),
        lambda o: worst_case_sharpness(o, [1.0], block="nothing"),
        lambda o: m_sharpness(o, [1.0], m=0),
        lambda o: keskar_sharpness(o, float("nan")),
    ],
)
def test_options_outside_what_they_may_be_are_refused(refused):
    with pytest.raises(InvalidArgument, match="expected"):
        refused(quadratic())
