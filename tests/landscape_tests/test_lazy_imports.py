"""Looking at results needs no torch: not for importing the package, the store, the plots, nor for asking for help."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import landscape

PACKAGE = Path(landscape.__file__).parent


def modules_after(code):
    shown = "; import sys; print('\\n'.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + shown], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "landscape",
        "landscape.plots",
        "landscape.store",
        "landscape.doctor",
        "landscape.exchange.csv_files, landscape.exchange.loss_landscape, landscape.exchange.vtk_files",
    ],
)
def test_looking_at_results_loads_no_torch(module):
    loaded = modules_after(f"import {module}")
    assert set(module.split(", ")) <= loaded
    assert "torch" not in loaded


@pytest.mark.parametrize("name", ["prepare", "matplotlib_figures", "plotly_figures"])
def test_drawing_loads_no_torch(name):
    assert "torch" not in modules_after(f"import landscape.plots.{name}")


def test_importing_the_package_loads_nothing_else_of_it():
    loaded = modules_after("import landscape")
    assert not {name for name in loaded if name.startswith("landscape.")}


def test_names_are_loaded_when_first_used():
    loaded = modules_after("import landscape; landscape.Store; landscape.Grid")
    assert {"landscape.store", "landscape.grid"} <= loaded
    assert "torch" not in loaded


def test_every_public_name_exists():
    assert len(landscape.__all__) == len(set(landscape.__all__)) > 20
    for name in landscape.__all__:
        assert getattr(landscape, name) is not None, name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="surfce"):
        _ = landscape.surfce


def test_nothing_in_landscape_imports_samrec():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            assert not any(name.split(".")[0] == "samrec" for name in names), f"{path.name}: {names}"


def test_help_needs_neither_torch_nor_numpy_nor_hdf5():
    probe = (
        "import sys; sys.argv = ['landscape', '--help']; from landscape.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: assert not {'torch', 'numpy', 'h5py'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "surface" in done.stdout


@pytest.mark.parametrize("name", ["prepare", "matplotlib_figures", "plotly_figures"])
def test_drawers_are_reached_from_the_package_alone(name):
    loaded = modules_after(f"import landscape as ls; ls.plots.{name}")
    assert f"landscape.plots.{name}" in loaded
    assert "torch" not in loaded
