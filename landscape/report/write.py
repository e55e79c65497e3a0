"""Write the page: a template filled in, everything escaped, one file that needs no network."""

import hashlib
import platform
from importlib import resources
from pathlib import Path

from landscape.display import environment
from landscape.errors import InvalidArgument
from landscape.plots.saving import written_aside
from landscape.report.contents import report_of
from landscape.report.packing import pack_figures, plot_library
from landscape.report.parts import Report
from landscape.store import Store


def write_report(
    store: str | Path, out: str | Path | None = None, *, title: str | None = None, baseline: str | None = None
) -> Path:
    """Write the report of a store as one HTML file and return its path; it appears whole or not at all.

    The store may be half finished, and be written to meanwhile: the report says what is missing. Surfaces are drawn at
    no more than 101 points a side in float32; with the plot library inside, a page is 2 to 5 MB.

    Args:
        store: the study.
        out: a file ending in .html; beside the store by default.
        title: the heading; the store's file name by default.
        baseline: the group of checkpoints that the verdict compares the others with; see `verdict`.

    Raises:
        StoreError: no store there, or the page cannot be written.
        InvalidArgument: another ending, or no group of the baseline's name.
    """
    source = Path(store)
    if out is not None and Path(out).suffix.lower() != ".html":
        raise InvalidArgument(f"expected a file name ending in .html, got {Path(out).name!r}")
    with Store.read(source) as opened:
        facts = {"store": source.name, "fingerprint": fingerprint(source), "python": platform.python_version()}
        report = report_of(opened, title=title or source.stem, facts=facts, baseline=baseline)
    return written_aside(source.with_suffix(".html") if out is None else Path(out), page_of(report).encode())


def page_of(report: Report, *, live: str = "") -> str:
    """The whole page as text; with `live`, the version shown, it asks its server for the plot library and for news."""
    cards = [card for section in report.sections for card in section.cards]
    return (
        environment()
        .get_template("report/page.html")
        .render(
            report=report,
            style=_asset("page.css"),
            script=_asset("page.js"),
            live=live,
            library=plot_library() if cards and not live else "",
            figures=pack_figures([card.figure for card in cards]) if cards else "",
        )
    )


def _asset(name: str) -> str:
    from markupsafe import Markup

    return Markup(resources.files("landscape.report").joinpath(name).read_text())  # our own text, not a user's


def fingerprint(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
