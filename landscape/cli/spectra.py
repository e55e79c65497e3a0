"""What `landscape trace` and `landscape density` share: going on with what a store holds, costs, text of a number."""

import math
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from landscape.cli.measuring import cost_of
from landscape.cli.running import emit
from landscape.product_error import product_notes

if TYPE_CHECKING:
    from landscape.objective import LossValue, Objective
    from landscape.store.spectra import SpectraKind


def record_name(name: str, checkpoint: str, block: str | None, coordinates: str = "raw") -> str:
    """The record's name: as given, or the checkpoint's with what sets it apart."""
    extra = [re.sub("[^0-9A-Za-z]+", "-", part) for part in (block, coordinates) if part not in (None, "raw")]
    return "-".join([checkpoint, *extra]) if name == checkpoint else name


def going_on(
    objectives: Iterator[tuple[str, str, "Objective"]],
    store: Path,
    kind: "SpectraKind",
    settings: dict[str, Any],
    named: Callable[[str, str], str],
    *,
    block: str | None = None,
    replace: bool,
) -> Generator[tuple[str, str, "Objective", Any, Any, "LossValue"], None, None]:
    """For each target: checkpoint, record's name, objective, open store, what it holds to go on with, loss at w.

    The checkpoint is in the store by then, and measurements that would be refused have been refused. Close it when a
    target fails, as `contextlib.closing` does: a store that was made for it is then taken away.

    Raises:
        InvalidArgument: no such block.
        StoreMismatch: the record would be refused.
    """
    from landscape.blocks import mask_of
    from landscape.describe import checkpoint_record, provenance
    from landscape.objective import check_frozen
    from landscape.store import Store

    for checkpoint, given, objective in objectives:
        record = named(given, checkpoint)
        if block is not None:
            mask_of(objective.layout, block)
        centre, described = check_frozen(objective), checkpoint_record(objective, checkpoint)
        with Store.write(store) as writer:
            held = writer.spectrum_to_extend(kind, record, described, provenance(objective), settings, replace=replace)
            writer.add_checkpoint(described, replacing=[(kind, record)] if replace else ())
            yield checkpoint, record, objective, writer, held, centre


def say_cost(
    objectives: Iterator[tuple[str, str, "Objective"]],
    products: int,
    as_json: bool,
    *,
    vectors: Callable[[int], int],
    block: str | None,
) -> None:
    """Time one product, and say what all of them would cost; `vectors` of float64 are kept for n coordinates."""
    import torch

    from landscape.curvature.coordinates import hessian_in

    rows = []
    for checkpoint, _, objective in objectives:
        operator = hessian_in(objective, block=block)
        start = torch.ones(operator.size, dtype=torch.float64, device=operator.device)
        cost = cost_of(lambda operator=operator, start=start: operator(start))  # type: ignore[misc]
        cost["memory_mib"] += vectors(operator.size) * operator.size * 8 / 2**20
        seconds = products * cost["seconds_a_step"]
        rows.append({"checkpoint": checkpoint, "products_at_most": products, "seconds_at_most": seconds, **cost})
    lines = [
        f"{row['checkpoint']}: at most {products:,} products of {row['seconds_a_step']:.2g} s, "
        f"{row['seconds_at_most']:.0f} s, {row['memory_mib']:.0f} MiB"
        for row in rows
    ]
    emit(as_json, {"dry_run": rows}, "\n".join(lines))


def say_product_errors(records: Iterable[Any]) -> None:
    """A line for each record whose Hessian products are not exact."""
    for line in product_notes(records):
        typer.echo(line)


def with_error(value: float, error: float) -> str:
    """A value and its standard error, which one probe has not."""
    return f"{value:.5g}, of one probe: no error" if math.isnan(error) else f"{value:.5g} ± {error:.2g}"
