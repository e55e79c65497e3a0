"""Which sharpness measures to take, with their settings, and what each would cost: a list to run, to price, to resume.

A step of the plan is what is taken in one call: a measure at a scale and a block, at all its radii. It knows the
settings its numbers will carry, so that a report which has them already is not asked for them again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from landscape.errors import InvalidArgument
from landscape.objective import Objective
from landscape.sharpness.average_case import average_case_sharpness, smoothed_loss
from landscape.sharpness.fisher_rao import fisher_rao_norm
from landscape.sharpness.flatness import pac_bayes_flatness
from landscape.sharpness.keskar import keskar_sharpness
from landscape.sharpness.llc import local_learning_coefficient
from landscape.sharpness.m_sharpness import m_sharpness
from landscape.sharpness.metric_sharpness import average_metric_drop, sam_metric_drop
from landscape.sharpness.metric_worst_case import keskar_metric_drop, worst_case_metric_drop
from landscape.sharpness.perturbation import Scale
from landscape.sharpness.relative_flatness import relative_flatness
from landscape.sharpness.sam_step import sam_sharpness
from landscape.sharpness.settings import SCALES, SharpnessSettings
from landscape.sharpness.spectra_measured import measured_ends, measured_traces
from landscape.sharpness.spectral import ENDS, TRACES
from landscape.sharpness.step import Step
from landscape.sharpness.worst_case import worst_case_sharpness

TRIES = 5  # sigmas PAC-Bayes flatness tries on trained networks
LANCZOS = 60  # products that both ends of a trained network's spectrum take


def sharpness_plan(
    families: Sequence[str], settings: SharpnessSettings | None = None, *, blocks: Sequence[str | None] = (None,)
) -> list[Step]:
    """The steps of these families for each block, None being all weights: what `compute_sharpness` takes.

    Args:
        families: "all", or some of "eigenvalues", "trace", "sam", "average-case", "worst-case", "m-sharpness",
            "keskar", "pac-bayes", "lpf", "fisher-rao", "relative-flatness", "ranking" and "llc".
        settings: radii and sizes.
        blocks: of the layout.

    A search that two families want, for the loss and for the metrics at its end, is made once.

    Raises:
        InvalidArgument: no such family, or none at all.
    """
    if unknown := [family for family in families if family not in (*FAMILIES, "all")]:
        raise InvalidArgument(f"expected measures out of all, {', '.join(FAMILIES)}, got {', '.join(unknown)}")
    if not families:
        raise InvalidArgument(f"expected measures out of all, {', '.join(FAMILIES)}, got none")
    chosen = [family for family in FAMILIES if family in families or "all" in families]
    settings = settings or SharpnessSettings()
    steps = [step for block in blocks for family in chosen for step in FAMILIES[family](settings, block)]
    joint = [step.unranked for step in steps if step.unranked is not None]
    searched = [search.expected for search in joint if search.family in chosen]
    return [
        step
        if step.unranked is None or step.unranked.family not in chosen
        else replace(step, family=step.unranked.family)
        for step in steps
        if step.expected not in searched
    ]


def _eigenvalues(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    shared: Any = {"tolerance": s.tolerance, "max_products": s.max_products, "block": block}

    def call(objective: Objective) -> Any:
        return measured_ends(objective, seed=s.seed, **shared)

    yield Step("eigenvalues", tuple((name, shared) for name in ENDS), call, losses=1, products=LANCZOS)


def _traces(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    shared: Any = {"probes": s.trace_probes, "seed": s.seed, "block": block}

    def call(objective: Objective) -> Any:
        return measured_traces(objective, **shared)

    expected = [(name, {"scale": scale, **shared}) for name in TRACES for scale in SCALES]
    yield Step("trace", tuple(expected), call, losses=1, products=2 * s.trace_probes)


def _sam(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    for scale in SCALES:
        if rhos := s.radii(scale):

            def call(objective: Objective, scale: Scale = scale, rhos: tuple[float, ...] = rhos) -> Any:
                return sam_sharpness(objective, rhos, scale=scale, eta=s.eta, block=block)

            expected = [("sam", {"rho": rho, **_stretched(s, scale), "block": block}) for rho in rhos]
            yield Step("sam", tuple(expected), call, losses=len(rhos) + 1, gradients=1)


def _worst_case(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    for p in ("2", "inf"):
        for scale in SCALES:
            for rho in s.radii(scale) if p == "2" else s.box_radii(scale):
                shared: Any = {"p": p, **_stretched(s, scale), "block": block, "seed": s.seed}
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
            shared: Any = {"m": s.m, "form": form, "batches": s.batches, **_stretched(s, scale), "block": block}
            shared["seed"] = s.seed
            steps = max(1, s.steps // 2)
            if form == "ascent":
                shared["steps"] = steps

            def call(objective: Objective, rhos: tuple[float, ...] = rhos, shared: Any = shared) -> Any:
                return m_sharpness(objective, rhos, **shared)

            expected = tuple(("m_sharpness", {"rho": rho, **shared}) for rho in rhos)
            batches = s.batches or 8
            gradients = batches * (1 if form == "step" else 1 + len(rhos) * steps)
            yield Step("m-sharpness", expected, call, batches * (len(rhos) + 1), gradients)


def _keskar(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    for epsilon in s.epsilons:
        shared: Any = {"iterations": s.iterations, "seed": s.seed, "block": block}

        def call(objective: Objective, epsilon: float = epsilon, shared: Any = shared) -> Any:
            return (keskar_sharpness(objective, epsilon, **shared),)

        expected = (("keskar", {"epsilon": epsilon, **shared}),)
        yield Step("keskar", expected, call, losses=1, gradients=1.4 * s.iterations)


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
    for tau in s.taus:
        for scale in SCALES:
            shared: Any = {"scale": scale, "block": block, "pairs": pairs, "seed": s.seed}

            def call(objective: Objective, tau: float = tau, shared: Any = shared) -> Any:
                return pac_bayes_flatness(objective, tau, **shared)

            expected = tuple((name, {"tau": tau, **shared}) for name in ("pac_bayes", "pac_bayes_sigma"))
            yield Step("pac-bayes", expected, call, losses=2 * pairs * TRIES + 1)


def _fisher_rao(_: SharpnessSettings, block: str | None) -> Iterator[Step]:
    def call(objective: Objective) -> Any:
        return (fisher_rao_norm(objective, block=block),)

    yield Step("fisher-rao", (("fisher_rao", {"block": block}),), call, gradients=3)


def _relative_flatness(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    wanted: Any = {"probes": s.probes, "seed": s.seed, "block": block}

    def call(objective: Objective) -> Any:
        return (relative_flatness(objective, s.table, **wanted),)

    table = {} if s.table is None else {"table": s.table}
    yield Step("relative-flatness", (("relative_flatness", {**wanted, **table}),), call, products=s.probes)


def _ranking(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    for scale in SCALES:
        if rhos := s.radii(scale):
            own: Any = {**_stretched(s, scale), "block": block}

            def step(objective: Objective, rhos: tuple[float, ...] = rhos, own: Any = own) -> Any:
                return sam_metric_drop(objective, s.metrics, rhos, **own)

            wanted = [("sam_drop", {"rho": rho, "metric": metric, **own}) for rho in rhos for metric in s.metrics]
            yield Step("ranking", tuple(wanted), step, gradients=1, rankings=1 + len(rhos))
        for sigma in s.deviations(scale):
            shared: Any = {"scale": scale, "block": block, "pairs": s.ranking_pairs, "seed": s.seed}

            def under_noise(objective: Objective, sigma: float = sigma, shared: Any = shared) -> Any:
                return average_metric_drop(objective, s.metrics, (sigma,), **shared)

            expected = tuple(("average_drop", {"sigma": sigma, "metric": name, **shared}) for name in s.metrics)
            yield Step("ranking", expected, under_noise, rankings=1 + 2 * s.ranking_pairs)
    for search in _worst_case(s, block):
        yield _at_its_end(search, "worst_case_drop", s.metrics, worst_case_metric_drop, "rho")
    for search in _keskar(s, block):
        yield _at_its_end(search, "keskar_drop", s.metrics, keskar_metric_drop, "epsilon")


def _at_its_end(search: Step, name: str, metrics: tuple[str, ...], measured: Callable[..., Any], radius: str) -> Step:
    """A search for the worst point with the metrics there, in one call."""
    ((_, setting),) = search.expected
    others = {key: value for key, value in setting.items() if key != radius}

    def call(objective: Objective) -> Any:
        at = (setting[radius],) if radius == "rho" else setting[radius]
        return measured(objective, metrics, at, **others)

    expected = (*search.expected, *((name, {**setting, "metric": metric}) for metric in metrics))
    return Step("ranking", expected, call, search.losses, search.gradients, rankings=2, unranked=search)


def _stretched(s: SharpnessSettings, scale: Scale) -> dict[str, Any]:
    """The scale, with eta where it has a part."""
    return {"scale": scale, **({"eta": s.eta} if scale == "relative" else {})}


def _llc(s: SharpnessSettings, block: str | None) -> Iterator[Step]:
    shared: Any = {"chains": s.chains, "draws": s.draws, "burn_in": s.burn_in, "epsilon": s.llc_epsilon}
    shared |= {"gamma": s.gamma, "block": block, "batch": s.llc_batch, "seed": s.seed}

    def call(objective: Objective) -> Any:
        return (local_learning_coefficient(objective, **shared),)

    yield Step("llc", (("llc", shared),), call, losses=1, gradients=s.chains * (s.draws + s.burn_in + 1))


FAMILIES: dict[str, Callable[[SharpnessSettings, str | None], Iterator[Step]]] = {
    "eigenvalues": _eigenvalues,
    "trace": _traces,
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
