"""What `import samrec` offers, and what it and asking for help do not load."""

import subprocess
import sys

import pytest

import samrec

HELP = """
import sys
sys.argv = ["samrec", "--help"]
from samrec.cli.main import main
try:
    main()
except SystemExit:
    pass
"""


def test_every_public_name_exists():
    assert len(samrec.__all__) == len(set(samrec.__all__)) > 20
    for name in samrec.__all__:
        assert getattr(samrec, name) is not None, name
    assert set(samrec.__all__) <= set(dir(samrec))


@pytest.mark.parametrize(
    "code",
    [
        "import samrec",
        "import samrec; samrec.make_config(data='synthetic'); samrec.open_data('synthetic')",
        HELP,
    ],
    ids=["import", "data", "help"],
)
def test_no_torch_is_loaded(code):
    check = "\nimport sys; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
