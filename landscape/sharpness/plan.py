"""Which sharpness measures to take, with their settings, and what each would cost: a list to run, to price, to resume.

A step of the plan is what is taken in one call: a measure at a scale and a block, at all its radii. It knows the
settings its numbers will carry, so that a report which has them already is not asked for them again.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from landscape.errors import InvalidArgument
from landscape.objective import Objective
from landscape.records import SharpnessMeasure
from landscape.sharpness.average_case import average_case_sharpness, smoothed_loss
from landscape.sharpness.fisher_rao import fisher_rao_norm
from landscape.sharpness.flatness import TAU, pac_bayes_flatness
from landscape.sharpness.keskar import keskar_sharpness
from landscape.sharpness.llc import local_learning_coefficient
from landscape.sharpness.m_sharpness import m_sharpness
from landscape.sharpness.metric_sharpness import average_metric_drop, sam_metric_drop
from landscape.sharpness.names import identity_of
from landscape.sharpness.perturbation import Scale
from landscape.sharpness.relative_flatness import relative_flatness
from landscape.sharpness.sam_step import sam_sharpness
from landscape.sharpness.worst_case import worst_case_sharpness

SCALES: tuple[Scale, Scale] = ("absolute", "relative")
WHOLE = "whole"  # the block of all weights
GRADIENT = 3.5  # a gradient in losses, for prices
PRODUCT = 11.0  # a Hessian-vector product in losses
RANKING = 4.0  # a pass of the metrics
TRIES = 5  # sigmas PAC-Bayes flatness tries on trained networks


@dataclass(frozen=True, slots=True, kw_only=True)
class SharpnessSettings:
    """Radii and sizes of every measure. Pairs of tuples belong together: absolute first, relative to |w| second."""

    rhos: tuple[float, ...] = (0.01, 0.1, 1.0)
    relative_rhos: tuple[float, ...] = (0.1, 0.5, 2.0)  # .5 to 2 is what ASAM trains with (Kwon et al. 2021)
    box_rhos: tuple[float, ...] = (0.001,)  # of the worst case in the maximum norm
    relative_box_rhos: tuple[float, ...] = (0.01,)
    sigmas: tuple[float, ...] = (0.005, 0.01)
    relative_sigmas: tuple[float, ...] = (0.05, 0.1)
    pairs: int = 20
    steps: int = 20  # gradients of an ascent
    restarts: int = 2
    m: int = 256
    batches: int | None = 8
    epsilon: float = 1e-3  # Keskar's box
    tau: float = TAU
    table: str | None = None  # of relative flatness; the largest by default
    probes: int = 20
    metrics: tuple[str, ...] = ("ndcg@10", "hr@10")
    ranking_pairs: int = 5
    chains: int = 4
    draws: int = 100
    burn_in: int = 100
    llc_epsilon: float = 1e-4
    gamma: float = 1000.0
    seed: int = 0

    def radii(self, scale: Scale) -> tuple[float, ...]:
        """Of steps and balls in the Euclidean norm."""
        return self.rhos if scale == "absolute" else self.relative_rhos

    def box_radii(self, scale: Scale) -> tuple[float, ...]:
        """Of balls in the maximum norm."""
        return self.box_rhos if scale == "absolute" else self.relative_box_rhos

    def deviations(self, scale: Scale) -> tuple[float, ...]:
        """Of noise."""
        return self.sigmas if scale == "absolute" else self.relative_sigmas


@dataclass(frozen=True, slots=True)
class Step:
    """One call: what it measures, what its numbers will be called, and about what it costs."""

    family: str
    expected: tuple[tuple[str, Mapping[str, Any]], ...]  # measure and the settings that identify it, a number each
    call: Callable[[Objective], Sequence[SharpnessMeasure]]
    losses: float = 0
    gradients: float = 0
    products: float = 0
    rankings: float = 0

    @property
    def price(self) -> float:
        """The whole cost in losses, roughly."""
        return self.losses + GRADIENT * self.gradients + PRODUCT * self.products + RANKING * self.rankings

    def is_held(self, measures: Collection[SharpnessMeasure]) -> bool:
        """Whether all its numbers are there already, with these settings."""
        return all(any(_matches(measure, *wanted) for measure in measures) for wanted in self.expected)

    def run(self, objective: Objective) -> tuple[SharpnessMeasure, ...]:
        """Measure, with the seconds spent shared out by cost."""
        started = time.perf_counter()
        found = tuple(self.call(objective))
        spent = time.perf_counter() - started
        total = sum(measure.cost for measure in found) or 1
        return tuple(replace(measure, seconds=spent * measure.cost / total) for measure in found)


def plan(families: Sequence[str], settings: SharpnessSettings, *, blocks: Sequence[str | None] = (None,)) -> list[Step]:
    """The steps of these families ("all", or names out of `FAMILIES`) for each block, None being all weights.

    Raises:
        InvalidArgument: no such family.
    """
    if unknown := [family for family in families if family not in (*FAMILIES, "all")]:
        raise InvalidArgument(f"expected measures out of all, {', '.join(FAMILIES)}, got {', '.join(unknown)}")
    chosen = [family for family in FAMILIES if family in families or "all" in families]
    return [step for block in blocks for family in chosen for step in FAMILIES[family](settings, block)]


def merged(held: Sequence[SharpnessMeasure], new: Sequence[SharpnessMeasure]) -> tuple[SharpnessMeasure, ...]:
    """The measures held and the new ones; a new one takes the place of one with the same settings."""
    place = {identity_of(measure): measure for measure in held}
    place |= {identity_of(measure): measure for measure in new}
    return tuple(place.values())


def _matches(measure: SharpnessMeasure, name: str, wanted: Mapping[str, Any]) -> bool:
    if measure.measure != name or measure.setting.get("block") != wanted.get("block"):
        return False
    return all(measure.setting.get(key) == value for key, value in wanted.items())


def _sam(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    for scale in SCALES:
        if rhos := s.radii(scale):

            def call(objective: Objective, scale: Scale = scale, rhos: tuple[float, ...] = rhos) -> Any:
                return sam_sharpness(objective, rhos, scale=scale, block=block)

            expected = [("sam", {"rho": rho, "scale": scale, "block": block}) for rho in rhos]
            yield Step("sam", tuple(expected), call, losses=len(rhos) + 1, gradients=1)


def _worst_case(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    for p in ("2", "inf"):
        for scale in SCALES:
            for rho in s.radii(scale) if p == "2" else s.box_radii(scale):
                shared: Any = {"p": p, "scale": scale, "block": block, "seed": s.seed}
                shared |= {"steps": s.steps, "restarts": s.restarts}

                def call(objective: Objective, rho: float = rho, shared: Any = shared) -> Any:
                    return worst_case_sharpness(objective, (rho,), **shared)

                gradients = s.restarts * (s.steps + 1)
                yield Step("worst-case", (("worst_case", {"rho": rho, **shared}),), call, 2, gradients)


def _m_sharpness(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    for form in ("step", "ascent"):
        for scale in SCALES:
            rhos = s.radii(scale)
            if not rhos:
                continue
            shared: Any = {"m": s.m, "form": form, "batches": s.batches, "scale": scale, "block": block, "seed": s.seed}
            if form == "ascent":
                shared["steps"] = s.steps // 2

            def call(objective: Objective, rhos: tuple[float, ...] = rhos, shared: Any = shared) -> Any:
                return m_sharpness(objective, rhos, **shared)

            expected = tuple(("m_sharpness", {"rho": rho, **shared}) for rho in rhos)
            batches = s.batches or 8
            gradients = batches * (1 if form == "step" else 1 + len(rhos) * s.steps // 2)
            yield Step("m-sharpness", expected, call, batches * (len(rhos) + 1), gradients)


def _keskar(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    def call(objective: Objective) -> Any:
        return (keskar_sharpness(objective, s.epsilon, block=block, seed=s.seed),)

    wanted = {"epsilon": s.epsilon, "iterations": 10, "seed": s.seed, "block": block}
    yield Step("keskar", (("keskar", wanted),), call, losses=1, gradients=14)


def _average_case(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    yield from _under_noise("average-case", "average_case", average_case_sharpness, s, block)


def _lpf(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    yield from _under_noise("lpf", "lpf", smoothed_loss, s, block)


def _under_noise(
    family: str, measure: str, measured: Callable[..., Any], s: SharpnessSettings, block: str | None
) -> Iterator[Step]:
    for scale in SCALES:
        for sigma in s.deviations(scale):
            shared: Any = {"scale": scale, "block": block, "pairs": s.pairs, "seed": s.seed}

            def call(objective: Objective, sigma: float = sigma, shared: Any = shared) -> Any:
                return measured(objective, (sigma,), **shared)

            yield Step(family, ((measure, {"sigma": sigma, **shared}),), call, losses=2 * s.pairs + 1)


def _pac_bayes(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    pairs = max(2, s.pairs // 2)
    for scale in SCALES:
        shared: Any = {"scale": scale, "block": block, "pairs": pairs, "seed": s.seed}

        def call(objective: Objective, shared: Any = shared) -> Any:
            return pac_bayes_flatness(objective, s.tau, **shared)

        expected = tuple((name, {"tau": s.tau, **shared}) for name in ("pac_bayes", "pac_bayes_sigma"))
        yield Step("pac-bayes", expected, call, losses=2 * pairs * TRIES + 1)


def _fisher_rao(s: SharpnessSettings, block: str | None) -> Iterator[Step]:  # noqa: ARG001
    def call(objective: Objective) -> Any:
        return (fisher_rao_norm(objective, block=block),)

    yield Step("fisher-rao", (("fisher_rao", {"block": block}),), call, gradients=3)


def _relative_flatness(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    if block is None:  # it is of one table whatever the block

        def call(objective: Objective) -> Any:
            return (relative_flatness(objective, s.table, probes=s.probes, seed=s.seed),)

        wanted: dict[str, Any] = {"probes": s.probes, "seed": s.seed}
        if s.table is not None:
            wanted["table"] = s.table
        yield Step("relative-flatness", (("relative_flatness", wanted),), call, products=s.probes)


def _ranking(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    for scale in SCALES:
        if rhos := s.radii(scale):

            def step(objective: Objective, scale: Scale = scale, rhos: tuple[float, ...] = rhos) -> Any:
                return sam_metric_drop(objective, s.metrics, rhos, scale=scale, block=block)

            wanted = [
                ("sam_drop", {"rho": rho, "scale": scale, "metric": metric, "block": block})
                for rho in rhos
                for metric in s.metrics
            ]
            yield Step("ranking", tuple(wanted), step, gradients=1, rankings=1 + len(rhos))
        for sigma in s.deviations(scale):
            shared: Any = {"scale": scale, "block": block, "pairs": s.ranking_pairs, "seed": s.seed}

            def under_noise(objective: Objective, sigma: float = sigma, shared: Any = shared) -> Any:
                return average_metric_drop(objective, s.metrics, (sigma,), **shared)

            expected = tuple(("average_drop", {"sigma": sigma, "metric": name, **shared}) for name in s.metrics)
            yield Step("ranking", expected, under_noise, rankings=1 + 2 * s.ranking_pairs)


def _llc(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    shared: Any = {"chains": s.chains, "draws": s.draws, "burn_in": s.burn_in, "epsilon": s.llc_epsilon}
    shared |= {"gamma": s.gamma, "block": block, "seed": s.seed}

    def call(objective: Objective) -> Any:
        return (local_learning_coefficient(objective, **shared),)

    yield Step("llc", (("llc", shared),), call, losses=1, gradients=s.chains * (s.draws + s.burn_in + 1))


FAMILIES: dict[str, Callable[[SharpnessSettings, str | None], Iterator[Step]]] = {
    "sam": _sam,
    "average-case": _average_case,
    "worst-case": _worst_case,
    "m-sharpness": _m_sharpness,
    "keskar": _keskar,
    "pac-bayes": _pac_bayes,
    "lpf": _lpf,
    "fisher-rao": _fisher_rao,
    "relative-flatness": _relative_flatness,
    "ranking": _ranking,
    "llc": _llc,
}
