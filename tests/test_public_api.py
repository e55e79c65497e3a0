"""What a user's editor and interpreter see of both packages: exactly the public names, with their types."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import landscape
import samrec

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("package", [landscape, samrec], ids=lambda package: package.__name__)
def test_a_package_lists_exactly_its_public_names(package):
    code = f"import {package.__name__} as p, rlcompleter; c = rlcompleter.Completer({{'p': p}}); i = 0\n"
    code += "while (t := c.complete('p.', i)): print(t.removeprefix('p.').partition('(')[0], end=' '); i += 1"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == dir(package) == sorted(package.__all__)


SCRIPT = """\
import landscape as ls
import samrec

data = samrec.make_synthetic(users=50, seed=0).interactions
config = samrec.make_config(data="synthetic", rho=0.1, seed=1)
run: samrec.Run = samrec.train(config, data, "runs/sam")
objective = ls.load_objective(f"samrec:{run.path}")
axis = ls.Axis(-1, 1, 11)
surface = ls.compute_surface("s.h5", objective, grid=ls.Grid(axis), name="line", checkpoint_name="sam")
pairs = ls.eigenpairs_of(objective, name="sam", checkpoint="sam")
figure = ls.plots.matplotlib_figures.curve(ls.plots.prepare.prepare_curve(ls.Store.read("s.h5")))
ls.plots.matplotlib_figures.save(figure, "line.pdf")
largest: float = float(pairs.values[0]) + float(surface.centre["loss"])
"""


def test_a_users_script_is_typed(tmp_path):
    """By mypy --strict as pyproject.toml asks for it, whose cache is warm after the project's own check."""
    (tmp_path / "good.py").write_text(SCRIPT)
    (tmp_path / "bad.py").write_text(SCRIPT + 'ls.Axis("-1", 1, 11)\nsurface.losses\nls.surfce\n')
    told = os.environ | {"MYPYPATH": str(ROOT)}  # an editable install is no path to mypy
    places = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    command = [sys.executable, "-m", "mypy", *places, "good.py", "bad.py"]
    done = subprocess.run(command, cwd=tmp_path, env=told, capture_output=True, text=True, check=False)
    wrong = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [line.partition(":")[0] for line in wrong] == ["bad.py"] * 3, done.stdout + done.stderr
