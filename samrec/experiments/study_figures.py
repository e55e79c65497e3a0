"""A study's tables and figures: read from its folders, written as files, handed to its store, drawn from there."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape.records import Table
from landscape.sharpness.names import SCALED_LAMBDA
from landscape.store import Store
from samrec.experiments.comparison_tables import history_table
from samrec.experiments.figures import ALL_ENDINGS, drawn
from samrec.experiments.measurements import GAPS, fill, gaps_table, read_measured
from samrec.experiments.members import Member
from samrec.experiments.rank_correlation import FEWEST
from samrec.experiments.robust import TABLE as SCORES
from samrec.experiments.robust import read_scores, scores_table
from samrec.experiments.robust_tables import perturbed_tables, robustness_section
from samrec.experiments.sharpness_table import sharpness_sections
from samrec.experiments.study_folder import StudyFolder
from samrec.experiments.study_sections import study_sections
from samrec.experiments.study_tables import study_tables
from samrec.experiments.study_values import StudyValues, read_values
from samrec.experiments.table import Section
from samrec.experiments.table_files import write_tables

CURVATURE = ("λmax", "λmin")
MEASURES = ("SAM ρ 0.1", "average case σ 0.01", SCALED_LAMBDA, "SAM ρ 0.5 |w|", "average case σ 0.1 |w|")
SHARPNESS = (*MEASURES, "generalisation gap")
RELATED = ("λmax", *MEASURES)
MOST_CURVES = 12  # runs in one picture; of more, the first seed there is of every cell


def rebuild_tables(study: StudyFolder) -> tuple[StudyValues, list[Section], list[Path]]:
    """Write the tables from the run folders (and the measurements, where there are any); returns also the files."""
    values, sections, tables = laid_out(study)
    written = write_tables(study.path / "tables", "study", tables, sections)
    hand_over(study, values, tables)
    return values, sections, written


def laid_out(study: StudyFolder) -> tuple[StudyValues, list[Section], dict[str, Table]]:
    """Everything a study has numbers for: as values, for people, and as plain tables; nothing is written."""
    values = read_values(study)
    tables = study_tables(values)
    sections = study_sections(tables, values.unsettled)
    if known := read_scores(study.robust):
        of = {run.name: run.evaluation.weights for run in values.runs if run.evaluation is not None}
        same = [name for name, found in known.items() if found.weights == of.get(name)]
        tables |= (perturbed := perturbed_tables(study, known, same))
        sections += [robustness_section(study, perturbed)] if perturbed else []
    sections += sharpness_sections(study)
    return values, sections, tables


def hand_over(study: StudyFolder, values: StudyValues, tables: Mapping[str, Table]) -> None:
    """Put measurements, tables and every run's history into the store, so that drawing needs nothing else.

    Tables of before that the study no longer has are taken out; what was measured of its runs stays.
    """
    there = {found.name for found in values.runs if found.run is not None}
    measured = {name: found for name, found in read_measured(study.measured).items() if name in there}
    own = list(tables.values())
    own += [gaps_table(measured)] if measured else []
    if known := {name: found for name, found in read_scores(study.robust).items() if name in there}:
        own.append(scores_table(known))
    histories = []
    for found in values.runs:
        if found.run is not None and found.history:
            stopped = str(found.record.get("stopped") or "")
            member = Member(found.name, found.planned.cell, found.planned.seed, found.run, stopped)
            histories.append(history_table(member))
    with Store.write(study.store) as store:
        fill(store, measured)
        gone = set(store.names("studies")) - {table.name for table in own} - {GAPS, SCORES}
        store.add_tables(
            [("studies", table) for table in own] + [("histories", table) for table in histories],
            removing=[("studies", name) for name in gone],
        )


def draw_study(study: StudyFolder, endings: Sequence[str] = ALL_ENDINGS) -> list[Path]:
    """Draw what the store has numbers for, a file an ending; returns the files."""
    from landscape.plots import prepare

    folder = study.path / "figures"
    store = Store.read(study.store)
    quantities = _known(store, "values", "quantity")
    figures: dict[str, tuple[str, Callable[[], Any]]] = {}
    for name, wanted in (("scores", ("HR@10", "NDCG@10")), ("curvature", CURVATURE), ("sharpness", SHARPNESS)):
        if shown := [quantity for quantity in wanted if quantity in quantities]:
            figures[name] = ("study", lambda shown=shown: prepare.prepare_study(store, shown))  # type: ignore[misc]
    for name in ("noise", "truncation"):
        if name in store.names("studies"):
            figures[name] = ("study", lambda name=name: prepare.prepare_study(store, table_name=name))  # type: ignore[misc]
    if shown := drawn_runs(study, store.names("histories")):
        figures["training"] = ("training", lambda: prepare.prepare_training(store, shown))
    if measures := _related(store):
        figures["relation"] = ("relation", lambda: prepare.prepare_relation(store, measures))
        figures["relation-gap"] = (
            "relation",
            lambda: prepare.prepare_relation(store, measures, target="generalisation gap"),
        )
    files = (drawn(kind, prepared(), folder / name, endings) for name, (kind, prepared) in figures.items())
    return [file for written in files for file in written]


def drawn_runs(study: StudyFolder, names: Collection[str]) -> list[str]:
    """Whose training is drawn, of the study's runs in `names`: all, or the first seed there is of every cell."""
    there = [planned for planned in study.runs if planned.name in names]
    if len(there) <= MOST_CURVES:
        return [planned.name for planned in there]
    first: dict[str, str] = {}
    for planned in there:
        first.setdefault(planned.cell, planned.name)
    return [first[cell.label] for cell in study.study.cells if cell.label in first]


def _related(store: Store) -> list[str]:
    """The measures of enough runs for an order of them to say anything."""
    if "relations" not in store.names("studies"):
        return []
    columns = store.table("studies", "relations").columns
    enough = set(columns["measure"][columns["runs"] >= FEWEST].tolist())
    return [name for name in RELATED if name in enough]


def _known(store: Store, table: str, column: str) -> set[str]:
    if table not in store.names("studies"):
        return set()
    return set(store.table("studies", table).columns[column].tolist())
