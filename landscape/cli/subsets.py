"""`landscape subsets`: both ends of the Hessian's spectrum on random subsets of the data, into the store."""

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli import options
from landscape.cli.measuring import name_of, numbers, opened
from landscape.cli.running import DID_NOT_SETTLE, LARGEST_SEED, command_line, emit
from landscape.cli.spectra import going_on, say_cost, say_product_errors
from landscape.errors import InvalidArgument

if TYPE_CHECKING:
    from landscape.objective import Objective
    from landscape.spectra import Subsets


def subsets(
    targets: options.Targets,
    store: options.Store,
    users: Annotated[str, typer.Option(help="Sizes of the subsets.")] = "256,512,1024,2048",
    draws: Annotated[int, typer.Option(min=1, help="Random subsets of each size.")] = 3,
    tolerance: Annotated[float, typer.Option(help="Accepted residual relative to the eigenvalue.")] = 1e-2,
    max_products: Annotated[int, typer.Option(min=1, help="Products at most, for each subset.")] = 300,
    loss: options.Loss = None,
    split: options.Split = "train",
    data: options.Data = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED - 10**6, help="Of the first draw; then upwards.")] = 0,
    name: options.Name = None,
    replace: options.Replace = False,
    threads: options.Threads = None,
    device: options.Device = "auto",
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Find lambda_max and lambda_min on subsets of growing size: how many users are enough?

    Interrupted, or with more sizes or --draws, the same command goes on with those in the store. Exit code 3 if an end
    did not converge; it is kept, marked so.

    Example: landscape subsets samrec:runs/sasrec samrec:runs/samrec --store study.h5 --users 256,1024,4096 --draws 5
    """
    sizes = sorted({int(size) for size in numbers(users, "--users")})
    if not sizes or sizes[0] < 1:
        raise InvalidArgument(f"expected --users of at least 1, got {users!r}")
    if not 0 < tolerance < 1:
        raise InvalidArgument(f"expected a relative --tolerance between 0 and 1, got {tolerance}")
    wanted = [(size, one) for size in sizes for one in range(seed, seed + draws)]
    settings: dict[str, Any] = {"loss": loss, "split": split, "data": data}
    shared: dict[str, Any] = {"threads": threads, "device": device, **settings}
    objectives = opened(targets, name=name, users=sizes[-1], seed=seed, **shared)
    if dry_run:
        say_cost(objectives, len(wanted) * max_products, as_json, vectors=lambda _: 86, block=None)
        return
    from landscape.curvature.subsets import settings_of, subsets_of

    asked = settings_of(tolerance=tolerance, max_products=max_products)
    of_name = {name_of(target): target for target in targets}

    def objective_on(target: str, size: int, one: int) -> "Objective":
        ((_, _, objective),) = opened([target], name=None, users=size, seed=one, **shared)
        return objective

    records: list[Subsets] = []
    going = going_on(objectives, store, "subsets", dict(asked), lambda given, _: given, replace=replace)
    with contextlib.closing(going):
        for checkpoint, record, _, writer, held, _ in going:
            found = subsets_of(
                partial(objective_on, of_name[checkpoint]),
                wanted,
                name=record,
                checkpoint=checkpoint,
                tolerance=tolerance,
                max_products=max_products,
                held=held,
                keep=partial(writer.add_subsets, replace=replace),
                command=command_line(),
            )
            records.append(found)
    settled = all(found.converged.all() for found in records)
    payload = {"store": str(store), "converged": settled, "subsets": [_as_json(found) for found in records]}
    emit(as_json, payload, _table(records))
    if not as_json:
        say_product_errors(records)
    if not settled:
        raise typer.Exit(DID_NOT_SETTLE)


def _as_json(record: "Subsets") -> dict[str, Any]:
    keys = ("users", "seeds", "losses", "values", "residuals", "converged", "products")
    columns = {key: getattr(record, key).tolist() for key in keys}
    rows = [
        {
            "users": columns["users"][k],
            "seed": columns["seeds"][k],
            "loss": columns["losses"][k],
            "lambda_max": columns["values"][k][0],
            "lambda_min": columns["values"][k][1],
            "residuals": columns["residuals"][k],
            "converged": columns["converged"][k],
            "products": columns["products"][k],
        }
        for k in range(len(record.users))
    ]
    return {
        "name": record.name,
        "checkpoint": record.checkpoint,
        **record.settings,
        "product_error": record.product_error,
        "draws": rows,
    }


def _table(records: "list[Subsets]") -> Any:
    from rich.table import Table

    table = Table("checkpoint", "users", "draws", "lambda_max", "lambda_min", "converged")
    for record in records:
        for size in sorted(set(record.users.tolist())):
            rows = record.users == size
            ends = [
                f"{column.min():.4g} to {column.max():.4g}, mean {column.mean():.4g}"
                for column in record.values[rows].T
            ]
            settled = "yes" if record.converged[rows].all() else "NO"
            table.add_row(record.name, f"{size:,}", str(int(rows.sum())), *ends, settled)
    return table
