"""The worst case: how far the loss can rise within distance rho of a checkpoint, by projected ascent with restarts.

Letters: w the checkpoint, T a diagonal scale, u the move in units of T, g the gradient, L the frozen loss.

    max over ||u||_p <= rho of L(w + T u) - L(w),   p = 2 or infinity

T = I, or T = |w| + eta (the adaptive sharpness of ASAM; Andriushchenko et al. 2023 compare these). A search finds a
lower bound of the maximum, never the maximum with certainty: every value says so. The ascent goes along T g (p = 2) or
its signs (p = infinity), steps back into the ball, keeps a step that raises the loss and halves one that does not.
The first start is w itself, so that its first step is SAM's; the others are random on the ball's edge.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from landscape.errors import InvalidArgument, NonFiniteLoss
from landscape.objective import Objective, gradient_at, loss_at
from landscape.parameters import Params, Vector
from landscape.records import SharpnessMeasure
from landscape.sharpness.perturbation import Scale, check_radii, displaced, rise_at, scale_of, setting_of

Norm = Literal["2", "inf"]

LONGEST_STEP = 4.0  # in units of rho: beyond it the direction alone decides where the step ends on the ball
SHORTEST_STEP = 1e-6


def worst_case_sharpness(
    objective: Objective,
    rhos: Sequence[float],
    *,
    p: Norm = "2",
    scale: Scale = "absolute",
    eta: float = 0.0,
    block: str | None = None,
    steps: int = 20,
    restarts: int = 2,
    seed: int = 0,
) -> tuple[SharpnessMeasure, ...]:
    """The largest rise found within each rho. At most `steps` + 1 gradients a start, and a loss.

    Args:
        objective: the frozen loss; its weights are the centre.
        rhos: radii of the ball ||u||_p <= rho, at least 0.
        p: "2" or "inf".
        scale: "absolute" for T = I, "relative" for T = |w| + eta.
        eta: keeps zero weights movable; any eta above 0 gives up exact scale invariance.
        block: the only weights that move; all by default.
        steps: gradients of one ascent after its start's own.
        restarts: starts: w, then random ones.
        seed: of the random starts.

    Returns:
        A measure for each rho, a lower bound. Infinite where the loss overflowed inside the ball. At least 0, since w
        is in the ball.

    Raises:
        InvalidArgument: an option outside what it may be.
        NonFiniteLoss: the loss or the gradient at w holds a NaN or an infinity.
    """
    found = worst_points(
        objective, rhos, p=p, scale=scale, eta=eta, block=block, steps=steps, restarts=restarts, seed=seed
    )
    return tuple(measure for measure, _ in found)


def worst_points(
    objective: Objective,
    rhos: Sequence[float],
    *,
    p: Norm = "2",
    scale: Scale = "absolute",
    eta: float = 0.0,
    block: str | None = None,
    steps: int = 20,
    restarts: int = 2,
    seed: int = 0,
) -> Iterator[tuple[SharpnessMeasure, Params]]:
    """Each measure of `worst_case_sharpness` with the weights it was found at; w itself where nothing lies higher.

    Args, cost and errors are those of `worst_case_sharpness`.
    """
    check_radii(tuple(rhos), "rho")
    if p not in ("2", "inf"):
        raise InvalidArgument(f'expected p "2" or "inf", got {p!r}')
    if steps < 1 or restarts < 1:
        raise InvalidArgument(f"expected at least 1 step and 1 start, got {steps} and {restarts}")
    stretch = scale_of(objective, scale, eta=eta, block=block)
    centre = loss_at(objective, objective.weights)
    at_centre = gradient_at(objective, objective.weights)
    if not torch.isfinite(at_centre[1]).all():
        raise NonFiniteLoss(f"expected a finite loss and gradient at the checkpoint, got a loss of {at_centre[0]}")
    for k, rho in enumerate(rhos):
        generator = torch.Generator().manual_seed(seed)
        first = _climb(objective, stretch, torch.zeros_like(stretch), rho, p, steps, at_centre)
        others = (_edge(stretch, rho, p, generator) for _ in range(restarts - 1))
        found = [first, *(_climb(objective, stretch, start, rho, p, steps, None) for start in others)]
        best = max(found, key=lambda climb: climb.loss)
        there = displaced(objective, stretch * best.u)
        rise = rise_at(objective, there, centre)
        lost = sum(climb.lost for climb in found)
        note = "lower bound" + (f"; {lost} points of the search were not finite" if lost else "")
        setting = setting_of(
            {"rho": float(rho)}, scale, eta=eta, block=block, p=p, steps=steps, restarts=restarts, seed=seed
        )
        cost = sum(climb.gradients for climb in found) + 1 + (k == 0)
        measure = SharpnessMeasure("worst_case", setting, max(0.0, rise), None, cost, note)
        yield measure, objective.weights if rise < 0 else there


@dataclass(frozen=True, slots=True)
class _Climb:
    loss: float
    u: Vector
    gradients: int
    lost: int


def _climb(
    objective: Objective,
    stretch: Vector,
    start: Vector,
    rho: float,
    p: Norm,
    steps: int,
    known: tuple[float, Vector] | None,
) -> _Climb:
    """Ascend from a start inside the ball; the loss never falls on the way."""
    u, spent, lost, step = start, 0, 0, 1.0
    if known is None:
        known, spent = gradient_at(objective, displaced(objective, stretch * u)), 1
    loss, g = known
    if loss == float("inf"):
        return _Climb(loss, u, spent, 1)
    if not torch.isfinite(g).all():
        return _Climb(float("-inf"), u, spent, 1)
    for _ in range(steps):
        slope = stretch * g
        length = torch.linalg.vector_norm(slope)
        if length == 0 or step < SHORTEST_STEP:
            break
        along = slope / length if p == "2" else slope.sign()
        there = _into_ball(u + step * rho * along, rho, p)
        if torch.equal(there, u):
            break
        loss_there, g_there = gradient_at(objective, displaced(objective, stretch * there))
        spent += 1
        if loss_there == float("inf"):
            return _Climb(loss_there, there, spent, lost + 1)
        finite = bool(torch.isfinite(g_there).all()) and loss_there == loss_there
        lost += not finite
        if finite and loss_there > loss:
            u, loss, g, step = there, loss_there, g_there, min(2 * step, LONGEST_STEP)
        else:
            step /= 2
    return _Climb(loss, u, spent, lost)


def _into_ball(u: Vector, rho: float, p: Norm) -> Vector:
    if p == "inf":
        return u.clamp(-rho, rho)
    length = torch.linalg.vector_norm(u)
    return u * (rho / length) if length > rho else u


def _edge(stretch: Vector, rho: float, p: Norm, generator: torch.Generator) -> Vector:
    """A random point on the edge of the ball, zero where nothing can move."""
    z = torch.randn(len(stretch), generator=generator, dtype=torch.float64).to(stretch.device) * (stretch != 0)
    if p == "inf":
        return rho * z.sign()
    length = torch.linalg.vector_norm(z)
    return z * (rho / length) if length > 0 else z
