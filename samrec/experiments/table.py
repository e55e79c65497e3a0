"""The tables of a comparison, from its store alone: on the terminal and as Markdown, the same cells.

Four of them: runs with what stopped each, scores with standard errors, differences with the level each p-value speaks
of, and the geometry of the loss. A number that did not settle, and a run that a cap stopped, carry a note.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.display import SortableTable
from landscape.records import Checkpoint, Eigenpairs, SharpnessReport, Table
from landscape.sharpness.names import SCALED_LAMBDA, eigenvalue_name, measure_name
from landscape.store import Store
from landscape.whole_files import write_whole
from samrec.errors import RunError
from samrec.experiments.measured_loss import loss_measured

if TYPE_CHECKING:
    from rich.console import Group

SHOWN = ("HR@5", "HR@10", "HR@20", "NDCG@5", "NDCG@10", "NDCG@20", "MRR")
COMPARED = ("HR@10", "NDCG@10")
SCALE = (
    "Measures with |w| stay under every re-scaling of weights that keeps the function, "
    f"{SCALED_LAMBDA} where all weights are scaled alike; the other ones do not."
)


@dataclass(frozen=True, slots=True)
class Section:
    """One table with its title and the notes under it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    bold: frozenset[tuple[int, int]] = frozenset()  # cells that stand out, by row and column


def sections_of(store: Store, metrics: Sequence[str] = COMPARED) -> list[Section]:
    """All tables of the comparison a store holds; differences in these metrics."""
    runs, scores, differences = (store.table("comparisons", name) for name in ("runs", "scores", "differences"))
    names = [str(name) for name in runs.columns["run"]]
    measured = set(store.names("curvature")) & set(store.names("sharpness")) & set(store.names("checkpoints"))
    sections = [_runs(runs), _scores(scores, names), _differences(differences, metrics)]
    if all(name in measured for name in names):
        sections.append(_geometry(store, names))
    return sections


def table_of(section: Section) -> SortableTable:
    """For a notebook."""
    return SortableTable(section.title, section.header, section.rows)


def rich_tables(sections: Sequence[Section]) -> "Group":
    """For a terminal."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table as RichTable

    parts: list[Any] = []
    for section in sections:
        table = RichTable(title=escape(section.title), title_justify="left", caption_justify="left")
        for number, column in enumerate(section.header):
            table.add_column(escape(column), justify="left" if number == 0 else "right", overflow="fold")
        for k, row in enumerate(section.rows):
            cells = enumerate(map(escape, row))
            table.add_row(*(f"[bold]{cell}[/bold]" if (k, column) in section.bold else cell for column, cell in cells))
        parts += [table, *(escape(f"  {note}") for note in section.notes), ""]
    return Group(*parts)


def markdown(sections: Sequence[Section]) -> str:
    """For a file."""
    parts = []
    for section in sections:
        lines = [f"## {section.title}", "", _row(section.header), _row(["---", *["---:"] * (len(section.header) - 1)])]
        for k, row in enumerate(section.rows):
            lines.append(_row([f"**{cell}**" if (k, n) in section.bold else cell for n, cell in enumerate(row)]))
        if section.notes:
            lines += ["", *(f"- {note}" for note in section.notes)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def spread(mean: float, deviation: float, form: str) -> str:
    """A mean over seeds ± its standard deviation; the number alone where the deviation is NaN, as of one seed."""
    error = "" if np.isnan(deviation) else f" ± {deviation:{'.2g' if form.endswith('g') else form}}"
    return f"{mean:{form}}{error}"


def number_told(value: float, form: str) -> str:
    """A dash where it is NaN."""
    return "-" if np.isnan(value) else f"{value:{form}}"


def interval_told(row: Mapping[str, Any], form: str, ends: tuple[str, str] = ("low", "high")) -> str:
    """Both ends of a row's interval, a dash where there is none."""
    low, high = (row[end] for end in ends)
    return "-" if np.isnan(low) else f"[{low:{form}}, {high:{form}}]"


def p_values_told(row: Mapping[str, Any]) -> list[str]:
    """As it is, and adjusted by Holm and by Benjamini-Hochberg."""
    return [number_told(row[name], ".3g") for name in ("p_value", "holm", "benjamini_hochberg")]


def write_markdown(path: Path, sections: Sequence[Section]) -> None:
    """Whole or not at all; RunError if it cannot be."""
    try:
        write_whole(path, markdown(sections).encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def _runs(table: Table) -> Section:
    c = table.columns
    rows, notes = [], []
    for k, run in enumerate(c["run"]):
        stopped = str(c["stopped"][k])
        rows.append(
            (
                str(run),
                str(c["method"][k]),
                _known(c["seed"][k]),
                _known(c["best_epoch"][k]),
                _known(c["epochs"][k]),
                stopped,
            )
        )
        if stopped == "cap":
            notes.append(f"{run}: stopped by the cap of {_known(c['epochs'][k])} epochs, not by patience")
        elif stopped == "diverged":
            notes.append(f"{run}: diverged; its best weights before that are compared")
    return Section("Runs", ("run", "method", "seed", "best epoch", "epochs", "stopped by"), tuple(rows), tuple(notes))


def _scores(table: Table, names: Sequence[str]) -> Section:
    c = table.columns
    cells = {
        (str(run), str(metric)): f"{value:.4f} ± {error:.4f}"
        for run, metric, value, error in zip(c["checkpoint"], c["metric"], c["value"], c["standard_error"], strict=True)
    }
    rows = tuple((name, *(cells[name, metric] for metric in SHOWN)) for name in names)
    seen = dict(table.attributes.get("conditions", {})).get("seen", "masked")
    users = f"{table.attributes.get('users', 0):,}"
    note = f"Full ranking of {users} test targets, seen items {seen}; ± one standard error over users."
    return Section("Test scores", ("run", *SHOWN), rows, (note,))


def _differences(table: Table, metrics: Sequence[str]) -> Section:
    c = table.columns
    rows, notes = [], []
    for k, metric in enumerate(c["metric"]):
        if str(metric) not in metrics:
            continue
        level, units, smallest = str(c["level"][k]), int(c["units"][k]), float(c["smallest_p"][k])
        rows.append(
            (
                f"{c['b'][k]} − {c['a'][k]}",
                str(metric),
                f"{c['difference'][k]:+.4f}",
                f"[{c['low'][k]:+.4f}, {c['high'][k]:+.4f}]",
                f"{c['p_value'][k]:.4g}",
                f"{level} ({units:,})",
            )
        )
        if smallest == smallest:  # not NaN: the level of seeds
            notes.append(f"{units} seeds cannot give a p-value below {smallest:g}.")
    notes += [str(note) for note in table.attributes.get("notes", ())]
    notes.append("A p-value over users speaks of these two checkpoints, one over seeds of the methods.")
    notes.append("p-values are not corrected for the number of comparisons and metrics.")
    header = ("difference", "metric", "value", "95 % interval", "p", "level")
    return Section("Differences", header, tuple(rows), tuple(dict.fromkeys(notes)))


def _geometry(store: Store, names: Sequence[str]) -> Section:
    measures: dict[str, None] = {}
    found: list[dict[str, str]] = []
    notes: list[str] = []
    for name in names:
        checkpoint, pairs, report = store.checkpoint(name), store.eigenpairs(name), store.sharpness(name)
        cells = {"loss": _loss(pairs, checkpoint, notes), "‖w‖": f"{checkpoint.norm:.4g}"}
        cells |= _ends(pairs, notes)
        cells |= {key: cell for key, cell in _sharpness(report, notes).items() if key not in cells}
        cells |= _mean_rise(store, name)
        measures |= dict.fromkeys(cells)
        found.append(cells)
    objective = store.eigenpairs(names[0]).provenance.objective
    if isinstance(users := objective.get("users"), int):
        loss = loss_measured(objective, [store.checkpoint(name).config for name in names])
        notes[:0] = [
            f"Spectrum and sharpness of the frozen {loss} training loss of {users:,} users, the same for every run.",
            f"The loss is {loss.why}.",
        ]
    notes.append(SCALE)
    rows = tuple((measure, *(cells.get(measure, "-") for cells in found)) for measure in measures)
    return Section("Curvature and sharpness", ("measure", *names), rows, tuple(notes))


def _loss(pairs: Eigenpairs, checkpoint: Checkpoint, notes: list[str]) -> str:
    """At w, of the objective that spectrum and sharpness are of; the first stores have another one's, with a note."""
    loss = checkpoint.loss if pairs.loss is None else pairs.loss
    if loss is None:
        return "-"
    if pairs.loss is None:
        notes.append(f"{pairs.name}: the loss is of whatever was measured last; the store is from before it was kept.")
    return f"{loss:.5f}"


def _ends(pairs: Eigenpairs, notes: list[str]) -> dict[str, str]:
    cells = {}
    for label, value, residual, settled in zip(
        pairs.labels, pairs.values, pairs.residuals, pairs.converged, strict=True
    ):
        cells[eigenvalue_name(label)] = f"{value:.4g} ± {residual:.1g}" + ("" if settled else " (unsettled)")
        if not settled:
            notes.append(f"{pairs.name}: {label} did not settle to a relative residual of {pairs.tolerance:g}.")
    return cells


def _sharpness(report: SharpnessReport, notes: list[str]) -> dict[str, str]:
    cells = {}
    for measure in report.measures:
        error = "" if measure.standard_error is None else f" ± {measure.standard_error:.1g}"
        cells[measure_name(measure)] = f"{measure.value:.4g}{error}"
        if "not finite" in measure.note:
            notes.append(f"{report.name}: {measure.measure}: {measure.note}.")
    return cells


def _mean_rise(store: Store, name: str) -> dict[str, str]:
    """Of the loss over the centre, all points of the run's finished plane alike; nothing where one is not finite."""
    if name not in store.names("surfaces"):
        return {}
    surface = store.surface(name)
    rise = surface.values.get("rise")
    if rise is None or not surface.is_finished or not np.isfinite(rise).all():
        return {}
    return {f"mean rise, {' × '.join(map(str, surface.shape))} points": f"{rise.mean():.4g}"}


def _known(value: Any) -> str:
    return "-" if int(value) < 0 else f"{int(value):,}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\|", r"\\|", cell) for cell in cells) + " |"
