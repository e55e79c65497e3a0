"""Sections of a report about the loss itself: over planes, along lines, ratio maps, and paths of trainings."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from landscape.plots import plotly_figures, prepare
from landscape.plots.figure_data import CurveData
from landscape.plots.order import baseline_first
from landscape.records import Status, Surface, Trajectory
from landscape.report.cards import MOST_POINTS, surface_cards
from landscape.report.evidence import evidence_of, shared_first
from landscape.report.parts import Card, Section, sortable_table
from landscape.store import Store

RATIO = "ratio"  # the value that makes a surface a ratio map
MAPPED = (RATIO, "lambda_max", "lambda_min", "loss")  # what is drawn of one
TITLES = {  # of planes made of checkpoints or eigenvectors, each a section of its own
    "through": "Plane through three checkpoints",
    "pca": "The path of a training in its principal plane",
    "eigenvector": "Plane of two eigenvectors",
}


def plane_sections(store: Store) -> Iterator[Section]:
    """A section for each family of surfaces that are paired: contours, reliefs, and cuts where runs have seeds."""
    families: dict[str, list[Surface]] = {}
    for surface in _surfaces(store):
        if surface.beta is not None and "loss" in surface.values and RATIO not in surface.values:
            families.setdefault(_title(surface), []).append(surface)
    for title, members in families.items():
        names = [surface.name for surface in members]
        contour, relief = prepare.prepare_contour(store, names), prepare.prepare_relief(store, names)
        cards = [*surface_cards(contour, members, "contour"), *surface_cards(relief, members, "relief")]
        notes = list(contour.notes)
        if any(max(surface.shape) > MOST_POINTS for surface in members):
            notes.append(f"drawn at no more than {MOST_POINTS} points a side; the store holds all")
        cut = prepare.prepare_curve(store, names, by_group=True)
        if len(cut.lines) < len(members):
            cards.append(Card("Cuts along alpha, runs of a group together", "curve", _curve(cut)))
            notes += [note for note in cut.notes if note not in notes]
        text = "All pictures on one scale. Turn one relief and the others turn with it."
        yield _section(title, text, cards, notes, members)


def line_sections(store: Store) -> Iterator[Section]:
    """All lines in one figure."""
    members = [surface for surface in _surfaces(store) if surface.beta is None and "loss" in surface.values]
    if members:
        data = prepare.prepare_curve(store, [surface.name for surface in members])
        title, text = "Loss along a line", "Bands where standard errors or several seeds were measured."
        yield _section(title, text, [Card(title, "curve", _curve(data))], data.notes, members)


def ratio_sections(store: Store) -> Iterator[Section]:
    """Ratio maps: the ratio of the extreme eigenvalues, both of them, and the loss there."""
    members = [surface for surface in _surfaces(store) if surface.beta is not None and RATIO in surface.values]
    if not members:
        return
    names = [surface.name for surface in members]
    cards: list[Card] = []
    notes: list[str] = []
    for value in MAPPED:
        data = prepare.prepare_contour(store, names, value=value)
        shown = data.scale.label.partition("  [")[0]
        cards += [replace(card, title=f"{shown}: {card.title}") for card in surface_cards(data, members, "contour")]
        notes += [note for note in data.notes if note not in notes]
    text = "The ratio of the Hessian's extreme eigenvalues at each point: 0 is convex, 1 as much downwards as upwards."
    yield _section("How far from convex", text, cards, notes, members)


def path_sections(store: Store) -> Iterator[Section]:
    """Paths of trainings, checkpoint by checkpoint."""
    for path in (store.trajectory(name) for name in store.names("trajectories")):
        share = " + ".join(f"{100 * part:.1f} %" for part in path.explained[:2])
        columns = ("epoch", "loss", "x", "y", "distance from the origin", "outside the plane", "checkpoint")
        yield Section(
            f"Path of a training: {path.name}",
            f"The principal plane explains {share} of the squared distances from its origin, {path.checkpoint}. "
            "What lies outside of it no picture in the plane shows.",
            tables=(sortable_table("Checkpoints of the path", columns, _rows(path)),),
            evidence=(evidence_of(path.name, path.provenance, path.x, path.y),),
        )


def _rows(path: Trajectory) -> tuple[tuple[float | str, ...], ...]:
    numbers = zip(path.epochs, path.losses, *path.coordinates.T, path.distances, path.outside, strict=True)
    return tuple((*(float(number) for number in row), label) for row, label in zip(numbers, path.labels, strict=True))


def _surfaces(store: Store) -> list[Surface]:
    return baseline_first(store, [store.surface(name) for name in store.names("surfaces")])


def _curve(data: CurveData) -> object:
    return plotly_figures.curve(replace(data, notes=()))


def _title(surface: Surface) -> str:
    """Surfaces that are paired share it: the same kind of directions from the same seeds."""
    assert surface.y is not None
    if surface.x.kind in TITLES:
        return f"{TITLES[surface.x.kind]}: {surface.name}"
    seeds = dict.fromkeys((surface.x.seed, surface.y.seed))
    kinds = dict.fromkeys((surface.x.kind, surface.y.kind))
    return f"Loss over a plane: {' and '.join(kinds)}, seed {' and '.join(map(str, seeds))}"


def _section(
    title: str, text: str, cards: Sequence[Card], notes: Sequence[str], surfaces: Sequence[Surface]
) -> Section:
    """Cards of these surfaces, with where they come from and what of them is still to be measured."""
    counts = [(s.name, int((s.status != Status.PENDING).sum()), s.status.size) for s in surfaces]
    return Section(
        title,
        text,
        tuple(cards),
        notes=tuple(notes),
        evidence=shared_first(
            evidence_of(s.name, s.provenance, s.x, s.y, approximation=s.approximation) for s in surfaces
        ),
        unfinished=tuple(
            f"surface {name}: {done:,} of {size:,} points measured" for name, done, size in counts if done < size
        ),
    )
