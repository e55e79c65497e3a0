"""`landscape plot`: a figure of what a store holds, for paper or a browser. Reads the store alone, without torch."""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from landscape.cli import options
from landscape.cli.running import emit, one_of


class Kind(StrEnum):
    """What can be drawn."""

    CURVE = "curve"
    CONTOUR = "contour"
    RELIEF = "relief"
    SPECTRUM = "spectrum"
    DENSITY = "density"
    MASS = "mass"
    TRACE = "trace"
    SUBSETS = "subsets"
    SHARPNESS = "sharpness"
    SHARPNESS_TABLE = "sharpness_table"
    CHANGE = "change"
    SCORES = "scores"
    STUDY = "study"
    TRAINING = "training"
    RELATION = "relation"


def plot(
    store: Annotated[Path, typer.Argument(help="The store to draw from; a writer may be at work on it.")],
    out: Annotated[Path, typer.Option("--out", help="File to write: .png, .pdf, .svg or .html.")],
    surface: Annotated[
        list[str] | None,
        typer.Option(
            "--surface",
            "--name",
            help="What to draw by name (of a study: quantities or measures; of changes: groups), again for more. "
            "All by default.",
        ),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option("--kind", help="Contour by default, a curve where surfaces have one axis.")
    ] = None,
    dpi: Annotated[int, typer.Option("--dpi", min=30, max=2400, help="Dots per inch of a .png.")] = 300,
    style: Annotated[
        str, typer.Option(**one_of("paper", "talk", "dark"), help="For a page, a slide, or a dark one.")
    ] = "paper",
    columns: Annotated[
        int | None, typer.Option("--columns", help="Fit the figure to 1 or 2 columns of a two-column paper.")
    ] = None,
    value: Annotated[str, typer.Option("--value", help="Value of the surfaces: loss, or a metric by name.")] = "loss",
    band: Annotated[
        str, typer.Option(**one_of("range", "sd"), help="Of lines of several seeds: smallest to largest, or mean ± sd.")
    ] = "range",
    scale: Annotated[
        str,
        typer.Option(
            **one_of("auto", "linear", "log"), help="Of surfaces: log where values lie far apart, or as said."
        ),
    ] = "auto",
    by_group: Annotated[
        bool, typer.Option("--by-group", help="Of curves: runs of one group, such as a method's seeds, as one band.")
    ] = False,
    baseline: Annotated[
        str | None, typer.Option(help="Of changes: the group others are compared with; by default as a report's.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Draw what a store holds, several checkpoints on one scale.

    Example: landscape plot study.h5 --surface sasrec --surface sam --kind relief --out surfaces.pdf
    """
    from landscape.errors import InvalidArgument
    from landscape.plots import prepare
    from landscape.plots.style import style_named
    from landscape.store import Store

    ending = out.suffix.lower()
    if ending not in (".png", ".pdf", ".svg", ".html"):
        raise InvalidArgument(f"expected --out to end in .png, .pdf, .svg or .html, got {out.name!r}")
    look = style_named(style, columns=columns)
    names = list(dict.fromkeys(surface or ()))
    with Store.read(store) as opened:
        drawn = kind or _fitting(opened, names)
        if drawn in (Kind.CURVE, Kind.CONTOUR, Kind.RELIEF):
            more: dict[str, Any] = {"band": band, "by_group": by_group} if drawn is Kind.CURVE else {}
            data = getattr(prepare, f"prepare_{drawn}")(opened, names, value=value, scale=scale, **more)
        elif drawn is Kind.SCORES:
            tables = [name for name in names if name in opened.names("comparisons")]
            if len(tables) > 1:
                raise InvalidArgument(f"expected one table of scores, got {', '.join(tables)}")
            checkpoints = [name for name in names if name not in tables]
            data = prepare.prepare_scores(opened, tables[0] if tables else "", checkpoints)
        elif drawn is Kind.CHANGE:
            data = prepare.prepare_change(opened, names, baseline=baseline)
        else:
            data = getattr(prepare, f"prepare_{drawn}")(opened, names)
    if ending == ".html":
        from landscape.plots import plotly_figures

        plotly_figures.save(getattr(plotly_figures, drawn)(data, style=look), out)
    else:
        from landscape.plots import matplotlib_figures

        look = replace(look, dots_per_inch=dpi)
        matplotlib_figures.save(getattr(matplotlib_figures, drawn)(data, style=look), out)
    notes = list(data.notes)
    emit(as_json, {"figure": str(out), "kind": str(drawn), "notes": notes}, "\n".join([f"{drawn} in {out}", *notes]))


def _fitting(store: object, names: list[str]) -> Kind:
    """The kind for these surfaces, or for what the store holds."""
    from landscape.errors import InvalidArgument
    from landscape.plots.prepare_places import expanded
    from landscape.store import Store

    assert isinstance(store, Store)
    surfaces = expanded(store, names) or store.names("surfaces")
    if surfaces:
        return Kind.CONTOUR if any(len(store.surface(name).shape) == 2 for name in surfaces) else Kind.CURVE
    for kind, group in (
        (Kind.SPECTRUM, "curvature"),
        (Kind.DENSITY, "densities"),
        (Kind.TRACE, "traces"),
        (Kind.SUBSETS, "subsets"),
        (Kind.SHARPNESS, "sharpness"),
        (Kind.SCORES, "comparisons"),
    ):
        if store.names(group):  # type: ignore[arg-type]
            return kind
    raise InvalidArgument(f"expected something to draw in {store.path}, found nothing")
