"""`landscape doctor`: what makes a picture odd, with the evidence and what to do next."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from landscape.cli import options
from landscape.cli.running import emit

if TYPE_CHECKING:
    from landscape.doctor import Finding


def doctor(
    store: Annotated[Path, typer.Argument(help="The store to look through; a writer may be at work on it.")],
    as_json: options.AsJson = False,
) -> None:
    """Explain odd pictures and numbers: each finding with its evidence and what to do next.

    Looks at what the store holds and measures nothing. Exit code 0 with and without findings.

    Example: landscape doctor study.h5
    """
    from landscape.doctor import diagnose
    from landscape.store import Store

    findings = diagnose(Store.read(store))
    emit(as_json, {"store": str(store), "findings": findings}, _text(str(store), findings))


def _text(store: str, findings: "list[Finding]") -> str:
    if not findings:
        return f"nothing odd in {store}"
    lines = [f"{len(findings)} finding{'s' if len(findings) > 1 else ''} in {store}"]
    for one in findings:
        lines += ["", f"{one.finding}: {one.record}", f"  {one.says}", f"  next: {one.next}"]
    return "\n".join(lines)
