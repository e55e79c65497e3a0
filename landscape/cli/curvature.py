"""`landscape curvature`: both ends of the Hessian's spectrum of one or several checkpoints, into the store."""

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from landscape.cli import options
from landscape.cli.measuring import cost_of, opened
from landscape.cli.running import DID_NOT_SETTLE, LARGEST_SEED, command_line, emit, one_of
from landscape.cli.spectra import say_product_errors
from landscape.errors import InvalidArgument

if TYPE_CHECKING:
    from torch import Tensor

    from landscape.objective import Objective
    from landscape.records import Eigenpairs


def curvature(
    targets: options.Targets,
    store: options.Store,
    method: Annotated[str, typer.Option(**one_of("lanczos", "power", "lobpcg"), help="Solver.")] = "lanczos",
    top: Annotated[int, typer.Option(min=0, help="Eigenvalues wanted from the upper end.")] = 1,
    bottom: Annotated[int, typer.Option(min=0, help="Eigenvalues wanted from the lower end.")] = 1,
    block: Annotated[
        str | None, typer.Option(help='Only this block: its name, "rows:GROUP", or a pattern of tensor names.')
    ] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(help="Start Lanczos from the eigenvectors of another target, or of a record's in the store."),
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Look for more from a second random vector: about twice the products.")
    ] = False,
    tolerance: Annotated[float, typer.Option(help="Accepted residual relative to the eigenvalue.")] = 1e-3,
    max_products: Annotated[
        int, typer.Option(help="Products at most: lanczos in all, power for each eigenvalue, lobpcg for each end.")
    ] = 300,
    users: options.Users = None,
    loss: options.Loss = None,
    split: options.Split = "train",
    data: options.Data = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of the starts and of what the objective draws.")
    ] = 0,
    name: Annotated[
        str | None, typer.Option(help="Name in the store; the checkpoint's by default, and the block's behind it.")
    ] = None,
    replace: options.Replace = False,
    threads: options.Threads = None,
    device: options.Device = "auto",
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Find lambda_max and lambda_min, named by sign, each with its residual.

    Of a model of over 13 million parameters Lanczos keeps fewer vectors, in float32, and the record says which.
    Exit code 3 if one did not converge; it is kept, marked so. A record that is there is replaced by one that cannot be
    worse; by any other, and by one of other weights, only with --replace. Nothing else in the store is touched.

    Example: landscape curvature samrec:runs/sasrec samrec:runs/samrec --store study.h5 --users 2048 --top 5
    """
    from landscape.curvature.ends import check_solver, eigenpairs_of, eigenvectors_of, products_at_most

    check_solver(method, bottom=bottom, warm=warm_start is not None, confirm=confirm)
    ends: dict[str, Any] = {
        "top": top, "bottom": bottom, "block": block,
        "tolerance": tolerance, "seed": seed, "max_products": max_products,
    }  # fmt: skip
    settings: dict[str, Any] = {"users": users, "loss": loss, "seed": seed, "split": split, "data": data}
    shared: dict[str, Any] = {"threads": threads, "device": device, **settings}
    objectives = opened(targets, name=name, **shared)
    if dry_run:
        started = products_at_most(method, top, bottom, max_products)
        _say_cost(objectives, block, started * (2 if warm_start else 1), as_json, method=method, ends=ends)
        return
    from landscape.describe import checkpoint_record, provenance
    from landscape.objective import check_frozen
    from landscape.store import Store

    start: Tensor | None = None
    if warm_start is not None:
        ((other, _, objective),) = opened([_target_of(warm_start, store)], name=None, **shared)
        start = eigenvectors_of(objective, label=other, **ends).sum(dim=1)
    records: list[Eigenpairs] = []
    for checkpoint, record, objective in objectives:
        record = record if name or block is None else f"{checkpoint}-{re.sub('[^0-9A-Za-z]+', '-', block).strip('-')}"
        centre, described = check_frozen(objective), checkpoint_record(objective, checkpoint)
        with Store.write(store) as writer:
            origin = provenance(objective)
            writer.check_origin("curvature", record, described, origin, settings=ends, replace=replace)
            pairs = eigenpairs_of(
                objective,
                name=record,
                checkpoint=checkpoint,
                method=method,
                start=_fitting(start, objective, block),
                confirm=confirm,
                centre=centre,
                command=command_line(),
                **ends,
            )
            writer.add_checkpoint(described, replacing=[("curvature", record)] if replace else ())
            writer.add_eigenpairs(pairs, replace=replace)
        records.append(pairs)
    settled = all(pairs.converged.all() for pairs in records)
    payload = {"store": str(store), "converged": settled, "curvature": [_as_json(pairs) for pairs in records]}
    emit(as_json, payload, _table(records))
    if not as_json:
        for pairs in records:
            if "basis" in pairs.settings:
                typer.echo(f"{pairs.name}: {pairs.settings['basis']} vectors kept in {pairs.settings['basis_dtype']}")
        say_product_errors(records)
    if not settled:
        raise typer.Exit(DID_NOT_SETTLE)


def _target_of(warm_start: str, path: Path) -> str:
    """A target as it is, or that of a record in the store."""
    if ":" in warm_start:
        return warm_start
    from landscape.store import Store

    with Store.read(path) as reader:
        names = reader.names("curvature")
        if warm_start in names:
            return reader.eigenpairs(warm_start).provenance.target
    raise InvalidArgument(
        f"expected a target (loader:where) or a curvature record of {path} ({', '.join(names) or 'none'}) for a warm "
        f"start, got {warm_start!r}"
    )


def _fitting(start: "Tensor | None", objective: "Objective", block: str | None) -> "Tensor | None":
    if start is None:
        return None
    from landscape.blocks import mask_of

    size = objective.layout.size if block is None else int(mask_of(objective.layout, block).sum())
    if len(start) != size:
        raise InvalidArgument(f"expected a warm start from weights of {size:,} free coordinates, got {len(start):,}")
    return start


def _say_cost(
    objectives: Any, block: str | None, products: int, as_json: bool, *, method: str, ends: dict[str, Any]
) -> None:
    import torch

    from landscape.curvature.ends import plan_of
    from landscape.curvature.operators import Hessian

    rows = []
    for checkpoint, _, objective in objectives:
        product = Hessian(objective, block=block)
        cost = cost_of(partial(product, torch.ones(product.size, dtype=torch.float64, device=product.device)))
        seconds = products * cost["seconds_a_step"]
        wanted = {key: ends[key] for key in ("top", "bottom", "tolerance")}
        plan = plan_of(product.size, method=method, **wanted)
        rows.append(
            {"checkpoint": checkpoint, "products_at_most": products, "seconds_at_most": seconds, **cost}
            | ({"basis": str(plan)} if plan else {})
        )
    lines = [
        f"{row['checkpoint']}: at most {products} products of {row['seconds_a_step']:.2g} s, "
        f"{row['seconds_at_most']:.0f} s, {row['memory_mib']:.0f} MiB"
        + (f" and {row['basis']}" if "basis" in row else "")
        for row in rows
    ]
    emit(as_json, {"dry_run": rows}, "\n".join(lines))


def _as_json(pairs: "Eigenpairs") -> dict[str, Any]:
    payload: dict[str, Any] = {
        "name": pairs.name, "checkpoint": pairs.checkpoint, "method": pairs.method, "eigenpairs": _rows(pairs),
        "product_error": pairs.product_error,
    }  # fmt: skip
    payload |= {key: pairs.settings[key] for key in ("basis", "basis_dtype") if key in pairs.settings}
    if pairs.mass is None:
        return payload
    shares = dict(zip(pairs.mass.blocks, pairs.mass.shares.tolist(), strict=True))
    masses = [dict(zip(pairs.mass.blocks, row.tolist(), strict=True)) for row in pairs.mass.masses]
    return {**payload, "share_of_weights": shares, "mass": dict(zip(pairs.labels, masses, strict=True))}


def _rows(pairs: "Eigenpairs") -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "value": float(pairs.values[k]),
            "residual": float(pairs.residuals[k]),
            "converged": bool(pairs.converged[k]),
            "products": int(pairs.products[k]),
        }
        for k, label in enumerate(pairs.labels)
    ]


def _table(records: "list[Eigenpairs]") -> Any:
    from rich.table import Table

    table = Table("checkpoint", "eigenvalue", "value", "residual", "products", "converged", "lives in")
    for pairs in records:
        for k, row in enumerate(_rows(pairs)):
            table.add_row(
                pairs.name,
                row["label"],
                f"{row['value']:.6g}",
                f"{row['residual']:.1e}",
                str(row["products"]),
                "yes" if row["converged"] else "NO",
                _home(pairs, k),
            )
    return table


def _home(pairs: "Eigenpairs", k: int) -> str:
    """The two blocks that hold most of an eigenvector."""
    if pairs.mass is None:
        return "-"
    own = [
        (m, block)
        for block, m in zip(pairs.mass.blocks, pairs.mass.masses[k].tolist(), strict=True)
        if ":" not in block
    ]
    return ", ".join(f"{block} {m:.0%}" for m, block in sorted(own, reverse=True)[:2])
