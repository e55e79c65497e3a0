"""Notebooks of the repository, kept without outputs and run from top to bottom in a folder of their own."""

import os
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def executed(path, folder):
    """The notebook with its outputs; nothing of the settings of whoever runs the tests plays a part."""
    return run(nbformat.read(path, as_version=4), folder)


def run(notebook, folder):
    """The same of a notebook at hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "jupyter"))
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # the commands
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    return notebook


def runner(factory):
    """A function from a notebook's name to the executed one, run once however often it is asked for."""

    @cache
    def by_name(name):
        return executed(NOTEBOOKS / f"{name}.ipynb", factory.mktemp(name))

    return by_name


def assert_without_outputs(path):
    """Fail on a notebook that is not valid, or that was saved after it ran."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


def outputs_after(notebook, word):
    """The kinds of output of the code cell that holds this word, and the text it printed as "stream"."""
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code" and word in cell.source)
    found = {kind: data for output in cell.outputs for kind, data in output.get("data", {}).items()}
    return {**found, "stream": "".join(output.get("text", "") for output in cell.outputs)}
