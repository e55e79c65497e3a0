"""From a store to the sections of a report: what there is, drawn a checkpoint a card, with tables and evidence."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from landscape.changes import groups_of, measured
from landscape.errors import InvalidArgument
from landscape.plots import prepare
from landscape.plots.figure_data import Floats
from landscape.plots.order import baseline_first
from landscape.plots.prepare_marks import sharpness_of
from landscape.plots.prepare_studies import training_of
from landscape.product_error import product_notes
from landscape.records import SharpnessReport, Table
from landscape.report.cards import marks_cards, row_cards, trend_cards
from landscape.report.evidence import evidence_of, shared_first
from landscape.report.parts import Card, Evidence, Report, Section, SortableTable, sortable_table
from landscape.report.planes import line_sections, path_sections, plane_sections, ratio_sections
from landscape.report.verdict import verdict
from landscape.sharpness.names import eigenvalue_name
from landscape.sharpness.spectral import identity_of, stored_measures
from landscape.store import Store


def report_of(
    store: Store, *, title: str | None = None, facts: Mapping[str, str] | None = None, baseline: str | None = None
) -> Report:
    """Everything a store holds as one report, called by the file's name unless a title is given.

    The verdict compares with the group `baseline`; see `verdict`. `facts` stand at the end of the page.
    """
    sections = [*_changes(store, baseline), *(section for part in PARTS for section in part(store))]
    return Report(title or store.path.stem, verdict(store, baseline=baseline), tuple(sections), facts or {})


def _changes(store: Store, baseline: str | None) -> Iterator[Section]:
    """The verdict's numbers as a figure, where there are pairs of seeds to take intervals over."""
    if max((len(members) for members in groups_of(store).values()), default=0) < 2:
        return
    try:
        data = prepare.prepare_change(store, baseline=baseline)
    except InvalidArgument:  # no two groups, or nothing that both have measured
        return
    text = "Each measure with its interval over pairs of seeds: what the verdict counts."
    yield Section("Change of every measure", text, row_cards(data, "change"), notes=data.notes)


def _checkpoints(store: Store) -> Iterator[Section]:
    records = [store.checkpoint(name) for name in baseline_first(store, store.names("checkpoints"), str)]
    if not records:
        return
    metrics = sorted({key for record in records for key in record.metrics}, key=_by_cutoff)
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
    evidence = shared_first(
        Evidence(record.name, {key: str(value) for key, value in record.config.items() if value is not None})
        for record in records
    )
    yield Section(
        "Checkpoints", "What was looked at.", tables=(sortable_table("Checkpoints", columns, rows),), evidence=evidence
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
        cards, notes = marks_cards(data, "scores"), data.notes
    shown = tuple(_record_table(table) for table in tables)
    said = tuple(str(note) for table in tables for note in table.attributes.get("notes", ()))
    said += tuple(f"{t.name}: {t.attributes['difference']}" for t in tables if "difference" in t.attributes)
    yield Section(
        "Scores", "What the checkpoints are worth, and how far apart they are.", cards, shown, (*notes, *said)
    )


def _spectrum(store: Store) -> Iterator[Section]:
    records = baseline_first(store, [store.eigenpairs(name) for name in store.names("curvature")])
    if not records:
        return
    data = prepare.prepare_spectrum(store)
    rows = tuple(
        (r.name, eigenvalue_name(label), float(value), float(residual), int(products), "yes" if settled else "no")
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
        marks_cards(data, "spectrum", titles),
        (sortable_table("Eigenvalues", columns, rows),),
        (*data.notes, *product_notes(records)),
        shared_first(evidence_of(r.name, r.provenance) for r in records),
        tuple(f"{r.name}: {eigenvalue_name(label)} did not converge" for r in records
              for label, settled in zip(r.labels, r.converged, strict=True) if not settled),
    )  # fmt: skip


def _whole_spectra(store: Store) -> Iterator[Section]:
    if any(store.eigenpairs(name).mass is not None for name in store.names("curvature")):
        masses = prepare.prepare_mass(store)
        text = "How much of each eigenvector lies in each block, beside the block's share of the weights."
        yield Section("Where the sharpness lives", text, marks_cards(masses, "mass"), notes=masses.notes)
    if store.names("densities"):
        densities = baseline_first(store, [store.density(name) for name in store.names("densities")])
        data = prepare.prepare_density(store)
        rows = tuple(
            (d.name, d.probes, *d.trace, *d.frobenius_norm, *d.negative, d.end(-1)[0], d.end(1)[0]) for d in densities
        )
        pairs = [part for name in ("trace", "‖H‖F", "share below 0") for part in (name, f"{name}: standard error")]
        columns = ("record", "probes", *pairs, "smallest node", "largest node")
        yield Section(
            "Spectral density",
            "The share of eigenvalues at each place, by Lanczos quadrature from random probes.",
            trend_cards(data, "density"),
            (sortable_table("Spectral densities", columns, rows),),
            (*data.notes, *product_notes(densities)),
            shared_first(evidence_of(d.name, d.provenance) for d in densities),
        )
    if store.names("traces"):
        traces = baseline_first(store, [store.trace(name) for name in store.names("traces")])
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
            marks_cards(marks, "trace"),
            (sortable_table("Traces", columns, lines),),
            (*marks.notes, *product_notes(traces)),
            shared_first(evidence_of(t.name, t.provenance) for t in traces),
        )
    if store.names("subsets"):
        ends = prepare.prepare_subsets(store)
        text = "Both ends of the spectrum on random subsets: how many users are enough?"
        subsets = [store.subsets(name) for name in store.names("subsets")]
        notes = (*ends.notes, *product_notes(subsets))
        evidence = shared_first(evidence_of(one.name, one.provenance) for one in subsets)
        yield Section("Subsets", text, trend_cards(ends, "subsets"), notes=notes, evidence=evidence)


def _sharpness(store: Store) -> Iterator[Section]:
    """All measures but those that the sections on curvature and trace show already."""
    held = baseline_first(store, [store.sharpness(name) for name in store.names("sharpness")])
    reports = [_without_repeats(store, report) for report in held]
    reports = [report for report in reports if report.measures]
    if not reports:
        return
    data = sharpness_of(store, reports)
    rows = tuple(
        (report.name, str(measured(m)), float(m.value), m.standard_error, int(m.cost), m.note)
        for report in reports
        for m in report.measures
    )
    columns = ("checkpoint", "measure", "value", "standard error", "cost", "note")
    yield Section(
        "Sharpness",
        "Raw values compare only checkpoints of one ‖w‖; the relative ones do not change when weights are re-scaled.",
        marks_cards(data, "sharpness"),
        (sortable_table("Sharpness", columns, rows),),
        data.notes,
        shared_first(evidence_of(report.name, report.provenance) for report in reports),
    )


def _without_repeats(store: Store, report: SharpnessReport) -> SharpnessReport:
    weights = store.checkpoint(report.checkpoint).hash
    shown = {identity_of(measure) for measure in stored_measures(store, weights, report.provenance)}
    return replace(report, measures=tuple(m for m in report.measures if identity_of(m) not in shown))


def _training(store: Store) -> Iterator[Section]:
    histories = [store.table("histories", name) for name in store.names("histories")]
    yield from training_sections(baseline_first(store, histories, lambda table: table.name))


def training_sections(tables: Sequence[Table]) -> Iterator[Section]:
    """Training curves of these histories, if there is an epoch in any."""
    if any(len(table.columns["epoch"]) for table in tables):
        data = training_of(tables)
        yield Section("Training", "What each epoch brought.", trend_cards(data, "training"), notes=data.notes)


def _studies(store: Store) -> Iterator[Section]:
    tables = [store.table("studies", name) for name in store.names("studies")]
    if tables:
        shown = tuple(_record_table(table) for table in tables)
        yield Section("Study", "Tables handed over by the study.", tables=shown)


PARTS: tuple[Callable[[Store], Iterator[Section]], ...] = (
    _checkpoints,
    _scores,
    plane_sections,
    path_sections,
    line_sections,
    ratio_sections,
    _spectrum,
    _whole_spectra,
    _sharpness,
    _training,
    _studies,
)


def _by_cutoff(metric: str) -> tuple[str, int]:
    """NDCG@5 before NDCG@10."""
    family, _, cutoff = metric.partition("@")
    return family, int(cutoff) if cutoff.isdigit() else 0


def _record_table(table: Table) -> SortableTable:
    columns: dict[str, Floats] = dict(table.columns)
    cells = ([None if cell != cell else cell for cell in column.tolist()] for column in columns.values())  # NaN: none
    rows = tuple(zip(*cells, strict=True))
    return sortable_table(table.name, tuple(columns), rows)
