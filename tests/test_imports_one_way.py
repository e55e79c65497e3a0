"""Imports run one way: no two files of the packages need each other, not even inside of a function."""

import ast
from graphlib import CycleError, TopologicalSorter

from written_blocks import ROOT

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("landscape", "samrec")
    for path in (ROOT / package).rglob("*.py")
}


def imported_by(path):
    """The modules of the packages that a file names in its imports, wherever they stand in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom) and node.module in FILES:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else node.module for name in inside)


def circle_in(imports):
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_file_imports_in_a_circle():
    imports = {name: set(imported_by(path)) for name, path in FILES.items()}
    assert sum(map(len, imports.values())) > len(FILES)
    assert circle_in(imports) == []


def test_a_circle_would_be_found():
    assert set(circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
