"""Sharpness-Aware Minimization around any base optimizer, and its family, out of pieces that combine freely.

    g   = grad L(w)                    pass 1
    g'  = grad L(w + eps)              pass 2: same batch, same negatives, same dropout masks
    w   = saved copy ;  base.step(g')

| piece | choices |
| --- | --- |
| how eps is computed (`perturbation.py`) | SAM or ASAM; all parameters, the body or the embeddings |
| when a step climbs, and what the others do (`periodic.py`) | every k-th step; between them LookSAM's g_v or plain g |
| over which part of the batch | all of it, or each part its own climb, the gradients g' summed (m-SAM) |
| how far (`schedule.py`) | rho times a schedule's factor |

With rho = 0 pass 2 repeats pass 1 and every step is the base optimizer's, bit for bit; with k = 1 a periodic ascent is
SAM. SAM itself keeps no state between steps: only a period or a schedule counts steps, and only LookSAM keeps g_v.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from samrec.errors import CheckpointError, ConfigError
from samrec.optim.gradients import Gradients, added, check_finite, gradients_of, put_gradients
from samrec.optim.periodic import Look
from samrec.optim.perturbation import Climb, Perturbation
from samrec.optim.schedule import Schedule

Reduce = Callable[[list[Tensor]], None]


@dataclass(frozen=True, slots=True)
class Ascent:
    """What one step's ascent did, over the whole batch; with several climbs their sum, weighted by targets."""

    loss: float  # L(w), without penalties
    sharpness: float  # L(w + eps) - L(w); 0 where the step did not climb
    norm: float  # ||g|| over the perturbed group; 0 where the step did not climb
    shares: Mapping[str, float]  # each block's share of ||eps||^2; empty if no climb moved the weights
    gradients: int = 1  # gradients of the batch that the step took
    rho: float = 0.0  # of this step


@dataclass(frozen=True, slots=True)
class Passes:
    """Two passes over the same part of a batch.

    Both clear the gradients, leave those of their part of the loss (its sum divided by the whole batch's count) in the
    parameters, and return that part: `first` at w, `second` at the weights as they then are, on the same negatives and
    dropout masks.
    """

    first: Callable[[], float]
    second: Callable[[], float]


class SAM:
    """Up to the worst point nearby, then down from where it was with the gradient found there."""

    def __init__(
        self,
        named: Mapping[str, nn.Parameter],
        base: torch.optim.Optimizer,
        *,
        rho: float,
        group: str = "all",
        adaptive: float | None = None,
        period: int = 1,
        look: float | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        """Wrap a base optimizer.

        Args:
            named: every parameter, by name.
            base: what takes the gradient found.
            rho: the radius; 0 is the base optimizer at twice its cost.
            group: what the ascent perturbs: "all", "body" (no embeddings) or "embeddings". All parameters descend.
            adaptive: ASAM's eta, .01 in its paper; None is SAM.
            period: k, climb at the first of every k steps.
            look: LookSAM's alpha, .7 in its paper: what the steps between add. None: they are plain steps.
            schedule: rho is multiplied by it; None is a constant rho.
        """
        if not rho >= 0:
            raise ConfigError(f"expected rho >= 0, got {rho}")
        if period < 1:
            raise ConfigError(f"expected a period of at least one step, got {period}")
        self.base = base
        self.rho = rho
        self.period = period
        self.schedule = schedule
        self.steps = 0  # taken so far
        self.perturbation = Perturbation(named, group=group, adaptive=adaptive)
        self.look = Look(look) if look is not None and period > 1 else None
        self._named = dict(named)

    def step(self, *parts: Passes, reduce: Reduce | None = None) -> Ascent:
        """One step over all parts of a batch, each with a climb of its own.

        Args:
            parts: one for SAM; for m-SAM one for each micro-batch.
            reduce: sums tensors over processes in place, where the passes do not do so themselves. Shares of the
                ascent are then those of this process.

        Raises:
            Diverged: a gradient that the base optimizer would take is not finite; the weights are as they were.
        """
        rho = self.rho if self.schedule is None else self.rho * self.schedule(self.steps)
        climbs = self.steps % self.period == 0
        flat: Gradients = {}
        descent: Gradients = {}
        found = []
        for part in parts:
            loss = risen = part.first()
            if self.look is not None and climbs:
                flat = added(flat, gradients_of(self._named))
            climb = Climb(0.0, {})
            if climbs:
                with self.perturbation.climbed(rho) as climb:
                    if climb.shares:
                        risen = part.second()
            descent = added(descent, gradients_of(self._named))
            found.append(Ascent(loss, risen - loss, climb.norm, climb.shares, 1 + bool(climb.shares), rho))
        ascent = _summed(found)
        climbed = bool(ascent.shares)
        if reduce is not None:
            told = torch.tensor([ascent.loss, ascent.sharpness, ascent.norm, climbed], dtype=torch.float64)
            flat = {name: gradient.clone() for name, gradient in flat.items()}  # it may be the descent's own tensors
            reduce([told, *descent.values(), *flat.values()])
            loss, sharpness, norm, climbs_everywhere = told.tolist()
            ascent = replace(ascent, loss=loss, sharpness=sharpness, norm=norm)
            climbed = climbs_everywhere > 0
        put_gradients(self._named, descent)
        check_finite(list(self._named.values()))
        if self.look is not None:
            if climbed:
                self.look.keep(flat, descent)
            elif not climbs:
                self.look.bend(descent)
        self.base.step()
        self.steps += 1
        return ascent

    def gradients_in(self, steps: int) -> int:
        """Gradients of a batch that the run's first `steps` steps take, each climb moving the weights."""
        return steps + -(-steps // self.period)

    def state(self) -> dict[str, Tensor]:
        """All that the next step needs besides the weights; empty where every step is alike."""
        if self.period == 1 and self.schedule is None:
            return {}
        direction = self.look.direction if self.look is not None else {}
        counts = {"steps": torch.tensor(self.steps), "directions": torch.tensor(len(direction))}
        return counts | {f"direction/{name}": tensor for name, tensor in direction.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave; CheckpointError says what is missing or does not fit."""
        if self.period == 1 and self.schedule is None:
            return
        for name in ("steps", "directions"):
            if name not in state or state[name].numel() != 1:
                raise CheckpointError(f"expected SAM's {name}, a number, got none")
        for name, tensor in state.items():
            if not torch.isfinite(tensor).all():
                raise CheckpointError(f"expected finite numbers in SAM's {name}, got NaN or infinity")
        kept = {name.removeprefix("direction/"): t for name, t in state.items() if name.startswith("direction/")}
        for name, tensor in kept.items():
            if name not in self._named or tensor.shape != self._named[name].shape:
                raise CheckpointError(
                    f"expected LookSAM's direction of {name} in the shape of a parameter, got another"
                )
        if len(kept) != int(state["directions"]):
            raise CheckpointError(f"expected {int(state['directions'])} directions of LookSAM, got {len(kept)}")
        self.steps = int(state["steps"])
        if self.look is not None:
            order = [name for name in self._named if name in kept]  # norms are sums, and their order is in their bits
            self.look.direction = {name: kept[name].to(self._named[name].device) for name in order}


def _summed(found: list[Ascent]) -> Ascent:
    """One record of several climbs; their losses and norms are already parts of the batch's."""
    if len(found) == 1:
        return found[0]
    norm = sum(ascent.norm for ascent in found)
    shares: dict[str, float] = {}
    for ascent in found:
        for block, share in ascent.shares.items():
            shares[block] = shares.get(block, 0.0) + share * ascent.norm / norm
    return Ascent(
        loss=sum(ascent.loss for ascent in found),
        sharpness=sum(ascent.sharpness for ascent in found),
        norm=norm,
        shares=shares,
        gradients=max(ascent.gradients for ascent in found),
        rho=found[0].rho,
    )
