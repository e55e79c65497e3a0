"""Every number in the tables of the results comes from a study kept in `studies/`, and says so if it does not."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner
from written_blocks import docs_module

from samrec.cli.sweep import sweep
from samrec.errors import RunError
from samrec.experiments import pretrainings
from samrec.experiments.pooled import pooled
from samrec.experiments.study_folder import open_study

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

results = docs_module("result_tables")

PAGE = """# Results

## One

Mean .0123 and 0.0456, at rho 5.

<!-- study: small: Test scores -->
| .0123 | 0.0456 |
<!-- end -->

## Two

<!-- not covered: of before -->
| .5 |
<!-- end -->
"""


@pytest.mark.parametrize("study", results.studies(), ids=lambda path: path.name)
def test_the_tables_of_a_kept_study_are_what_its_folder_gives(study):
    there = {path.name: path.read_text(encoding="utf-8") for path in (study / "tables").iterdir()}
    assert there == results.contents_of(study)


@pytest.mark.parametrize("study", results.studies(), ids=lambda path: path.name)
def test_the_latex_of_a_kept_study_has_only_what_every_engine_sets(study):
    text = (study / "tables" / "study.tex").read_text(encoding="ascii")
    assert re.findall(r"\\symbol|\*\*|U\+[0-9A-F]{4,}", text) == []


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the real data in {DATA}")
@pytest.mark.parametrize("study", results.studies(), ids=lambda path: path.name)
def test_the_command_of_the_page_is_that_of_the_kept_study(study, tmp_path, monkeypatch):
    """Its settings, seeds and data, that is: a command of others is refused by the study's definition."""
    page = results.DOCUMENTS[1].read_text(encoding="utf-8")
    (command,) = set(re.findall(rf"^samrec sweep ([a-z].* --out) runs/{study.name}$", page, re.MULTILINE))
    starts = [cell.config.pretrained for cell in open_study(study).study.cells if cell.config.pretrained]
    known = pretrainings.Pretrainings({1.0: {1: starts[0]}} if starts else {})
    monkeypatch.setattr(pretrainings, "read_pretrainings", lambda *_, **__: known)
    shutil.copy(study / "study.json", tmp_path)
    app = typer.Typer()
    app.command()(sweep)
    words = [*shlex.split(command), str(tmp_path), "--data-dir", str(DATA), "--tables-only", "--no-figures"]
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 0, told.exception
    with pytest.raises(RunError, match="another definition: learning_rate"):
        CliRunner().invoke(app, [*words, "--base", "learning_rate=0.5"], catch_exceptions=False)
    assert (tmp_path / "study.json").read_bytes() == (study / "study.json").read_bytes()


@pytest.mark.parametrize("study", results.studies(), ids=lambda path: path.name)
def test_a_kept_study_has_no_weights_and_names_no_place(study):
    for path in study.rglob("*"):
        if path.is_file():
            assert path.suffix in {".json", ".jsonl", ".npz", ".csv", ".md", ".tex"}, path
            if path.suffix in {".json", ".jsonl"}:
                assert '"/' not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("document", results.DOCUMENTS, ids=lambda path: path.name)
def test_the_tables_of_a_document_are_what_the_studies_give(document):
    text = document.read_text(encoding="utf-8")
    assert results.built(text) == text
    assert list(results.unproven(text, every_section=document.name == "results.md")) == []


def test_the_page_of_results_has_no_table_but_those_of_studies():
    assert results.stray_tables(results.DOCUMENTS[1].read_text(encoding="utf-8")) == []
    assert results.stray_tables(PAGE) == []
    assert results.stray_tables(PAGE.replace("## Two\n", "## Two\n\n| 7 |\n")) == ["| 7 |"]


def test_a_number_that_no_study_has_is_found():
    assert list(results.unproven(PAGE, every_section=True)) == []
    more = PAGE.replace("at rho 5", "at rho 5, .0789").replace("## Two\n", "## Two\n\n| 7.5 |\n\n.0123\n")
    more += "\n## Three\n\n.4\n"
    assert list(results.unproven(more, every_section=False)) == [".0789", "7.5", ".0123"]
    assert list(results.unproven(more, every_section=True)) == [".0789", "7.5", ".0123", ".4"]
    assert list(results.unproven("```\n.4\n```\n", every_section=True)) == []


def test_a_mark_without_an_end_a_study_or_a_table_of_its_name_is_an_error():
    with pytest.raises(ValueError, match="expected an end for every mark, got 3 marks"):
        results.built(PAGE.replace("<!-- end -->", "", 1))
    with pytest.raises(RunError, match=r"expected a study in .*small"):
        results.built(PAGE)
    name = results.studies()[0].name
    with pytest.raises(ValueError, match=rf"expected a table of {name} out of Runs.*got 'Nothing'"):
        results.built(PAGE.replace("small: Test scores", f"{name}: Nothing"))


def test_a_table_that_was_changed_by_hand_is_built_anew():
    name = results.studies()[0].name
    text = f"before\n<!-- study: {name}: Runs -->\n| 9.99 |\n<!-- end -->\nafter .5\n"
    once = results.built(text)
    assert "9.99" not in once
    assert "| run | cell | seed |" in once
    assert (once.startswith("before\n<!--"), once.endswith("<!-- end -->\nafter .5\n")) == (True, True)
    assert results.built(once) == once


def test_scores_of_several_studies_stand_beside_each_other():
    names = [study.name for study in results.studies()[:2]]
    text = f"<!-- studies: {', '.join(names)}: HR@10, NDCG@10 -->\n<!-- end -->\n"
    once = results.built(text)
    assert results.built(once) == once
    assert list(results.unproven(once, every_section=True)) == []
    for name in names:
        summary = results.laid_out_once(results.STUDIES / name)[1]["summary"]
        means = [row["mean"] for row in summary.rows() if row["quantity"] == "HR@10" and row["seeds"]]
        lines = [line for line in once.splitlines() if f", {name} |" in line]
        assert [float(line.split("|")[4].split("±")[0]) for line in lines] == pytest.approx(means, abs=5e-5)
        assert [line.split("|")[6].strip() == "-" for line in lines] == [True, *[False] * (len(lines) - 1)]


def test_runs_of_several_studies_are_related_but_those_left_out():
    names = [study.name for study in results.studies() if study.name in ("beauty-patience", "beauty-family")]
    run = "beauty-family/sasrec-seed-1"
    text = f"<!-- related: {', '.join(names)}; without: {run} -->\n<!-- end -->\n"
    once = results.built(text)
    assert results.built(once) == once
    found = pooled([results.STUDIES / name for name in names], leave_out=[run])
    table = found.tables()["relations"]
    lines = [line for line in once.splitlines() if line.startswith("| ")][2:]
    assert [float(line.replace("\\|", "").split("|")[3]) for line in lines] == pytest.approx(
        table.columns["tau"], abs=0.005
    )
    assert f"- Left out, as asked: {run}." in once.splitlines()


def test_pairs_of_runs_of_any_studies_are_told_as_their_own_study_tells_them():
    study, run = "sports-sam", "samrec-rho-0.1-seed-1"  # of one seed, so that its table is of the same pair
    text = f"<!-- paired: {study}/{run} minus {study}/sasrec-seed-1: HR@10, NDCG@10 -->\n<!-- end -->\n"
    once = results.built(text)
    assert results.built(once) == once
    (line,) = [line for line in once.splitlines() if line.startswith(f"| {study}")]
    told = {
        row["metric"]: f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
        for row in results.laid_out_once(results.STUDIES / study)[1]["differences"].rows()
    }
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells[:5] == [f"{study}/{run}", f"{study}/sasrec-seed-1", "70, 70", told["HR@10"], told["NDCG@10"]]
    assert list(results.unproven(once, every_section=True)) == []
