"""`landscape selftest`: known surfaces and spectra on this machine, and whether they come out right."""

import math
import time
from typing import Any

import typer

from landscape.cli import options
from landscape.cli.running import emit

FAILED = 1  # a bug of ours or of a library here, like any other


def selftest(
    device: options.Device = "auto",
    as_json: options.AsJson = False,
) -> None:
    """Compare surfaces, spectra and sharpness with answers known exactly; exit code 1 if one is off.

    Example: landscape selftest
    """
    from landscape.devices import choose_device
    from landscape.selftest import run_selftest

    started = time.perf_counter()
    checks = run_selftest(choose_device(device))
    seconds = time.perf_counter() - started
    passed = all(check.passed for check in checks)
    rows = [
        {
            "name": one.name,
            "measure": one.measure,
            "error": one.error,
            "limit": one.limit,
            "passed": one.passed,
            "note": one.note,
        }
        for one in checks
    ]
    emit(as_json, {"passed": passed, "seconds": seconds, "checks": rows}, _table(rows, seconds))
    if not passed:
        raise typer.Exit(FAILED)


def _table(rows: list[dict[str, Any]], seconds: float) -> Any:
    from rich.markup import escape
    from rich.table import Table

    off = sum(not row["passed"] for row in rows)
    table = Table("check", "error", "limit", "", caption=f"{len(rows) - off} ok, {off} failed, {seconds:.1f} s")
    for row in rows:
        error = row["note"] or ("did not settle" if math.isnan(row["error"]) else f"{row['error']:.1e}")
        table.add_row(escape(row["name"]), escape(error), f"{row['limit']:.0e}", "ok" if row["passed"] else "FAILED")
    return table
