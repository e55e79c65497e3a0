"""Tables as files: what stands out, what LaTeX of any engine can set, and files that are no longer made."""

import numpy as np
import pytest
from matplotlib.mathtext import MathTextParser
from rich.console import Console

from landscape.errors import StoreError
from landscape.records import Table
from samrec.experiments.table import Section, markdown, rich_tables
from samrec.experiments.table_files import FORMULAS, latex, write_tables

SECTION = Section(
    "Change", ("measure", "change"), (("a_b", "-5 %"), ("c|d", "[0]"), ("e", "*")), bold=frozenset({(0, 1), (1, 0)})
)


def tables(*names):
    return {name: Table(name, {"value": np.array([0.5])}) for name in names}


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_cells_that_stand_out_do_so_in_every_form():
    assert markdown([SECTION]).splitlines()[-3:] == ["| a_b | **-5 %** |", "| **c\\|d** | [0] |", "| e | * |"]
    assert r"a\_b & \textbf{-5 \%} \\" in latex([SECTION])
    assert r"\textbf{c$|$d} & [0] \\" in latex([SECTION])
    assert "**" not in latex([SECTION])
    console = Console(width=80, force_terminal=True, color_system=None)
    with console.capture() as plain:
        console.print(rich_tables([SECTION]))
    assert "**" not in plain.get()
    console = Console(width=80, force_terminal=True, color_system="standard")
    with console.capture() as shown:
        console.print(rich_tables([SECTION]))
    assert "\x1b[1m-5 %\x1b[0m" in shown.get()
    assert "[0]" in shown.get()


@pytest.mark.parametrize("sign", FORMULAS)
def test_every_formula_is_one(sign):
    width = MathTextParser("path").parse(f"${FORMULAS[sign]}$")[0]
    assert width > 0


def test_tables_that_are_no_longer_made_are_removed_and_nothing_else(tmp_path):
    write_tables(tmp_path, "study", tables("runs", "choice"), [SECTION])
    for other in ("own.csv", "own.md", "notes.txt"):
        (tmp_path / other).write_text("mine")
    write_tables(tmp_path, "other", tables("values"), [SECTION])
    write_tables(tmp_path, "study", tables("runs"), [SECTION])
    mine = {"own.csv", "own.md", "notes.txt"}
    assert names(tmp_path) == {"study.md", "study.tex", "runs.csv", "other.md", "other.tex", "values.csv"} | mine
    (tmp_path / "runs.csv").unlink()
    write_tables(tmp_path, "study", tables("values", "new"), [SECTION])
    assert names(tmp_path) == {"study.md", "study.tex", "new.csv", "other.md", "other.tex", "values.csv"} | mine


def test_a_folder_of_before_its_files_were_named_keeps_them(tmp_path):
    (tmp_path / "study.tex").write_text("% needs booktabs\n% own.csv\n")
    (tmp_path / "own.csv").write_text("mine")
    write_tables(tmp_path, "study", tables("runs"), [])
    assert names(tmp_path) == {"study.md", "study.tex", "runs.csv", "own.csv"}


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match=r"cannot write tables into .*taken/tables: ") as refusal:
        write_tables(tmp_path / "taken" / "tables", "study", tables("runs"), [SECTION])
    assert "\n" not in str(refusal.value)
