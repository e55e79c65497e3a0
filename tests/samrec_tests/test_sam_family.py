"""ASAM, periodic ascents, m-SAM and schedules on a quadratic: each in closed form or equal to another member."""

import math

import numpy as np
import pytest
import torch
from samrec_tests.quadratic import NAMES, RATE, RHO, Quadratic, flat

from samrec.errors import CheckpointError, ConfigError, Diverged
from samrec.optim import gradients
from samrec.optim.sam import Passes
from samrec.optim.schedule import Schedule

ETA, ALPHA = 0.05, 0.7
ONE_AXIS = ((3,),) * 4  # biases and gains alone


def assert_close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-14)


def scale(w):
    """T, slowly: |w| + eta, and 1 on the third parameter, a gain."""
    T = w.abs() + ETA
    T[6:9] = 1
    return T


# ASAM


def test_asam_climbs_in_coordinates_scaled_by_the_weights():
    bowl = Quadratic()
    w, g, T = bowl.w, bowl.g, scale(bowl.w)
    ascent = bowl.sam(adaptive=ETA).step(bowl.passes())
    eps = RHO * T**2 * g / (T * g).norm()
    assert_close(bowl.points[1], w + eps)
    assert_close(bowl.w, w - RATE * bowl.A @ (w + eps))
    assert ascent.norm == pytest.approx(g.norm().item(), rel=1e-12)
    squares = eps.square().view(4, 3).sum(dim=1)
    np.testing.assert_allclose(list(ascent.shares.values()), squares / squares.sum(), rtol=1e-10)


def test_asams_climb_is_the_worst_to_first_order_of_its_ellipsoid():
    bowl = Quadratic()
    w, g, T = bowl.w, bowl.g, scale(bowl.w)
    bowl.sam(adaptive=ETA).step(bowl.passes())
    eps = bowl.points[1] - w
    assert (eps / T).norm().item() == pytest.approx(RHO, rel=1e-10)
    others = torch.randn(500, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    others = RHO * T * others / others.norm(dim=1, keepdim=True)
    assert (others @ g).max() < eps @ g


def test_asam_with_a_scale_of_one_is_sam_bit_for_bit():
    sam, asam = Quadratic(shapes=ONE_AXIS), Quadratic(shapes=ONE_AXIS)
    assert asam.sam(adaptive=ETA).step(asam.passes()) == sam.sam().step(sam.passes())
    assert torch.equal(asam.w, sam.w)


@pytest.mark.parametrize("eta", [0.0, 0.01])
def test_a_row_of_zeros_is_no_trouble_to_asam(eta):
    bowl = Quadratic()
    bowl.named[NAMES[0]].data.zero_()
    w = bowl.w
    sam = bowl.sam(adaptive=eta)
    for _ in range(3):
        assert math.isfinite(sam.step(bowl.passes()).sharpness)
    assert bowl.w.isfinite().all()
    assert not torch.equal(bowl.w[:3], w[:3])  # it descends all the same
    assert torch.equal(bowl.points[1][:3], w[:3]) == (eta == 0)  # and climbs unless its scale is zero


@pytest.mark.parametrize("adaptive", [None, ETA])
def test_entries_without_gradient_are_not_perturbed(adaptive):
    bowl = Quadratic()
    bowl.A[1] = bowl.A[:, 1] = 0  # an item that the batch does not touch
    w = bowl.w
    bowl.sam(adaptive=adaptive).step(bowl.passes())
    moved = bowl.points[1] != w
    assert moved.sum() == 11
    assert not moved[1]


# Periodic ascents


def looksam(A, w, *, rho, alpha, period, steps):
    """LookSAM in its paper's words, on one vector."""
    for step in range(steps):
        g = A @ w
        if step % period == 0:
            risen = A @ (w + rho * g / g.norm())
            kept = risen - (risen @ g) / g.norm() * g / g.norm()
            w = w - RATE * risen
        else:
            w = w - RATE * (g + alpha * g.norm() / kept.norm() * kept)
    return w


@pytest.mark.parametrize("piece", [1, 4, 1 << 15])
def test_an_inner_product_is_that_of_a_loop_over_entries_whatever_the_pieces(piece, monkeypatch):
    monkeypatch.setattr(gradients, "PIECE", piece)
    generator = torch.Generator().manual_seed(0)
    a, b = ({name: torch.randn(3, 5, generator=generator).T for name in "xy"} for _ in range(2))
    products = [
        p * q for name in a for p, q in zip(a[name].flatten().tolist(), b[name].flatten().tolist(), strict=True)
    ]
    assert gradients.inner_product(a, b) == pytest.approx(math.fsum(products), rel=1e-13)
    assert gradients.inner_product(a, dict(a)) == gradients.inner_product(dict(a), a)


@pytest.mark.parametrize(("period", "alpha"), [(2, ALPHA), (3, ALPHA), (3, 0.2)])
def test_looksam_is_its_papers_algorithm(period, alpha):
    bowl = Quadratic()
    start = bowl.w
    sam = bowl.sam(period=period, look=alpha)
    ascents = [sam.step(bowl.passes()) for _ in range(7)]
    assert_close(bowl.w, looksam(bowl.A, start, rho=RHO, alpha=alpha, period=period, steps=7))
    assert [ascent.gradients for ascent in ascents] == [2 if step % period == 0 else 1 for step in range(7)]
    assert sum(ascent.gradients for ascent in ascents) == len(bowl.points) == sam.gradients_in(7)
    assert all((ascent.sharpness, ascent.shares) == (0, {}) for ascent in ascents if ascent.gradients == 1)


def test_looksams_norms_are_those_of_all_parameters_where_a_group_climbs():
    bowl = Quadratic()
    w, g = bowl.w, bowl.g
    eps = torch.zeros(12, dtype=torch.float64)
    eps[6:] = RHO * g[6:] / g[6:].norm()
    risen = bowl.A @ (w + eps)
    kept = risen - (risen @ g) / (g @ g) * g
    sam = bowl.sam(period=5, look=ALPHA, group="body")
    sam.step(bowl.passes())
    assert_close(flat(sam.look.direction.values()), kept)
    w, g = bowl.w, bowl.g
    sam.step(bowl.passes())
    assert_close(bowl.w, w - RATE * (g + ALPHA * g.norm() / kept.norm() * kept))


def test_between_naive_ascents_the_steps_are_plain():
    bowl = Quadratic()
    sam = bowl.sam(period=3)
    for step in range(6):
        w, g = bowl.w, bowl.g
        sam.step(bowl.passes())
        climbed = RHO * g / g.norm() if step % 3 == 0 else 0 * g
        assert_close(bowl.w, w - RATE * bowl.A @ (w + climbed))
    assert len(bowl.points) == 8


@pytest.mark.parametrize("look", [None, ALPHA])
def test_a_period_of_one_is_sam_bit_for_bit(look):
    sam, periodic = Quadratic(torch.float32), Quadratic(torch.float32)
    wrapped, other = sam.sam(), periodic.sam(period=1, look=look)
    for _ in range(5):
        assert wrapped.step(sam.passes()) == other.step(periodic.passes())
    assert torch.equal(sam.w, periodic.w)
    assert other.state() == {}


def test_where_the_climb_shows_nothing_new_the_steps_between_are_plain():
    bowl, plain = Quadratic(), Quadratic()
    for one in (bowl, plain):
        one.A = 0.3 * torch.eye(12, dtype=torch.float64)  # the gradient points the same way all along the climb
    sam, other = bowl.sam(period=3, look=ALPHA), plain.sam(period=3)
    for _ in range(6):
        sam.step(bowl.passes())
        other.step(plain.passes())
        assert sam.look.direction == {}
    assert torch.equal(bowl.w, plain.w)


def test_a_gradient_of_zero_neither_climbs_nor_forgets_what_looksam_kept():
    bowl = Quadratic()
    sam = bowl.sam(period=2, look=ALPHA)
    sam.step(bowl.passes())
    sam.step(bowl.passes())
    kept = dict(sam.look.direction)
    w = bowl.w
    ascent = sam.step(bowl.passes(A=0 * bowl.A))
    assert (ascent.gradients, ascent.shares) == (1, {})
    assert torch.equal(bowl.w, w)
    assert all(sam.look.direction[name] is tensor for name, tensor in kept.items())


# m-SAM


def parts_of(bowl):
    """Two passes each over two losses that add up to the whole one."""
    other = bowl.A @ bowl.A
    return [bowl.passes(A=bowl.A - 0.5 * other), bowl.passes(A=0.5 * other)]


def test_msam_climbs_for_each_part_alone_and_descends_with_the_sum():
    bowl = Quadratic()
    w = bowl.w
    halves = [bowl.A - 0.5 * bowl.A @ bowl.A, 0.5 * bowl.A @ bowl.A]
    gradients = [A @ w for A in halves]
    climbed = [w + RHO * g / g.norm() for g in gradients]
    ascent = bowl.sam().step(*parts_of(bowl))
    assert_close(bowl.w, w - RATE * (halves[0] @ climbed[0] + halves[1] @ climbed[1]))
    assert ascent.loss == pytest.approx((0.5 * w @ bowl.A @ w).item(), rel=1e-12)
    risen = sum(0.5 * point @ A @ point for point, A in zip(climbed, halves, strict=True))
    assert ascent.sharpness == pytest.approx((risen - 0.5 * w @ bowl.A @ w).item(), rel=1e-10)
    assert ascent.norm == pytest.approx(sum(g.norm() for g in gradients).item(), rel=1e-12)
    assert sum(ascent.shares.values()) == pytest.approx(1, rel=1e-12)
    assert ascent.gradients == 2


def test_looksam_takes_msams_sums_for_its_gradients():
    bowl = Quadratic()
    w, g = bowl.w, bowl.g
    sam = bowl.sam(period=2, look=ALPHA)
    sam.step(*parts_of(bowl))
    risen = (w - bowl.w) / RATE
    assert_close(flat(sam.look.direction.values()), risen - (risen @ g) / (g @ g) * g)
    w, g, kept = bowl.w, bowl.g, flat(sam.look.direction.values())
    sam.step(*parts_of(bowl))
    assert_close(bowl.w, w - RATE * (g + ALPHA * g.norm() / kept.norm() * kept))


@pytest.mark.parametrize("spoilt", ["first", "second"])
def test_one_part_that_is_not_finite_stops_the_step_with_the_weights_as_they_were(spoilt):
    bowl = Quadratic()
    w = bowl.w
    passes = {name: bowl.closure(NAMES[3] if name == spoilt else None) for name in ("first", "second")}
    with pytest.raises(Diverged, match="finite gradient"):
        bowl.sam().step(bowl.passes(), Passes(**passes))
    assert torch.equal(bowl.w, w)


def test_a_gradient_that_is_not_finite_stops_looksam_between_climbs_too():
    bowl = Quadratic()
    sam = bowl.sam(period=2, look=ALPHA)
    sam.step(bowl.passes())
    w = bowl.w
    with pytest.raises(Diverged, match="finite gradient"):
        sam.step(bowl.passes(spoil=NAMES[0]))
    assert torch.equal(bowl.w, w)


# Schedules


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Schedule("constant", 2, 2), [1, 1, 1, 1, 1, 1]),
        (Schedule("linear", 2, 2), [0, 0.25, 0.5, 0.75, 1, 1]),
        (Schedule("cosine", 1, 4), [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0, 0]),
        (Schedule("step", 1, 2, factor=0.1), [1, 1, 0.1, 0.1, 0.01, 0.01]),
    ],
)
def test_a_schedule_is_a_function_of_the_step(schedule, factors):
    assert [schedule(step) for step in range(6)] == pytest.approx(factors, abs=1e-12)
    bowl = Quadratic()
    sam = bowl.sam(schedule=schedule)
    for step in range(6):
        w = bowl.w
        ascent = sam.step(bowl.passes())
        assert ascent.rho == RHO * schedule(step)
        assert (bowl.points[2 * step + 1] - w).norm().item() == pytest.approx(ascent.rho, abs=1e-14)


# What all of them share


FAMILY = {
    "SAM": {},
    "ASAM": {"adaptive": ETA},
    "LookSAM": {"period": 3, "look": ALPHA},
    "plain steps between": {"period": 3},
    "LookASAM of the body": {"adaptive": ETA, "period": 2, "look": ALPHA, "group": "body"},
    "scheduled": {"schedule": Schedule("cosine", 2, 3)},
}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("options", FAMILY.values(), ids=FAMILY)
def test_at_rho_0_every_member_is_the_base_optimizer_bit_for_bit(options, parts):
    bowl, base = Quadratic(torch.float32), Quadratic(torch.float32)
    sam, optimizer = bowl.sam(rho=0.0, **options), torch.optim.SGD(base.named.values(), lr=RATE)
    for _ in range(7):
        sam.step(*(parts_of(bowl) if parts == 2 else [bowl.passes()]))
        gradients = []
        for part in parts_of(base) if parts == 2 else [base.passes()]:
            part.first()
            gradients.append([parameter.grad for parameter in base.named.values()])
        for parameter, *found in zip(base.named.values(), *gradients, strict=True):
            parameter.grad = sum(found[1:], found[0])
        optimizer.step()
        assert torch.equal(bowl.w, base.w)


@pytest.mark.parametrize("options", FAMILY.values(), ids=FAMILY)
def test_a_member_goes_on_from_its_state_bit_for_bit(options):
    unbroken, broken = Quadratic(torch.float32), Quadratic(torch.float32)
    whole, before = unbroken.sam(**options), broken.sam(**options)
    for _ in range(4):
        whole.step(unbroken.passes())
        before.step(broken.passes())
    after = broken.sam(**options)
    after.load_state({name: tensor.clone() for name, tensor in sorted(before.state().items())})
    for _ in range(4):
        assert after.step(broken.passes()) == whole.step(unbroken.passes())
    assert torch.equal(broken.w, unbroken.w)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("steps"), "SAM's steps"),
        (lambda state: state.pop(f"direction/{NAMES[1]}"), "4 directions of LookSAM, got 3"),
        (lambda state: state.update({f"direction/{NAMES[1]}": torch.zeros(2)}), NAMES[1]),
    ],
)
def test_a_state_that_does_not_fit_is_refused(spoil, message):
    bowl = Quadratic()
    sam = bowl.sam(period=3, look=ALPHA)
    sam.step(bowl.passes())
    state = sam.state()
    spoil(state)
    with pytest.raises(CheckpointError, match=message):
        bowl.sam(period=3, look=ALPHA).load_state(state)


@pytest.mark.parametrize(
    "options",
    [{"period": 0}, {"adaptive": -1.0}, {"adaptive": math.nan}, {"period": 2, "look": -0.1}],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ConfigError, match="expected"):
        Quadratic().sam(**options)


@pytest.mark.parametrize("wrong", [("triangle", 1, 1), ("linear", 0, 1), ("linear", 1, 0)])
def test_schedules_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError, match="expected a schedule"):
        Schedule(*wrong)
