"""What several studies together say, as files: tables, the store that figures are drawn from, and the figures."""

from pathlib import Path

from landscape.records import Table
from landscape.store import Store
from samrec.errors import RunError
from samrec.experiments.figures import drawn
from samrec.experiments.pooled import BEST_EPOCH, NORM, Pooled
from samrec.experiments.relations import GENERALISATION
from samrec.experiments.study_figures import RELATED
from samrec.experiments.study_folder import DEFINITION, STORE
from samrec.experiments.table import Section
from samrec.experiments.table_files import write_tables
from samrec.training.files import check_folder


def write_pooled(found: Pooled, out: Path, *, seed: int = 0, figures: bool = True) -> tuple[Section, Table, list[Path]]:
    """Tables, a store and figures into a folder; returns rank correlations, for people and plain, and the files.

    Raises:
        RunError: the folder is a study's or a run's, or cannot be written.
    """
    if there := [name for name in (DEFINITION, "run.json") if (out / name).exists()]:
        raise RunError(f"expected another folder than that of a study or a run, got {out}, which has a {there[0]}")
    check_folder(out)
    tables = found.tables(seed=seed)
    section = found.section(tables["relations"])
    written = write_tables(out / "tables", "relations", tables, [section])
    with Store.write(out / STORE) as store:
        for table in tables.values():
            store.add_table("studies", table)
    return section, tables["relations"], [*written, *(_draw(out) if figures else [])]


def _draw(out: Path) -> list[Path]:
    from landscape.plots import prepare

    store = Store.read(out / STORE)
    known = set(store.table("studies", "relations").columns["measure"].tolist())
    shown = [name for name in (*RELATED, NORM, BEST_EPOCH) if name in known]
    written = []
    for name, target in zip(("relation", "relation-gap"), GENERALISATION, strict=True):
        written += drawn("relation", prepare.prepare_relation(store, shown, target=target), out / "figures" / name)
    return written
