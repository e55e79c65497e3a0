"""Tables as files: numbers as CSV, sections as Markdown and LaTeX; equal tables give equal bytes.

CSV holds every digit (a float reads back as the same float, a NaN is an empty cell). LaTeX is a `table` each, in
booktabs' rules, plain ASCII for any engine, pdfLaTeX with its first fonts included. Its first line names the CSV files
written with it, so that the next writing removes those that are no longer made, and nothing else in the folder.
"""

import csv
import io
import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from landscape.errors import StoreError
from landscape.records import Table
from samrec.experiments.table import Section, markdown

SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "—": "---", "…": r"\ldots{}",
    "‘": "`", "’": "'", "“": "``", "”": "''", "\u00a0": "~", "ß": r"\ss{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}",
    "Ł": r"\L{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ı": r"\i{}", "§": r"\S{}",
}  # fmt: skip
FORMULAS = {
    "|": "|", "<": "<", ">": ">", "±": r"\pm", "−": "-", "×": r"\times", "·": r"\cdot", "÷": r"\div", "‖": r"\|",
    "≤": r"\leq", "≥": r"\geq", "≠": r"\neq", "≈": r"\approx", "∝": r"\propto", "∞": r"\infty", "→": r"\to",
    "∑": r"\sum", "∂": r"\partial", "∇": r"\nabla", "∈": r"\in", "ℓ": r"\ell", "°": r"^\circ",
    "²": "^2", "³": "^3", "½": r"\frac{1}{2}", "µ": r"\mu",
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "ζ": r"\zeta", "η": r"\eta",
    "θ": r"\theta", "ι": r"\iota", "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "ξ": r"\xi", "π": r"\pi",
    "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "υ": r"\upsilon", "φ": r"\varphi", "χ": r"\chi", "ψ": r"\psi",
    "ω": r"\omega", "Γ": r"\Gamma", "Δ": r"\Delta", "Θ": r"\Theta", "Λ": r"\Lambda", "Σ": r"\Sigma", "Φ": r"\Phi",
    "Ψ": r"\Psi", "Ω": r"\Omega",
}  # fmt: skip
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip
KNOWN = SIGNS | {sign: f"${formula}$" for sign, formula in FORMULAS.items()}
BESIDE = "% written with it: "
CSV_NAME = re.compile(r"[\w-][\w.-]*\.csv", re.ASCII)


def write_tables(folder: Path, name: str, tables: Mapping[str, Table], sections: Sequence[Section]) -> list[Path]:
    """Write NAME.md, NAME.tex and a CSV for each table into the folder; each file appears whole or not at all.

    CSV files that were written there under this name before, and are not this time, are removed.

    Raises:
        StoreError: a file cannot be written, or one of before not removed.
    """
    from landscape.plots.saving import written_aside

    contents = table_contents(name, tables, sections)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in _written_before(folder / f"{name}.tex"):
            if file not in contents:
                (folder / file).unlink(missing_ok=True)
    except OSError as problem:
        raise StoreError(f"cannot write tables into {folder}: {problem.strerror or problem}") from problem
    return [written_aside(folder / file, content.encode()) for file, content in contents.items()]


def table_contents(name: str, tables: Mapping[str, Table], sections: Sequence[Section]) -> dict[str, str]:
    """What is in each of these files, by its name."""
    numbers = {f"{table}.csv": as_csv(content) for table, content in tables.items()}
    beside = f"{BESIDE}{' '.join(numbers)}\n"
    return {f"{name}.md": markdown(sections), f"{name}.tex": beside + latex(sections)} | numbers


def _written_before(file: Path) -> list[str]:
    """The names of the CSV files that were written with these tables in LaTeX."""
    if not file.exists():
        return []
    first = file.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    return CSV_NAME.findall(first) if first.startswith(BESIDE) else []


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
        *(_latex_row(row, {n for at, n in section.bold if at == k}) for k, row in enumerate(section.rows)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    lines += [rf"\par\footnotesize {tex(note)}" for note in section.notes]
    return "\n".join([*lines, r"\end{table}", ""])


def _latex_row(cells: Sequence[str], bold: Collection[int] = ()) -> str:
    told = (rf"\textbf{{{tex(cell)}}}" if n in bold else tex(cell) for n, cell in enumerate(cells))
    return " & ".join(told) + r" \\"


def tex(text: str) -> str:
    """Text as LaTeX shows it: special signs escaped, mathematical ones in math mode, nothing beyond ASCII.

    A letter with accents is put together; a sign that not every engine has is told by its number, as U+1F600.
    """
    known = "".join(KNOWN.get(sign) or _spelled(sign) for sign in unicodedata.normalize("NFC", text))
    return re.sub(r"(?<!\\)\$\$", "", known)  # one formula instead of two that touch


def _spelled(sign: str) -> str:
    """A sign without an entry: itself in ASCII, else its letter under its accents."""
    if sign.isascii():
        return sign
    parts = unicodedata.normalize("NFD", sign)
    letter, accents = parts[0], parts[1:]
    if not letter.isascii() or not all(accent in ACCENTS for accent in accents):
        return f"U+{ord(sign):04X}"
    for accent in accents:
        letter = rf"\{ACCENTS[accent]}{{{letter}}}"
    return letter


def _written(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)
