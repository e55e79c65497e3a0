"""`landscape sharpness`: how much the loss rises around one or several checkpoints, into the store."""

import dataclasses
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli import options
from landscape.cli.measuring import numbers, opened
from landscape.cli.running import DID_NOT_SETTLE, LARGEST_SEED, command_line, emit
from landscape.cli.sharpness_cost import say_cost
from landscape.sharpness.names import is_settled, measure_name

if TYPE_CHECKING:
    from landscape.records import SharpnessReport


def sharpness(
    targets: options.Targets,
    store: options.Store,
    measures: Annotated[
        str,
        typer.Option(
            help="all, or some of eigenvalues, trace, sam, average-case, worst-case, m-sharpness, keskar, pac-bayes, "
            "lpf, fisher-rao, relative-flatness, ranking, llc."
        ),
    ] = "sam,average-case",
    block: Annotated[
        list[str] | None,
        typer.Option(
            help="Move these weights alone: a block of the layout, rows:head, a pattern of names; again for more, "
            "'whole' for all of them."
        ),
    ] = None,
    rho: Annotated[str, typer.Option(help="Lengths of SAM's step and radii of the worst case.")] = "0.01,0.1,1",
    relative_rho: Annotated[str, typer.Option(help="The same in coordinates relative to |w|.")] = "0.1,0.5,2",
    box_rho: Annotated[str, typer.Option(help="Radii of the worst case in the maximum norm.")] = "0.001",
    relative_box_rho: Annotated[str, typer.Option(help="The same relative to |w|.")] = "0.01",
    eta: Annotated[
        float, typer.Option(help="Relative steps and searches go by |w| + eta; above 0 they are not scale-invariant.")
    ] = 0.0,
    sigma: Annotated[str, typer.Option(help="Standard deviations of Gaussian noise.")] = "0.005,0.01",
    relative_sigma: Annotated[str, typer.Option(help="The same relative to |w|.")] = "0.05,0.1",
    pairs: Annotated[int, typer.Option(help="Antithetic pairs of noise for each sigma, half as many for a tau.")] = 20,
    steps: Annotated[int, typer.Option(min=1, help="Gradients of one ascent to the worst case.")] = 20,
    restarts: Annotated[int, typer.Option(min=1, help="Starts of that ascent.")] = 2,
    m: Annotated[int, typer.Option(min=1, help="Units of a batch of m-sharpness.")] = 256,
    batches: Annotated[int, typer.Option(min=0, help="Batches of m-sharpness; 0 takes all that are full.")] = 8,
    epsilon: Annotated[str, typer.Option(help="Half sizes of Keskar's box, relative to |w| + 1.")] = "0.001",
    iterations: Annotated[int, typer.Option(min=1, help="Of L-BFGS-B in Keskar's box.")] = 10,
    tau: Annotated[str, typer.Option(help="Rises of the loss that PAC-Bayes flatness allows.")] = "0.1",
    table: Annotated[
        str | None,
        typer.Option(help="Tensor of relative flatness; by default the largest, in a block the largest there."),
    ] = None,
    probes: Annotated[int, typer.Option(min=2, help="Random probes of relative flatness.")] = 20,
    trace_probes: Annotated[int, typer.Option(min=2, help="Random probes of trace and Frobenius norm.")] = 32,
    tolerance: Annotated[float, typer.Option(help="Accepted residual relative to the eigenvalue.")] = 1e-3,
    max_products: Annotated[int, typer.Option(min=1, help="Products at most for the eigenvalues of a block.")] = 300,
    metrics: Annotated[str, typer.Option(help="Metrics of ranking sharpness.")] = "ndcg@10,hr@10",
    ranking_pairs: Annotated[int, typer.Option(min=2, help="Antithetic pairs of noise for each sigma there.")] = 5,
    chains: Annotated[int, typer.Option(min=2, help="Chains of the LLC.")] = 4,
    draws: Annotated[int, typer.Option(min=2, help="Draws of each chain.")] = 100,
    burn_in: Annotated[int | None, typer.Option(min=0, help="Draws before those; as many by default.")] = None,
    llc_epsilon: Annotated[float, typer.Option(help="Step of the LLC's chains.")] = 1e-4,
    llc_gamma: Annotated[
        float, typer.Option(help="How strongly the chains are held; they forget their start in 2 / (step gamma) draws.")
    ] = 1000.0,
    llc_batch: Annotated[
        int | None, typer.Option(min=1, help="Units of a random batch a draw; all by default.")
    ] = None,
    users: options.Users = None,
    loss: options.Loss = None,
    split: Annotated[
        str, typer.Option(help="Splits of the data that the loss is taken on, such as train,validation.")
    ] = "train",
    data: options.Data = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of the noise and of what the objective draws.")
    ] = 0,
    name: Annotated[
        str | None, typer.Option(help="Name in the store; the checkpoint's by default. Other splits add theirs.")
    ] = None,
    replace: options.Replace = False,
    threads: options.Threads = None,
    device: options.Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what each measure would cost, and stop.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure sharpness, each raw value beside a scale-invariant one, with errors, "lower bound" and cost.

    What the store holds already with the same settings is not measured again, be it in this record or in those of
    landscape curvature and trace; an interrupted call goes on. With eigenvalues of the same checkpoint and objective in
    the store, lambda_max ||w||^2 and lambda_1 / lambda_5 are always added. Exit code 3 if an eigenvalue did not
    converge or the LLC's chains did not settle; it is kept, and named. --replace takes the place of this name's record
    alone; nothing else in the store is touched.

    Example: landscape sharpness samrec:runs/sasrec samrec:runs/samrec --store study.h5 --measures all --users 2048
    """
    from landscape.errors import InvalidArgument
    from landscape.sharpness.plan import sharpness_plan
    from landscape.sharpness.resume import compute_sharpness, possible_steps
    from landscape.sharpness.settings import WHOLE, SharpnessSettings

    splits = [part.strip() for part in split.split(",") if part.strip()]
    if not splits or len(set(splits)) != len(splits):
        raise InvalidArgument(f"expected different splits separated by commas, got {split!r}")
    settings = SharpnessSettings(
        rhos=numbers(rho, "--rho"),
        relative_rhos=numbers(relative_rho, "--relative-rho"),
        box_rhos=numbers(box_rho, "--box-rho"),
        relative_box_rhos=numbers(relative_box_rho, "--relative-box-rho"),
        eta=eta,
        sigmas=numbers(sigma, "--sigma"),
        relative_sigmas=numbers(relative_sigma, "--relative-sigma"),
        pairs=pairs,
        steps=steps,
        restarts=restarts,
        m=m,
        batches=batches or None,
        epsilons=numbers(epsilon, "--epsilon"),
        iterations=iterations,
        taus=numbers(tau, "--tau"),
        table=table,
        probes=probes,
        trace_probes=trace_probes,
        tolerance=tolerance,
        max_products=max_products,
        metrics=tuple(part.strip() for part in metrics.split(",") if part.strip()),
        ranking_pairs=ranking_pairs,
        chains=chains,
        draws=draws,
        burn_in=draws if burn_in is None else burn_in,
        llc_epsilon=llc_epsilon,
        gamma=llc_gamma,
        llc_batch=llc_batch,
        seed=seed,
    )
    wanted = [part.strip() for part in measures.split(",") if part.strip()]
    blocks = [None if one == WHOLE else one for one in dict.fromkeys(block or [WHOLE])]
    planned = sharpness_plan(wanted, settings, blocks=blocks)
    objectives = opened(
        targets, name=name, threads=threads, device=device, data=data, splits=splits, users=users, loss=loss, seed=seed
    )
    if dry_run:
        say_cost(objectives, planned, settings.metrics, store, as_json)
        return
    reports = []
    for checkpoint, record, objective in objectives:
        possible = possible_steps(objective, planned) if "all" in wanted else planned
        place: Any = {"name": record, "checkpoint_name": checkpoint, "replace": replace}
        command = command_line()
        reports.append(compute_sharpness(store, objective, possible, **place, command=command))
    from landscape.cli.sharpness_table import tables

    unsettled = _unsettled(reports, {name for step in planned for name, _ in step.expected})
    payload = {"store": str(store), "converged": not unsettled, "sharpness": [_as_json(report) for report in reports]}
    emit(as_json, payload, None if as_json else tables(reports))
    if unsettled:
        if not as_json:
            typer.echo("\n".join(unsettled))
        raise typer.Exit(DID_NOT_SETTLE)


def _unsettled(reports: "Sequence[SharpnessReport]", asked: Container[str]) -> list[str]:
    """A line a measure that was asked for and did not come to rest."""
    return [
        f"{report.name}: {measure_name(measure)}: {measure.note}"
        for report in reports
        for measure in report.measures
        if measure.measure in asked and not is_settled(measure)
    ]


def _as_json(report: "SharpnessReport") -> dict[str, Any]:
    measures = [dataclasses.asdict(measure) for measure in report.measures]
    return {"name": report.name, "checkpoint": report.checkpoint, "measures": measures}
