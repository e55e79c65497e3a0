"""Tables of the results, from the studies kept in `studies/`: whatever stands between their marks in Markdown files.

    <!-- study: beauty-sam: Test scores -->     the table of that title of the study in studies/beauty-sam
    <!-- studies: beauty-sam, toys-sam: HR@10 -->  test scores of several studies beside each other, by these metrics
    <!-- paired: A minus B, C minus D: HR@10 -->  differences of runs named STUDY/RUN, over users
    <!-- related: beauty-sam, beauty-rho; without: beauty-rho/sasrec-seed-1 -->  rank correlations over all their runs
    <!-- not covered: why -->                   numbers that no study here holds, and why
    <!-- end -->                                closes either

`python docs/result_tables.py` builds the tables of every study anew, and then those in the documents. A test builds
them too and compares; outside of marks it lets a section with some have no decimal number that its tables do not have,
and the page of results no table.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from landscape.records import Table
from samrec.evaluation.evaluate import read_evaluation
from samrec.evaluation.paired import paired_users
from samrec.experiments.corrections import holm
from samrec.experiments.pooled import pooled
from samrec.experiments.study_figures import laid_out
from samrec.experiments.study_folder import open_study
from samrec.experiments.table import Section, markdown, spread
from samrec.experiments.table_files import table_contents, write_tables
from samrec.training.checkpoint import Run

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "studies"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "results.md")
STUDY = re.compile(r"(<!-- study: (?P<study>[\w.-]+): (?P<title>[^\n]+?) -->\n)(?P<table>.*?)<!-- end -->", re.DOTALL)
SEVERAL = re.compile(
    r"(<!-- studies: (?P<studies>[\w., -]+): (?P<metrics>[\w@, ]+) -->\n)(?P<table>.*?)<!-- end -->", re.DOTALL
)
RELATED = re.compile(
    r"(<!-- related: (?P<studies>[\w., -]+)(; without: (?P<without>[\w./, -]+?))? -->\n)(?P<table>.*?)<!-- end -->",
    re.DOTALL,
)
PAIRED = re.compile(
    r"(<!-- paired: (?P<pairs>[\w./, -]+?): (?P<metrics>[\w@, ]+) -->\n)(?P<table>.*?)<!-- end -->", re.DOTALL
)
UNCOVERED = re.compile(r"<!-- not covered: [^\n]+? -->\n.*?<!-- end -->", re.DOTALL)
KINDS = (STUDY, SEVERAL, PAIRED, RELATED)
MARK = re.compile(r"<!-- (?:study|studies|paired|related|not covered|end)\b")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d*\.\d+")


def studies() -> list[Path]:
    """The folders of the studies kept here."""
    return sorted(path.parent for path in STUDIES.glob("*/study.json"))


@cache
def laid_out_once(study: Path) -> tuple[list[Section], dict[str, Table]]:
    """Sections and plain tables of a study; bootstraps over all its users take seconds."""
    _, sections, tables = laid_out(open_study(study))
    return sections, tables


def contents_of(study: Path) -> dict[str, str]:
    """The files of a study's tables, by name, as its folder gives them."""
    sections, tables = laid_out_once(study)
    return table_contents("study", tables, sections)


def built(text: str) -> str:
    """A document with its tables as the studies give them now; ValueError where a mark or a table is missing."""

    def table(match: re.Match[str]) -> str:
        study, title = match["study"], match["title"]
        known = {section.title: section for section in laid_out_once(STUDIES / study)[0]}
        if title not in known:
            raise ValueError(f"expected a table of {study} out of {', '.join(known)}, got {title!r}")
        return _filled(match, known[title])

    def several(match: re.Match[str]) -> str:
        names, metrics = (re.split(r",\s*", match[part]) for part in ("studies", "metrics"))
        return _filled(match, beside(names, metrics))

    def paired(match: re.Match[str]) -> str:
        pairs, metrics = (re.split(r",\s*", match[part]) for part in ("pairs", "metrics"))
        return _filled(match, apart([tuple(re.split(r"\s+minus\s+", pair)) for pair in pairs], metrics))

    def related(match: re.Match[str]) -> str:
        names, without = (re.split(r",\s*", match[part] or "") for part in ("studies", "without"))
        found = pooled([STUDIES / name for name in names], leave_out=[name for name in without if name])
        return _filled(match, found.section(found.tables()["relations"]))

    marks = len(MARK.findall(text))
    if marks != 2 * sum(len(kind.findall(text)) for kind in (*KINDS, UNCOVERED)):
        raise ValueError(f"expected an end for every mark, got {marks} marks that do not pair")
    for kind, made in ((STUDY, table), (SEVERAL, several), (PAIRED, paired), (RELATED, related)):
        text = kind.sub(made, text)
    return text


def _filled(match: re.Match[str], section: Section) -> str:
    """A mark and its end, with the table of this section between them."""
    (_, _, body) = markdown([section]).partition("\n\n")
    return f"{match[1]}\n{body}\n<!-- end -->"


def beside(names: list[str], metrics: list[str]) -> Section:
    """Test scores of the cells of several studies, and how far over their users each is from the cell it is against."""
    rows = []
    for name in names:
        study, tables = open_study(STUDIES / name), laid_out_once(STUDIES / name)[1]
        scores = {(row["cell"], row["quantity"]): row for row in tables["summary"].rows()}
        apart = {
            (row["cell"], row["metric"]): f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
            for row in tables["differences"].rows()
            if row["level"].startswith("users")
        }
        for cell in study.study.cells:
            if (cell.label, metrics[0]) in scores:
                found = [scores[cell.label, metric] for metric in metrics]
                rows.append(
                    (
                        f"{study.study.baseline.config.data}, {name}",
                        cell.label,
                        str(found[0]["seeds"]),
                        *(spread(one["mean"], one["deviation"], ".4f") for one in found),
                        *(apart.get((cell.label, metric), "-") for metric in metrics),
                    )
                )
    header = ("data, study", "cell", "seeds", *metrics, *(f"{metric}: difference" for metric in metrics))
    notes = (
        "Mean over seeds ± standard deviation. Difference from the cell it is compared with in its study, 95 % "
        "bootstrap interval over users: it speaks of these checkpoints, not of other seeds.",
    )
    return Section("Beside each other", header, tuple(rows), notes)


def apart(pairs: list[tuple[str, ...]], metrics: list[str]) -> Section:
    """How far runs of whatever studies are apart over their users, pair by pair, with the epochs they were kept at."""
    rows: list[list[str]] = []
    p_values: list[float] = []
    for a, b in pairs:
        ours, theirs = (read_evaluation(STUDIES / name) for name in (a, b))
        epochs = [Run(STUDIES / name).record["best"]["epoch"] for name in (a, b)]
        found = [paired_users(theirs, ours, metric) for metric in metrics]
        told = [f"{one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}]" for one in found]
        p_values += [one.p_value for one in found]
        rows.append([a, b, f"{epochs[0]}, {epochs[1]}", *told])
    adjusted = holm(np.array(p_values)).reshape(len(rows), len(metrics))
    lines = tuple((*row, *(f"{p:.3g}" for p in own)) for row, own in zip(rows, adjusted, strict=True))
    notes = (
        "Difference, first minus second run, with its 95 % bootstrap interval over users: it speaks of these "
        "checkpoints, not of other seeds. Holm adjusts p of the sign-flip test over all of this table.",
    )
    header = ("run", "minus", "kept epochs", *metrics, *(f"{metric}: Holm" for metric in metrics))
    return Section("Apart", header, lines, notes)


def unproven(text: str, *, every_section: bool) -> Iterator[str]:
    """Decimal numbers outside of marks that no table inside of them has in the same section.

    Of sections (by headings of the second level) that have a mark, or of all.
    """
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        if not (every_section or MARK.search(section)):
            continue
        tables = [match["table"] for kind in KINDS for match in kind.finditer(section)]
        have = {_plain(number) for table in tables for number in NUMBER.findall(table)}
        yield from (number for number in NUMBER.findall(_outside(section)) if _plain(number) not in have)


def stray_tables(text: str) -> list[str]:
    """Lines of tables outside of marks, whatever their numbers."""
    return [line for line in _outside(text).splitlines() if line.startswith("|")]


def _outside(text: str) -> str:
    for kind in (*KINDS, UNCOVERED, CODE):
        text = kind.sub("", text)
    return text


def _plain(number: str) -> str:
    return number.lstrip("0")


def main() -> None:
    """Write them all anew."""
    for study in studies():
        sections, tables = laid_out_once(study)
        write_tables(study / "tables", "study", tables, sections)
    for document in DOCUMENTS:
        document.write_text(built(document.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
