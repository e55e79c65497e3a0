"""`landscape density`: the spectral density of the Hessian of one or several checkpoints, into the store."""

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli import options
from landscape.cli.measuring import opened
from landscape.cli.running import LARGEST_SEED, command_line, emit
from landscape.cli.spectra import going_on, record_name, say_cost, say_product_errors, with_error
from landscape.errors import InvalidArgument

if TYPE_CHECKING:
    from landscape.spectra import Density


def density(
    targets: options.Targets,
    store: options.Store,
    probes: Annotated[int, typer.Option(help="Random probes; their spread is the error.")] = 8,
    steps: Annotated[int, typer.Option(help="Lanczos steps for each, a product and a vector kept each.")] = 60,
    block: options.Block = None,
    relative: Annotated[bool, typer.Option("--relative", help="Relative to |w| instead of raw.")] = False,
    users: options.Users = None,
    loss: options.Loss = None,
    split: options.Split = "train",
    data: options.Data = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of the probes and of what the objective draws.")
    ] = 0,
    name: options.Name = None,
    replace: options.Replace = False,
    threads: options.Threads = None,
    device: options.Device = "auto",
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Estimate the Hessian's spectral density by Lanczos quadrature, nodes and weights of every probe kept.

    Interrupted, or with more --probes, the same command goes on with those in the store; as many or fewer measure
    nothing. Other steps, another seed or block need another --name or --replace.

    Example: landscape density samrec:runs/sasrec samrec:runs/samrec --store study.h5 --users 2048
    """
    if probes < 1 or steps < 2:
        raise InvalidArgument(f"expected at least 1 of --probes and 2 --steps, got {probes} and {steps}")
    settings: dict[str, Any] = {"users": users, "loss": loss, "seed": seed, "split": split, "data": data}
    objectives = opened(targets, name=name, threads=threads, device=device, **settings)
    if dry_run:
        from landscape.curvature.density import probes_together

        def kept(size: int) -> int:
            return min(probes, probes_together(size, steps)) * (steps + 4)

        say_cost(objectives, probes * steps, as_json, vectors=kept, block=block)
        return
    from functools import partial

    from landscape.curvature.density import density_of, settings_of

    coordinates = "relative" if relative else "raw"
    wanted: dict[str, Any] = {"steps": steps, "seed": seed, "block": block, "coordinates": coordinates}
    records: list[Density] = []
    going = going_on(
        objectives,
        store,
        "densities",
        dict(settings_of(**wanted)),
        lambda given, checkpoint: record_name(given, checkpoint, block, coordinates),
        block=block,
        replace=replace,
    )
    with contextlib.closing(going):
        for checkpoint, record, objective, writer, held, centre in going:
            if held is not None and held.probes >= probes:
                records.append(held)
                continue
            found = density_of(
                objective,
                name=record,
                checkpoint=checkpoint,
                probes=probes,
                held=held,
                keep=partial(writer.add_density, replace=replace),
                centre=centre,
                command=command_line(),
                **wanted,
            )
            records.append(found)
    emit(as_json, {"store": str(store), "densities": [as_json_of(record) for record in records]}, _table(records))
    if not as_json:
        say_product_errors(records)


def as_json_of(record: "Density") -> dict[str, Any]:
    """What a density says in numbers, each with its standard error over probes or its residual."""
    (upper, above), (lower, below) = record.end(1), record.end(-1)
    numbers: dict[str, Any] = {"largest_node": upper, "residual_of_largest": above}
    numbers |= {"smallest_node": lower, "residual_of_smallest": below}
    pairs = {"trace": record.trace, "frobenius_norm": record.frobenius_norm, "negative_share": record.negative}
    for key, (value, error) in pairs.items():
        numbers |= {key: value, f"{key}_error": error}
    return {
        "name": record.name,
        "checkpoint": record.checkpoint,
        **record.settings,
        "probes": record.probes,
        "products": record.products,
        "product_error": record.product_error,
        "dimension": record.dimension,
        **numbers,
    }


def _table(records: "list[Density]") -> Any:
    from rich.table import Table

    table = Table(
        "checkpoint", "probes", "smallest node", "largest node", "trace", "Frobenius norm", "share of |H| below 0"
    )
    for record in records:
        ends = [f"{node:.5g} (residual {residual:.1e})" for node, residual in (record.end(-1), record.end(1))]
        errors = [with_error(*pair) for pair in (record.trace, record.frobenius_norm, record.negative)]
        table.add_row(record.name, str(record.probes), *ends, *errors)
    return table
