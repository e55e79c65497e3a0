"""`landscape trace`: trace and Frobenius norm of the Hessian of one or several checkpoints, into the store."""

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli import options
from landscape.cli.measuring import opened
from landscape.cli.running import LARGEST_SEED, command_line, emit
from landscape.cli.spectra import going_on, record_name, say_cost, say_product_errors, with_error
from landscape.errors import InvalidArgument

if TYPE_CHECKING:
    from landscape.spectra import Trace


def trace(
    targets: options.Targets,
    store: options.Store,
    method: Annotated[
        str, typer.Option(help="hutchinson (with blocks and norm) or hutch++ (trace alone).")
    ] = "hutchinson",
    probes: Annotated[int, typer.Option(help="Random probes, a product each; of hutch++ the products.")] = 32,
    block: options.Block = None,
    relative: Annotated[bool, typer.Option(help="Also relative to |w|: as many products again.")] = True,
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
    """Estimate the Hessian's trace and Frobenius norm with standard errors, by block of weights too.

    More --probes go on with those in the store; as many or fewer measure nothing. Another method, seed or block needs
    another --name or --replace. Of several targets, also the differences from the first, paired over probes.

    Example: landscape trace samrec:runs/sasrec samrec:runs/samrec --store study.h5 --users 2048
    """
    if method not in ("hutchinson", "hutch++"):
        raise InvalidArgument(f"expected a method out of hutchinson, hutch++, got {method!r}")
    least = 6 if method == "hutch++" else 2
    if probes < least:
        raise InvalidArgument(f"expected --probes of at least {least}, for a standard error, got {probes}")
    settings: dict[str, Any] = {"users": users, "loss": loss, "seed": seed, "split": split, "data": data}
    objectives = opened(targets, name=name, threads=threads, device=device, **settings)
    if dry_run:
        kept = 16 + (2 * probes // 3 if method == "hutch++" else 0)
        say_cost(objectives, probes * (2 if relative else 1), as_json, vectors=lambda _: kept, block=block)
        return
    from landscape.curvature.trace import settings_of, trace_of

    wanted: dict[str, Any] = {"method": method, "probes": probes, "seed": seed, "block": block, "relative": relative}
    records: list[Trace] = []
    going = going_on(
        objectives,
        store,
        "traces",
        dict(settings_of(**wanted)),
        lambda given, checkpoint: record_name(given, checkpoint, block),
        block=block,
        replace=replace,
    )
    with contextlib.closing(going):
        for checkpoint, record, objective, writer, held, centre in going:
            there = held if held is not None and (method == "hutch++" or held.probes >= probes) else None
            if there is None:
                there = trace_of(
                    objective,
                    name=record,
                    checkpoint=checkpoint,
                    held=held,
                    centre=centre,
                    command=command_line(),
                    **wanted,
                )
                writer.add_trace(there, replace=replace)
            records.append(there)
    payload = {
        "store": str(store),
        "traces": [_as_json(record) for record in records],
        "differences": [difference for record in records[1:] for difference in _differences(records[0], record)],
    }
    emit(as_json, payload, _table(records))
    if not as_json:
        say_product_errors(records)


def _rows(record: "Trace") -> list[dict[str, Any]]:
    columns = zip(
        record.quantities, record.blocks, record.coordinates, record.sizes.tolist(), record.estimates, strict=True
    )
    return [
        {
            "quantity": quantity,
            "block": block,
            "coordinates": coordinates,
            "size": size,
            "value": value,
            "standard_error": error,
        }
        for quantity, block, coordinates, size, (value, error) in columns
    ]


def _differences(first: "Trace", record: "Trace") -> list[dict[str, Any]]:
    """Minus the first checkpoint's, paired over the probes they share."""
    from landscape.spectra import trace_differences

    return [
        {
            "of": record.name,
            "minus": first.name,
            "block": block,
            "coordinates": coordinates,
            "value": value,
            "standard_error": error,
        }
        for (block, coordinates), (value, error) in trace_differences(first, record).items()
    ]


def _as_json(record: "Trace") -> dict[str, Any]:
    return {
        "name": record.name,
        "checkpoint": record.checkpoint,
        **record.settings,
        "probes": record.probes,
        "products": record.products,
        "product_error": record.product_error,
        "estimates": _rows(record),
    }


def _table(records: "list[Trace]") -> Any:
    from rich.table import Table

    table = Table("checkpoint", "quantity", "of", "free weights", "raw", "relative to |w|")
    for record in records:
        cells: dict[tuple[str, str], dict[str, Any]] = {}
        for row in _rows(record):
            cell = cells.setdefault((row["quantity"], row["block"]), {"size": row["size"]})
            cell[row["coordinates"]] = with_error(row["value"], row["standard_error"])
        for (quantity, block), cell in cells.items():
            shown = quantity.replace("_", " "), block, f"{cell['size']:,}", cell["raw"], cell.get("relative", "-")
            table.add_row(record.name, *shown)
    for record in records[1:]:
        cells = {}
        for row in _differences(records[0], record):
            cell = cells.setdefault(("trace", row["block"]), {})
            cell[row["coordinates"]] = with_error(row["value"], row["standard_error"])
        for (_, block), cell in cells.items():
            shown = "difference", block, "paired", cell["raw"], cell.get("relative", "-")
            table.add_row(f"{record.name} − {records[0].name}", *shown)
    return table
