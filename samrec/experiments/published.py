"""A study's scores beside published ones: the mean over seeds of each cell that somebody published the same of."""

from typing import Any

import numpy as np

from landscape.records import Table
from samrec.evaluation.reference_book import BookEntry, Ended, look_up
from samrec.experiments.cells import Cell
from samrec.experiments.study_values import StudyValues
from samrec.experiments.table import COMPARED, Section

TITLE = "Beside published scores"


def published_table(values: StudyValues) -> Table | None:
    """A row a cell and metric: the mean over seeds, the published range, and the range that others reproduced it in.

    None where nothing was published for any cell: the reference book knows the data by its content and a method by its
    whole configuration. NaN where no range of reproductions is known.
    """
    found = [(cell, entry) for cell in values.folder.study.cells if (entry := _entry(values, cell))]
    rows = [(cell, name, entry.metrics[name]) for cell, entry in found for name in COMPARED if name in entry.metrics]
    if not rows:
        return None
    columns: dict[str, Any] = {
        "cell": np.array([cell.label for cell, *_ in rows], dtype=np.str_),
        "metric": np.array([name for _, name, _ in rows], dtype=np.str_),
        **{
            name: np.array([getattr(place, name) for *_, place in rows], dtype=np.float64)
            for name in ("value", "low", "high")
        },
        "sources": np.array([place.sources for *_, place in rows], dtype=np.int64),
        "verdict": np.array([place.verdict for *_, place in rows], dtype=np.str_),
        "reproduced_low": np.array([(place.reproduced or (np.nan, np.nan))[0] for *_, place in rows]),
        "reproduced_high": np.array([(place.reproduced or (np.nan, np.nan))[1] for *_, place in rows]),
        "reproduced_verdict": np.array([place.reproduced_verdict or "" for *_, place in rows], dtype=np.str_),
    }
    about = {
        "data": found[0][1].data,
        "sources": list(dict.fromkeys(source for _, entry in found for source in entry.sources)),
        "cut_short": [f"{cell.label}: {told}" for cell, entry in found for told in entry.cut_short],
    }
    return Table("published", columns, about)


def published_section(table: Table) -> Section:
    """Laid out for people."""
    rows = []
    for one in table.rows():
        known = one["reproduced_verdict"]
        rows.append(
            (
                one["cell"],
                one["metric"],
                f"{one['value']:.4f}",
                f"{_range(one['low'], one['high'])} ({one['sources']})",
                one["verdict"],
                f"{one['reproduced_low']:g} to {one['reproduced_high']:g}" if known else "-",
                known or "-",
            )
        )
    about = table.attributes
    notes = (
        f"Mean over seeds beside what others published for {about['data']}, the same model, loss and protocol, and the "
        "number of their rows; inside, above or below at the digits they give. Reproduced: the range that counts as a "
        "reproduction, wider, for other stop rules.",
        f"Published in: {'; '.join(about['sources'])}.",
        *([f"Cut short: {'; '.join(about['cut_short'])}."] if about["cut_short"] else []),
    )
    header = ("cell", "metric", "here", "published", "verdict", "reproduced", "verdict")
    return Section(TITLE, header, tuple(rows), notes)


def _entry(values: StudyValues, cell: Cell) -> BookEntry | None:
    """Of the mean over seeds; a run that a cap stopped speaks for all of them."""
    runs = [run for run in values.of(cell) if run.evaluation is not None]
    if not runs or (one := runs[0].evaluation) is None:
        return None
    stops = {run.record.get("stopped") for run in runs}
    return look_up(
        cell.config.model_dump(),
        one.conditions,
        {name: float(np.mean([run.values[name] for run in runs])) for name in COMPARED},
        one.standard_errors,
        ended=Ended("finished", "cap" if "cap" in stops else None),
    )


def _range(low: float, high: float) -> str:
    return f"{low:.4f} to {high:.4f}" if high > low else f"{low:.4f}"
