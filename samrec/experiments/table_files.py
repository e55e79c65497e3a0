"""Tables as files: numbers as CSV, sections as Markdown and LaTeX; equal tables give equal bytes.

CSV holds every digit (a float reads back as the same float, a NaN is an empty cell). LaTeX is a `table` each, in
booktabs' rules, plain ASCII for any engine.
"""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape.records import Table
from samrec.experiments.table import Section, markdown

SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"$|$", "<": r"$<$", ">": r"$>$",
    "±": r"$\pm$", "−": r"$-$", "λ": r"$\lambda$", "ρ": r"$\rho$", "σ": r"$\sigma$", "‖": r"$\|$", "²": r"$^2$",
    "×": r"$\times$", "–": "--", "…": r"\ldots{}",
}  # fmt: skip


def write_tables(folder: Path, name: str, tables: Mapping[str, Table], sections: Sequence[Section]) -> list[Path]:
    """Write NAME.md, NAME.tex and a CSV for each table into the folder; each file appears whole or not at all.

    Raises:
        StoreError: a file cannot be written.
    """
    from landscape.plots.saving import written_aside

    folder.mkdir(parents=True, exist_ok=True)
    contents = table_contents(name, tables, sections)
    return [written_aside(folder / file, content.encode()) for file, content in contents.items()]


def table_contents(name: str, tables: Mapping[str, Table], sections: Sequence[Section]) -> dict[str, str]:
    """What is in each of these files, by its name."""
    texts = {f"{name}.md": markdown(sections), f"{name}.tex": latex(sections)}
    return texts | {f"{table}.csv": as_csv(content) for table, content in tables.items()}


def as_csv(table: Table) -> str:
    """A line a row under the columns' names."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(table.columns)
    columns = [[_written(value) for value in column.tolist()] for column in table.columns.values()]
    writer.writerows(zip(*columns, strict=True))
    return lines.getvalue()


def latex(sections: Sequence[Section]) -> str:
    """A `table` environment each, notes below; needs booktabs."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_latex_table(section) for section in sections)


def _latex_table(section: Section) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(section.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(section.header) - 1)}}}",
        r"\toprule",
        _latex_row(section.header),
        r"\midrule",
        *(_latex_row(row) for row in section.rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    lines += [rf"\par\footnotesize {tex(note)}" for note in section.notes]
    return "\n".join([*lines, r"\end{table}", ""])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(tex(cell) for cell in cells) + r" \\"


def tex(text: str) -> str:
    """Text as LaTeX shows it: special signs escaped, mathematical ones in math mode, nothing beyond ASCII."""
    known = "".join(SIGNS.get(sign, sign) for sign in text)
    joined = re.sub(r"(?<!\\)\$\$", "", known)  # one formula instead of two that touch
    return "".join(sign if sign.isascii() else rf"\symbol{{{ord(sign)}}}" for sign in joined)


def _written(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)
