"""Tab in a shell offers commands, options and their words, through bash's protocol, and loads no torch for it."""

import os
import subprocess
import sys

import pytest

ASK = """
import sys
sys.argv = ["{app}"]
from {app}.cli.main import main
try:
    main()
except SystemExit:
    assert "torch" not in sys.modules
"""


def offered(line):
    """What bash would be offered where the line ends."""
    app, words = line.split()[0], line.split(" ")
    asked = {f"_{app.upper()}_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    code = ASK.format(app=app)
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("landscape su", ["surface", "subsets"]),
        ("landscape plot study.h5 --ki", ["--kind"]),
        ("landscape plot study.h5 --kind co", ["contour"]),
        ("landscape plot study.h5 --style ", ["paper", "talk", "dark"]),
        ("landscape surface --one-dimensional ", ["zero", "random", "normalised"]),
        ("landscape curvature --method ", ["lanczos", "power", "lobpcg"]),
        ("landscape surface --directions ", ["filter", "layer", "raw", "eigenvector", "between", "through", "pca"]),
        ("samrec pre", ["pretrain"]),
        ("samrec train --optimizer ad", ["adam", "adamw"]),
        ("samrec train --method ", ["sasrec", "cl4srec", "s3rec"]),
        ("samrec sweep sam", ["sam", "sam-family"]),
        ("samrec data pre", ["prepare"]),
        ("samrec data prepare log.csv --time-c", ["--time-column"]),
    ],
)
def test_a_line_is_completed(line, found):
    assert offered(line) == found


def test_every_command_is_offered():
    from samrec.cli.commands import COMMANDS

    assert offered("samrec ") == list(COMMANDS)


def test_every_named_study_is_offered():
    from samrec.experiments.studies import described_studies

    assert offered("samrec sweep ") == [*described_studies(), "grid"]


def test_installing_writes_the_script_where_bash_reads_it(tmp_path):
    told = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    words = ["landscape", "--install-completion", "bash"]
    code = f"import sys; sys.argv = {words}; from landscape.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any("complete -o" in text and "_LANDSCAPE_COMPLETE" in text for text in written)
    assert any("source" in text for text in written)
