"""From a store to the sections of a report: what there is, drawn a checkpoint a card, with tables and evidence."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.plots import plotly_figures, prepare
from landscape.plots.figure_data import Floats, MarksData, Panel, SurfacesData
from landscape.plots.prepare_marks import sharpness_of
from landscape.plots.prepare_studies import training_of
from landscape.plots.scale import short
from landscape.records import Direction, Provenance, SharpnessReport, Status, Surface, Table
from landscape.report.parts import Card, Evidence, Report, Section, SortableTable
from landscape.report.verdict import told_measure, verdict
from landscape.sharpness.spectral import identity_of, stored_measures
from landscape.store import Store

MOST_POINTS = 101  # a side of a surface as drawn; more is thinned out


def report_of(
    store: Store, *, title: str | None = None, facts: Mapping[str, str] | None = None, baseline: str | None = None
) -> Report:
    """Everything a store holds as one report, called by the file's name unless a title is given.

    The verdict compares with the group `baseline`; see `verdict`. `facts` stand at the end of the page.
    """
    sections = [section for part in PARTS for section in part(store)]
    return Report(title or store.path.stem, verdict(store, baseline=baseline), tuple(sections), facts or {})


def _checkpoints(store: Store) -> Iterator[Section]:
    records = [store.checkpoint(name) for name in store.names("checkpoints")]
    if not records:
        return
    metrics = list(dict.fromkeys(key for record in records for key in record.metrics))
    rows = tuple(
        (
            record.name,
            str(record.config.get("group", "")),
            record.parameters,
            record.norm,
            *(record.metrics.get(metric) for metric in metrics),
            record.hash[:12],
        )
        for record in records
    )
    columns = ("checkpoint", "group", "free parameters", "‖w‖", *metrics, "hash")
    evidence = tuple(
        Evidence(record.name, {key: str(value) for key, value in record.config.items() if value is not None})
        for record in records
    )
    yield Section(
        "Checkpoints", "What was looked at.", tables=(_table("Checkpoints", columns, rows),), evidence=evidence
    )


def _scores(store: Store) -> Iterator[Section]:
    names = store.names("comparisons")
    tables = [store.table("comparisons", name) for name in names]
    if not tables:
        return
    cards: tuple[Card, ...] = ()
    notes: tuple[str, ...] = ()
    if "scores" in names:
        data = prepare.prepare_scores(store, "scores")
        cards, notes = _marks(data, "scores"), data.notes
    shown = tuple(_record_table(table) for table in tables)
    said = tuple(str(note) for table in tables for note in table.attributes.get("notes", ()))
    yield Section(
        "Scores", "What the checkpoints are worth, and how far apart they are.", cards, shown, (*notes, *said)
    )


def _planes(store: Store) -> Iterator[Section]:
    surfaces = [store.surface(name) for name in store.names("surfaces")]
    families: dict[str, list[Surface]] = {}
    for surface in surfaces:
        if surface.beta is not None and "loss" in surface.values:
            families.setdefault(_family(surface), []).append(surface)
    for family, members in families.items():
        names = [surface.name for surface in members]
        contour, relief = prepare.prepare_contour(store, names), prepare.prepare_relief(store, names)
        cards = [*_panels(contour, members, "contour"), *_panels(relief, members, "relief")]
        notes = list(contour.notes)
        if any(max(surface.shape) > MOST_POINTS for surface in members):
            notes.append(f"drawn at no more than {MOST_POINTS} points a side; the store holds all")
        yield Section(
            f"Loss over a plane: {family}",
            "All pictures on one scale. Turn one relief and the others turn with it.",
            tuple(cards),
            notes=tuple(notes),
            evidence=shared_first(_evidence(s.name, s.provenance, s.x, s.y) for s in members),
            unfinished=_pending(members),
        )


def _lines(store: Store) -> Iterator[Section]:
    surfaces = [store.surface(name) for name in store.names("surfaces")]
    members = [surface for surface in surfaces if surface.beta is None and "loss" in surface.values]
    if members:
        data = prepare.prepare_curve(store, [surface.name for surface in members])
        yield Section(
            "Loss along a line",
            "Bands where standard errors were measured.",
            (Card("Loss along a line", "curve", plotly_figures.curve(replace(data, notes=()))),),
            notes=data.notes,
            evidence=shared_first(_evidence(s.name, s.provenance, s.x, s.y) for s in members),
            unfinished=_pending(members),
        )


def _spectrum(store: Store) -> Iterator[Section]:
    records = [store.eigenpairs(name) for name in store.names("curvature")]
    if not records:
        return
    data = prepare.prepare_spectrum(store)
    rows = tuple(
        (r.name, label, float(value), float(residual), int(products), "yes" if settled else "no")
        for r in records
        for label, value, residual, products, settled in zip(
            r.labels, r.values, r.residuals, r.products, r.converged, strict=True
        )
    )
    columns = ("checkpoint", "eigenvalue", "value", "residual", "products", "converged")
    titles = ("Eigenvalues of the Hessian", "Eigenvalues times ‖w‖², the same where all weights are scaled alike")
    yield Section(
        "Curvature",
        "Both ends of the Hessian's spectrum, named by sign.",
        _marks(data, "spectrum", titles),
        (_table("Eigenvalues", columns, rows),),
        data.notes,
        shared_first(_evidence(r.name, r.provenance) for r in records),
        tuple(f"{r.name}: {label} did not converge" for r in records
              for label, settled in zip(r.labels, r.converged, strict=True) if not settled),
    )  # fmt: skip


def _whole_spectra(store: Store) -> Iterator[Section]:
    if any(store.eigenpairs(name).mass is not None for name in store.names("curvature")):
        masses = prepare.prepare_mass(store)
        text = "How much of each eigenvector lies in each block, beside the block's share of the weights."
        yield Section("Where the sharpness lives", text, _marks(masses, "mass"), notes=masses.notes)
    if store.names("densities"):
        densities = [store.density(name) for name in store.names("densities")]
        data = prepare.prepare_density(store)
        rows = tuple(
            (d.name, d.probes, *d.trace, *d.frobenius_norm, *d.negative, d.end(-1)[0], d.end(1)[0]) for d in densities
        )
        pairs = [part for name in ("trace", "‖H‖F", "share below 0") for part in (name, f"{name}: standard error")]
        columns = ("record", "probes", *pairs, "smallest node", "largest node")
        yield Section(
            "Spectral density",
            "The share of eigenvalues at each place, by Lanczos quadrature from random probes.",
            _trends(data, "density"),
            (_table("Spectral densities", columns, rows),),
            data.notes,
            shared_first(_evidence(d.name, d.provenance) for d in densities),
        )
    if store.names("traces"):
        traces = [store.trace(name) for name in store.names("traces")]
        marks = prepare.prepare_trace(store)
        lines = tuple(
            (t.name, quantity.replace("_", " "), block, coordinates, int(size), *estimate)
            for t in traces
            for quantity, block, coordinates, size, estimate in zip(
                t.quantities, t.blocks, t.coordinates, t.sizes, t.estimates, strict=True
            )
        )
        columns = ("record", "quantity", "of", "coordinates", "weights", "value", "standard error")
        yield Section(
            "Trace",
            "The sum of all eigenvalues, whole and by block; relative to |w|, re-scaling leaves it alone.",
            _marks(marks, "trace"),
            (_table("Traces", columns, lines),),
            marks.notes,
            shared_first(_evidence(t.name, t.provenance) for t in traces),
        )
    if store.names("subsets"):
        ends = prepare.prepare_subsets(store)
        text = "Both ends of the spectrum on random subsets: how many users are enough?"
        evidence = (_evidence(name, store.subsets(name).provenance) for name in store.names("subsets"))
        yield Section("Subsets", text, _trends(ends, "subsets"), notes=ends.notes, evidence=shared_first(evidence))


def _sharpness(store: Store) -> Iterator[Section]:
    """All measures but those that the sections on curvature and trace show already."""
    reports = [_without_repeats(store, store.sharpness(name)) for name in store.names("sharpness")]
    reports = [report for report in reports if report.measures]
    if not reports:
        return
    data = sharpness_of(store, reports)
    rows = tuple(
        (report.name, told_measure(m), float(m.value), m.standard_error, int(m.cost), m.note)
        for report in reports
        for m in report.measures
    )
    columns = ("checkpoint", "measure", "value", "standard error", "cost", "note")
    yield Section(
        "Sharpness",
        "Raw values compare only checkpoints of one ‖w‖; the relative ones do not change when weights are re-scaled.",
        _marks(data, "sharpness"),
        (_table("Sharpness", columns, rows),),
        data.notes,
        shared_first(_evidence(report.name, report.provenance) for report in reports),
    )


def _without_repeats(store: Store, report: SharpnessReport) -> SharpnessReport:
    weights = store.checkpoint(report.checkpoint).hash
    shown = {identity_of(measure) for measure in stored_measures(store, weights, report.provenance)}
    return replace(report, measures=tuple(m for m in report.measures if identity_of(m) not in shown))


def _training(store: Store) -> Iterator[Section]:
    yield from training_sections([store.table("histories", name) for name in store.names("histories")])


def training_sections(tables: Sequence[Table]) -> Iterator[Section]:
    """Training curves of these histories, if there is an epoch in any."""
    if any(len(table.columns["epoch"]) for table in tables):
        data = training_of(tables)
        yield Section("Training", "What each epoch brought.", _trends(data, "training"), notes=data.notes)


def _studies(store: Store) -> Iterator[Section]:
    tables = [store.table("studies", name) for name in store.names("studies")]
    if tables:
        shown = tuple(_record_table(table) for table in tables)
        yield Section("Study", "Tables handed over by the study.", tables=shown)


PARTS: tuple[Callable[[Store], Iterator[Section]], ...] = (
    _checkpoints,
    _scores,
    _planes,
    _lines,
    _spectrum,
    _whole_spectra,
    _sharpness,
    _training,
    _studies,
)


def _panels(data: SurfacesData, surfaces: Sequence[Surface], kind: str) -> Iterator[Card]:
    draw = getattr(plotly_figures, kind)
    for panel, surface in zip(data.panels, surfaces, strict=True):
        alone = replace(data, panels=(thinned(panel),), notes=())
        yield Card(panel.title, kind, draw(alone), panel.subtitle, surface.checkpoint)


def thinned(panel: Panel, most: int = MOST_POINTS) -> Panel:
    """The panel with at most so many points a side: evenly spread indices, ends included."""
    columns, rows = _spread(len(panel.alpha), most), _spread(len(panel.beta), most)
    if len(columns) == len(panel.alpha) and len(rows) == len(panel.beta):
        return panel
    cells = np.ix_(rows, columns)
    return replace(
        panel, alpha=panel.alpha[columns], beta=panel.beta[rows],
        heights=panel.heights[cells], values=panel.values[cells],
    )  # fmt: skip


def _spread(length: int, most: int) -> Any:
    return np.unique(np.round(np.linspace(0, length - 1, min(length, most))).astype(int))


def _marks(data: MarksData, kind: str, titles: Sequence[str] = ()) -> tuple[Card, ...]:
    draw = getattr(plotly_figures, kind)
    named = titles or [panel.title for panel in data.panels]
    return tuple(
        Card(title or panel.scale.label, kind, draw(replace(data, panels=(panel,), notes=())))
        for title, panel in zip(named, data.panels, strict=True)
    )


def _trends(data: Any, kind: str) -> tuple[Card, ...]:
    draw = getattr(plotly_figures, kind)
    return tuple(
        Card(panel.title or panel.scale.label, kind, draw(replace(data, panels=(panel,), notes=())))
        for panel in data.panels
    )


def _family(surface: Surface) -> str:
    """Surfaces that are paired: the same kind of directions from the same seeds."""
    assert surface.y is not None
    seeds = dict.fromkeys((surface.x.seed, surface.y.seed))
    kinds = dict.fromkeys((surface.x.kind, surface.y.kind))
    if surface.x.kind in ("through", "pca"):  # made of checkpoints, drawn from no seed
        return f"{surface.x.kind}, {surface.name}"
    return f"{' and '.join(kinds)}, seed {' and '.join(map(str, seeds))}"


def _pending(surfaces: Sequence[Surface]) -> tuple[str, ...]:
    counts = [(s.name, int((s.status != Status.PENDING).sum()), s.status.size) for s in surfaces]
    return tuple(f"surface {name}: {done:,} of {size:,} points measured" for name, done, size in counts if done < size)


def shared_first(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """What all records share said once, before what is each one's own."""
    each = list(evidence)
    if len(each) < 2:
        return tuple(each)
    shared = {key: value for key, value in each[0].facts.items() if all(e.facts.get(key) == value for e in each)}
    own = [Evidence(e.name, {key: value for key, value in e.facts.items() if key not in shared}) for e in each]
    return (Evidence("All of them", shared), *(e for e in own if e.facts))


def _evidence(name: str, origin: Provenance, *directions: Direction | None) -> Evidence:
    facts = {"target": origin.target, "command": origin.command, "measured": origin.created}
    facts |= {f"objective: {key}": str(value) for key, value in origin.objective.items() if value is not None}
    for axis, direction in zip(("x", "y"), directions, strict=False):
        if direction is not None:
            cosine = "" if direction.cosine is None else f", cosine {direction.cosine:.1e}"
            facts[f"direction {axis}"] = (
                f"{direction.kind}, seed {direction.seed}, norm {short(direction.norm)}{cosine}, {direction.hash[:12]}"
            )
    facts |= {f"version: {key}": value for key, value in origin.versions.items()}
    return Evidence(name, {key: value for key, value in facts.items() if value})


def _record_table(table: Table) -> SortableTable:
    columns: dict[str, Floats] = dict(table.columns)
    rows = tuple(zip(*(column.tolist() for column in columns.values()), strict=True))
    return _table(table.name, tuple(columns), rows)


def _table(caption: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> SortableTable:
    return SortableTable(caption, tuple(name.replace("_", " ") for name in columns), tuple(rows))
