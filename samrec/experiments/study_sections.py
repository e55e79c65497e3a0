"""The tables of a study laid out for people: cells as text, with notes that say what each number is and is not.

From the plain tables of `study_tables` alone. A run that a cap stopped, one that diverged, an eigenvalue that did not
settle: each carries a note.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from landscape.records import Table
from samrec.experiments.choice import choice_section
from samrec.experiments.measure_changes import changes_section
from samrec.experiments.published import published_section
from samrec.experiments.relations import relations_section
from samrec.experiments.stopping import stopping_section
from samrec.experiments.study_values import LOSSES, NOT_BEGUN
from samrec.experiments.table import SCALE, SHOWN, Section, interval_told, number_told, p_values_told, spread


def study_sections(tables: Mapping[str, Table], unsettled: Sequence[str] = ()) -> list[Section]:
    """All sections a study has numbers for."""
    sections = [runs_section(tables["runs"])]
    if "summary" in tables:
        sections.append(scores_section(tables["summary"], tables["runs"]))
    if "published" in tables:
        sections.append(published_section(tables["published"]))
    if "choice" in tables:
        sections.append(choice_section(tables["choice"]))
    if "differences" in tables:
        sections.append(differences_section(tables["differences"]))
    if "budgets" in tables:
        sections.append(budgets_section(tables["budgets"]))
    if "stopping" in tables:
        sections.append(stopping_section(tables["stopping"]))
    if "summary" in tables and LOSSES[-1] in tables["summary"].columns["quantity"]:
        measures = [str(name) for name in tables["values"].attributes["measures"]]
        sections.append(geometry_section(tables["summary"], measures, unsettled))
    if "changes" in tables:
        sections.append(changes_section(tables["changes"]))
    if "relations" in tables:
        sections.append(relations_section(tables["relations"]))
    return sections


def runs_section(table: Table) -> Section:
    """A row a run: what ended it, and when."""
    rows: list[tuple[str, ...]] = []
    said: dict[str, list[str]] = {}
    for r in table.rows():
        ended = r["stopped"] if r["status"] == "finished" else r["status"]
        counts = [_known(r[name]) for name in ("best_epoch", "epochs", "gradients")]
        seconds = "-" if np.isnan(r["seconds"]) else f"{r['seconds']:,.0f}"
        rows.append((r["run"], r["cell"], str(r["seed"]), *counts, seconds, ended))
        if ended == "cap":
            said.setdefault(f"Stopped by the cap of {r['cap']:,} epochs, not by patience", []).append(r["run"])
        elif ended == "diverged":
            said.setdefault("Diverged; counted, and part of no mean and no difference", []).append(r["run"])
        elif r["status"] != "finished":
            said.setdefault(f"Part of no number here yet, {r['status']}", []).append(r["run"])
    header = ("run", "cell", "seed", "best epoch", "epochs", "gradients", "seconds", "stopped by")
    notes = [*(f"{what}: {', '.join(who)}." for what, who in said.items()), *table.attributes.get("notes", ())]
    return Section("Runs", header, tuple(rows), tuple(notes))


def scores_section(summary: Table, runs: Table) -> Section:
    """Test scores over seeds, a row a cell of which a run was begun."""
    planned = [str(cell) for cell in runs.columns["cell"]]
    begun = [str(r["cell"]) for r in runs.rows() if r["status"] != NOT_BEGUN]
    diverged = [str(r["cell"]) for r in runs.rows() if r["status"] == "diverged"]
    cells = {(r["cell"], r["quantity"]): r for r in summary.rows()}
    rows = []
    for cell in dict.fromkeys(begun):
        found = [cells.get((cell, metric)) for metric in SHOWN]
        seeds = found[0]["seeds"] if found[0] else 0
        rows.append((cell, f"{seeds} of {planned.count(cell)}", *(_spread(one, ".4f") for one in found)))
    notes = ["Mean over seeds ± standard deviation (n − 1); every target ranked against all items, seen ones masked."]
    notes += [
        f"{cell}: {diverged.count(cell)} of {planned.count(cell)} runs diverged." for cell in dict.fromkeys(diverged)
    ]
    return Section("Test scores", ("cell", "seeds", *SHOWN), tuple(rows), tuple(notes))


def differences_section(table: Table) -> Section:
    """Paired differences on both levels, with corrections."""
    rows, smallest = [], []
    for r in table.rows():
        pairs = f"{r['seeds']} pair{'s' if r['seeds'] > 1 else ''}"
        units = f"{r['users']:,} users, {pairs}" if r["users"] >= 0 else f"{r['seeds']} seeds"
        rows.append(
            (
                f"{r['cell']} − {r['against']}",
                r["metric"],
                f"{r['difference']:+.4f}",
                interval_told(r, "+.4f"),
                *p_values_told(r),
                units,
            )
        )
        if r["smallest_p"] == r["smallest_p"]:
            smallest.append(f"{r['seeds']} seeds cannot give a p-value below {r['smallest_p']:g}.")
    notes = [
        "Users: per user the mean of the differences of runs of one seed; bootstrap interval and sign-flip test; it "
        "speaks of these checkpoints.",
        *(
            ["Seeds: one difference a seed; t interval and sign-flip test; it speaks of the methods."]
            if smallest
            else []
        ),
        "Holm and BH (Benjamini-Hochberg) adjust p over all comparisons of the same level in this table.",
        *dict.fromkeys(smallest),
    ]
    header = ("difference", "metric", "value", "95 % interval", "p", "Holm", "BH", "over")
    return Section("Paired differences on test", header, tuple(rows), tuple(notes))


def budgets_section(table: Table) -> Section:
    """Equal epochs, equal gradients, equal time."""
    rows = [
        (
            f"{r['cell']} − {r['against']}",
            f"{number_told(r['amount'], ',.0f')} {r['budget']}",
            r["metric"],
            number_told(r["value_against"], ".4f"),
            number_told(r["value"], ".4f"),
            number_told(r["difference"], "+.4f"),
            interval_told(r, "+.4f"),
            f"{r['reached']} of {r['pairs']}",
        )
        for r in table.rows()
    ]
    before = table.attributes["pretrained"]
    notes = (
        "The budget is what B's run of each pair spent in all until it stopped (its mean over seeds is shown); of A "
        "the best validation score counts among the epochs that had ended by then, of B its best. Both are validation "
        "scores: test is ranked at the best epoch alone.",
        "Seconds are those of the machine that trained, training and validation; they compare where all runs were "
        "trained alike.",
        *(["95 % t interval over pairs of one seed."] if np.isfinite(table.columns["low"]).any() else []),
        *([f"Pre-training counts in gradients and seconds, not in epochs: {'; '.join(before)}."] if before else []),
    )
    header = ("A − B", "budget of B", "validation", "B", "A", "A − B", "95 % interval", "pairs")
    return Section("Equal epochs, gradients and time", header, tuple(rows), notes)


def geometry_section(summary: Table, measures: Sequence[str], unsettled: Sequence[str]) -> Section:
    """Curvature, sharpness and the generalisation gap over seeds: a row a measure, a column a cell that has any."""
    cells = {(r["cell"], r["quantity"]): r for r in summary.rows()}
    names = (*measures, *LOSSES)
    labels = [label for label in map(str, summary.attributes["cells"]) if any((label, name) in cells for name in names)]
    rows = tuple((name, *(_spread(cells.get((label, name)), ".4g") for label in labels)) for name in names)
    on, loss = summary.attributes["objective"], summary.attributes["measured_on"]
    otherwise = summary.attributes["measured_otherwise"]
    notes = [
        f"Mean over seeds ± standard deviation. Curvature and sharpness: of the frozen {loss['told']} training loss of "
        f"{on['units']:,} users, the same for every run, whether it was trained on all of them or not. The loss is "
        f"{loss['why']}.",
        *([f"Measured on another loss or other users, and left out: {', '.join(otherwise)}."] if otherwise else []),
        *([f"Not measured: {', '.join(missing)}."] if (missing := summary.attributes["unmeasured"]) else []),
        "generalisation gap = test loss − training loss, both full cross-entropy over all items without dropout: over "
        "the training targets of the users a run was trained on, and over every user's test target.",
        SCALE,
        *(f"{name} did not settle." for name in unsettled),
    ]
    return Section("Curvature, sharpness and generalisation gap", ("measure", *labels), rows, tuple(notes))


def _spread(found: Mapping[str, Any] | None, form: str) -> str:
    return "-" if found is None else spread(found["mean"], found["deviation"], form)


def _known(value: int) -> str:
    return "-" if value < 0 else f"{value:,}"
